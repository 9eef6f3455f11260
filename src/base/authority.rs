//! The authority of a URL or a `Host`: `host[:port]` (RFC 3986, section 3.2).

use memchr::memchr;

/// The host, in its brackets if it has them, and what is behind the colon after it. Neither is looked into; `None` where
/// there is something else behind brackets, or no closing one.
#[must_use]
pub(crate) fn split(authority: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let len = match authority.first() {
        Some(b'[') => memchr(b']', authority)? + 1,
        _ => memchr(b':', authority).unwrap_or(authority.len()),
    };
    match authority.split_at_checked(len)? {
        (host, []) => Some((host, None)),
        (host, [b':', port @ ..]) => Some((host, Some(port))),
        _ => None,
    }
}

/// As [`split`].
#[must_use]
pub(crate) fn split_text(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, _) = split(authority.as_bytes())?;
    let (host, behind) = authority.split_at_checked(host.len())?;
    Some((host, behind.strip_prefix(':')))
}

/// The address in a host's brackets, or `None` where it has none.
#[must_use]
pub(crate) fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_ends_at_its_port_or_its_bracket() {
        for (authority, parts) in [
            ("", Some(("", None))),
            ("h", Some(("h", None))),
            ("h:80", Some(("h", Some("80")))),
            ("h:", Some(("h", Some("")))),
            (":80", Some(("", Some("80")))),
            ("h:1:2", Some(("h", Some("1:2")))),
            ("::1", Some(("", Some(":1")))),
            ("ü:ß", Some(("ü", Some("ß")))),
            ("h]:80", Some(("h]", Some("80")))),
            ("[::1]", Some(("[::1]", None))),
            ("[::1]:80", Some(("[::1]", Some("80")))),
            ("[::1]:", Some(("[::1]", Some("")))),
            ("[]:80", Some(("[]", Some("80")))),
            ("[::1]80", None),
            ("[::1]]:80", None),
            ("[::1", None),
            ("[", None),
        ] {
            assert_eq!(split_text(authority), parts, "{authority}");
            let bytes = parts.map(|(host, port)| (host.as_bytes(), port.map(str::as_bytes)));
            assert_eq!(split(authority.as_bytes()), bytes, "{authority}");
        }
    }

    #[test]
    fn brackets_come_in_pairs() {
        assert_eq!(bracketed("[::1]"), Some("::1"));
        for host in ["::1", "[::1", "::1]", "[", "h"] {
            assert_eq!(bracketed(host), None, "{host}");
        }
    }
}
