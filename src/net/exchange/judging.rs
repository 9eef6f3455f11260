//! What an answer says of the provider's key, and an answer or its absence of the instance, where there are several.

use crate::http::exchange::{Failure, Stop};
use crate::http::head::Section;
use crate::log::{Log, Value};
use crate::net::upstream::report::tell;
use crate::providers::group::Outcome;
use crate::providers::{Change, Verdict, cooling_time, micros};
use crate::system::time::{monotonic_nanos, unix_seconds};

use super::ends::Ends;

impl Ends<'_> {
    /// The head of an answer with this status has come.
    pub(super) fn judge(&self, status: u16, section: Section<'_>) {
        if self.choice.as_ref().is_some_and(|choice| choice.is_said) {
            // It came before, and was judged then.
            return;
        }
        // A server that says so of itself; what is behind a 500 may be the request.
        let outcome = match status {
            502..=504 => Outcome::Failed,
            _ => Outcome::Answered,
        };
        self.judge_instance(outcome);
        self.judge_key(status, section);
    }

    /// There will be no answer, or no more of it.
    pub(super) fn judge_end(&self, stop: &Stop) {
        let (Stop::Refuse(failure) | Stop::Cut { failure, .. }) = stop else {
            return;
        };
        match failure {
            Failure::UpstreamLate if !self.waits_for_upstream() => {}
            Failure::UpstreamLate
            | Failure::UpstreamClosed
            | Failure::UpstreamReset
            | Failure::ResponseInvalid => self.judge_instance(Outcome::Failed),
            // The client's doing.
            Failure::Content(_) | Failure::ContentLate | Failure::ContentTooLong => {}
        }
    }

    /// Whether what has not come in time is the upstream's to send or to take: not where the client does not read, or still
    /// sends, nor where all of it takes longer than it may, nor in a tunnel, whose sides may both have nothing to say.
    fn waits_for_upstream(&self) -> bool {
        let connection = &self.connection;
        let is_clients = !connection.client.is_flushed()
            || (self.exchange.is_answered() && !self.exchange.upload().is_done());
        !is_clients && !connection.deadline.is_past_limit() && !self.exchange.is_tunnel()
    }

    fn judge_instance(&self, outcome: Outcome) {
        if let Some(choice) = &self.choice
            && let Some(place) = &choice.place
            && let Some(group) = self.gateway.choices.group(self.provider)
        {
            let now = micros(monotonic_nanos());
            let change = group.judge(&place.under_way, outcome, now);
            let at = (self.provider, place.instance().into());
            tell(self.connection.core(), self.gateway, at, change);
            if change.is_some() {
                choice.has_left();
            }
        }
    }

    /// Has the key rest whose limit is reached, or that the provider refuses.
    fn judge_key(&self, status: u16, section: Section<'_>) {
        let Some(keys) = self.gateway.choices.keys(self.provider) else {
            return;
        };
        let verdict = Verdict::of(status, || cooling_time(section, unix_seconds));
        if verdict == Verdict::Nothing {
            return;
        }
        let Some(change) = keys.judge(self.key, verdict, monotonic_nanos()) else {
            return;
        };
        if let Some(provider) = self.gateway.config.providers.get(self.provider) {
            say(
                &self.connection.core().log,
                &provider.name,
                self.key,
                status,
                change,
            );
        }
    }
}

/// Tells the operator; each key at most once per rest.
fn say(log: &Log, provider: &str, key: u8, status: u16, change: Change) {
    let number = ("key_n", Value::Number(u64::from(key) + 1));
    let provider = ("provider", Value::Text(&provider));
    let status = ("status", Value::Number(status.into()));
    match change {
        Change::Cools(time) => {
            let rests = ("rests_s", Value::Number(time.as_secs()));
            log.info(
                "a provider's key has reached its limit and rests",
                &[provider, number, status, rests],
            );
        }
        Change::Refused(time, times) => {
            let rests = ("rests_s", Value::Number(time.as_secs()));
            let in_a_row = ("refused_in_a_row", Value::Number(times));
            let fields = [provider, number, status, rests, in_a_row];
            log.warn("a provider refuses its key, which rests", &fields);
        }
        Change::Returns => log.info("a provider takes its key again", &[provider, number]),
    }
}
