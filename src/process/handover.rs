//! Handing the listening sockets of a running process over to its successor.
//!
//! On SIGUSR2 the process starts its own program again. The successor's standard input is one end of a socket
//! pair; through it come the listening sockets, a packet per address: the configured address, a NUL, the
//! actual one, the word `metrics` behind another NUL where it is one of `metrics.listen`, and the descriptors
//! beside them; an empty packet ends the list. The successor says when it accepts, and the pair's end tells it
//! that it was announced to the service manager. Both accept from the same queues meanwhile, so no connection
//! is refused or lost.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::config::Listen;
use crate::process::listen::Listener;

/// Set for a successor.
const VARIABLE: &str = "SLUICEGATE_HANDOVER";
/// Ends the text of a packet with sockets for metrics.
const METRICS: &str = "\0metrics";
/// How long a successor may take until it accepts.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it waits to be announced.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(5);
/// Descriptors in one packet; the kernel allows 253.
const DESCRIPTORS_MAX: usize = 128;
/// The longest packet holds two paths of Unix sockets.
const PACKET_BYTES_MAX: usize = 512;

/// The next process.
pub(crate) struct Successor {
    child: Child,
    socket: OwnedFd,
}

impl Successor {
    /// Starts this process's own program with the same arguments, environment and folder.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start() -> io::Result<Self> {
        let (socket, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        for end in [&socket, &theirs] {
            set_socket_timeout(end, Timeout::Recv, Some(READY_WITHIN))?;
            set_socket_timeout(end, Timeout::Send, Some(READY_WITHIN))?;
        }
        let mut words = std::env::args_os();
        let program = words.next().ok_or(io::ErrorKind::NotFound)?;
        let child = Command::new(program)
            .args(words)
            .env(VARIABLE, "1")
            .stdin(Stdio::from(theirs))
            .spawn()?;
        Ok(Self { child, socket })
    }

    /// Its process id.
    #[must_use]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// For whoever does not own it.
    #[must_use]
    pub(crate) fn handle(&self) -> Handle {
        let pid = self.child.id();
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Handle {
            pid,
            process: raw.and_then(|raw| pidfd_open(raw, PidfdFlags::empty()).ok()),
        }
    }

    /// Hands the sockets over, if that is `allowed`, and waits until it accepts. Blocks.
    ///
    /// # Errors
    /// When it does not get so far; it is gone then.
    pub(crate) fn hand_over(
        &mut self,
        listeners: &[Listener],
        allowed: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let handed = allowed().and_then(|()| self.try_hand_over(listeners));
        if handed.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        handed
    }

    fn try_hand_over(&mut self, listeners: &[Listener]) -> io::Result<()> {
        for listener in listeners {
            let text = text(listener);
            for sockets in listener.sockets.chunks(DESCRIPTORS_MAX) {
                let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                send(&self.socket, text.as_bytes(), &sockets)?;
            }
        }
        send(&self.socket, b"\0", &[])?;
        let (ready, _) = receive(&self.socket)?;
        match ready.is_empty() {
            true => Err(io::Error::other("it ended; its own log says why")),
            false => Ok(()),
        }
    }
}

/// Names a successor: always this one and no other that has got its number meanwhile.
pub(crate) struct Handle {
    pid: u32,
    /// None where the kernel is too old for it.
    process: Option<OwnedFd>,
}

impl Handle {
    /// Its process id.
    #[must_use]
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Has it end.
    pub(crate) fn end(&self) {
        if let Some(process) = &self.process {
            // One that has ended meanwhile is what was wanted.
            let _ = pidfd_send_signal(process, Signal::TERM);
        }
    }
}

/// Whether another process can go on in this one's place: a container ends with its process 1.
#[must_use]
pub(crate) fn is_possible() -> bool {
    !getpid().is_init()
}

/// The process that this one succeeds.
pub(crate) struct Predecessor(OwnedFd);

impl Predecessor {
    /// Its end of the socket pair and the sockets that it hands over; `None` where there is none.
    ///
    /// # Errors
    /// When standard input is not what it should be.
    pub(crate) fn meet() -> io::Result<Option<(Self, Vec<Listener>)>> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let nothing = std::fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(nothing)?;
        let mut listeners: Vec<Listener> = Vec::new();
        loop {
            let (text, sockets) = receive(&socket)?;
            if text.is_empty() {
                return Err(io::Error::other("the predecessor has ended"));
            }
            if sockets.is_empty() {
                return Ok(Some((Self(socket), listeners)));
            }
            let listener = listener(&text, sockets).ok_or(io::ErrorKind::InvalidData)?;
            match listeners.last_mut() {
                Some(last) if last.address == listener.address => {
                    last.sockets.extend(listener.sockets);
                }
                _ => listeners.push(listener),
            }
        }
    }

    /// Says that this process accepts, and waits until the service manager knows of it.
    pub(crate) fn ready(self) {
        // A predecessor that is gone meanwhile has left its sockets here all the same.
        let _ = set_socket_timeout(&self.0, Timeout::Recv, Some(ANNOUNCED_WITHIN));
        let _ = send(&self.0, b"ready", &[]);
        let _ = receive(&self.0);
    }
}

/// The text of a packet.
fn text(listener: &Listener) -> String {
    let asked = listener.asked.as_ref().map(Listen::to_string);
    let purpose = if listener.metrics { METRICS } else { "" };
    let address = &listener.address;
    format!("{}\0{address}{purpose}", asked.unwrap_or_default())
}

/// The listener that a packet's text tells of.
fn listener(text: &[u8], sockets: Vec<OwnedFd>) -> Option<Listener> {
    let text = str::from_utf8(text).ok()?;
    let (text, metrics) = match text.strip_suffix(METRICS) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (asked, address) = text.split_once('\0')?;
    let asked = match asked {
        "" => None,
        asked => Some(asked.parse().ok()?),
    };
    Some(Listener {
        asked,
        address: address.parse().ok()?,
        sockets,
        metrics,
    })
}

fn send(socket: &OwnedFd, text: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(sockets));
    }
    sendmsg(
        socket,
        &[IoSlice::new(text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// One packet; an empty one is the other side's end.
fn receive(socket: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; PACKET_BYTES_MAX];
    let mut room = [IoSliceMut::new(&mut text)];
    let received = recvmsg(socket, &mut room, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    text.truncate(received.bytes);
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors);
        }
    }
    Ok((text, sockets))
}

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn properties_hold(
            packet in "(127\\.0\\.0\\.1:[0-9]{1,5}|\\[::1\\]:8|unix:/[a-z/.]{0,9}|x|)?\0?(127\\.0\\.0\\.1:[0-9]{1,5}|unix:/a|)\
                (\0metrics|\0|metrics)?",
            noise in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            property::holds(packet.as_bytes());
            property::holds(&[packet.as_bytes(), &*noise].concat());
        }
    }

    #[test]
    fn sockets_and_addresses_arrive() {
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (one, other) = pair.unwrap();
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = bound.local_addr().unwrap();
        let text = format!("127.0.0.1:0\0{address}");
        send(&one, text.as_bytes(), &[bound.as_fd(), bound.as_fd()]).unwrap();
        let (text, sockets) = receive(&other).unwrap();
        let got = listener(&text, sockets).unwrap();
        assert_eq!(got.asked, Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(got.address, Listen::Tcp(address));
        assert_eq!(got.sockets.len(), 2);
        for socket in got.sockets {
            let socket = std::net::TcpListener::from(socket);
            assert_eq!(socket.local_addr().unwrap(), address);
        }
        drop(one);
        assert_eq!(receive(&other).unwrap().0, b"");
    }

    #[test]
    fn a_listener_keeps_its_purpose() {
        let got = listener(b"127.0.0.1:0\x00127.0.0.1:9\0metrics", Vec::new()).unwrap();
        assert_eq!(got.address, "127.0.0.1:9".parse().unwrap());
        assert!(got.metrics);
        assert!(!listener(b"\x00127.0.0.1:9", Vec::new()).unwrap().metrics);
    }

    #[test]
    fn what_a_service_manager_chose_has_no_configured_address() {
        let got = listener(b"\0unix:/run/gate.sock", Vec::new()).unwrap();
        assert_eq!(got.asked, None);
        assert_eq!(got.address, Listen::Unix("/run/gate.sock".into()));
        for bad in [
            &b"127.0.0.1:1"[..],
            b"\0",
            b"x\x00127.0.0.1:1",
            // Found by fuzzing: what is written for it would be read as another.
            b"\0unix:/a\0metrics ",
            b"\xff\x00127.0.0.1:1",
        ] {
            assert!(listener(bad, Vec::new()).is_none());
        }
    }
}
