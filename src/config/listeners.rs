//! Addresses to listen on, and which of them stand in each other's way: of that a start would be told by the system,
//! and `check` not at all.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected addresses such as 127.0.0.1:8080, [::]:8080 or unix:/run/gate.sock";
        match text.trim().strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(EXPECTED),
            None => text.trim().parse().map(Self::Tcp).map_err(|_| EXPECTED),
        }
    }
}

/// The first address that another one takes: whether it is one of those for metrics, and what to say of it.
pub(super) fn conflict(server: &[Listen], metrics: &[Listen]) -> Option<(bool, String)> {
    let of = |for_metrics| move |address| (for_metrics, address);
    let all: Vec<_> = { server.iter().map(of(false)) }
        .chain(metrics.iter().map(of(true)))
        .collect();
    all.iter()
        .enumerate()
        .find_map(|(at, (for_metrics, address))| {
            let mut before = all.iter().take(at);
            let (other, taken) = before.find(|(_, taken)| overlap(taken, address))?;
            let other = match other {
                true => "metrics.listen",
                false => "server.listen",
            };
            let message =
                format!("{address} is taken by {taken} of {other}; expected another address");
            Some((*for_metrics, message))
        })
}

/// Whether one process cannot listen on both. An address of all interfaces takes every other of its family.
fn overlap(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::Tcp(one), Listen::Tcp(other)) => {
            let (a, b) = (one.ip(), other.ip());
            // Port 0 is another one each time.
            let same_port = one.port() == other.port() && one.port() != 0;
            let same_family = a.is_ipv4() == b.is_ipv4();
            same_port && same_family && (a == b || a.is_unspecified() || b.is_unspecified())
        }
        (Listen::Unix(one), Listen::Unix(other)) => one == other,
        (Listen::Tcp(_), Listen::Unix(_)) | (Listen::Unix(_), Listen::Tcp(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_listened_on_at_once() {
        let rows: [(&[&str], &[&str], Option<bool>); 14] = [
            (&["127.0.0.1:1"], &[], None),
            (&["127.0.0.1:1", "127.0.0.1:1"], &[], Some(false)),
            (&["127.0.0.1:1", "127.0.0.2:1"], &["127.0.0.1:2"], None),
            (&["127.0.0.1:1"], &["127.0.0.1:1"], Some(true)),
            (&["0.0.0.0:1", "[::]:1"], &[], None),
            (&["0.0.0.0:1"], &["127.0.0.1:1"], Some(true)),
            (&["127.0.0.1:1"], &["0.0.0.0:1"], Some(true)),
            (&["[::]:1"], &["127.0.0.1:1"], None),
            (&["[::]:1"], &["[::1]:1"], Some(true)),
            (&["127.0.0.1:0", "127.0.0.1:0"], &["0.0.0.0:0"], None),
            (&["unix:/a"], &["unix:/b"], None),
            (&["unix:/a"], &["unix:/a"], Some(true)),
            (
                &["unix:/a", "127.0.0.1:1"],
                &["unix:/b", "unix:/b"],
                Some(true),
            ),
            (
                &["127.0.0.1:1"],
                &["127.0.0.1:2", "127.0.0.1:2"],
                Some(true),
            ),
        ];
        for (server, metrics, expected) in rows {
            let parse = |list: &[&str]| -> Vec<Listen> {
                list.iter().map(|text| text.parse().unwrap()).collect()
            };
            let found = conflict(&parse(server), &parse(metrics));
            assert_eq!(
                found.map(|found| found.0),
                expected,
                "{server:?} {metrics:?}"
            );
        }
    }
}
