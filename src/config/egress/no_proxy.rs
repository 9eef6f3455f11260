//! `NO_PROXY`, as Go reads it: a list of hosts, suffixes, addresses and networks, each with a port or without.

use std::net::IpAddr;

use crate::base::{authority, number};
use crate::config::url::Host;
use crate::config::value;

/// Which hosts are reached without a proxy.
pub(super) struct NoProxy(Vec<Entry>);

struct Entry {
    what: What,
    /// As it is written; `None` is any.
    port: Option<String>,
}

enum What {
    /// `*`
    All,
    /// The name, and whether it stands for itself too and not only for what is below it.
    Names { suffix: String, itself: bool },
    /// Addresses whose first bits are these.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// What cannot be read is left out: the list is shared with programs that know other forms.
    pub(super) fn parse(list: &str) -> Self {
        Self(value::list(list).filter_map(Entry::parse).collect())
    }

    /// Whether a host is reached directly; loopback is in any case.
    pub(super) fn has(&self, host: &Host, port: u16) -> bool {
        let loopback = match host {
            Host::Name(name) => name == "localhost",
            Host::Ip(ip) => ip.to_canonical().is_loopback(),
            Host::Unix(_) => true,
        };
        loopback || self.0.iter().any(|entry| entry.matches(host, port))
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        if text == "*" {
            let what = What::All;
            return Some(Self { what, port: None });
        }
        if let Some(what) = network(&text) {
            return Some(Self { what, port: None });
        }
        let (host, port) = match text.parse() {
            // Without brackets it has no port.
            Ok(IpAddr::V6(_)) => (&*text, None),
            _ => authority::split_text(&text)?,
        };
        let what = match authority::bracketed(host).unwrap_or(host).parse() {
            Ok(ip) => What::Network(IpAddr::to_canonical(&ip), EXACT),
            Err(_) => names(host)?,
        };
        let port = port.filter(|port| !port.is_empty()).map(str::to_owned);
        Some(Self { what, port })
    }

    fn matches(&self, host: &Host, port: u16) -> bool {
        let here = match (&self.what, host) {
            (What::All, _) => true,
            (What::Names { suffix, itself }, Host::Name(name)) => {
                let before = name.strip_suffix(&**suffix);
                before.is_some_and(|before| before.ends_with('.') || *itself && before.is_empty())
            }
            (What::Network(network, bits), Host::Ip(ip)) => is_within(*ip, *network, *bits),
            _ => false,
        };
        here && self
            .port
            .as_ref()
            .is_none_or(|wanted| *wanted == port.to_string())
    }
}

/// `example.com` and what is below it; `.example.com` and `*.example.com` are only the latter.
fn names(host: &str) -> Option<What> {
    let host = host
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(host);
    let below = host.strip_prefix('.');
    let suffix = below.unwrap_or(host).to_owned();
    let itself = below.is_none();
    (!suffix.is_empty()).then_some(What::Names { suffix, itself })
}

fn network(text: &str) -> Option<What> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits = u32::try_from(number::decimal(bits)?).ok()?;
    let mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
    let most = if address.is_ipv4() { 32 } else { 128 };
    // What embraces more than mapped addresses is a network of IPv6.
    match (bits <= most, mapped) {
        (false, _) => None,
        (true, true) if bits >= 96 => Some(What::Network(address.to_canonical(), bits - 96)),
        (true, _) => Some(What::Network(address, bits)),
    }
}

/// As many bits as there can be.
const EXACT: u32 = 128;

/// Whether the first `bits` bits are the same; an IPv4 address in IPv6 is the former.
fn is_within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let differ = match (ip.to_canonical(), network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => u128::from(ip.to_bits() ^ network.to_bits()) << 96,
        (IpAddr::V6(ip), IpAddr::V6(network)) => ip.to_bits() ^ network.to_bits(),
        _ => return false,
    };
    differ.leading_zeros() >= bits
}
