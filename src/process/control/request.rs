//! What a command says to a running gateway: one short line. Pure.

/// Bytes of a line, its end included: a provider's name, a URL, and room.
pub(crate) const LINE_BYTES_MAX: usize = 4096;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// How all instances are.
    List,
    /// Sends nothing new to the instance of this name.
    Drain {
        /// As an operator writes it.
        name: String,
        /// Also where no other one serves.
        force: bool,
    },
    /// Ends that.
    Undrain {
        /// As an operator writes it.
        name: String,
    },
}

const LIST: &str = "list";
const DRAIN: &str = "drain";
const DRAIN_LAST: &str = "drain-last";
const UNDRAIN: &str = "undrain";

impl Request {
    /// What a line without its end says: a word, and behind a space the name where the word wants one.
    #[must_use]
    pub(crate) fn read(line: &[u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        if line.len() >= LINE_BYTES_MAX || line.chars().any(char::is_control) {
            return None;
        }
        let (word, name) = match line.split_once(' ') {
            None => (line, ""),
            Some((_, "")) => return None,
            Some(parts) => parts,
        };
        let named = || (!name.is_empty()).then(|| name.to_owned());
        match word {
            LIST => name.is_empty().then_some(Self::List),
            DRAIN | DRAIN_LAST => Some(Self::Drain {
                name: named()?,
                force: word == DRAIN_LAST,
            }),
            UNDRAIN => Some(Self::Undrain { name: named()? }),
            _ => None,
        }
    }

    /// The line, with its end; `None` where the name cannot be part of one.
    #[must_use]
    pub(crate) fn line(&self) -> Option<String> {
        let line = match self {
            Self::List => LIST.to_owned(),
            Self::Drain { name, force: false } => format!("{DRAIN} {name}"),
            Self::Drain { name, force: true } => format!("{DRAIN_LAST} {name}"),
            Self::Undrain { name } => format!("{UNDRAIN} {name}"),
        };
        let is_read = Self::read(line.as_bytes()).as_ref() == Some(self);
        is_read.then(|| line + "\n")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(name: &str, force: bool) -> Request {
        let name = name.to_owned();
        Request::Drain { name, force }
    }

    #[test]
    fn lines_are_read() {
        let undrain = Request::Undrain {
            name: "a/2".to_owned(),
        };
        for (line, wanted) in [
            ("list", Some(Request::List)),
            ("drain a/1", Some(drain("a/1", false))),
            ("drain a/[::1]:8000", Some(drain("a/[::1]:8000", false))),
            ("drain a b", Some(drain("a b", false))),
            ("drain-last a/1", Some(drain("a/1", true))),
            ("undrain a/2", Some(undrain)),
            ("", None),
            (" ", None),
            ("list ", None),
            ("list a", None),
            ("List", None),
            ("drain", None),
            ("drain ", None),
            ("drain a\r", None),
            ("drain a\0", None),
            ("undrain", None),
            ("GET / HTTP/1.1", None),
        ] {
            assert_eq!(Request::read(line.as_bytes()), wanted, "{line:?}");
        }
        assert_eq!(Request::read(b"drain \xff"), None);
        let long = format!("drain {}", "a".repeat(LINE_BYTES_MAX));
        assert_eq!(Request::read(long.as_bytes()), None);
        assert_eq!(drain("", false).line(), None);
        assert_eq!(drain("a\nlist", false).line(), None);
    }

    proptest! {
        #[test]
        fn any_line_is_none_or_written_as_it_was_read(line: Vec<u8>) {
            if let Some(request) = Request::read(&line) {
                let mut written = request.line().unwrap().into_bytes();
                prop_assert_eq!(written.pop(), Some(b'\n'));
                prop_assert_eq!(written, line);
            }
        }

        #[test]
        fn a_nearly_good_line_too(line in "(list|drain|drain-last|undrain| )?( )?[a-z/0-9:.\\[\\]é\r\n\t ]{0,12}") {
            if let Some(request) = Request::read(line.as_bytes()) {
                prop_assert_eq!(request.line().unwrap(), line + "\n");
            }
        }

        #[test]
        fn what_is_asked_arrives(name in "\\PC{1,40}", kind in 0..3) {
            let request = match kind {
                0 => drain(&name, false),
                1 => drain(&name, true),
                _ => Request::Undrain { name },
            };
            let line = request.line().unwrap();
            prop_assert_eq!(Request::read(line.trim_end_matches('\n').as_bytes()), Some(request));
        }
    }
}
