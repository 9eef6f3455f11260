//! Packets on the socket pair of a hand-over.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::packet::{PACKET_BYTES_MAX, Packet};

/// Descriptors in one packet; the kernel allows 253.
pub(super) const DESCRIPTORS_MAX: usize = 128;

/// Sends a packet with descriptors beside it. Waits as long as the socket does.
///
/// # Errors
/// The system's.
pub(super) fn send(
    socket: &OwnedFd,
    packet: &Packet,
    sockets: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send_with(socket, packet, sockets, SendFlags::empty())
}

/// The same, in another way.
///
/// # Errors
/// The system's.
pub(super) fn send_with(
    socket: &OwnedFd,
    packet: &Packet,
    sockets: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    let text = packet.text();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(sockets));
    }
    loop {
        let parts = [IoSlice::new(text.as_bytes())];
        match sendmsg(socket, &parts, &mut control, flags | SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => break Ok(sent.map(drop)?),
        }
    }
}

/// One packet; an empty one is the other side's end.
///
/// # Errors
/// The system's.
pub(super) fn receive(socket: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; PACKET_BYTES_MAX];
    let mut room = [IoSliceMut::new(&mut text)];
    // A signal of the process ends a wait that has a bound, whatever the signal is for.
    let received = loop {
        match recvmsg(socket, &mut room, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    text.truncate(received.bytes);
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors);
        }
    }
    Ok((text, sockets))
}
