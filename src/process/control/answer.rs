//! What a running gateway says to a command: one JSON object in a line. Pure.

use serde::{Deserialize, Serialize};

/// Bytes of an answer that a command reads.
pub(crate) const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// How all instances are.
    Instances {
        /// Those of all providers, in order.
        instances: Vec<Instance>,
        /// The process that was succeeded still ends what it has under way, which is not counted here.
        predecessor: bool,
    },
    /// It is as was asked for.
    Done {
        /// It was not before.
        changed: bool,
        /// How the instance is now.
        instance: Instance,
    },
    /// It stays as it was.
    Refused {
        /// For people.
        why: String,
    },
    /// To be asked again in a moment: there is a new process soon, or there are too many askers.
    Again,
}

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its provider's name.
    pub(crate) provider: String,
    /// Its number from 1 on, as in log and metrics.
    pub(crate) instance: u64,
    /// Its address, where many instances have that number (`resolve`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// Where it is.
    pub(crate) base_url: String,
    /// Nothing new is sent there by an operator's word.
    pub(crate) drained: bool,
    /// `serves`, `comes back`, `out`, `is tried`, `down`; nothing where the provider has no other instance.
    pub(crate) health: Option<String>,
    /// For how long it is still out, in seconds.
    pub(crate) out_s: Option<u64>,
    /// Requests under way there; nothing where the provider has no other instance.
    pub(crate) under_way: Option<u64>,
    /// Requests that it was chosen for.
    pub(crate) requests_total: Option<u64>,
    /// Those of them that failed.
    pub(crate) failures_total: Option<u64>,
}

impl Instance {
    /// By what it is told apart: its provider, its number, and its address where that is not enough.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        let (provider, number) = (&self.provider, self.instance);
        match &self.address {
            Some(address) => format!("{provider}/{number}-{address}"),
            None => format!("{provider}/{number}"),
        }
    }
}

impl Answer {
    /// The line, with its end.
    #[must_use]
    pub(crate) fn line(&self) -> String {
        let line = serde_json::to_string(self);
        debug_assert!(line.is_ok(), "all of it is text, numbers and words");
        line.unwrap_or_default() + "\n"
    }

    /// What a whole line says; `None` where it was cut or is something else.
    #[must_use]
    pub(crate) fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_suffix('\n')?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_arrive_and_nothing_else_is_one() {
        let instance = Instance {
            provider: "a\n\"b".to_owned(),
            instance: 2,
            address: Some("10.0.0.7".to_owned()),
            base_url: "http://h:1/é".to_owned(),
            drained: true,
            health: None,
            out_s: Some(3),
            under_way: None,
            requests_total: Some(u64::MAX),
            failures_total: None,
        };
        for answer in [
            Answer::Again,
            Answer::Done {
                changed: true,
                instance: instance.clone(),
            },
            Answer::Instances {
                instances: vec![instance],
                predecessor: false,
            },
        ] {
            let line = answer.line();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(Answer::read(&line), Some(answer));
            assert_eq!(Answer::read(line.trim_end()), None);
        }
        for line in ["", "\n", "{}\n", "null\n", "\"again\"", "HTTP/1.1 400\n"] {
            assert_eq!(Answer::read(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_may_come(line: String) {
            let _ = Answer::read(&line);
            let why = Answer::Refused { why: line };
            prop_assert_eq!(Answer::read(&why.line()), Some(why));
        }
    }
}
