//! What holds for the beginning of every connection, shared by the property tests and a fuzz target.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Begin, Defect, HEADER_BYTES_MAX, Source, read};

/// Asserts everything that must hold for `input`; `step` is the size of the pieces it is cut into.
pub fn holds(input: &[u8], step: usize) {
    let whole = read(input);
    assert_eq!(in_pieces(input, step.max(1)), whole, "pieces of {step}");
    assert_eq!(model(input), whole.ok(), "{}", input.escape_ascii());
    match whole {
        Ok(Begin::Header { len, .. }) => ends_at(input, len),
        Ok(Begin::Open) => assert!(input.len() < 12),
        Ok(Begin::Part) => assert!(input.len() < HEADER_BYTES_MAX),
        Ok(Begin::Other) | Err(_) => {}
    }
}

/// Less is never enough, and what comes behind makes no difference.
fn ends_at(input: &[u8], len: usize) {
    let header = input.get(..len).unwrap_or_default();
    assert_eq!(read(header), read(input));
    let less = header.get(..len - 1).unwrap_or_default();
    assert_eq!(read(less), Ok(Begin::Part));
    assert!(len <= HEADER_BYTES_MAX);
}

/// What has come decides; more of it is not looked at.
fn in_pieces(input: &[u8], step: usize) -> Result<Begin, Defect> {
    for end in (0..input.len()).step_by(step) {
        match read(input.get(..end).unwrap_or_default()) {
            Ok(Begin::Open | Begin::Part) => {}
            decided => return decided,
        }
    }
    read(input)
}

/// Reads as a naive reader does; `None` is any defect.
fn model(input: &[u8]) -> Option<Begin> {
    let (text, binary) = (&b"PROXY "[..], &b"\r\n\r\n\0\r\nQUIT\n"[..]);
    if input.starts_with(text) {
        return line(input);
    }
    if input.starts_with(binary) {
        return block(input);
    }
    match text.starts_with(input) || binary.starts_with(input) {
        true => Some(Begin::Open),
        false => Some(Begin::Other),
    }
}

fn line(input: &[u8]) -> Option<Begin> {
    let Some(end) = input.iter().take(107).position(|byte| *byte == b'\n') else {
        return (input.len() < 107).then_some(Begin::Part);
    };
    let text = String::from_utf8_lossy(input.get(..=end)?).into_owned();
    let text = text.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    let words: Vec<&str> = text.split(' ').collect();
    let source = match *words.as_slice() {
        ["UNKNOWN", ..] => Source::Own,
        [family, from, to, from_port, to_port] => {
            let ip = |text: &str| match family {
                "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
                "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
                _ => None,
            };
            let port = |text: &str| {
                let port = text.parse::<u16>().ok()?;
                // Only what is written as it would be here.
                (port.to_string() == text).then_some(port)
            };
            Source::Client {
                source: SocketAddr::new(ip(from)?, port(from_port)?),
                destination: SocketAddr::new(ip(to)?, port(to_port)?),
            }
        }
        _ => return None,
    };
    Some(Begin::Header {
        source,
        len: end + 1,
    })
}

fn block(input: &[u8]) -> Option<Begin> {
    let byte = |at: usize| input.get(at).copied();
    let word = |at: usize| Some(u16::from_be_bytes([byte(at)?, byte(at + 1)?]));
    let begin = byte(12);
    if begin.is_some_and(|begin| !matches!(begin, 0x20 | 0x21)) {
        return None;
    }
    let is_local = begin == Some(0x20);
    let family = byte(13);
    let known = [0, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32];
    if family.is_some_and(|family| !is_local && !known.contains(&family)) {
        return None;
    }
    let (Some(family), Some(len)) = (family, word(14)) else {
        return Some(Begin::Part);
    };
    let (addresses, octets) = match family >> 4 {
        _ if is_local => (0, 0),
        1 => (12, 4),
        2 => (36, 16),
        3 => (216, 0),
        _ => (0, 0),
    };
    if len > 4096 || len < addresses {
        return None;
    }
    let end = 16 + usize::from(len);
    if input.len() < end {
        return Some(Begin::Part);
    }
    let is_said = !is_local && family != 0;
    if is_said && !carries(input.get(..end)?, 16 + usize::from(addresses)) {
        return None;
    }
    let ip = |at: usize| {
        let octets = input.get(at..at + octets)?;
        match *octets {
            [a, b, c, d] => Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))),
            _ => Some(IpAddr::V6(Ipv6Addr::from(
                <[u8; 16]>::try_from(octets).ok()?,
            ))),
        }
    };
    let source = match is_said {
        false => Source::Own,
        true if octets == 0 => Source::Local,
        true => Source::Client {
            source: SocketAddr::new(ip(16)?, word(16 + 2 * octets)?),
            destination: SocketAddr::new(ip(16 + octets)?, word(18 + 2 * octets)?),
        },
    };
    Some(Begin::Header { source, len: end })
}

/// Whether what a header carries from there on fits, and its checksum, of which there is at most one.
fn carries(header: &[u8], mut at: usize) -> bool {
    let mut sums = 0;
    while at < header.len() {
        let Some(&[kind, high, low]) = header.get(at..at + 3) else {
            return false;
        };
        let end = at + 3 + (usize::from(high) << 8 | usize::from(low));
        let Some(value) = header.get(at + 3..end) else {
            return false;
        };
        if kind == 3 {
            sums += 1;
            let mut zeroed = header.to_vec();
            if value.len() != 4 || sums > 1 {
                return false;
            }
            zeroed.splice(at + 3..end, [0; 4]);
            if bit_by_bit(&zeroed).to_be_bytes() != value {
                return false;
            }
        }
        at = end;
    }
    true
}

/// CRC-32C as a division of polynomials, highest power first.
fn bit_by_bit(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        for bit in 0..8 {
            let incoming = u32::from(byte >> bit & 1);
            let outgoing = register >> 31;
            register <<= 1;
            if incoming != outgoing {
                register ^= 0x1edc_6f41;
            }
        }
    }
    !register.reverse_bits()
}

/// With the right checksum put in where an extension has room for one, so that a fuzzer need not find it.
#[must_use]
pub fn summed(input: &[u8]) -> Vec<u8> {
    let mut header = input.to_vec();
    let Some(&[family, high, low]) = input.get(13..16) else {
        return header;
    };
    let addresses = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let end = 16 + (usize::from(high) << 8 | usize::from(low));
    let mut at = 16 + addresses;
    while let Some(&[kind, high, low]) = input.get(at..at + 3) {
        let behind = at + 3 + (usize::from(high) << 8 | usize::from(low));
        if kind == 3 && behind == at + 7 && behind <= end && end <= input.len() {
            header.splice(at + 3..behind, [0; 4]);
            let sum = bit_by_bit(header.get(..end).unwrap_or_default());
            header.splice(at + 3..behind, sum.to_be_bytes());
            break;
        }
        at = behind;
    }
    header
}
