//! Work is linear in what a peer sends, whatever that is: everything pure that takes a peer's bytes is run on short
//! and on long inputs of every kind that could multiply. The long ones may take no more steps a byte than the short
//! ones, and never more than a few dozen.
//!
//! What a step is, the code says: see `steps`.

use std::hint::black_box;
use std::sync::Arc;

use proptest::prelude::*;

use crate::base::steps;
use crate::config::Secret;
use crate::config::property::load_from;
use crate::http::connect::TunnelAnswer;
use crate::http::framing::{self, BodyLength, Cursor};
use crate::http::head::{
    Fields, HEAD_BYTES_MAX, HeadScan, HeadView, RESPONSE_FIELDS_MAX, Side, TARGET_BYTES_MAX,
    close_up, request, response,
};
use crate::http::rewrite;
use crate::policy::admission::{Admission, Now, Request, admit};
use crate::policy::auth::Keys;
use crate::policy::cors;
use crate::policy::gateway::Gateway;

/// Bytes of a short input.
const SHORT: usize = 1024;
/// How many times as many steps a byte of a long input may take (what is put in order takes a few more), and how many
/// at most.
const MORE_MAX: f64 = 3.0;
const STEPS_MAX: f64 = 96.0;
/// Steps that any input may take beside.
const STEPS_FREE: f64 = 20_000.0;
/// Room in front of a head, as the worker's buffer has.
const ROOM: usize = 4096;

/// An input of about so many bytes.
type Make = Box<dyn Fn(usize) -> String>;

type Work<'w> = &'w dyn Fn(&[u8]);

/// Steps a byte.
fn cost(input: &str, work: Work<'_>) -> f64 {
    let steps = steps::of(|| work(black_box(input.as_bytes())));
    assert!(steps > 0, "nothing is counted");
    steps as f64 / input.len() as f64
}

/// Runs `work` on every kind, short and long.
fn is_linear(kinds: &[(&str, Make, usize)], work: Work<'_>) {
    let dearer = kinds.iter().filter_map(|(name, make, long)| {
        let (short, long) = (make(SHORT), make(*long));
        assert!(long.len() > 8 * short.len(), "{name}: {} bytes", long.len());
        let (short, long) = (cost(&short, work), cost(&long, work));
        let dear = long > MORE_MAX * short || long > STEPS_MAX;
        dear.then(|| format!("{name}: {long:.1} steps a byte, {short:.1} of a short one"))
    });
    let dearer: Vec<String> = dearer.collect();
    assert!(dearer.is_empty(), "{}", dearer.join("\n"));
}

/// `part` until there are `bytes` of it.
fn many(part: &str, bytes: usize) -> String {
    part.repeat(bytes / part.len())
}

/// Lines of `part` repeated, as many as may be.
fn lines(name: &str, part: &str, bytes: usize) -> String {
    let count = (bytes / 690).clamp(1, 95);
    let line = format!("{name}{}\r\n", many(part, bytes / count - name.len() - 2));
    line.repeat(count)
}

/// Field sections that could multiply; those of a request are the same for a response.
fn sections() -> Vec<(&'static str, Make, usize)> {
    let long = HEAD_BYTES_MAX - 1024;
    let of = |name: &'static str, part: &'static str| -> Make {
        Box::new(move |bytes| lines(name, part, bytes))
    };
    let mut kinds: Vec<(&'static str, Make, usize)> = vec![
        (
            "one long value",
            Box::new(|bytes| format!("A: {}\r\n", many("b", bytes))),
            long,
        ),
        (
            "one long name",
            Box::new(|bytes| format!("{}: b\r\n", many("A", bytes))),
            long,
        ),
        (
            "names of marks",
            Box::new(|bytes| {
                let name = |at: usize| format!("x{}api-key", many(["_", "-.", "--"][at % 3], 600));
                let line = |at| format!("{}: 1\r\n", name(at));
                (0..(bytes / 690).max(1)).map(line).collect()
            }),
            long,
        ),
        (
            "options that name many fields",
            Box::new(|bytes| {
                let fields = "X-A: 1\r\n".repeat((bytes / 690).clamp(1, 90));
                format!("{fields}Connection: {}\r\n", many("x-a,", bytes))
            }),
            long,
        ),
        (
            "options as long as the fields' names",
            Box::new(|bytes| {
                let count = (bytes / 690).clamp(1, 45);
                let name = |at: usize| format!("X-{}-{at:02}", "a".repeat(bytes / count / 2));
                let fields: String = (0..count)
                    .map(|at| format!("{}: 1\r\n", name(at)))
                    .collect();
                let options: Vec<String> = (0..count).map(|at| name(at + 45)).collect();
                format!("{fields}Connection: {}\r\n", options.join(","))
            }),
            long - 8192,
        ),
    ];
    for (name, part) in LINE_PARTS.iter().copied() {
        kinds.push((part, of(name, part), long));
    }
    kinds
}

/// Fields, and what their values are made of.
const LINE_PARTS: &[(&str, &str)] = &[
    ("Connection: ", "a,"),
    ("Connection: ", "connectioN,"),
    ("Connection: ", ","),
    ("Connection: ", "close , "),
    ("Connection: ", " \t"),
    ("Keep-Alive: ", "timeout=1, "),
    ("Keep-Alive: ", "a;b=\"c\","),
    ("TE: ", "trailers;q=0.5, "),
    ("Upgrade: ", "websocket,"),
    ("Cookie: ", "a=b; "),
    ("Cookie: ", "=;"),
    ("Sec-WebSocket-Protocol: ", "openai-insecure-api-key.a,"),
    ("Sec-WebSocket-Protocol: ", "a,"),
    ("Authorization: Bearer ", "a "),
    ("Authorization: ", "\"=,"),
    ("X-Api-Key: ", "a,"),
    ("X-Api-Key: ", "%41"),
    ("X-Api-Key: ", "bearer_QTpB"),
    ("Authorization: ", "QTpBOkE6 "),
    ("Authorization: ", "QTpB+"),
    ("Authorization: Basic ", "VVRwQk9rRTZR"),
    ("Forwarded: ", "for=a,"),
    ("Access-Control-Request-Headers: ", "a,"),
    ("Origin: ", "http://a"),
    ("X-Forwarded-For: ", "1.1.1.1, "),
    ("Expect: ", "100-continue, "),
    ("A:", " "),
    ("A: ", "\u{e9} "),
];

/// What a path may be made of.
const TARGET_PARTS: &[&str] = &[
    "v1/",
    "V1/",
    "v1;a/",
    "v1//",
    "%76%31/",
    "%2576%31/",
    "%252561",
    "%61",
    "%41%",
    ";",
    "/",
    "a/",
    "//",
    "%2f",
    "%2F%2e",
    "%5c",
    "..;/",
    ".a/",
    "?",
    "a?v1/",
    "&=",
    "a;b=c/",
    "%",
    "a%2",
    "\u{e9}",
];

/// The gateway key of the tests.
const BEARER: &str = "X-Sluicegate-Key: gateway-key\r\n";

/// As the head of a message that begins so.
fn heads(begin: &'static str) -> Vec<(&'static str, Make, usize)> {
    let head = |(name, section, long): (_, Make, _)| -> (_, Make, _) {
        let whole = move |bytes: usize| format!("{begin}{}\r\n", section(bytes));
        (name, Box::new(whole), long)
    };
    sections().into_iter().map(head).collect()
}

fn gateway(toml: &str, keys: bool) -> Gateway {
    let toml = format!("[server]\ncors_origins = [\"https://a.example\"]\n{toml}");
    let config = load_from(&[], "", &toml).unwrap();
    let master = keys.then(|| Secret::new("gateway-key").unwrap());
    Gateway::new(
        Arc::new(config),
        Keys::new(master.as_ref(), None, None).into(),
    )
}

/// Reads a request in pieces, decides on it and rewrites it.
fn served(gateway: &Gateway, input: &[u8]) {
    let mut fields = Fields::remembering(RESPONSE_FIELDS_MAX);
    let mut scan = HeadScan::default();
    for end in (64..input.len()).step_by(64) {
        let read = request(&mut scan, &input[..end], &mut fields);
        if !matches!(read, Ok(None)) {
            return;
        }
    }
    let Ok(Some(head)) = request(&mut scan, input, &mut fields) else {
        return;
    };
    let view = HeadView::new(&head, &fields, input);
    black_box(framing::persists(head.version, view.section));
    let Ok(length) = framing::request_body(view) else {
        return;
    };
    let asked = Request {
        view,
        length,
        content: 0,
        is_near: true,
        from: None,
    };
    let now = Now {
        unix_seconds: || 0,
        monotonic_nanos: || 0,
        is_outdated: false,
        crowded: None,
        in_flight: 0,
    };
    let Ok(Admission::Forward(forward)) = admit(gateway, asked, now).outcome else {
        return;
    };
    let mut buf = [&[0; ROOM], input].concat();
    black_box(forward.rewrite(&mut buf, ROOM, &head, &fields, [b""; 2]));
}

/// Reads a response in pieces, closes its names up, judges and rewrites it.
fn relayed(input: &[u8]) {
    let mut fields = Fields::remembering(RESPONSE_FIELDS_MAX);
    let mut scan = HeadScan::default();
    for end in (64..input.len()).step_by(64) {
        let _ = black_box(scan.find_end(&input[..end], Side::Response));
    }
    let mut buf = [&[0; ROOM], input].concat();
    let start = close_up(&mut buf[ROOM..]).unwrap_or(0);
    let message = &buf[ROOM + start..];
    let Ok(Some(head)) = response(&mut HeadScan::default(), message, &mut fields) else {
        return;
    };
    let view = HeadView::new(&head, &fields, message);
    black_box(framing::persists(head.version, view.section));
    let _ = black_box(framing::response_body(view, false));
    black_box(framing::listed_length(view.section));
    let mut removed = rewrite::response_removals(view.section, false);
    cors::remove(view.section, &mut removed);
    let at = ROOM + start;
    black_box(rewrite::response(
        &mut buf,
        at,
        &head,
        &fields,
        &removed,
        &[],
    ));
}

#[test]
fn request_heads() {
    const BEGIN: &str = "POST /p/vllm/x HTTP/1.1\r\nHost: h\r\nX-Sluicegate-Key: gateway-key\r\n";
    let vllm = "[providers.vllm]\nbase_url = \"http://h/v1\"\nheaders = { X-Team = \"a\" }\n";
    let client = "[providers.vllm]\nbase_url = \"http://h/v1\"\ncredential = \"client\"\n";
    for gateway in [
        gateway(vllm, true),
        gateway(client, true),
        gateway(vllm, false),
    ] {
        is_linear(&heads(BEGIN), &|input| served(&gateway, input));
    }
    let options = "OPTIONS /p/vllm/x HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example\r\n\
                   Access-Control-Request-Method: POST\r\n";
    let gateway = gateway(vllm, true);
    is_linear(&heads(options), &|input| served(&gateway, input));
    let coding = |value: &'static str| -> (&'static str, Make, usize) {
        let make =
            move |bytes| format!("{BEGIN}{}\r\n", lines("Transfer-Encoding: ", value, bytes));
        (value, Box::new(make), HEAD_BYTES_MAX - 1024)
    };
    let codings = ["a,", "a;b=c,", "a;b=\"\\\\\",", "chunked,", "a ; ", "\""].map(coding);
    is_linear(&codings, &|input| served(&gateway, input));
}

#[test]
fn request_targets() {
    let vllm = "[providers.vllm]\nbase_url = \"http://h/v1\"\n";
    let gateways = [
        gateway(vllm, false),
        gateway(
            &format!("{vllm}deny = [\"POST /a/*\", \"* /v1/a\"]\n"),
            false,
        ),
        gateway(
            &format!("{vllm}allow = [\"POST /v1/*\", \"* /a/*\", \"* /*\"]\n"),
            false,
        ),
    ];
    let target = |part: &'static str| -> (&'static str, Make, usize) {
        let make = move |bytes| {
            let path = many(part, bytes);
            format!("POST /p/vllm/{path} HTTP/1.1\r\nHost: h\r\n\r\n")
        };
        (part, Box::new(make), TARGET_BYTES_MAX - 64)
    };
    let kinds: Vec<_> = TARGET_PARTS.iter().copied().map(target).collect();
    for gateway in &gateways {
        is_linear(&kinds, &|input| served(gateway, input));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn heads_of_anything(
        target in prop::collection::vec((prop::sample::select(TARGET_PARTS), 0..2000_usize), 0..4),
        lines in prop::collection::vec(
            (prop::sample::select(LINE_PARTS), 0..20_000_usize, 1..40_usize), 0..6,
        ),
    ) {
        let target: String = target.iter().map(|(part, count)| part.repeat(*count)).collect();
        let line = |((name, part), bytes, count): &((&str, &str), usize, usize)| {
            format!("{name}{}\r\n", many(part, bytes / count)).repeat(*count)
        };
        let lines: String = lines.iter().map(line).collect();
        let vllm = "[providers.vllm]\nbase_url = \"http://h/v1\"\ncredential = \"client\"\n";
        let gateway = gateway(vllm, true);
        let request = format!("POST /p/vllm/{target} HTTP/1.1\r\nHost: h\r\n{BEARER}{lines}\r\n");
        let response = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let works: [(&str, Work<'_>); 2] =
            [(&request, &|input| served(&gateway, input)), (&response, &relayed)];
        for (input, work) in works {
            let steps = cost(input, work) * input.len() as f64;
            let most = STEPS_FREE + STEPS_MAX * input.len() as f64;
            prop_assert!(steps < most, "{steps} steps for {} bytes", input.len());
        }
    }
}

#[test]
fn response_heads() {
    let mut kinds = heads("HTTP/1.1 200 OK\r\n");
    for (name, part) in [
        ("Content-Length: 1", ",1"),
        ("A", " \t"),
        ("A : b\r\nC", "\t:"),
        ("Set-Cookie: ", "a=b; "),
        ("Transfer-Encoding: ", "a,"),
    ] {
        let make: Make = Box::new(move |bytes| {
            let colon = if name == "A" { ": b" } else { "" };
            let line = format!("{name}{}{colon}\r\n", many(part, 600)).repeat(bytes / 690 + 1);
            format!("HTTP/1.1 200 OK\r\n{line}\r\n")
        });
        kinds.push((name, make, HEAD_BYTES_MAX - 1024));
    }
    is_linear(&kinds, &relayed);
    // A proxy's answer is a quarter as long.
    for (_, _, long) in &mut kinds {
        *long /= 4;
    }
    let interim: Make = Box::new(|bytes| many("HTTP/1.1 100 \r\nA : b\r\n\r\n", bytes));
    kinds.push(("interim", interim, HEAD_BYTES_MAX / 4 - 1024));
    is_linear(&kinds, &|input| {
        let mut answer = TunnelAnswer::default();
        for end in (64..input.len()).step_by(64).chain([input.len()]) {
            if !matches!(black_box(answer.read(&input[..end])), Ok(None)) {
                return;
            }
        }
    });
}

#[test]
fn content() {
    let content = |part: &'static str| -> (&'static str, Make, usize) {
        (part, Box::new(move |bytes| many(part, bytes)), 1 << 20)
    };
    let mut kinds: Vec<_> = [
        "1\r\na\r\n",
        "1;a=b\r\na\r\n",
        "1 \t\r\na\r\n",
        "a\r\n0123456789\r\n",
    ]
    .map(content)
    .into();
    for (begin, part) in [
        ("1;", "a=b;"),
        ("1", " "),
        ("0\r\n", "A: b\r\n"),
        ("0\r\n", "A : b\r\n"),
        ("0\r\nA", "a"),
        ("0\r\nA", " "),
    ] {
        let make: Make = Box::new(move |bytes| format!("{begin}{}", many(part, bytes)));
        kinds.push((part, make, 1 << 14));
    }
    for step in [1, 64, usize::MAX] {
        is_linear(&kinds, &|input| {
            let mut cursor = Cursor::new(BodyLength::Chunked);
            for piece in input.chunks(step) {
                if cursor.advance(piece, Side::Response).is_err() {
                    return;
                }
            }
        });
        for read in [Cursor::strip, Cursor::relay] {
            is_linear(&kinds, &|input| {
                let (mut cursor, mut buf) = (Cursor::new(BodyLength::Chunked), input.to_vec());
                for piece in buf.chunks_mut(step) {
                    if read(&mut cursor, piece).is_err() {
                        return;
                    }
                }
            });
        }
    }
}
