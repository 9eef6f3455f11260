//! Follows content byte by byte where the chunked framing is, in bulk where content is (RFC 9112,
//! section 7.1). Nothing is copied, decoded or allocated, whatever a peer sends.

use super::{BodyLength, FramingError, LENGTH_MAX};
use crate::base::bytes::{within, within_mut};
use crate::base::{hex, steps};
use crate::http::head::grammar::{is_text_byte, is_token_byte};
use crate::http::head::{self, Folded, NameSet, Side};

/// Longest chunk line in bytes: size, extensions and CRLF.
pub(crate) const CHUNK_LINE_BYTES_MAX: u16 = 16 * 1024;
/// Longest trailer section in bytes, without the blank line that ends it.
pub(crate) const TRAILER_BYTES_MAX: u32 = 64 * 1024;
/// Most field lines in a trailer section.
pub(crate) const TRAILER_FIELDS_MAX: u8 = 100;

/// Follows a message's content under one framing and says which bytes belong to it.
///
/// After an error every further call repeats it: nothing that follows can be relayed.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    state: State,
    /// Bytes of content so far, without chunk lines and trailers.
    content: u64,
}

/// Whether trailers may name another method or path ([`NameSet::OVERRIDES`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overrides {
    Passed,
    Forbidden,
}

/// What [`Cursor::advance`] found in one piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Bytes of the input that belong to the message.
    pub taken: usize,
    /// The message ended with the last of them.
    pub done: bool,
}

/// What [`Cursor::strip`] or [`Cursor::relay`] left of one piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stripped {
    /// Bytes of the input that belonged to the message.
    pub taken: usize,
    /// Bytes to be passed on, now at the front of the buffer.
    pub kept: usize,
    /// The message ended with the last byte taken.
    pub done: bool,
}

impl Cursor {
    /// A cursor in front of the first byte after the head.
    #[must_use]
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::Empty | BodyLength::Length(0) => State::Done,
            BodyLength::Length(left) => State::Length { left },
            BodyLength::Chunked => State::SIZE,
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state, content: 0 }
    }

    /// Counts how many of the next bytes belong to the message, which is a request or a response. Content is
    /// skipped in bulk.
    ///
    /// # Errors
    ///
    /// Malformed chunked framing. Nothing of this input may be relayed then: a forbidden trailer
    /// is found before the end of its line, so its message never gets a clean end.
    pub fn advance(&mut self, input: &[u8], side: Side) -> Result<Advance, FramingError> {
        self.follow(input, side, Overrides::Passed, &mut false)
    }

    /// Like [`Cursor::advance`], of a request that was judged by its method and path: no trailer may put others in their
    /// place.
    ///
    /// # Errors
    /// As there, and for such a trailer.
    pub fn advance_judged(&mut self, input: &[u8]) -> Result<Advance, FramingError> {
        self.follow(input, Side::Request, Overrides::Forbidden, &mut false)
    }

    /// As [`Cursor::advance`]; sets `blanks` if there is one between a trailer's name and its colon.
    fn follow(
        &mut self,
        input: &[u8],
        side: Side,
        overrides: Overrides,
        blanks: &mut bool,
    ) -> Result<Advance, FramingError> {
        let mut taken = 0;
        loop {
            let rest = within(input, taken..);
            taken += self.read_syntax(rest, side, overrides, blanks)?;
            match self.skip_content(input.len() - taken) {
                0 => {
                    return Ok(Advance {
                        taken,
                        done: self.is_done(),
                    });
                }
                skipped => taken += skipped,
            }
        }
    }

    /// Like [`Cursor::advance`] of a response, and takes the blanks between the names and the colons of its trailers
    /// out, as a proxy has to (RFC 9112, section 5.1). Where there is none, as nearly always, nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Cursor::advance`].
    pub fn relay(&mut self, buf: &mut [u8]) -> Result<Stripped, FramingError> {
        let (before, mut blanks) = (*self, false);
        let Advance { taken, done } =
            self.follow(buf, Side::Response, Overrides::Passed, &mut blanks)?;
        let kept = match blanks {
            true => before.close_up(within_mut(buf, ..taken)),
            false => taken,
        };
        Ok(Stripped { taken, kept, done })
    }

    /// Reads `buf` once more, which was found to be sound, and moves all but those blanks to its front; returns how
    /// much that is.
    fn close_up(mut self, buf: &mut [u8]) -> usize {
        let (mut read, mut kept) = (0, 0);
        while let Some(byte) = buf.get(read..=read) {
            let (mut len, mut blank) = (self.skip_content(buf.len() - read), false);
            if len == 0 {
                len = 1;
                if self
                    .read_syntax(byte, Side::Response, Overrides::Passed, &mut blank)
                    .is_err()
                {
                    break;
                }
            }
            if !blank {
                steps::count(len);
                buf.copy_within(read..read + len, kept);
                kept += len;
            }
            read += len;
        }
        kept
    }

    /// Like [`Cursor::advance`] of a response, and moves the content to the front of `buf`: chunk lines and
    /// trailers are dropped. Under any other framing nothing moves.
    ///
    /// # Errors
    ///
    /// As [`Cursor::advance`]; the contents of `buf` are then unspecified.
    pub fn strip(&mut self, buf: &mut [u8]) -> Result<Stripped, FramingError> {
        let (mut taken, mut kept) = (0, 0);
        loop {
            let rest = within(buf, taken..);
            taken += self.read_syntax(rest, Side::Response, Overrides::Passed, &mut false)?;
            let skipped = self.skip_content(buf.len() - taken);
            if skipped == 0 {
                return Ok(Stripped {
                    taken,
                    kept,
                    done: self.is_done(),
                });
            }
            if kept != taken {
                steps::count(skipped);
                buf.copy_within(taken..taken + skipped, kept);
            }
            taken += skipped;
            kept += skipped;
        }
    }

    /// Whether the message has ended; never so for [`BodyLength::UntilClose`].
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes of content so far, without the chunked framing.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.content
    }

    /// Bytes still expected, where that is known: under [`BodyLength::Length`], or once done.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length { left } => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// How many of the next bytes are surely content of this message.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        match self.state {
            State::Length { left } | State::Data { left } => left,
            _ => 0,
        }
    }

    /// Reads bytes of the chunked framing up to the next content, the end of the message or of the
    /// input; returns their number. For `blanks` see [`Cursor::follow`].
    fn read_syntax(
        &mut self,
        input: &[u8],
        side: Side,
        overrides: Overrides,
        blanks: &mut bool,
    ) -> Result<usize, FramingError> {
        let mut rest = input;
        loop {
            steps::count(1);
            (self.state, rest) = match (self.state, rest) {
                (State::Refused(error), _) => return Err(error),
                // Together they would be more than anybody counts; digits alone are no more than that.
                (State::Data { left }, _) if self.content > LENGTH_MAX - left => {
                    (State::Refused(FramingError::ChunkSizeOverflow), rest)
                }
                (
                    State::Length { .. } | State::UntilClose | State::Data { .. } | State::Done,
                    _,
                )
                | (_, []) => return Ok(input.len() - rest.len()),
                (State::DataCr, [b'\r', b'\n', after @ ..]) => (State::SIZE, after),
                // What servers have written for a long time and every client takes.
                (State::SizeBlank { size, .. }, [b'\r', after @ ..]) if side == Side::Response => {
                    (State::SizeLf { size }, after)
                }
                (
                    State::TrailerName { section, name } | State::TrailerBlank { section, name },
                    [b' ' | b'\t', after @ ..],
                ) if side == Side::Response => {
                    *blanks = true;
                    (State::trailer_blank(section, name), after)
                }
                (state @ State::Size { line: 0, .. }, [byte, after @ ..]) => {
                    plain_chunk_line(rest).unwrap_or_else(|| (state.after(*byte, overrides), after))
                }
                (state, [byte, after @ ..]) => (state.after(*byte, overrides), after),
            };
        }
    }

    /// Skips as much of the next `available` bytes as is content.
    fn skip_content(&mut self, available: usize) -> usize {
        let (skipped, state) = match self.state {
            State::Length { left } => match take(left, available) {
                (skipped, 0) => (skipped, State::Done),
                (skipped, left) => (skipped, State::Length { left }),
            },
            State::Data { left } => match take(left, available) {
                (skipped, 0) => (skipped, State::DataCr),
                (skipped, left) => (skipped, State::Data { left }),
            },
            State::UntilClose => (available, State::UntilClose),
            _ => return 0,
        };
        self.state = state;
        self.content = self.content.saturating_add(skipped as u64);
        skipped
    }
}

/// Reads a chunk line that is whole, of digits alone and not the last one, as nearly all are; the
/// states know the same and everything else.
fn plain_chunk_line(input: &[u8]) -> Option<(State, &[u8])> {
    let digits = input
        .iter()
        .take(usize::from(CHUNK_SIZE_DIGITS_MAX))
        .map_while(|&byte| hex::digit(byte));
    let (size, len) = digits.fold((0, 0), |(size, len), digit| {
        (size << 4 | u64::from(digit), len + 1)
    });
    match input.get(len..) {
        Some([b'\r', b'\n', after @ ..]) if (1..=LENGTH_MAX).contains(&size) => {
            Some((State::Data { left: size }, after))
        }
        _ => None,
    }
}

/// The smaller of both, and what is then left of the first.
fn take(left: u64, available: usize) -> (usize, u64) {
    match usize::try_from(left) {
        Ok(left) if left <= available => (left, 0),
        _ => (available, left - available as u64),
    }
}

/// What the next byte must be. Invariant: `left` is never zero.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Content up to a known length.
    Length { left: u64 },
    /// Content up to the end of the connection.
    UntilClose,
    /// The first or a further digit of a chunk size; `line` bytes of the chunk line are read.
    Size { size: u64, line: u16 },
    /// Blanks after the size. In requests only an extension may follow (RFC 9112, section 7.1.1).
    SizeBlank { size: u64, line: u16 },
    /// Within a chunk extension.
    Extension { size: u64, line: u16 },
    /// The LF that ends a chunk line.
    SizeLf { size: u64 },
    /// Chunk data.
    Data { left: u64 },
    /// The CR after chunk data.
    DataCr,
    /// The LF after chunk data.
    DataLf,
    /// The first byte of a trailer line, or the CR of the blank line that ends the message.
    TrailerStart { section: Section },
    /// Within a trailer's name.
    TrailerName { section: Section, name: Folded },
    /// Blanks between a trailer's name and its colon, in a response.
    TrailerBlank { section: Section, name: Folded },
    /// Within a trailer's value.
    TrailerValue { section: Section },
    /// The LF that ends a trailer line.
    TrailerLf { section: Section },
    /// The LF of the blank line.
    EndLf,
    /// The message has ended.
    Done,
    /// The framing is broken.
    Refused(FramingError),
}

impl State {
    const SIZE: Self = Self::Size { size: 0, line: 0 };

    fn after(self, byte: u8, overrides: Overrides) -> Self {
        self.step(byte, overrides).unwrap_or_else(Self::Refused)
    }

    /// The state after one byte of the chunked framing.
    fn step(self, byte: u8, overrides: Overrides) -> Result<Self, FramingError> {
        match self {
            Self::Size { size, line } => Self::size(size, line, byte),
            Self::SizeBlank { size, line } => match byte {
                b' ' | b'\t' => Ok(Self::SizeBlank {
                    size,
                    line: longer(line)?,
                }),
                b';' => Ok(Self::Extension {
                    size,
                    line: longer(line)?,
                }),
                b'\n' => Err(FramingError::ChunkBareLf),
                _ => Err(FramingError::ChunkSizeInvalid),
            },
            Self::Extension { size, line } => match byte {
                b'\r' => Ok(Self::SizeLf { size }),
                b'\n' => Err(FramingError::ChunkBareLf),
                _ if is_text_byte(byte) => Ok(Self::Extension {
                    size,
                    line: longer(line)?,
                }),
                _ => Err(FramingError::ChunkSizeInvalid),
            },
            Self::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => Ok(Self::TrailerStart {
                    section: Section::default(),
                }),
                (b'\n', left) => Ok(Self::Data { left }),
                _ => Err(FramingError::ChunkBareLf),
            },
            Self::DataCr if byte == b'\r' => Ok(Self::DataLf),
            Self::DataLf if byte == b'\n' => Ok(Self::SIZE),
            Self::DataCr | Self::DataLf => Err(FramingError::ChunkDataEnd),
            Self::TrailerStart { section } => Self::trailer_start(section, byte),
            Self::TrailerName { section, name } => {
                Self::trailer_name(section, name, byte, overrides)
            }
            Self::TrailerBlank { section, name } => match byte {
                b':' | b'\n' => Self::trailer_name(section, name, byte, overrides),
                _ => Err(FramingError::TrailerInvalid),
            },
            Self::TrailerValue { section } => match byte {
                b'\r' => Ok(Self::TrailerLf {
                    section: section.longer()?,
                }),
                b'\n' => Err(FramingError::ChunkBareLf),
                _ if is_text_byte(byte) => Ok(Self::TrailerValue {
                    section: section.longer()?,
                }),
                _ => Err(FramingError::TrailerInvalid),
            },
            Self::TrailerLf { section } if byte == b'\n' => Ok(Self::TrailerStart {
                section: section.longer()?,
            }),
            Self::EndLf if byte == b'\n' => Ok(Self::Done),
            Self::TrailerLf { .. } | Self::EndLf => Err(FramingError::ChunkBareLf),
            Self::Length { .. } | Self::UntilClose | Self::Data { .. } | Self::Done => Ok(self),
            Self::Refused(error) => Err(error),
        }
    }

    fn size(size: u64, line: u16, byte: u8) -> Result<Self, FramingError> {
        match (byte, hex::digit(byte)) {
            (_, Some(_)) if line >= CHUNK_SIZE_DIGITS_MAX || size > LENGTH_MAX >> 4 => {
                Err(FramingError::ChunkSizeOverflow)
            }
            (_, Some(digit)) => Ok(Self::Size {
                size: size << 4 | u64::from(digit),
                line: line + 1,
            }),
            (b'\n', _) => Err(FramingError::ChunkBareLf),
            _ if line == 0 => Err(FramingError::ChunkSizeInvalid),
            (b'\r', _) => Ok(Self::SizeLf { size }),
            (b';', _) => Ok(Self::Extension {
                size,
                line: line + 1,
            }),
            (b' ' | b'\t', _) => Ok(Self::SizeBlank {
                size,
                line: line + 1,
            }),
            _ => Err(FramingError::ChunkSizeInvalid),
        }
    }

    fn trailer_start(section: Section, byte: u8) -> Result<Self, FramingError> {
        match byte {
            b'\r' => Ok(Self::EndLf),
            b'\n' => Err(FramingError::ChunkBareLf),
            _ if is_token_byte(byte) => Ok(Self::TrailerName {
                section: section.next_line()?,
                name: Folded::default().with(byte),
            }),
            _ => Err(FramingError::TrailerInvalid),
        }
    }

    fn trailer_blank(section: Section, name: Folded) -> Self {
        let longer = section.longer();
        longer.map_or_else(Self::Refused, |section| Self::TrailerBlank {
            section,
            name,
        })
    }

    fn trailer_name(
        section: Section,
        name: Folded,
        byte: u8,
        overrides: Overrides,
    ) -> Result<Self, FramingError> {
        let section = section.longer()?;
        match byte {
            b':' if is_forbidden(&name, overrides) => Err(FramingError::TrailerForbidden),
            b':' => Ok(Self::TrailerValue { section }),
            b'\n' => Err(FramingError::ChunkBareLf),
            _ if is_token_byte(byte) => Ok(Self::TrailerName {
                section,
                name: name.with(byte),
            }),
            _ => Err(FramingError::TrailerInvalid),
        }
    }
}

/// One byte more of a chunk line, if its CRLF still fits behind it.
fn longer(line: u16) -> Result<u16, FramingError> {
    match line + 1 {
        line if line <= CHUNK_LINE_BYTES_MAX - 2 => Ok(line),
        _ => Err(FramingError::ChunkLineTooLong),
    }
}

/// How much of the trailer section has come.
#[derive(Clone, Copy, Debug, Default)]
struct Section {
    bytes: u32,
    lines: u8,
}

impl Section {
    fn longer(self) -> Result<Self, FramingError> {
        match self.bytes < TRAILER_BYTES_MAX {
            true => Ok(Self {
                bytes: self.bytes + 1,
                ..self
            }),
            false => Err(FramingError::TrailersTooLong),
        }
    }

    fn next_line(self) -> Result<Self, FramingError> {
        match self.lines < TRAILER_FIELDS_MAX {
            true => Self {
                lines: self.lines + 1,
                ..self
            }
            .longer(),
            false => Err(FramingError::TrailersTooLong),
        }
    }
}

/// Whether no trailer may have this name; an upstream may take any mark for a hyphen.
fn is_forbidden(name: &Folded, overrides: Overrides) -> bool {
    let forbidden = match overrides {
        Overrides::Passed => NameSet::NOT_IN_TRAILERS,
        Overrides::Forbidden => NameSet::NOT_IN_JUDGED_TRAILERS,
    };
    forbidden.has(head::name(name.bytes()))
}

/// As many as 64 bits have.
const CHUNK_SIZE_DIGITS_MAX: u16 = 16;
const _: () = assert!(size_of::<Cursor>() <= 64, "one sits in every open stream");
