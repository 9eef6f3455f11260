//! Which event loop a worker gets: a ladder from the best ring down to epoll.
//!
//! The runtime's own detection takes a ring that can be set up but not entered, and gives up where memory
//! for a large ring is refused; so every rung is tried for real, `io_uring_enter` included.

use std::future::Future;
use std::io;

use io_uring::IoUring;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::config::Driver;

/// One kind of event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// io_uring with this many submission entries.
    Ring {
        /// Size of the submission queue; the completion queue has twice that.
        entries: u32,
        /// `SINGLE_ISSUER` and `COOP_TASKRUN`: a fifth less CPU under load; kernel 6.0.
        flags: bool,
    },
    /// epoll.
    Epoll,
}

/// The ladder, best first.
const RINGS: [Rung; 4] = [
    Rung::Ring {
        entries: 4096,
        flags: true,
    },
    Rung::Ring {
        entries: 1024,
        flags: true,
    },
    Rung::Ring {
        entries: 1024,
        flags: false,
    },
    Rung::Ring {
        entries: 256,
        flags: false,
    },
];

/// The best rung that works here, and why none above it does.
///
/// # Errors
/// When `io_uring` is demanded and does not work.
pub fn choose(wish: Driver) -> io::Result<(Rung, String)> {
    if wish == Driver::Epoll {
        return Ok((Rung::Epoll, "configured".into()));
    }
    let mut refusals = Vec::new();
    for rung in RINGS {
        match try_ring(rung) {
            Ok(()) if refusals.is_empty() => return Ok((rung, "available".into())),
            Ok(()) => return Ok((rung, refusals.join("; "))),
            Err(error) => refusals.push(format!("{rung}: {error}")),
        }
    }
    let refusals = refusals.join("; ");
    match wish {
        Driver::IoUring => Err(io::Error::other(format!(
            "io_uring does not work here: {refusals}"
        ))),
        Driver::Auto | Driver::Epoll => Ok((Rung::Epoll, refusals)),
    }
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ring {
                entries,
                flags: true,
            } => write!(f, "io_uring ({entries} entries)"),
            Self::Ring {
                entries,
                flags: false,
            } => {
                write!(f, "io_uring ({entries} entries, no flags)")
            }
            Self::Epoll => f.write_str("epoll"),
        }
    }
}

/// Sets up a ring and enters it, with nothing to submit.
fn try_ring(rung: Rung) -> io::Result<()> {
    let Rung::Ring { entries, flags } = rung else {
        return Ok(());
    };
    let ring: IoUring = builder(flags).build(entries)?;
    ring.submitter().submit_and_wait(0)?;
    Ok(())
}

fn builder(flags: bool) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    if flags {
        builder.setup_single_issuer().setup_coop_taskrun();
    }
    builder
}

/// Runs `future` on the calling thread with this kind of event loop, or the next lower one that can still be
/// had: other workers' rings may have used up the memory limit.
///
/// # Errors
/// When not even epoll is to be had.
pub fn block_on<F: Future>(rung: Rung, future: F) -> io::Result<F::Output> {
    let start = RINGS
        .iter()
        .position(|ring| *ring == rung)
        .unwrap_or(RINGS.len());
    for ring in RINGS.iter().skip(start) {
        let Rung::Ring { entries, flags } = *ring else {
            continue;
        };
        let runtime = RuntimeBuilder::<IoUringDriver>::new()
            .uring_builder(builder(flags))
            .with_entries(entries)
            .build();
        if let Ok(mut runtime) = runtime {
            return Ok(runtime.block_on(future));
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
    Ok(runtime.block_on(future))
}
