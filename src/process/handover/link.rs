//! What two processes that follow each other say to each other until one of them ends.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::thread::Builder;

use rustix::io::Errno;
use rustix::net::SendFlags;

use super::packet::Packet;
use super::wire::{receive, send_with};

/// Packets that wait because the other side does not take them: it is given up with more.
const OUTBOX_MAX: usize = 1 << 16;

/// See the module's documentation.
pub(crate) struct Link {
    socket: OwnedFd,
    /// Said, and not sent yet.
    outbox: VecDeque<Packet>,
}

impl Link {
    pub(super) fn on(socket: &OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: socket.try_clone()?,
            outbox: VecDeque::new(),
        })
    }

    /// Has `hear` told each packet that comes, and at last that the other side has ended, on a thread of its own. It ends
    /// when it hears that it is not wanted any more.
    ///
    /// # Errors
    /// When that cannot be started.
    pub(crate) fn listen(
        &self,
        hear: impl Fn(Option<Packet>) -> bool + Send + 'static,
    ) -> io::Result<()> {
        let socket = self.socket.try_clone()?;
        let thread = Builder::new().name("limits".into());
        thread.spawn(move || {
            loop {
                let packet = match receive(&socket) {
                    Ok((text, _)) if text.is_empty() => None,
                    Ok((text, _)) => match Packet::read(&text) {
                        // Of a version that knows more.
                        None => continue,
                        packet => packet,
                    },
                    // Nothing was said for a time.
                    Err(error) if is_silence(&error) => continue,
                    Err(_) => None,
                };
                let ended = packet.is_none();
                if !hear(packet) || ended {
                    return;
                }
            }
        })?;
        Ok(())
    }

    /// Says something. Never waits: what the other side does not take now is kept.
    pub(crate) fn say(&mut self, packet: Packet) {
        if self.outbox.len() < OUTBOX_MAX {
            self.outbox.push_back(packet);
        }
        self.flush();
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self) {
        while let Some(packet) = self.outbox.front() {
            match send_with(&self.socket, packet, &[], SendFlags::DONTWAIT) {
                Err(error) if is_silence(&error) => return,
                // Whoever has ended is heard of elsewhere.
                Ok(()) | Err(_) => drop(self.outbox.pop_front()),
            }
        }
    }

    /// Whether all was sent.
    #[must_use]
    pub(crate) fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }
}

fn is_silence(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::AGAIN | Errno::INTR))
}
