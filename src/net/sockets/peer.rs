//! A client's address in as few bytes as there can be, since every connection holds one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::SocketAddrAny;

use crate::policy::visitors::Address;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// IPv4 address and port.
    V4([u8; 4], u16),
    /// IPv6 address and port.
    V6([u8; 16], u16),
    /// The same, of a client on this machine that reached a listener which is for it alone.
    Near4([u8; 4], u16),
    /// Of the port of `::1`.
    Near6(u16),
    /// As the four above, of a balancer: it speaks for many.
    Balancer4([u8; 4], u16),
    /// As above.
    Balancer6([u8; 16], u16),
    /// As above.
    NearBalancer4([u8; 4], u16),
    /// As above.
    NearBalancer6(u16),
    /// A Unix socket's.
    Local,
}

impl Peer {
    /// The same, at a listener on a loopback address.
    #[must_use]
    pub(crate) fn at_loopback(self) -> Self {
        match self {
            Self::V4(ip, port) if Ipv4Addr::from(ip).is_loopback() => Self::Near4(ip, port),
            Self::V6(ip, port) if Ipv6Addr::from(ip).is_loopback() => Self::Near6(port),
            other => other,
        }
    }

    /// The same, taken for a balancer that speaks for many.
    #[must_use]
    pub(crate) fn as_balancer(self) -> Self {
        match self {
            Self::V4(ip, port) => Self::Balancer4(ip, port),
            Self::V6(ip, port) => Self::Balancer6(ip, port),
            Self::Near4(ip, port) => Self::NearBalancer4(ip, port),
            Self::Near6(port) => Self::NearBalancer6(port),
            other => other,
        }
    }

    /// Address and port; nothing for a Unix socket's.
    #[must_use]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        Some(match *self {
            Self::V4(ip, port)
            | Self::Near4(ip, port)
            | Self::Balancer4(ip, port)
            | Self::NearBalancer4(ip, port) => (ip, port).into(),
            Self::V6(ip, port) | Self::Balancer6(ip, port) => (ip, port).into(),
            Self::Near6(port) | Self::NearBalancer6(port) => (Ipv6Addr::LOCALHOST, port).into(),
            Self::Local => return None,
        })
    }

    /// Whether both are on this machine and of no other's.
    #[must_use]
    pub(crate) fn is_near(&self) -> bool {
        matches!(
            self,
            Self::Near4(..) | Self::Near6(_) | Self::NearBalancer4(..) | Self::NearBalancer6(_)
        )
    }

    /// Whom a limit per address counts it with; nobody where it has none, or is a balancer's.
    #[must_use]
    pub(crate) fn counted_as(&self) -> Option<Address> {
        match *self {
            Self::V4(ip, _) | Self::Near4(ip, _) => Some(Address::v4(ip)),
            Self::V6(ip, _) => Some(Address::v6(ip)),
            Self::Near6(_) => Some(Address::v6(Ipv6Addr::LOCALHOST.octets())),
            Self::Balancer4(..)
            | Self::Balancer6(..)
            | Self::NearBalancer4(..)
            | Self::NearBalancer6(_)
            | Self::Local => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        match (address.ip().to_canonical(), address.port()) {
            (IpAddr::V4(ip), port) => Self::V4(ip.octets(), port),
            (IpAddr::V6(ip), port) => Self::V6(ip.octets(), port),
        }
    }
}

impl From<Option<SocketAddrAny>> for Peer {
    fn from(address: Option<SocketAddrAny>) -> Self {
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        address.map_or(Self::Local, Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_usual() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:443"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Peer::from(Some(address.into())).address(), Some(address));
        }
        assert_eq!(Peer::from(None).address(), None);
        for (text, is_near) in [
            ("127.1.2.3:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("192.0.2.1:80", false),
            ("[2001:db8::1]:80", false),
        ] {
            let address: SocketAddr = text.parse().unwrap();
            let peer = Peer::from(Some(address.into()));
            let near = peer.at_loopback();
            assert_eq!((peer.is_near(), near.is_near()), (false, is_near), "{text}");
            assert_eq!(near.address(), peer.address());
            assert_eq!(near.counted_as(), peer.counted_as());
            for own in [peer, near] {
                let balancer = own.as_balancer();
                assert_eq!(balancer.address(), own.address());
                assert_eq!(balancer.is_near(), own.is_near());
                assert_eq!(balancer.counted_as(), None);
            }
        }
        assert!(!Peer::Local.at_loopback().is_near());
        assert_eq!(Peer::Local.as_balancer(), Peer::Local);
        assert!(size_of::<Peer>() <= 20);
    }
}
