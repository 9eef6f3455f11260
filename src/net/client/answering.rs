//! Answers of the gateway's own: errors, and what needs no provider.

use crate::base::date::imf_fixdate;
use crate::http::exchange::{After, after_own};
use crate::http::framing::Cursor;
use crate::observe::add;
use crate::policy::admission::Admission;
use crate::policy::error::{ErrorResponse, Fault, Persistence};
use crate::system::time::unix_seconds;

use super::local_answer::LocalAnswer;
use super::recipient::Recipient;
use super::side::ClientSide;

impl ClientSide {
    /// Answers a request whose head nobody can read, or none yet, and ends the connection.
    pub(crate) fn refuse_unframed(&mut self, fault: Fault) -> After {
        let core = self.worker.core.clone();
        self.begins(&core.gateway());
        let recipient = Recipient::unknown(core.ids.next());
        self.send_error(&fault, &recipient, After::Close { linger: true })
    }

    /// The TLS handshake came to nothing. Who has connected and said nothing was looking whether anybody listens.
    pub(crate) fn unshaken(&mut self, reason: &str) -> After {
        if self.client.is_untouched() {
            return After::Drop;
        }
        add(&self.core().counters().tls_failures, 1);
        if self.client.is_misled() {
            return self.refuse_unframed(Fault::PlainHttp);
        }
        self.begins(&self.worker.core.gateway());
        self.access
            .closed("tls_handshake", &format!("client: {reason}"));
        After::Drop
    }

    /// The connection does not begin as it has to, for this reason; the peer `is_told` or not.
    pub(crate) fn turn_down(&mut self, reason: &'static str, is_told: bool) -> After {
        let fault = Fault::ProxyHeader(reason);
        self.begins(&self.worker.core.gateway());
        if !self.access.is_logged() {
            let core = self.core();
            core.complaints
                .say_of(&core.log, &fault, self.peer.address());
        }
        if is_told {
            return self.refuse_unframed(fault);
        }
        self.access.closed(fault.code(), reason);
        After::Drop
    }

    /// Answers a framed request with an error; its remaining content is unwanted.
    pub(crate) fn refuse(&mut self, fault: &Fault, recipient: &Recipient, cursor: Cursor) -> After {
        let after = self.after_local(recipient, cursor);
        self.send_error(fault, recipient, after)
    }

    /// Sends an error of the gateway's own, behind which the connection goes on like this.
    pub(crate) fn send_error(
        &mut self,
        fault: &Fault,
        recipient: &Recipient,
        after: After,
    ) -> After {
        self.busy = None;
        self.access.failed(fault);
        if fault.is_of_provider() && !self.access.is_logged() {
            let id = String::from_utf8_lossy(recipient.id.as_bytes());
            self.core().complaints.say(&self.core().log, fault, &id);
        }
        let mut out = Vec::with_capacity(512);
        let date = imf_fixdate(unix_seconds());
        ErrorResponse {
            fault,
            request_id: recipient.id.as_bytes(),
            date: date.as_bytes(),
            head_only: recipient.head_only,
            connection: self.persistence(&after),
            cors: recipient.cors(),
        }
        .write(&mut out);
        self.access.sent(content_bytes(&out));
        // A client that cannot be told has left, which the next receive finds.
        let _ = self.client.send(&out);
        after
    }

    /// Answers `/health` and what is below it, `OPTIONS *` and preflights, and with the text of the `metrics` those who
    /// asked for it.
    pub(crate) fn answer_locally(
        &mut self,
        what: &Admission<'_>,
        recipient: &Recipient,
        cursor: Cursor,
        metrics: &str,
    ) -> After {
        let healthy = self.worker.core.drain.is_healthy();
        let answer = LocalAnswer::to(what, healthy, metrics);
        self.access.answered(answer.status);
        if matches!(what, Admission::Health) && !self.core().gateway().config.log.health {
            self.access.is_no_news();
        }
        self.send_local(&answer, recipient, cursor)
    }

    /// Sends an answer that needs no provider; the request's remaining content is unwanted.
    pub(crate) fn send_local(
        &mut self,
        answer: &LocalAnswer<'_>,
        recipient: &Recipient,
        cursor: Cursor,
    ) -> After {
        let after = self.after_local(recipient, cursor);
        let out = answer.write(recipient, &self.persistence(&after), unix_seconds());
        self.access.sent(content_bytes(&out));
        let _ = self.client.send(&out);
        after
    }

    /// What an answer says of the connection.
    fn persistence(&self, after: &After) -> Persistence {
        let idle = self.worker.core.gateway().config.timeouts.idle_client;
        match after {
            After::Close { .. } => Persistence::Close,
            _ => Persistence::KeepAlive {
                timeout_secs: idle.as_secs().saturating_sub(1),
            },
        }
    }

    /// How the connection goes on behind an answer of our own.
    #[must_use]
    pub(crate) fn after_local(&self, recipient: &Recipient, cursor: Cursor) -> After {
        let rest = (!cursor.is_done()).then_some((cursor, recipient.expects_continue));
        after_own(recipient.persists && !self.is_ending(), rest)
    }
}

/// How much content a whole answer has.
fn content_bytes(answer: &[u8]) -> usize {
    let end = memchr::memmem::find(answer, b"\r\n\r\n");
    end.map_or(0, |end| answer.len() - end - 4)
}
