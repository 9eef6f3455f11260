//! What the service manager is told (`Type=notify`, sd_notify(3)). Without one, nothing happens.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Listening and serving, also again after a reload.
pub(crate) fn ready() {
    tell("READY=1\n");
}

/// Rereading the configuration; [`ready`] ends it.
pub(crate) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec.saturating_mul(1_000_000) + now.tv_nsec / 1000;
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
}

/// Draining.
pub(crate) fn stopping() {
    tell("STOPPING=1\n");
}

/// Another process goes on in this one's place.
pub(crate) fn succeeded_by(pid: u32) {
    tell(&format!("MAINPID={pid}\n"));
}

/// How long a service manager may take to make room for what it is told.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

fn tell(state: &str) {
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET") {
        // A service manager that does not listen is none of ours.
        let _ = send(&name, state);
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // Nobody waits for long for one that does not read.
    socket.set_write_timeout(Some(TAKEN_WITHIN))?;
    socket.send_to_addr(state.as_bytes(), &address(name)?)?;
    Ok(())
}

/// A path, or behind an `@` a name in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}
