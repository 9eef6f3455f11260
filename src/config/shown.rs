//! Values as a configuration file says them, and what of a wrong one may be repeated.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::time::Duration;

/// A basic string of TOML, which has other escapes than Rust.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn quoted_path(path: impl AsRef<Path>) -> String {
    quoted(&path.as_ref().to_string_lossy())
}

pub(super) fn list(items: &[impl Display]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

pub(super) fn seconds(time: Duration) -> String {
    match (time.subsec_millis(), time.subsec_micros() % 1000) {
        (0, 0) => time.as_secs().to_string(),
        (_, 0) => format!("\"{}ms\"", time.as_millis()),
        _ => format!("\"{}us\"", time.as_micros()),
    }
}

/// Whether a value that is no secret's may be repeated in a message: a lost quote or a slip may have put a secret there
/// all the same, or a line of the file that has one.
pub(super) fn is_harmless(text: &str) -> bool {
    let plain = |b: u8| b == b' ' || b.is_ascii_graphic() && !b"\"'=@$`".contains(&b);
    // Behind a colon may be a password.
    let is_address = |behind: &str| !behind.starts_with(|c: char| c.is_ascii_alphabetic());
    text.len() <= SHOWN_BYTES_MAX
        && text.bytes().all(plain)
        && text.split(':').skip(1).all(is_address)
        && !text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(is_like_a_key)
}

/// Longer ones say no more to whoever looks for a slip.
const SHOWN_BYTES_MAX: usize = 40;

/// Words are made of letters or of digits; what has many of both, or no end, was made by a machine.
fn is_like_a_key(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_mixed = digits > 2 && digits < word.len();
    word.len() > if is_mixed { 7 } else { 20 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        for text in [
            "",
            "soon",
            "10 minutes",
            "-5",
            "10X",
            "18446744073709551616",
            "localhost:8080",
            "127.0.0.1:99999",
            "ftp://api.example.com/v1",
            "/p/metrics",
        ] {
            assert!(is_harmless(text), "{text}");
        }
        for text in [
            "sk-ant-api03-Qm5Xw2LkTz8RvB1nYc4JpHsD7GfEo9Ua",
            "3f9c1e7ab2d84605",
            "http://user:password@proxy",
            "http://user:password",
            "info\"OTHER=\"correct horse",
            "caf\u{e9}",
            "a\nb",
            "abcdefghijklmnopqrstuvwxyz",
        ] {
            assert!(!is_harmless(text), "{text}");
        }
    }
}
