//! The points in time of one request, each as time since its head was there, and what they say. Pure.

use std::time::Duration;

/// What is measured for every provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    /// Request head to request sent, on a connection that was there.
    RequestPooled,
    /// The same where a connection had to be made.
    RequestConnecting,
    /// Response head to response sent on.
    Response,
    /// Name and TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Request sent to response head.
    ToHead,
    /// Request sent to first content.
    ToFirstByte,
    /// Between pieces of content.
    LongestGap,
    /// Response head to last content.
    Stream,
    /// Of the time added: what was there waited for its turn.
    Waited,
}

/// What connecting took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connecting {
    /// Finding the address and TCP.
    pub connect: Duration,
    /// The TLS handshake, if there is one.
    pub tls: Option<Duration>,
}

/// See the module's documentation. Nothing is known at first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    /// The first part of the request went out.
    sent: Option<Duration>,
    /// The last part so far did.
    uploaded: Option<Duration>,
    /// The response head was there.
    head: Option<Duration>,
    /// It was sent on.
    answered: Option<Duration>,
    /// The first content was there.
    first_byte: Option<Duration>,
    /// The last piece of content so far was sent on.
    last: Option<Duration>,
    gap: Duration,
    pieces: u64,
    waited: Duration,
    /// How long it stood in a queue for its provider, if it did.
    queued: Option<Duration>,
    connecting: Option<Connecting>,
}

impl Times {
    /// A connection was made for the request.
    pub(crate) fn connected(&mut self, connecting: Connecting) {
        self.connecting = Some(connecting);
    }

    /// The request's head or the response's was there for so long before its turn came.
    pub(crate) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// It stood for so long in a queue for its provider, whose time that was; once more where it goes elsewhere.
    pub(crate) fn queued(&mut self, time: Duration) {
        self.queued = Some(self.queued.unwrap_or_default() + time);
    }

    /// How long it stood in a queue for its provider.
    #[must_use]
    pub(crate) fn in_queue(&self) -> Option<Duration> {
        self.queued
    }

    /// The request, or its first part, went out; once more where it is repeated.
    pub(crate) fn sent(&mut self, at: Duration) {
        self.sent = Some(at);
        self.uploaded = Some(at);
    }

    /// More of the request's content went out.
    pub(crate) fn uploaded(&mut self, at: Duration) {
        self.uploaded = Some(at);
    }

    /// A response head, or its last part, was there.
    pub(crate) fn head(&mut self, at: Duration) {
        self.head = Some(at);
    }

    /// The head was sent on, or a piece of content after it; `content` where there was any.
    pub(crate) fn passed_on(&mut self, at: Duration, content: bool) {
        let with_head = self.answered.is_none();
        self.answered.get_or_insert(at);
        if !content {
            return;
        }
        match self.last {
            Some(last) => self.gap = self.gap.max(at.saturating_sub(last)),
            None if with_head => self.first_byte = self.head,
            None => self.first_byte = Some(at),
        }
        self.last = Some(at);
        self.pieces += 1;
    }

    /// When the last thing known happened to the answer.
    #[must_use]
    pub(crate) fn latest(&self) -> Option<Duration> {
        self.last.or(self.answered)
    }

    /// When the last thing known happened, to the request or the answer.
    #[must_use]
    pub(crate) fn moved(&self) -> Option<Duration> {
        self.latest().max(self.head).max(self.uploaded)
    }

    /// Time added to the request: from its head to its being sent, making a connection included, standing in a queue
    /// not.
    #[must_use]
    pub(crate) fn request_overhead(&self) -> Option<Duration> {
        let queued = self.queued.unwrap_or_default();
        self.sent.map(|sent| sent.saturating_sub(queued))
    }

    /// Time added to the response: from its head to its being sent on.
    #[must_use]
    pub(crate) fn response_overhead(&self) -> Option<Duration> {
        Some(self.answered?.saturating_sub(self.head?))
    }

    /// Time added until now, where `now` is before the response is sent on.
    #[must_use]
    pub(crate) fn gateway(&self, now: Duration) -> Duration {
        let response = self.head.map(|head| now.saturating_sub(head));
        self.request_overhead().unwrap_or_default() + response.unwrap_or_default()
    }

    /// Of the time added to a request that was sent: how long its head and the response's were there before their turns
    /// came.
    #[must_use]
    pub(crate) fn total_wait(&self) -> Option<Duration> {
        self.sent.map(|_| self.waited)
    }

    /// What making the connection took, where one was made.
    #[must_use]
    pub(crate) fn connecting(&self) -> Option<Connecting> {
        self.connecting
    }

    /// From the request's last part to the response head.
    #[must_use]
    pub(crate) fn to_head(&self) -> Option<Duration> {
        Some(self.head?.saturating_sub(self.uploaded?))
    }

    /// From the request's last part to the first content.
    #[must_use]
    pub(crate) fn to_first_byte(&self) -> Option<Duration> {
        Some(self.first_byte?.saturating_sub(self.uploaded?))
    }

    /// The longest time between two pieces of content; `None` where there were no two.
    #[must_use]
    pub(crate) fn longest_gap(&self) -> Option<Duration> {
        (self.pieces > 1).then_some(self.gap)
    }

    /// From the response head to the last piece of content; `None` where there were no two.
    #[must_use]
    pub(crate) fn stream(&self) -> Option<Duration> {
        let last = self.last.filter(|_| self.pieces > 1)?;
        Some(last.saturating_sub(self.head?))
    }

    /// Hands all that is known to `count`.
    pub(crate) fn each(&self, count: impl Fn(Timing, Duration)) {
        let request = match self.connecting {
            Some(_) => Timing::RequestConnecting,
            None => Timing::RequestPooled,
        };
        for (timing, time) in [
            (request, self.request_overhead()),
            (Timing::Response, self.response_overhead()),
            (Timing::ToHead, self.to_head()),
            (Timing::ToFirstByte, self.to_first_byte()),
            (Timing::LongestGap, self.longest_gap()),
            (Timing::Stream, self.stream()),
            (Timing::Waited, self.total_wait()),
        ] {
            if let Some(time) = time {
                count(timing, time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn an_answer_in_one_piece_is_no_stream() {
        let mut times = Times::default();
        times.sent(at(10));
        times.head(at(500));
        times.passed_on(at(520), true);
        assert_eq!(times.request_overhead(), Some(at(10)));
        assert_eq!(times.to_head(), Some(at(490)));
        assert_eq!(times.to_first_byte(), Some(at(490)));
        assert_eq!(times.response_overhead(), Some(at(20)));
        assert_eq!(times.latest(), Some(at(520)));
        times.uploaded(at(600));
        assert_eq!(times.moved(), Some(at(600)));
        assert_eq!((times.stream(), times.longest_gap()), (None, None));
    }

    #[test]
    fn a_stream_has_a_length_and_a_longest_gap() {
        let mut times = Times::default();
        times.sent(at(10));
        times.uploaded(at(100));
        times.head(at(200));
        times.passed_on(at(210), false);
        for piece in [300, 900, 1000] {
            times.passed_on(at(piece), true);
        }
        assert_eq!(times.to_head(), Some(at(100)));
        assert_eq!(times.to_first_byte(), Some(at(200)));
        assert_eq!(times.longest_gap(), Some(at(600)));
        assert_eq!(times.stream(), Some(at(800)));
    }

    #[test]
    fn an_answer_before_the_end_of_the_request_took_no_time() {
        let mut times = Times::default();
        times.sent(at(10));
        times.head(at(50));
        times.uploaded(at(60));
        assert_eq!(times.to_head(), Some(Duration::ZERO));
    }
}
