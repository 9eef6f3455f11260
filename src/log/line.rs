//! One line of a log: JSON, logfmt, or text for people. Whatever a value holds, it cannot end the line or
//! begin another field.

use std::fmt::{self, Display, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::date::rfc3339;
use crate::config::{Level, LogFormat};

/// A field's value.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    /// Anything that can be written.
    Text(&'a dyn Display),
    /// A figure.
    Number(u64),
}

/// A line under way: one allocation, if it gets no longer than was expected.
pub(crate) struct Line {
    out: String,
    format: LogFormat,
}

/// Time, level, message and brackets.
const BEGIN_BYTES: usize = 96;

impl Line {
    /// A line with the current time, whose fields are expected to take this many `bytes`.
    #[must_use]
    pub(crate) fn begin(format: LogFormat, level: Level, message: &str, bytes: usize) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time = rfc3339(now.as_secs(), now.subsec_millis());
        let mut out = String::with_capacity(BEGIN_BYTES + bytes);
        let _ = match format {
            LogFormat::Text => write!(out, "{time} {level} {message}"),
            LogFormat::Json => write!(out, "{{\"time\":\"{time}\",\"level\":\"{level}\""),
            LogFormat::Logfmt => write!(out, "time={time} level={level}"),
        };
        let mut line = Self { out, format };
        if format != LogFormat::Text {
            line.text("message", message.as_bytes());
        }
        line
    }

    /// A whole message.
    #[must_use]
    pub(crate) fn of(
        format: LogFormat,
        level: Level,
        message: &str,
        fields: &[(&str, Value<'_>)],
    ) -> Self {
        let mut line = Self::begin(format, level, message, 256);
        for (name, value) in fields {
            match value {
                Value::Text(text) => line.text(name, text.to_string().as_bytes()),
                Value::Number(number) => line.number(name, *number),
            }
        }
        line
    }

    /// Adds a field; what is not UTF-8 in it is replaced.
    pub(crate) fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        let json = self.format == LogFormat::Json;
        let bare = |b: &u8| b.is_ascii_graphic() && !b"\"\\=".contains(b);
        let plain = |b: &u8| (b' '..=b'~').contains(b) && !b"\"\\".contains(b);
        let quoted = json || value.is_empty() || !value.iter().all(bare);
        if !quoted {
            self.out.push_str(str::from_utf8(value).unwrap_or_default());
            return;
        }
        self.out.push('"');
        if value.iter().all(plain) {
            self.out.push_str(str::from_utf8(value).unwrap_or_default());
        } else {
            for chunk in value.utf8_chunks() {
                escape(&mut self.out, chunk.valid());
                if !chunk.invalid().is_empty() {
                    self.out.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
        self.out.push('"');
    }

    /// Adds a figure.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    /// Adds what is its own best text, such as an address.
    pub(crate) fn word(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.name(name);
        let quote = if self.format == LogFormat::Json {
            "\""
        } else {
            ""
        };
        let _ = write!(self.out, "{quote}{value}{quote}");
    }

    /// The whole line, its end included.
    #[must_use]
    pub(crate) fn end(mut self) -> String {
        if self.format == LogFormat::Json {
            self.out.push('}');
        }
        self.out.push('\n');
        self.out
    }

    fn name(&mut self, name: &str) {
        let (before, behind) = match self.format {
            LogFormat::Json => (",\"", "\":"),
            LogFormat::Text | LogFormat::Logfmt => (" ", "="),
        };
        for part in [before, name, behind] {
            self.out.push_str(part);
        }
    }
}

/// As JSON has it (RFC 8259, section 7); controls beyond ASCII and bidirectional overrides too, for terminals.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control()
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(format: LogFormat, value: &[u8]) -> String {
        let mut line = Line::begin(format, Level::Warn, "a message", 64);
        line.text("name", value);
        line.number("count", 7);
        line.word("addr", format_args!("[::1]:8"));
        line.end()
    }

    #[test]
    fn json_is_json_whatever_the_value() {
        for value in [
            &b"plain"[..],
            b"",
            b"\"}\n{\\",
            b"\x00\x1b[2J\x7f",
            "é\u{85}\u{202e}".as_bytes(),
            b"\xff\xfe",
        ] {
            let line = fields(LogFormat::Json, value);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(parsed["name"], String::from_utf8_lossy(value).as_ref());
            assert_eq!(
                (&parsed["count"], &parsed["addr"]),
                (&7.into(), &"[::1]:8".into())
            );
            assert_eq!(
                (&parsed["level"], &parsed["message"]),
                (&"warn".into(), &"a message".into())
            );
        }
    }

    #[test]
    fn logfmt_quotes_what_is_not_plain() {
        for (value, written) in [
            (&b"plain/x-1"[..], "name=plain/x-1"),
            (b"", "name=\"\""),
            (b"a b", "name=\"a b\""),
            (b"a=b", "name=\"a=b\""),
            (b"a\"\nb=1", "name=\"a\\\"\\nb=1\""),
        ] {
            let line = fields(LogFormat::Logfmt, value);
            assert!(
                line.contains(&format!(" {written} count=7 addr=[::1]:8\n")),
                "{line}"
            );
            assert!(
                line.contains(" level=warn message=\"a message\" "),
                "{line}"
            );
            assert!(line.starts_with("time="), "{line}");
        }
    }

    #[test]
    fn an_expected_line_is_one_allocation() {
        let mut line = Line::begin(LogFormat::Json, Level::Info, "request", 100);
        let room = line.out.capacity();
        line.text("path", &[b'x'; 80]);
        assert_eq!(line.out.capacity(), room);
    }
}
