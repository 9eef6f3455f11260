//! Version 1: a line of text.

use std::net::{IpAddr, SocketAddr};

use memchr::memchr;

use super::header::{Begin, Defect, Source};

/// What only a header begins with.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Longest line, in bytes, its end included.
pub(super) const LINE_BYTES_MAX: usize = 107;

/// Reads a line that begins with [`SIGNATURE`].
pub(super) fn read(bytes: &[u8]) -> Result<Begin, Defect> {
    let window = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = memchr(b'\n', window) else {
        return match window.len() < LINE_BYTES_MAX {
            true => Ok(Begin::Part),
            false => Err(Defect::LineLength),
        };
    };
    let line = window.get(SIGNATURE.len()..end);
    let line = line.and_then(|line| line.strip_suffix(b"\r"));
    let source = line.and_then(said).ok_or(Defect::Line)?;
    Ok(Begin::Header {
        source,
        len: end + 1,
    })
}

/// What a line says behind the signature.
fn said(line: &[u8]) -> Option<Source> {
    // Whatever else stands there is to be ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(Source::Own);
    }
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let is_v6 = match words.next()? {
        "TCP4" => false,
        "TCP6" => true,
        _ => return None,
    };
    let mut address = || {
        let ip: IpAddr = words.next()?.parse().ok()?;
        (ip.is_ipv6() == is_v6).then_some(ip)
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || port(words.next()?);
    let (from, to) = (port()?, port()?);
    words.next().is_none().then_some(Source::Client {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    })
}

/// Decimal, without zeros before it.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = digits && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}
