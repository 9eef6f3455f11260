//! Which fields go on, which stay here, and which are added.

use memchr::memmem;
use sluicegate::door::fuzzing::rewrite::is_disguised;

use super::credentials::{CREDENTIAL_NAMES, CREDENTIALS};
use super::message::{Field, Head};
use super::requests::Request;
use super::routing::HOSTS;

/// How received bytes compare with what was expected.
#[derive(Debug)]
pub enum Match {
    /// So many bytes are just what was expected.
    Full(usize),
    /// They end before what was expected does.
    Prefix,
    No(String),
}

/// What every request loses.
pub fn is_removed(request: &Request, field: &Field) -> bool {
    let name = &*field.name;
    let hop = [
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "upgrade",
        "cookie",
        "forwarded",
        "x-gomodel-user-path",
    ];
    hop.contains(&name)
        || CREDENTIAL_NAMES.contains(&name)
        || name.starts_with("x-forwarded-")
        || is_disguised(name)
        // Of HTTP/1.0 it is to be ignored (RFC 9110, section 10.1.1).
        || (request.http10
            && name == "expect"
            && field.value.eq_ignore_ascii_case("100-continue"))
        || request.head.nominated().iter().any(|n| n == name)
        || (request.provider == 1 && name == "x-team")
}

/// What the gateway adds to a request whose fields `kept` go on: whole lines, and one of which only this beginning is
/// known.
pub fn added(request: &Request, kept: &[&Field]) -> (Vec<String>, &'static str) {
    let has = |name: &str| kept.iter().any(|field| field.name == name);
    let mut added = vec![
        format!("Host: {}\r\n", HOSTS[request.provider]),
        format!("{}\r\n", CREDENTIALS[request.provider]),
    ];
    if request.provider == 1 {
        added.push("X-Team: fuzz\r\n".to_owned());
        if !has("anthropic-version") {
            added.push("anthropic-version: 2023-06-01\r\n".to_owned());
        }
    }
    if request.upgrade {
        added.push("Connection: Upgrade\r\n".to_owned());
        added.push("Upgrade: websocket\r\n".to_owned());
    }
    // What has an id may have been here; else it gets one.
    let own = match has("x-request-id") {
        true => "X-Sluicegate-Loop: ",
        false => "X-Request-ID: ",
    };
    (added, own)
}

/// The fields of a response that go on.
pub fn kept(head: &Head, tunnel: bool) -> Vec<&Field> {
    let nominated = if tunnel { Vec::new() } else { head.nominated() };
    let always = [
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "set-cookie",
    ];
    let hop = ["connection", "upgrade"];
    let goes_on = |field: &&Field| {
        let name = &*field.name;
        !always.contains(&name)
            && (tunnel || !hop.contains(&name))
            && !nominated.iter().any(|n| n == name)
    };
    head.fields.iter().filter(goes_on).collect()
}

/// Whether received bytes begin with this start line, these fields in order, and those added anywhere; of one more
/// only the beginning is known.
pub fn same_head(
    got: &[u8],
    start: &str,
    kept: &[&Field],
    added: &[String],
    own: Option<&str>,
) -> Match {
    let Some(end) = memmem::find(got, b"\r\n\r\n") else {
        let common = got.len().min(start.len());
        return match got[..common] == start.as_bytes()[..common] {
            true => Match::Prefix,
            false => Match::No(format!("another start line than {start:?}")),
        };
    };
    let text = String::from_utf8_lossy(&got[..end + 2]);
    let mut lines: Vec<&str> = text.split_inclusive("\r\n").collect();
    let line = lines.remove(0);
    if line.trim_end() != start.trim_end() || !line.ends_with("\r\n") {
        return Match::No(format!("{line:?} instead of {start:?}"));
    }
    for wanted in added {
        match lines.iter().position(|line| line == wanted) {
            Some(at) => drop(lines.remove(at)),
            None => return Match::No(format!("{wanted:?} is missing")),
        }
    }
    if let Some(own) = own {
        match lines.iter().position(|line| line.starts_with(own)) {
            Some(at) => drop(lines.remove(at)),
            None => return Match::No(format!("there is no {own}")),
        }
    }
    let kept: Vec<&str> = kept.iter().map(|field| &*field.line).collect();
    match lines == kept {
        true => Match::Full(end + 4),
        false => Match::No(format!("{lines:?} instead of {kept:?}")),
    }
}
