//! What the kernel is told to do for a TCP connection on its own: ask a silent peer whether it is still there.
//!
//! Without that, a long call during which nobody says anything dies in the first NAT on the way that forgets it, and
//! a peer that vanished without a word is served until a time limit ends it.

use std::io;
use std::os::fd::AsFd;

use rustix::net::sockopt;

use crate::config::Tcp;

/// Tells the kernel for a listening socket, which hands it on to every connection accepted from it: so none of these
/// costs a call. What is off is said too, for the socket may have been another's before.
///
/// # Errors
/// What the kernel says, for a socket that is not TCP for instance.
pub(crate) fn set(socket: impl AsFd, tcp: &Tcp) -> io::Result<()> {
    let socket = socket.as_fd();
    if tcp.keepalive.is_none() {
        sockopt::set_socket_keepalive(socket, false)?;
    }
    if tcp.user_timeout.is_none() {
        sockopt::set_tcp_user_timeout(socket, 0)?;
    }
    set_new(socket, tcp)
}

/// The same for a new socket that connects: four calls, and one more with `tcp.user_timeout`.
///
/// # Errors
/// As [`set`].
pub(crate) fn set_new(socket: impl AsFd, tcp: &Tcp) -> io::Result<()> {
    let socket = socket.as_fd();
    if let Some(keepalive) = tcp.keepalive {
        sockopt::set_tcp_keepidle(socket, keepalive.idle)?;
        sockopt::set_tcp_keepintvl(socket, keepalive.interval)?;
        sockopt::set_tcp_keepcnt(socket, keepalive.probes)?;
        sockopt::set_socket_keepalive(socket, true)?;
    }
    if let Some(user_timeout) = tcp.user_timeout {
        let millis = u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(socket, millis)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::config::Keepalive;

    const SOME: Tcp = Tcp {
        keepalive: Some(Keepalive {
            idle: Duration::from_secs(50),
            interval: Duration::from_secs(7),
            probes: 3,
        }),
        user_timeout: Some(Duration::from_millis(90_500)),
    };

    const NONE: Tcp = Tcp {
        keepalive: None,
        user_timeout: None,
    };

    fn read(socket: impl AsFd) -> Tcp {
        let millis = sockopt::tcp_user_timeout(&socket).unwrap();
        Tcp {
            keepalive: sockopt::socket_keepalive(&socket)
                .unwrap()
                .then(|| Keepalive {
                    idle: sockopt::tcp_keepidle(&socket).unwrap(),
                    interval: sockopt::tcp_keepintvl(&socket).unwrap(),
                    probes: sockopt::tcp_keepcnt(&socket).unwrap(),
                }),
            user_timeout: (millis > 0).then(|| Duration::from_millis(millis.into())),
        }
    }

    #[test]
    fn accepted_connections_have_what_their_listener_has() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for tcp in [SOME, NONE, SOME] {
            set(&listener, &tcp).unwrap();
            let client = TcpStream::connect(address).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(read(&accepted), tcp);
            assert_eq!(read(&client), NONE);
            set(&client, &tcp).unwrap();
            assert_eq!(read(&client), tcp);
        }
    }
}
