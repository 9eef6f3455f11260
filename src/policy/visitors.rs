//! What is known of client addresses, in bounded memory and for all workers at once: how much each has open, and how
//! often it came with a wrong key. Pure: points in time come in as arguments.
//!
//! An address is one of IPv4, or the 64 bits of IPv6 that a customer is given whole. Nothing is kept of those that have
//! nothing open and have done nothing wrong, and nothing at all where no limit is set.

mod address;
mod counts;
mod table;
mod wrong_keys;

use std::sync::OnceLock;

pub(crate) use address::Address;
pub(crate) use counts::{Counts, Seat};
pub(crate) use wrong_keys::WrongKeys;

/// One for the whole process. Each part is made when a limit first asks for it, and stays: what is open goes on being
/// counted however the limits change.
#[derive(Default)]
pub(crate) struct Visitors {
    connections: OnceLock<Counts>,
    handshakes: OnceLock<Counts>,
    wrong_keys: OnceLock<WrongKeys>,
}

impl Visitors {
    /// Open connections.
    #[must_use]
    pub(crate) fn connections(&self) -> &Counts {
        self.connections.get_or_init(Counts::default)
    }

    /// TLS handshakes under way.
    #[must_use]
    pub(crate) fn handshakes(&self) -> &Counts {
        self.handshakes.get_or_init(Counts::default)
    }

    /// Wrong keys of late.
    #[must_use]
    pub(crate) fn wrong_keys(&self) -> &WrongKeys {
        self.wrong_keys.get_or_init(WrongKeys::default)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn v6(text: &str) -> Address {
        Address::v6(text.parse::<Ipv6Addr>().unwrap().octets())
    }

    #[test]
    fn an_address_of_ipv4_is_one_and_of_ipv6_a_network() {
        assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::9"));
        assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
        assert_eq!(v6("::ffff:192.0.2.1"), Address::v4([192, 0, 2, 1]));
        let all = [
            v6("::1"),
            v6("fe80::1"),
            Address::v4([0; 4]),
            Address::v4([0, 0, 0, 1]),
            Address::v4([255; 4]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "{one:?}");
        }
    }
}
