//! One line of a log: JSON, logfmt, or text for people. Whatever a value holds, it cannot end the line or
//! begin another field.

use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::date::rfc3339;
use crate::config::Level;

use super::escape::{escape, put};
use super::field_name::{FieldName, field_name};
use super::form::Form;
use super::people;

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
    form: Form,
}

/// Bytes of a message as it mostly is.
const MESSAGE_BYTES: usize = 352;

/// A whole message, with the current time.
#[must_use]
pub(super) fn message(
    form: Form,
    level: Level,
    message: &str,
    fields: &[(&str, Value<'_>)],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(MESSAGE_BYTES);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let time = rfc3339(now.as_secs(), now.subsec_millis());
    let mut line = Line::begin(&mut out, form, &time.to_string(), level, message);
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
        form: Form,
        time: &str,
        level: Level,
        message: &str,
    ) -> Self {
        let mut line = Self { out, form };
        let at = level;
        let level = level.as_str();
        match form {
            Form::People { colours } => people::message(line.out, time, at, message, colours),
            Form::Text => line.put(&[time, " ", level, " ", message]),
            Form::Json => {
                line.put(&["{\"time\":\"", time, "\",\"level\":\"", level, "\""]);
            }
            Form::Logfmt => line.put(&["time=", time, " level=", level]),
        }
        if matches!(form, Form::Json | Form::Logfmt) {
            line.field(field_name!("message")).text(message.as_bytes());
        }
        line
    }

    /// Adds a field, whose value is to follow.
    pub(super) fn field(&mut self, name: FieldName) -> &mut Self {
        let name = match self.form {
            Form::Json => name.json,
            Form::Text | Form::Logfmt | Form::People { .. } => name.plain,
        };
        self.put(&[name]);
        self
    }

    fn name(&mut self, name: &str) {
        match self.form {
            Form::Json => self.put(&[",\"", name, "\":"]),
            Form::Text | Form::Logfmt | Form::People { .. } => self.put(&[" ", name, "="]),
        }
    }

    /// A value; what is not UTF-8 in it is replaced.
    pub(super) fn text(&mut self, value: &[u8]) {
        let json = self.form == Form::Json;
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
        let quotation = match self.form {
            Form::Json => "\"",
            Form::Text | Form::Logfmt | Form::People { .. } => "",
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
        self.put(match self.form {
            Form::Json => &["}\n"],
            Form::Text | Form::Logfmt | Form::People { .. } => &["\n"],
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(form: Form, value: &[u8]) -> String {
        let mut out = Vec::new();
        let time = rfc3339(0, 1).to_string();
        let mut line = Line::begin(&mut out, form, &time, Level::Warn, "a message");
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
            let line = fields(Form::Json, value);
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
            let line = fields(Form::Logfmt, value);
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
