//! Reads content as far as it comes, so that what breaks off can be compared too.

use std::thread;
use std::time::Duration;

use super::plan::Shape;
use crate::support::{End, Head, Wire};

/// Content as it came, its coding taken off.
pub(crate) struct Received {
    pub(crate) shape: Shape,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<String>,
    /// How the connection ended before the content did.
    pub(crate) broken: Option<End>,
    /// How a connection ended whose end is the content's.
    pub(crate) end: Option<End>,
}

/// Reads what follows a head, `otherwise` where the head does not say; stops behind `limit` bytes.
pub(crate) fn receive(
    wire: &mut Wire,
    head: &Head,
    otherwise: Shape,
    limit: usize,
    slow: bool,
) -> Received {
    let (length, coding) = (
        head.value("content-length"),
        head.value("transfer-encoding"),
    );
    assert!(length.is_none() || coding.is_none(), "{:?}", head.lines);
    let shape = match (length, coding) {
        (Some(_), _) => Shape::Length,
        (_, Some(coding)) => {
            assert!(coding.eq_ignore_ascii_case("chunked"), "{coding}");
            Shape::Chunked
        }
        _ => otherwise,
    };
    let mut received = Received {
        shape,
        body: Vec::new(),
        trailers: Vec::new(),
        broken: None,
        end: None,
    };
    let length = length.map_or(0, |length| length.parse().unwrap());
    if let Err(end) = received.read(wire, length, limit, slow) {
        match shape {
            Shape::Close => received.end = Some(end),
            _ => received.broken = Some(end),
        }
    }
    received
}

impl Received {
    fn read(
        &mut self,
        wire: &mut Wire,
        length: usize,
        limit: usize,
        slow: bool,
    ) -> Result<(), End> {
        match self.shape {
            Shape::Nothing => Ok(()),
            Shape::Length => self.some(wire, length.min(limit), slow),
            Shape::Close => self.some(wire, limit, slow),
            Shape::Chunked => loop {
                let len = chunk_size(wire)?;
                if len == 0 {
                    self.trailers = wire.trailers()?;
                    return Ok(());
                }
                let room = limit.saturating_sub(self.body.len());
                self.some(wire, len.min(room), slow)?;
                if len >= room {
                    return Ok(());
                }
                assert_eq!(wire.take(2)?, b"\r\n", "end of a chunk");
            },
        }
    }

    fn some(&mut self, wire: &mut Wire, mut len: usize, slow: bool) -> Result<(), End> {
        while len > 0 {
            let piece = wire.take_some(len)?;
            len -= piece.len();
            self.body.extend_from_slice(&piece);
            if slow {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

fn chunk_size(wire: &mut Wire) -> Result<usize, End> {
    let line = wire.take_until(b"\r\n")?;
    let line = String::from_utf8_lossy(&line);
    let digits = line.trim_end().split(';').next().unwrap().trim_end();
    assert!(!digits.is_empty(), "chunk size {line:?}");
    let digit = |digit: char| {
        digit
            .to_digit(16)
            .unwrap_or_else(|| panic!("chunk size {line:?}"))
    };
    Ok(digits
        .chars()
        .fold(0, |size, d| size * 16 + digit(d) as usize))
}
