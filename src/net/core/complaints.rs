//! Failures of providers, and connections that were refused, as messages, where there is no access log to say them: one a
//! second, with how many it stands for.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::log::{Log, Value};
use crate::policy::error::Fault;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Complaints {
    last: Cell<Option<Instant>>,
    /// Since then.
    unsaid: Cell<u64>,
}

const EVERY: Duration = Duration::from_secs(1);

impl Complaints {
    /// A request with this id was answered in a provider's stead.
    pub(crate) fn say(&self, log: &Log, fault: &Fault, request_id: &str) {
        if !self.is_due(Instant::now()) {
            return;
        }
        let (code, reason) = (fault.code(), fault.reason());
        log.warn(
            "a request failed",
            &[
                ("request_id", Value::Text(&request_id)),
                ("status", Value::Number(fault.status().into())),
                ("error", Value::Text(&code)),
                ("detail", Value::Text(&reason)),
                ("unsaid", Value::Number(self.unsaid.take())),
            ],
        );
    }

    /// A connection was refused before there was a request.
    pub(crate) fn say_of(&self, log: &Log, fault: &Fault, client: Option<SocketAddr>) {
        if !self.is_due(Instant::now()) {
            return;
        }
        let client = client.map_or_else(String::new, |address| address.to_string());
        let (code, reason) = (fault.code(), fault.reason());
        log.warn(
            "a connection was refused",
            &[
                ("client", Value::Text(&client)),
                ("error", Value::Text(&code)),
                ("detail", Value::Text(&reason)),
                ("unsaid", Value::Number(self.unsaid.take())),
            ],
        );
    }

    fn is_due(&self, now: Instant) -> bool {
        let last = self.last.get();
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY);
        match is_due {
            true => self.last.set(Some(now)),
            false => self.unsaid.set(self.unsaid.get() + 1),
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_stands_for_all() {
        let complaints = Complaints::default();
        let first = Instant::now();
        let due = |millis| complaints.is_due(first + Duration::from_millis(millis));
        assert_eq!([due(0), due(1), due(999)], [true, false, false]);
        assert_eq!(complaints.unsaid.take(), 2);
        assert_eq!([due(1000), due(1999), due(2000)], [true, false, true]);
    }
}
