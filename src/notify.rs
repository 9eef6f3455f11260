//! What the service manager is told (`Type=notify`, sd_notify(3)). Without one, nothing happens.

use sd_notify::NotifyState;

/// Listening and serving, also again after a reload.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Rereading the configuration; [`ready`] ends it.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// Draining.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Another process goes on in this one's place.
pub fn succeeded_by(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(state: &[NotifyState<'_>]) {
    // A service manager that does not listen is none of ours.
    let _ = sd_notify::notify(state);
}
