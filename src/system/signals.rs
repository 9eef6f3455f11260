//! Signals as requests, read by one thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGTERM, SIGINT, SIGQUIT: end what is under way, and then the process.
    End,
    /// SIGHUP: read everything anew.
    Reload,
    /// SIGUSR1: open the log file anew.
    Reopen,
    /// SIGUSR2: start a successor.
    Succeed,
}

/// Those that end a process; while it starts, at once.
const ENDING: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];

/// The process starts: there is nothing under way that an end would have to wait for.
pub(crate) struct Starting(Arc<AtomicBool>);

impl Starting {
    /// From now on requests to end are sent on, too.
    pub(crate) fn over(self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Has requests passed to `send` by a thread of its own, until that refuses one.
///
/// # Errors
/// When a signal cannot be watched, or there is no thread to be had.
pub(crate) fn watch(send: impl Fn(Request) -> bool + Send + 'static) -> io::Result<Starting> {
    let starting = Arc::new(AtomicBool::new(true));
    for signal in ENDING {
        // Whatever the start waits for, a file that is a FIFO for instance, nobody has to kill it.
        flag::register_conditional_default(signal, starting.clone())?;
    }
    let others = [SIGHUP, SIGUSR1, SIGUSR2];
    let mut signals = Signals::new(ENDING.iter().chain(&others))?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if !send(request(signal)) {
                    return;
                }
            }
        })?;
    Ok(Starting(starting))
}

fn request(signal: i32) -> Request {
    match signal {
        SIGHUP => Request::Reload,
        SIGUSR1 => Request::Reopen,
        SIGUSR2 => Request::Succeed,
        _ => Request::End,
    }
}

/// Makes a write beyond the limit for files (`ulimit -f`) an error like every other. A handler, not `SIG_IGN`,
/// which programs that this one starts would inherit.
///
/// # Errors
/// The system's.
pub(crate) fn outlive_file_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::default()).map(drop)
}
