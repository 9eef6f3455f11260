//! Networks of addresses: an address and how many of its first bits count.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::base::number;

/// Addresses whose first bits are these. An IPv4 address that is written as one of IPv6 is that IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// `address/bits`
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits = u32::try_from(number::decimal(bits)?).ok()?;
        let mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
        // What embraces more than mapped addresses is a network of IPv6.
        let (first, bits) = match mapped && bits >= 96 {
            true => (address.to_canonical(), bits - 96),
            false => (address, bits),
        };
        (bits <= bits_of(first)).then_some(Self { first, bits })
    }

    /// One address.
    pub(super) fn of(address: IpAddr) -> Self {
        let first = address.to_canonical();
        let bits = bits_of(first);
        Self { first, bits }
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let differ = match (address.to_canonical(), self.first) {
            (IpAddr::V4(ip), IpAddr::V4(first)) => u128::from(ip.to_bits() ^ first.to_bits()) << 96,
            (IpAddr::V6(ip), IpAddr::V6(first)) => ip.to_bits() ^ first.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= self.bits
    }

    /// Whether the bits that do not count are zero.
    fn is_exact(&self) -> bool {
        let (value, bits) = match self.first {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()) << 96, self.bits),
            IpAddr::V6(ip) => (ip.to_bits(), self.bits),
        };
        value.checked_shl(bits).unwrap_or_default() == 0
    }
}

fn bits_of(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(address) = text.parse() {
            return Ok(Self::of(address));
        }
        let network = Self::parse(text).ok_or(
            "expected addresses and networks such as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32",
        )?;
        match network.is_exact() {
            true => Ok(network),
            false => Err(
                "expected a network whose address has only zeros behind its first bits, such as 10.0.0.0/8",
            ),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits == bits_of(self.first) {
            true => self.first.fmt(f),
            false => write!(f, "{}/{}", self.first, self.bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_written_and_read_alike() {
        let rows = [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            (" 10.0.0.1 ", Some("10.0.0.1")),
            ("10.0.0.1/32", Some("10.0.0.1")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("::/0", Some("::/0")),
            ("::1", Some("::1")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("10.0.0.1/8", None),
            ("2001:db8::1/32", None),
            ("10.0.0.0/33", None),
            ("::/129", None),
            ("10.0.0.0/", None),
            ("10.0.0.0/+8", None),
            ("10.0.0/8", None),
            ("[::1]", None),
            ("10.0.0.1:80", None),
            ("balancer", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let network = text.parse::<Network>().map(|network| network.to_string());
            assert_eq!(network.ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn an_address_is_in_its_networks() {
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "::10.0.0.1", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
        ];
        for (network, address, expected) in rows {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.has(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
    }
}
