//! What holds for the answers to every head, shared by a property test and a fuzz target: a naive reader agrees, and
//! what is added is a well-formed field section.

use super::foreign::is_foreign;
use super::{Cors, remove};
use crate::config::Origin;
use crate::http::head::{FieldSet, Fields, HeadView, parse_request, parse_response};

const LISTED: [&str; 2] = ["https://a.b", "http://c:1"];

/// The origins of [`LISTED`].
///
/// # Panics
/// Never: they are origins.
#[must_use]
pub fn cors() -> Cors {
    let origins = LISTED
        .iter()
        .filter_map(|origin| origin.parse::<Origin>().ok());
    let origins: Vec<Origin> = origins.collect();
    let Some(cors) = Cors::new(&origins) else {
        unreachable!("there are two")
    };
    cors
}

/// Reads `input` as method and field lines of a request and asserts what must hold.
pub fn holds(cors: &Cors, input: &[u8]) {
    let line = input
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let (method, lines) = input.split_at(line);
    let method = method.trim_ascii();
    let begin = [method, b" / HTTP/1.1\r\nHost: h\r\n"].concat();
    let head = [&*begin, lines, b"\r\n\r\n"].concat();
    let mut fields = Fields::new();
    let Ok(Some(read)) = parse_request(&head, &mut fields) else {
        return;
    };
    let request = HeadView::new(&read, &fields, &head);
    let text = |bytes: &[u8]| -> String { bytes.iter().map(|&byte| char::from(byte)).collect() };
    let named: Vec<(String, String)> = fields
        .iter()
        .map(|field| {
            (
                text(field.name_of(&head)).to_ascii_lowercase(),
                text(field.value.of(&head)),
            )
        })
        .collect();
    let shown = head.escape_ascii();
    let all = |name: &str| -> Vec<&str> {
        let lines = named.iter().filter(|(n, _)| n == name);
        lines.map(|(_, value)| value.as_str()).collect()
    };
    let listed = match *all("origin") {
        [origin] => LISTED.into_iter().find(|listed| *listed == origin),
        _ => None,
    };
    let answered = cors.lines(request.section);
    assert_eq!(answered.is_listed(), listed.is_some(), "{shown}");
    section_says(answered.answer(), listed, None);
    let asks = method == b"OPTIONS"
        && !all("origin").is_empty()
        && !all("access-control-request-method").is_empty();
    match (answered.preflight(request), asks, listed) {
        (Ok(None), false, _) | (Err(_), true, None) => {}
        (Ok(Some(section)), true, Some(_)) => {
            let wanted = all("access-control-request-headers").join(",");
            section_says(&section, listed, Some(&wanted));
        }
        (answer, ..) => unreachable!("{answer:?}: {shown}"),
    }
    let foreign = match *all("origin") {
        [] => all("sec-fetch-site")
            .iter()
            .any(|site| !["none", "same-origin"].contains(site)),
        [origin] => !is_of_this_machine(origin),
        _ => true,
    };
    assert_eq!(is_foreign(request.section), foreign, "{shown}");
    let mut removed = FieldSet::default();
    remove(request.section, &mut removed);
    for (index, (name, _)) in named.iter().enumerate() {
        let expected = name.starts_with("access-control-");
        assert_eq!(removed.contains(index), expected, "{name} in {shown}");
    }
}

/// Lines that are added let this origin in, and nobody else; `wanted` are the names that a preflight asks for.
fn section_says(section: &[u8], origin: Option<&str>, wanted: Option<&str>) {
    let answer = [b"HTTP/1.1 204 No\r\n", section, b"\r\n"].concat();
    let mut fields = Fields::new();
    let read = parse_response(&answer, &mut fields);
    assert!(matches!(read, Ok(Some(head)) if head.len == answer.len()));
    let all = |name: &str| -> Vec<String> {
        let lines = fields
            .iter()
            .filter(|field| field.is_named(name.as_bytes(), &answer));
        let values = lines.map(|field| String::from_utf8_lossy(field.value.of(&answer)).into());
        values.collect()
    };
    let let_in: Vec<String> = origin.map(str::to_owned).into_iter().collect();
    assert_eq!(all("access-control-allow-origin"), let_in);
    assert!(all("vary").iter().any(|vary| vary.contains("Origin")));
    assert!(all("access-control-allow-credentials").is_empty());
    let Some(wanted) = wanted else { return };
    let names = wanted.split(',').map(|name| name.trim_matches([' ', '\t']));
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let joined = names.join(", ");
    let fit = names.iter().all(|name| name.chars().all(token)) && joined.len() <= 4096;
    let allowed: Vec<String> = (fit && !joined.is_empty())
        .then_some(joined)
        .into_iter()
        .collect();
    assert_eq!(all("access-control-allow-headers"), allowed);
}

fn is_of_this_machine(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let digits = authority.trim_end_matches(|c: char| c.is_ascii_digit());
    let port = authority.len() - digits.len();
    let host = match digits.strip_suffix(':') {
        Some(host) if (1..=5).contains(&port) => host,
        _ => authority,
    };
    let octets: Vec<Option<u8>> = host.split('.').map(|part| part.parse().ok()).collect();
    let written = |part: &str| part.len() == 1 || !part.starts_with(['0', '+']);
    let loopback =
        matches!(*octets, [Some(127), Some(_), Some(_), Some(_)]) && host.split('.').all(written);
    let below = host.strip_suffix(".localhost").is_some_and(|name| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        !name.is_empty() && name.chars().all(plain)
    });
    ["http", "https"].contains(&scheme)
        && (host == "localhost" || host == "[::1]" || loopback || below)
}
