//! A timer that the kernel keeps: it costs when it fires, not each time the worker goes to sleep.
//!
//! The runtime's own timers would bound every sleep, which arms and cancels one more timer in the kernel per
//! request and event.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::socket::Socket;

/// See the module's documentation.
pub(crate) struct Timer(Socket);

impl Timer {
    /// One that is not set.
    ///
    /// # Errors
    /// When there is no descriptor left, or the runtime cannot watch it.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(Socket::from_fd(timer)?))
    }

    /// Waits this long.
    ///
    /// # Cancel safety
    /// Nothing is lost; the next wait sets the timer anew.
    pub(crate) async fn sleep(&mut self, wait: Duration) {
        let spec = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().max(1).into(),
            },
        };
        // Also forgets that it has fired before. It fails only for what is no timer or no time.
        let _ = timerfd_settime(self.0.fd(), TimerfdTimerFlags::empty(), &spec);
        self.0.rest();
        poll_fn(|cx| self.0.poll_readable(cx)).await;
    }
}
