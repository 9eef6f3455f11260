//! One line of a log: JSON, logfmt, or text for people. Whatever a value holds, it cannot end the line or
//! begin another field.

use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
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

/// A line under way, at the end of `out`.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    format: LogFormat,
}

/// A field's name with what stands around it, as each form has it: one copy instead of three.
#[derive(Clone, Copy)]
pub(super) struct FieldName {
    pub json: &'static str,
    pub plain: &'static str,
}

/// The [`FieldName`] of a literal.
macro_rules! field_name {
    ($name:literal) => {
        $crate::log::line::FieldName {
            json: concat!(",\"", $name, "\":"),
            plain: concat!(" ", $name, "="),
        }
    };
}
pub(super) use field_name;

/// Bytes of a message as it mostly is.
const MESSAGE_BYTES: usize = 352;

/// A whole message, with the current time.
#[must_use]
pub(super) fn message(
    format: LogFormat,
    level: Level,
    message: &str,
    fields: &[(&str, Value<'_>)],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(MESSAGE_BYTES);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let time = rfc3339(now.as_secs(), now.subsec_millis());
    let mut line = Line::begin(&mut out, format, &time.to_string(), level, message);
    for (name, value) in fields {
        line.name(name);
        match value {
            Value::Text(text) => line.text(text.to_string().as_bytes()),
            Value::Number(number) => line.number(*number),
        }
    }
    line.end();
    out
}

impl<'a> Line<'a> {
    /// Begins one behind what is in `out`.
    pub(super) fn begin(
        out: &'a mut Vec<u8>,
        format: LogFormat,
        time: &str,
        level: Level,
        message: &str,
    ) -> Self {
        let mut line = Self { out, format };
        let level = level.as_str();
        match format {
            LogFormat::Text => line.put(&[time, " ", level, " ", message]),
            LogFormat::Json => {
                line.put(&["{\"time\":\"", time, "\",\"level\":\"", level, "\""]);
            }
            LogFormat::Logfmt => line.put(&["time=", time, " level=", level]),
        }
        if format != LogFormat::Text {
            line.field(field_name!("message")).text(message.as_bytes());
        }
        line
    }

    /// Adds a field, whose value is to follow.
    pub(super) fn field(&mut self, name: FieldName) -> &mut Self {
        let name = match self.format {
            LogFormat::Json => name.json,
            LogFormat::Text | LogFormat::Logfmt => name.plain,
        };
        self.put(&[name]);
        self
    }

    fn name(&mut self, name: &str) {
        match self.format {
            LogFormat::Json => self.put(&[",\"", name, "\":"]),
            LogFormat::Text | LogFormat::Logfmt => self.put(&[" ", name, "="]),
        }
    }

    /// A value; what is not UTF-8 in it is replaced.
    pub(super) fn text(&mut self, value: &[u8]) {
        let json = self.format == LogFormat::Json;
        if !json && !value.is_empty() && all(value, is_bare) {
            return self.out.extend_from_slice(value);
        }
        self.out.push(b'"');
        if all(value, is_plain) {
            self.out.extend_from_slice(value);
        } else {
            for chunk in value.utf8_chunks() {
                escape(self.out, chunk.valid());
                if !chunk.invalid().is_empty() {
                    put(self.out, char::REPLACEMENT_CHARACTER);
                }
            }
        }
        self.out.push(b'"');
    }

    /// A figure.
    pub(super) fn number(&mut self, value: u64) {
        self.put(&[itoa::Buffer::new().format(value)]);
    }

    /// An address; nothing for that of a Unix socket.
    pub(super) fn address(&mut self, address: Option<SocketAddr>) {
        let quotation = match self.format {
            LogFormat::Json => "\"",
            LogFormat::Text | LogFormat::Logfmt => "",
        };
        self.put(&[quotation]);
        match address.map(|address| (address.ip(), address.port())) {
            Some((IpAddr::V4(ip), port)) => {
                for (octet, mark) in ip.octets().into_iter().zip(["", ".", ".", "."]) {
                    self.put(&[mark, itoa::Buffer::new().format(octet)]);
                }
                self.put(&[":", itoa::Buffer::new().format(port)]);
            }
            Some((IpAddr::V6(ip), port)) => {
                let _ = write!(self.out, "[{ip}]:{port}");
            }
            None => self.put(&["unix"]),
        }
        self.put(&[quotation]);
    }

    /// Its end.
    pub(super) fn end(mut self) {
        self.put(match self.format {
            LogFormat::Json => &["}\n"],
            LogFormat::Text | LogFormat::Logfmt => &["\n"],
        });
    }

    fn put(&mut self, texts: &[&str]) {
        for text in texts {
            self.out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Whether all bytes are of a kind. Looks at every one, which is many at a time.
fn all(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is(*byte))
}

/// Whether it stands for itself between quotation marks.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
}

/// Whether it needs none.
fn is_bare(byte: u8) -> bool {
    is_plain(byte) & (byte != b' ') & (byte != b'=')
}

/// As JSON has it (RFC 8259, section 7); controls beyond ASCII and bidirectional overrides too, for terminals.
fn escape(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                put(out, '\\');
                put(out, c);
            }
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if c.is_control()
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => put(out, c),
        }
    }
}

fn put(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(format: LogFormat, value: &[u8]) -> String {
        let mut out = Vec::new();
        let time = rfc3339(0, 1).to_string();
        let mut line = Line::begin(&mut out, format, &time, Level::Warn, "a message");
        line.field(field_name!("name")).text(value);
        line.field(field_name!("count")).number(7);
        line.field(field_name!("addr"))
            .address("[::1]:8".parse().ok());
        line.end();
        String::from_utf8(out).unwrap()
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
}
