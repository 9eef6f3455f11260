//! Handing the listening sockets of a running process over to its successor.
//!
//! On SIGUSR2 the process starts its own program again. The successor's standard input is one end of a socket
//! pair; through it come the listening sockets, a packet per address with the descriptors beside it, the socket for
//! operators' commands, and which instances are drained; a packet of its own ends the list ([`packet`] has their bytes).
//! The successor says when it accepts, and is told that it was announced to the service manager. Both accept from the same
//! queues meanwhile, so no connection is refused or lost. Until one of them ends, and with it the pair, they share the limits
//! on requests at once ([`link`]).

pub(crate) mod link;
mod packet;
mod wire;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::process::control::Place;
use crate::process::listen::Listener;

use link::Link;
use packet::Address;
use wire::{DESCRIPTORS_MAX, receive, send};

pub(crate) use packet::Packet;

/// Set for a successor.
const VARIABLE: &str = "SLUICEGATE_HANDOVER";
/// Its value where the predecessor knows of limits that two processes share; an older program sets another one.
const SHARES: &str = "2";
/// How long a successor may take until it accepts.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it waits to be announced.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(5);
/// Instances whose drain is handed over: more than any configuration has that is of use.
const DRAINED_MAX: usize = 1 << 16;

/// What a process hands over to the next one.
#[derive(Default)]
pub(crate) struct Estate {
    /// Where clients and scrapers are listened for.
    pub listeners: Arc<[Listener]>,
    /// Where operators' commands are, and its path.
    pub control: Option<(OwnedFd, PathBuf)>,
    /// Instances that get nothing new by an operator's word; see [`Choices::drained`](crate::providers::Choices::drained).
    pub drained: Vec<u64>,
}

/// What a process has from the one before, or from a service manager.
#[derive(Default)]
pub(crate) struct Inherited {
    /// Sockets that listen.
    pub listeners: Vec<Listener>,
    /// Where operators' commands are listened for.
    pub control: Option<Place>,
    /// As in [`Estate`].
    pub drained: Vec<u64>,
    /// The predecessor says how much of each limit is not this process's yet, once this one accepts.
    pub shares: bool,
}

/// The next process.
pub(crate) struct Successor {
    child: Child,
    socket: OwnedFd,
    shares: bool,
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
            .env(VARIABLE, SHARES)
            .stdin(Stdio::from(theirs))
            .spawn()?;
        Ok(Self {
            child,
            socket,
            shares: false,
        })
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

    /// Hands everything over, if that is `allowed`, and waits until it accepts. Blocks.
    ///
    /// # Errors
    /// When it does not get so far; it is gone then.
    pub(crate) fn hand_over(
        &mut self,
        estate: &Estate,
        allowed: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let handed = allowed().and_then(|()| self.try_hand_over(estate));
        if handed.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        handed
    }

    fn try_hand_over(&mut self, estate: &Estate) -> io::Result<()> {
        for listener in estate.listeners.iter() {
            let packet = Packet::Listener(address_of(listener));
            for sockets in listener.sockets.chunks(DESCRIPTORS_MAX) {
                let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
                send(&self.socket, &packet, &sockets)?;
            }
        }
        if let Some((socket, path)) = &estate.control {
            let packet = Packet::Control(path.clone());
            send(&self.socket, &packet, &[socket.as_fd()])?;
        }
        for instance in &estate.drained {
            send(&self.socket, &Packet::Drained(*instance), &[])?;
        }
        send(&self.socket, &Packet::End, &[])?;
        let (ready, _) = receive(&self.socket)?;
        if ready.is_empty() {
            return Err(io::Error::other("it ended; its own log says why"));
        }
        self.shares = Packet::read(&ready) == Some(Packet::Ready { shares: true });
        Ok(())
    }

    /// Whether it knows of limits that two processes share, once it accepts.
    #[must_use]
    pub(crate) fn shares(&self) -> bool {
        self.shares
    }

    /// Tells it that the service manager knows it.
    pub(crate) fn announced(&self) {
        // It goes on without that, after a time.
        let _ = send(&self.socket, &Packet::Announced, &[]);
    }

    /// What is said to it from now on.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn link(&self) -> io::Result<Link> {
        Link::on(&self.socket)
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
pub(crate) struct Predecessor {
    socket: OwnedFd,
    shares: bool,
}

impl Predecessor {
    /// Its end of the socket pair and what it hands over; `None` where there is none.
    ///
    /// # Errors
    /// When standard input is not what it should be.
    pub(crate) fn meet() -> io::Result<Option<(Self, Inherited)>> {
        let Some(version) = std::env::var_os(VARIABLE) else {
            return Ok(None);
        };
        let shares = version == SHARES;
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let nothing = std::fs::File::open("/dev/null")?;
        rustix::stdio::dup2_stdin(nothing)?;
        let mut inherited = Inherited {
            shares,
            ..Inherited::default()
        };
        loop {
            let (text, sockets) = receive(&socket)?;
            if text.is_empty() {
                return Err(io::Error::other("the predecessor has ended"));
            }
            let packet = Packet::read(&text).ok_or(io::ErrorKind::InvalidData)?;
            if packet == Packet::End {
                return Ok(Some((Self { socket, shares }, inherited)));
            }
            inherited.take(packet, sockets)?;
        }
    }

    /// Says that this process accepts, and waits until the service manager knows of it. What the predecessor has of limits,
    /// as far as it has said so.
    pub(crate) fn ready(&self) -> Vec<(u64, u32)> {
        // A predecessor that is gone meanwhile has left its sockets here all the same.
        let _ = set_socket_timeout(&self.socket, Timeout::Recv, Some(ANNOUNCED_WITHIN));
        let shares = self.shares;
        let _ = send(&self.socket, &Packet::Ready { shares }, &[]);
        let mut left = Vec::new();
        while let Ok((text, _)) = receive(&self.socket)
            && let Some(Packet::Left(limit, count)) = Packet::read(&text)
        {
            left.push((limit, count));
        }
        left
    }

    /// What is said to it, and heard of it, from now on; nothing where it knows of no limits that two processes share.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn link(&self) -> io::Result<Option<Link>> {
        self.shares.then(|| Link::on(&self.socket)).transpose()
    }

    /// Whether it still ends what it has under way.
    #[must_use]
    pub(crate) fn is_there(&self) -> bool {
        let mut watched = [PollFd::new(&self.socket, PollFlags::empty())];
        let looked = poll(&mut watched, Some(&Timespec::default()));
        looked.is_ok()
            && watched
                .iter()
                .all(|it| !it.revents().contains(PollFlags::HUP))
    }
}

impl Inherited {
    fn take(&mut self, packet: Packet, mut sockets: Vec<OwnedFd>) -> io::Result<()> {
        match (packet, sockets.len()) {
            (Packet::Listener(at), 1..) => match self.listeners.last_mut() {
                Some(last) if last.address == at.address => last.sockets.extend(sockets),
                _ => self.listeners.push(listener_at(at, sockets)),
            },
            (Packet::Control(path), 1) => {
                self.control = sockets.pop().map(|socket| Place::inherited(socket, path));
            }
            (Packet::Drained(instance), 0) if self.drained.len() < DRAINED_MAX => {
                self.drained.push(instance);
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(())
    }
}

fn address_of(listener: &Listener) -> Address {
    Address {
        asked: listener.asked.clone(),
        address: listener.address.clone(),
        metrics: listener.metrics,
    }
}

fn listener_at(at: Address, sockets: Vec<OwnedFd>) -> Listener {
    Listener {
        asked: at.asked,
        address: at.address,
        sockets,
        metrics: at.metrics,
    }
}

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Listen;

    proptest! {
        #[test]
        fn properties_hold(
            packet in "(127\\.0\\.0\\.1:[0-9]{1,5}|\\[::1\\]:8|unix:/[a-z/.]{0,9}|x|)?\0?(127\\.0\\.0\\.1:[0-9]{1,5}|unix:/a|)\
                (\0metrics|\0|metrics)?",
            other in "(control|drained|ready|announced|)\0?(/[a-z/.]{0,9}|[0-9a-f]{15,17}|[0-9A-F]{16}|limits|)\0?",
            limit in "(left|give|want)\0[0-9a-f]{15,17}\0([0-9]{1,11}|[+a]|)\0?",
            noise in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            for packet in [packet.as_bytes(), other.as_bytes(), limit.as_bytes()] {
                property::holds(packet);
                property::holds(&[packet, &*noise].concat());
            }
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
        let packet = Packet::read(text.as_bytes()).unwrap();
        send(&one, &packet, &[bound.as_fd(), bound.as_fd()]).unwrap();
        let (text, sockets) = receive(&other).unwrap();
        let mut inherited = Inherited::default();
        inherited
            .take(Packet::read(&text).unwrap(), sockets)
            .unwrap();
        let got = inherited.listeners.pop().unwrap();
        assert_eq!(got.asked, Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(got.address, Listen::Tcp(address));
        assert_eq!(got.sockets.len(), 2);
        for socket in got.sockets {
            let socket = std::net::TcpListener::from(socket);
            assert_eq!(socket.local_addr().unwrap(), address);
        }
        let met = Predecessor {
            socket: other,
            shares: true,
        };
        assert!(met.is_there());
        drop(one);
        assert!(!met.is_there());
        assert_eq!(receive(&met.socket).unwrap().0, b"");
    }

    #[test]
    fn what_comes_without_its_sockets_or_with_others_is_none() {
        let socket = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let mut inherited = Inherited::default();
        for (packet, sockets) in [
            (&b"\x00127.0.0.1:9"[..], vec![]),
            (b"control\0/a", vec![]),
            (b"control\0/a", vec![socket(), socket()]),
            (b"drained\x000123456789abcdef", vec![socket()]),
            (b"ready", vec![]),
        ] {
            let packet = Packet::read(packet).unwrap();
            assert!(inherited.take(packet, sockets).is_err());
        }
        let control = Packet::Control("/a".into());
        inherited.take(control, vec![socket()]).unwrap();
        inherited.take(Packet::Drained(7), Vec::new()).unwrap();
        assert_eq!(inherited.control.unwrap().path, PathBuf::from("/a"));
        assert_eq!(inherited.drained, [7]);
    }

    fn read(text: &[u8]) -> Option<Address> {
        match Packet::read(text)? {
            Packet::Listener(address) => Some(address),
            _ => None,
        }
    }

    #[test]
    fn a_listener_keeps_its_purpose() {
        let got = read(b"127.0.0.1:0\x00127.0.0.1:9\0metrics").unwrap();
        assert_eq!(got.address, "127.0.0.1:9".parse().unwrap());
        assert!(got.metrics);
        assert!(!read(b"\x00127.0.0.1:9").unwrap().metrics);
    }

    #[test]
    fn what_a_service_manager_chose_has_no_configured_address() {
        let got = read(b"\0unix:/run/gate.sock").unwrap();
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
            assert!(read(bad).is_none());
        }
    }
}
