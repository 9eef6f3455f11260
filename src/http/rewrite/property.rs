//! What holds for every rewritten head, shared by table, property test and fuzz target: it reads again, holds
//! no removed field and every kept and added one to the byte and in order, and content has not moved.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "runs in tests and fuzz targets only, where a panic is a finding"
)]

use super::{NewTarget, request, request_removals, response, response_removals};
use crate::http::head::{self, Field, FieldSet, Fields, HeadError, HeadScan, Name, Section, Span};

/// Room before the message, as the worker's buffer has.
const ROOM: usize = 1024;

/// The lines that every rewrite here adds; never kept ones, so they can be told apart.
const ADDED: [&[u8]; 3] = [
    b"Host: up.example\r\n",
    b"x-api-key: secret\r\n",
    b"X-Request-ID: 1\r\n",
];

const SUFFIX: &[u8] = b"&v=1";

/// Rewrites `input` if it begins with a request head, and asserts what must hold.
pub fn request_holds(input: &[u8]) {
    let mut fields = Fields::new();
    let Ok(Some(head)) = head::request(&mut HeadScan::default(), input, &mut fields) else {
        return;
    };
    let removed = request_removals(Section::new(&fields, input), |_, _| false);
    removes(input, &fields, &removed, |name| {
        REQUEST_REMOVED.contains(&name) || name.starts_with("x-forwarded-") || is_disguised(name)
    });
    let (mut buf, at) = placed(input);
    let rest = Span {
        start: head.target.start,
        end: head.target.end,
    };
    let target = NewTarget {
        prefix: b"/base",
        rest,
        suffix: SUFFIX,
    };
    let start = request(&mut buf, at, &head, &fields, &removed, target, &ADDED)
        .expect("the headroom is enough");
    let lines = kept(input, &fields, &removed);
    let first = [
        head.method.of(input),
        b" /base/",
        head.target.of(input),
        SUFFIX,
        b" HTTP/1.1\r\n",
    ]
    .concat();
    expect(
        &buf,
        start,
        &[&*first, &ADDED.concat(), &lines, b"\r\n"],
        &input[head.len..],
    );
    let mut again = Fields::new();
    let message = &buf[start..];
    match head::request(&mut HeadScan::default(), message, &mut again) {
        Ok(Some(_)) => {}
        // What was added may be over a limit; nothing else may be wrong.
        Err(HeadError::TooManyFields | HeadError::TooLong | HeadError::TargetTooLong) => return,
        read => panic!("{read:?}"),
    }
    for field in &again[ADDED.len()..] {
        assert!(
            !matches!(
                field.name,
                Name::Host
                    | Name::Connection
                    | Name::KeepAlive
                    | Name::Te
                    | Name::Upgrade
                    | Name::Cookie
                    | Name::Authorization
                    | Name::XApiKey
                    | Name::ApiKey
                    | Name::XiApiKey
                    | Name::XSluicegateKey
                    | Name::XForwarded
                    | Name::ProxyAuthorization
            ),
            "{field:?} in {}",
            message.escape_ascii()
        );
    }
}

/// Rewrites `input` if it begins with a response head, and asserts what must hold.
pub fn response_holds(input: &[u8]) {
    let mut fields = Fields::new();
    let Ok(Some(head)) = head::response(&mut HeadScan::default(), input, &mut fields) else {
        return;
    };
    let removed = response_removals(Section::new(&fields, input), false);
    removes(input, &fields, &removed, |name| {
        RESPONSE_REMOVED.contains(&name)
    });
    let (mut buf, at) = placed(input);
    let start = response(&mut buf, at, &head, &fields, &removed, &ADDED).expect("room");
    let code = head.status.to_string();
    let first = [
        b"HTTP/1.1 ",
        code.as_bytes(),
        b" ",
        head.reason.of(input),
        b"\r\n",
    ]
    .concat();
    let lines = kept(input, &fields, &removed);
    expect(
        &buf,
        start,
        &[&*first, &ADDED.concat(), &lines, b"\r\n"],
        &input[head.len..],
    );
    let mut again = Fields::new();
    let read = head::response(&mut HeadScan::default(), &buf[start..], &mut again);
    assert!(
        matches!(
            read,
            Ok(Some(_)) | Err(HeadError::TooManyFields | HeadError::TooLong)
        ),
        "{read:?}"
    );
}

/// The slow way to say what goes: by every line's name in full, and by every option of every `Connection`.
fn removes(input: &[u8], fields: &[Field], removed: &FieldSet, always: impl Fn(&str) -> bool) {
    let text = |bytes: &[u8]| {
        let chars = bytes.iter().map(|&byte| char::from(byte));
        chars.collect::<String>().to_ascii_lowercase()
    };
    let names = fields.iter().map(|field| text(field.name_of(input)));
    let names: Vec<String> = names.collect();
    let connections = names.iter().zip(fields);
    let options: Vec<String> = connections
        .filter(|(name, _)| *name == "connection")
        .flat_map(|(_, field)| field.value.of(input).split(|byte| *byte == b','))
        .map(|option| text(option.trim_ascii()))
        .filter(|option| !["close", "keep-alive"].contains(&option.as_str()))
        .collect();
    for (index, name) in names.iter().enumerate() {
        let framing = ["content-length", "transfer-encoding"].contains(&name.as_str());
        let named = options.contains(name) && !framing;
        assert_eq!(
            removed.contains(index),
            named || always(name),
            "{name} in {}",
            input.escape_ascii()
        );
    }
}

const REQUEST_REMOVED: [&str; 16] = [
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
    "x-sluicegate-key",
    "x-gomodel-user-path",
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
];

/// Names under which a client says who it is or where it comes from, beside `X-Forwarded-*`.
const DISGUISABLE: [&str; 8] = [
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-sluicegate-key",
    "x-sluicegate-loop",
    "x-gomodel-user-path",
    "sec-websocket-protocol",
];

/// A name that is one of those but for its marks and their number.
#[must_use]
pub fn is_disguised(name: &str) -> bool {
    let mut folded = String::new();
    for sign in name.chars() {
        match sign.is_ascii_alphanumeric() {
            true => folded.push(sign),
            false if folded.ends_with('-') => {}
            false => folded.push('-'),
        }
    }
    folded != name && (DISGUISABLE.contains(&&*folded) || folded.starts_with("x-forwarded-"))
}

const RESPONSE_REMOVED: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "set-cookie",
    "upgrade",
];

fn placed(input: &[u8]) -> (Vec<u8>, usize) {
    let mut buf = vec![b'~'; ROOM];
    buf.extend_from_slice(input);
    (buf, ROOM)
}

/// The slow way: every kept line, copied one by one.
fn kept(input: &[u8], fields: &[Field], removed: &FieldSet) -> Vec<u8> {
    let kept = fields
        .iter()
        .enumerate()
        .filter(|(index, _)| !removed.contains(*index));
    kept.flat_map(|(_, field)| field.line.of(input))
        .copied()
        .collect()
}

fn expect(buf: &[u8], start: usize, head: &[&[u8]], content: &[u8]) {
    let expected = [&head.concat(), content].concat();
    assert_eq!(
        buf[start..].escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}
