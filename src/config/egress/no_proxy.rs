//! `NO_PROXY`, as Go reads it: a list of hosts, suffixes, addresses and networks, each with a port or without.

use std::net::IpAddr;

use crate::base::authority;
use crate::config::networks::Network;
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
    /// Addresses.
    Network(Network),
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
        if let Some(network) = Network::parse(&text) {
            let what = What::Network(network);
            return Some(Self { what, port: None });
        }
        let (host, port) = match text.parse() {
            // Without brackets it has no port.
            Ok(IpAddr::V6(_)) => (&*text, None),
            _ => authority::split_text(&text)?,
        };
        let what = match authority::bracketed(host).unwrap_or(host).parse() {
            Ok(ip) => What::Network(Network::of(ip)),
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
            (What::Network(network), Host::Ip(ip)) => network.has(*ip),
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
