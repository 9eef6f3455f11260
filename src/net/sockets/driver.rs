//! Which event loop a worker gets: a ladder from the best ring down to epoll.
//!
//! The runtime's own detection takes a ring that can be set up but not entered, and gives up where memory
//! for a large ring is refused; so every rung is tried for real, `io_uring_enter` included.

use std::future::Future;
use std::io;

use io_uring::IoUring;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::config::Driver;

use super::reactor::Reactor;

/// One kind of event loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// io_uring with this many submission entries.
    Ring {
        /// Size of the submission queue; the completion queue has twice that.
        entries: u32,
        /// When the kernel does its part of a completion.
        work: TaskWork,
    },
    /// epoll.
    Epoll,
}

/// When the kernel does its part of a completion: it is cheaper the fewer occasions it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskWork {
    /// `DEFER_TASKRUN`: only when the worker waits, which one that spins does not. A tenth less CPU under load than
    /// with `Cooperative`; kernel 6.1.
    Deferred,
    /// `COOP_TASKRUN`: whenever the worker makes a system call. A fifth less CPU under load than without; kernel 6.0.
    Cooperative,
    /// At once: it interrupts the worker.
    Immediate,
}

/// The ladder, best first. Two things that rings offer are not asked for, as they were measured to give nothing (poll,
/// write, wait, read, the least of 300 times 500 rounds on 6.18): a registered descriptor takes 12 ns off a poll, of which
/// there is one in many requests; `TASKRUN_FLAG` adds 10 to 20 ns to each.
const RINGS: [Rung; 6] = [
    ring(4096, TaskWork::Deferred),
    ring(1024, TaskWork::Deferred),
    ring(4096, TaskWork::Cooperative),
    ring(1024, TaskWork::Cooperative),
    ring(1024, TaskWork::Immediate),
    ring(256, TaskWork::Immediate),
];

const fn ring(entries: u32, work: TaskWork) -> Rung {
    Rung::Ring { entries, work }
}

/// The best rung that works here, and why none above it does. Whether the workers spin counts too.
///
/// # Errors
/// When `io_uring` is demanded and does not work.
pub(crate) fn choose(wish: Driver, spins: bool) -> io::Result<(Rung, String)> {
    if wish == Driver::Epoll {
        return Ok((Rung::Epoll, "configured".into()));
    }
    let mut refusals = Vec::new();
    let fits = |rung: &Rung| {
        let waits = matches!(rung, Rung::Ring { work, .. } if *work == TaskWork::Deferred);
        !(spins && waits)
    };
    for rung in RINGS.into_iter().filter(fits) {
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
        let Self::Ring { entries, work } = self else {
            return f.write_str("epoll");
        };
        let flag = match work {
            TaskWork::Deferred => ", DEFER_TASKRUN",
            TaskWork::Cooperative => ", COOP_TASKRUN",
            TaskWork::Immediate => "",
        };
        write!(f, "io_uring ({entries} entries{flag})")
    }
}

/// Sets up a ring and enters it, with nothing to submit.
fn try_ring(rung: Rung) -> io::Result<()> {
    let Rung::Ring { entries, work } = rung else {
        return Ok(());
    };
    let ring: IoUring = builder(work).build(entries)?;
    ring.submitter().submit_and_wait(0)?;
    Ok(())
}

fn builder(work: TaskWork) -> io_uring::Builder {
    let mut builder = IoUring::builder();
    match work {
        TaskWork::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
        TaskWork::Cooperative => builder.setup_single_issuer().setup_coop_taskrun(),
        TaskWork::Immediate => &mut builder,
    };
    builder
}

/// Runs `future` on the calling thread with this kind of event loop, or the next lower one that can still be
/// had: other workers' rings may have used up the memory limit.
///
/// # Errors
/// When not even epoll is to be had.
pub(crate) fn block_on<F: Future>(rung: Rung, future: F) -> io::Result<F::Output> {
    let start = RINGS
        .iter()
        .position(|ring| *ring == rung)
        .unwrap_or(RINGS.len());
    for ring in RINGS.iter().skip(start) {
        let Rung::Ring { entries, work } = *ring else {
            continue;
        };
        let runtime = RuntimeBuilder::<IoUringDriver>::new()
            .uring_builder(builder(work))
            .with_entries(entries)
            .build();
        if let Ok(mut runtime) = runtime {
            return runtime.block_on(run(false, future));
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
    runtime.block_on(run(true, future))
}

async fn run<F: Future>(is_epoll: bool, future: F) -> io::Result<F::Output> {
    Reactor::start(is_epoll)?;
    Ok(future.await)
}

/// Plays on the best event loop of this machine, and on epoll.
#[cfg(test)]
pub(crate) fn on_both(play: impl AsyncFn()) {
    let best = choose(Driver::Auto, false).unwrap().0;
    for rung in [best, Rung::Epoll] {
        block_on(rung, play()).unwrap();
    }
}
