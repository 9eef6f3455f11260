//! What tells that a browser sends a request for a page from elsewhere. Where no key is asked for, any such page that is
//! open in it would spend the provider's key. Pure.
//!
//! A browser names the page's origin, but not with a GET that the page may not read (`no-cors`), nor with a GET of a
//! page that has its own name lead to this machine (DNS rebinding), which it may read. The former it marks in
//! `Sec-Fetch-Site` (W3C's Fetch Metadata), where it trusts the connection, as it does on loopback. The latter has its
//! name in `Host` and can have no other; so a listener on loopback takes those names only that lead to this machine of
//! themselves. Ollama, Jupyter and Vite do the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::base::authority;
use crate::config::Origin;
use crate::http::head::{Name, Section};

/// Whether a page sends this that is none of this machine's own. Programs send neither field; browsers send `Origin` in
/// one way only.
#[must_use]
pub(crate) fn is_foreign(section: Section<'_>) -> bool {
    let mut sent = section.values(Name::Origin);
    match (sent.next(), sent.next()) {
        (None, _) => section.values(Name::SecFetchSite).any(is_elsewhere),
        (Some(origin), None) => !is_loopback(origin),
        (Some(_), Some(_)) => true,
    }
}

/// Whether a page of another origin, or one that nobody knows of yet, has a browser send this; `none` is its user.
fn is_elsewhere(site: &[u8]) -> bool {
    !matches!(site, b"same-origin" | b"none")
}

/// Whether `Host` is a name that may lead elsewhere tomorrow: neither an address, nor one that no page from elsewhere
/// can have, nor that of one of these `origins`. No `Host` is no browser.
#[must_use]
pub(crate) fn is_rebound(section: Section<'_>, origins: &[Origin]) -> bool {
    let mut hosts = section.values(Name::Host);
    hosts.any(|host| {
        let Ok(authority) = std::str::from_utf8(host) else {
            return true;
        };
        let Some((host, _)) = authority::split_text(authority) else {
            return true;
        };
        let host = host.to_ascii_lowercase();
        let is_listed = |origin: &Origin| {
            let authority = origin.as_str().split_once("://");
            let parts = authority.and_then(|(_, authority)| authority::split_text(authority));
            parts.is_some_and(|(listed, _)| listed == host)
        };
        !is_own(&host) && !origins.iter().any(is_listed)
    })
}

/// A host in small letters that can only be this machine, or one that is not on the internet.
fn is_own(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_address = host.parse::<Ipv4Addr>().is_ok()
        || authority::bracketed(host).is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    match host.rsplit_once('.') {
        _ if is_address => true,
        // Docker's `host.docker.internal` and its kind among them.
        Some((_, last)) => matches!(last, "localhost" | "local" | "internal"),
        // No page has such a name: `localhost`, a container's.
        None => true,
    }
}

/// Whether this is the origin of a page that this machine serves: any port of `localhost`, of a name below it
/// (RFC 6761, section 6.3) or of a loopback address.
fn is_loopback(origin: &[u8]) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else {
        return false;
    };
    let authority = { origin.strip_prefix("http://") }.or_else(|| origin.strip_prefix("https://"));
    let Some((host, port)) = authority.and_then(authority::split_text) else {
        return false;
    };
    let is_port = |port: &str| {
        (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_address = |host: &str| host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback());
    let names_this = host == "localhost" || host == "[::1]" || is_address(host);
    port.is_none_or(is_port) && (names_this || host.strip_suffix(".localhost").is_some_and(is_name))
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    !text.is_empty() && text.bytes().all(plain)
}
