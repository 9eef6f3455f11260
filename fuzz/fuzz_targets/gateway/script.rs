//! How input bytes become a script: ASCII is text that the side whose turn it is is about to send, every
//! other byte an instruction. So seeds are nearly the messages themselves.

use libfuzzer_sys::arbitrary::{Arbitrary, Result, Unstructured};

/// One step of a script.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A byte behind what the side is about to send.
    Text(u8),
    /// The following steps are the client's (0x80).
    Client,
    /// The following steps are a provider's (0x81): on the connection that was heard of last.
    Upstream,
    /// Sends what there is to send, and everybody acts on it (0x82).
    Send,
    /// Sends it, and nobody acts yet (0x83).
    Push,
    /// Sends so many bytes of it, and nobody acts yet (0x84, count).
    PushSome(usize),
    /// Sends it in pieces of so many bytes; everybody acts on each (0x85, size).
    Dribble(usize),
    /// Everybody acts (0x86).
    Settle,
    /// The side reads no more (0x87), or again (0x88).
    Reads(bool),
    /// Ends the side's direction (0x89).
    Fin,
    /// Closes the connection, which is a reset where something is unread (0x8a).
    Close,
    /// So much filler behind what the side is about to send (0x8b, KiB less one).
    Filler(usize),
    /// Connections are no longer accepted at once (0x8c).
    HoldDials,
    /// The oldest connection that waits is accepted (0x8d), or refused (0x8e).
    AnswerDial(bool),
    /// An idle connection to a provider comes into the pool (0x8f, provider).
    Pool(usize),
    /// The provider's steps are meant for its next connection (0x90).
    Next,
    /// All sockets hold a few KiB only (0x91); counts from the beginning.
    Small,
}

/// Most filler at once.
const FILLER_KIB_MAX: usize = 64;

/// Kinds of instructions.
const KINDS: u8 = 18;

#[derive(Debug)]
pub struct Script(pub Vec<Step>);

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut bytes = u.bytes(u.len())?.iter().copied();
        let mut steps = Vec::new();
        while let Some(byte) = bytes.next() {
            let mut argument = || usize::from(bytes.next().unwrap_or(0));
            steps.push(match byte {
                0..0x80 => Step::Text(byte),
                _ => match (byte - 0x80) % KINDS {
                    0 => Step::Client,
                    1 => Step::Upstream,
                    2 => Step::Send,
                    3 => Step::Push,
                    4 => Step::PushSome(argument()),
                    5 => Step::Dribble(1 + argument()),
                    6 => Step::Settle,
                    7 => Step::Reads(false),
                    8 => Step::Reads(true),
                    9 => Step::Fin,
                    10 => Step::Close,
                    11 => Step::Filler(1024 * (1 + argument() % FILLER_KIB_MAX)),
                    12 => Step::HoldDials,
                    13 => Step::AnswerDial(true),
                    14 => Step::AnswerDial(false),
                    15 => Step::Pool(argument() % 2),
                    16 => Step::Next,
                    _ => Step::Small,
                },
            });
        }
        Ok(Self(steps))
    }
}
