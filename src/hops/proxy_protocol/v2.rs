//! Version 2: sixteen bytes, a block of addresses, and extensions: a type, a length of two bytes, a value.

use std::net::SocketAddr;

use super::header::{Begin, Defect, Source};
use crate::hops::crc32c;

/// What only a header begins with.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What every header has.
pub(super) const FIXED_BYTES: usize = 16;
/// Most bytes of what follows: far more than any balancer is known to send, certificates of clients aside.
pub(super) const BLOCK_BYTES_MAX: usize = 4096;

const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;

/// Address families in the upper half of their byte, protocols (a stream, datagrams) in the lower one.
const UNSPECIFIED: u8 = 0x00;
const INET: [u8; 2] = [0x11, 0x12];
const INET6: [u8; 2] = [0x21, 0x22];
const UNIX: [u8; 2] = [0x31, 0x32];
const UNIX_BYTES: usize = 2 * 108;

/// The type of the extension with the checksum of the whole header, its own four bytes taken for zeros.
const CRC32C: u8 = 0x03;

/// Reads a header that begins with [`SIGNATURE`].
pub(super) fn read(bytes: &[u8]) -> Result<Begin, Defect> {
    let mut rest = bytes.iter().skip(SIGNATURE.len());
    let Some(begin) = rest.next() else {
        return Ok(Begin::Part);
    };
    if begin >> 4 != VERSION {
        return Err(Defect::Version);
    }
    let command = begin & 0x0f;
    if command > PROXY {
        return Err(Defect::Command);
    }
    let Some(family) = rest.next() else {
        return Ok(Begin::Part);
    };
    // Of a connection of its own a balancer need not say anything that makes sense.
    let addresses = match command {
        LOCAL => 0,
        _ => addresses_len(*family)?,
    };
    let (Some(high), Some(low)) = (rest.next(), rest.next()) else {
        return Ok(Begin::Part);
    };
    let block = usize::from(u16::from_be_bytes([*high, *low]));
    if block > BLOCK_BYTES_MAX {
        return Err(Defect::Length);
    }
    if block < addresses {
        return Err(Defect::Addresses);
    }
    let len = FIXED_BYTES + block;
    let Some(header) = bytes.get(..len) else {
        return Ok(Begin::Part);
    };
    let source = match (command, header.get(FIXED_BYTES..)) {
        (PROXY, Some(block)) if *family != UNSPECIFIED => {
            extensions(header, FIXED_BYTES + addresses)?;
            said(*family, block).ok_or(Defect::Addresses)?
        }
        _ => Source::Own,
    };
    Ok(Begin::Header { source, len })
}

/// How long the addresses of a family are.
fn addresses_len(family: u8) -> Result<usize, Defect> {
    match family {
        UNSPECIFIED => Ok(0),
        family if INET.contains(&family) => Ok(2 * (4 + 2)),
        family if INET6.contains(&family) => Ok(2 * (16 + 2)),
        family if UNIX.contains(&family) => Ok(UNIX_BYTES),
        _ => Err(Defect::Family),
    }
}

/// What a block of addresses says.
fn said(family: u8, block: &[u8]) -> Option<Source> {
    if UNIX.contains(&family) {
        return Some(Source::Local);
    }
    match INET.contains(&family) {
        true => both::<4>(block),
        false => both::<16>(block),
    }
}

/// Both addresses, then both ports.
fn both<const N: usize>(block: &[u8]) -> Option<Source>
where
    std::net::IpAddr: From<[u8; N]>,
{
    let (source, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (from, rest) = rest.split_first_chunk()?;
    let (to, _) = rest.split_first_chunk()?;
    Some(Source::Client {
        source: SocketAddr::new((*source).into(), u16::from_be_bytes(*from)),
        destination: SocketAddr::new((*destination).into(), u16::from_be_bytes(*to)),
    })
}

/// Checks what a header carries from this place on.
fn extensions(header: &[u8], mut at: usize) -> Result<(), Defect> {
    let mut has_checksum = false;
    while let Some((before, rest)) = header.split_at_checked(at)
        && !rest.is_empty()
    {
        let (&[kind, high, low], rest) = rest.split_first_chunk().ok_or(Defect::Extension)?;
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (value, behind) = rest.split_at_checked(len).ok_or(Defect::Extension)?;
        if kind == CRC32C {
            let sum: [u8; 4] = value.try_into().map_err(|_| Defect::Extension)?;
            let parts = [before, &[kind, high, low], &[0; 4], behind];
            // A second one would count the first as it stands.
            if has_checksum || crc32c::of(&parts) != u32::from_be_bytes(sum) {
                return Err(Defect::Checksum);
            }
            has_checksum = true;
        }
        at = header.len() - behind.len();
    }
    Ok(())
}
