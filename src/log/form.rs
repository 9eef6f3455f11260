//! How lines look: as configured, or made for whoever sits at a terminal.

use std::io::IsTerminal;

use crate::config::LogFormat;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An object a line.
    Json,
    /// Names and values.
    Logfmt,
    /// The same behind time, level and message.
    Text,
    /// In columns, and not everything.
    People {
        /// Colours are wanted.
        colours: bool,
    },
}

impl Form {
    /// Of lines that go to `to`. `colours` says whether colours are wanted, if it is a terminal.
    pub(super) fn of(format: LogFormat, to: &impl IsTerminal, colours: bool) -> Self {
        match format {
            LogFormat::Text if to.is_terminal() => Self::People { colours },
            format => format.into(),
        }
    }
}

impl From<LogFormat> for Form {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Logfmt => Self::Logfmt,
            LogFormat::Text => Self::Text,
        }
    }
}
