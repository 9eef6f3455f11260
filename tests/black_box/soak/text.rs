//! A plan's messages as bytes.

use super::plan::{Body, Fault, Kind, Plan, Shape};
use super::pool;
use super::random::Random;

/// A message: its head, then its content as framed.
pub(crate) struct Text {
    pub(crate) head: Vec<u8>,
    pub(crate) framed: Vec<u8>,
}

/// Aspects of an id that have numbers of their own.
const REQUEST: u64 = 3;
const RESPONSE: u64 = 4;
const CUTS: u64 = 5;
pub(crate) const PAUSES: u64 = 6;
pub(crate) const TUNNEL: u64 = 7;

/// The trailer line of a message that has one.
pub(crate) const TRAILER: &str = "X-Sum: 42";

/// The field lines that have to reach the provider as they are, in this order.
pub(crate) fn kept_lines(plan: &Plan, floor: u64) -> Vec<String> {
    let mut lines = vec![
        format!("X-Soak: {}", plan.id),
        format!("X-Soak-Floor: {floor}"),
        format!("X-Session-Id: s{}", pool::session(plan.id)),
        "X-sOAK-odd:  kept, as it \"is\" ".to_owned(),
    ];
    match plan.request.shape {
        Shape::Length => lines.push(format!("Content-Length: {}", plan.request.len)),
        Shape::Chunked => lines.push("Transfer-Encoding: chunked".to_owned()),
        Shape::Nothing | Shape::Close if plan.method == "POST" => {
            lines.push("Content-Length: 0".to_owned());
        }
        Shape::Nothing | Shape::Close => {}
    }
    if plan.expects {
        lines.push("Expect: 100-continue".to_owned());
    }
    lines
}

/// The client's request; `credential` is a field line.
pub(crate) fn request(plan: &Plan, provider: &str, credential: &str, floor: u64) -> Text {
    let version = if plan.http10 { "1.0" } else { "1.1" };
    let (target, credential) = match plan.own {
        Some(own) => (own.target(plan, provider), own.credential(plan, credential)),
        None => {
            let target = format!("/p/{provider}/soak/{}?n=1", plan.id);
            (target, credential.to_owned())
        }
    };
    let mut head = format!(
        "{} {target} HTTP/{version}\r\nHost: gateway\r\n{credential}\r\n\
         Cookie: a=b\r\nX-Forwarded-For: 10.0.0.1\r\n",
        plan.method
    );
    let option = match (plan.id.kind(), plan.http10, plan.persists) {
        (Kind::Tunnel, ..) => "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        (_, true, true) => "Connection: keep-alive\r\n",
        (_, false, false) => "Connection: close, X-Gone\r\nX-Gone: 1\r\n",
        _ => "",
    };
    head.push_str(option);
    for line in kept_lines(plan, floor) {
        head.push_str(&line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let content = request_content(plan);
    let framed = framed(plan, REQUEST, plan.request, &content, &[]);
    Text {
        head: head.into_bytes(),
        framed,
    }
}

pub(crate) fn request_content(plan: &Plan) -> Vec<u8> {
    plan.id.content(REQUEST, plan.request.len)
}

/// What the client has to get, the coding taken off.
pub(crate) fn response_content(plan: &Plan) -> Vec<u8> {
    match plan.id.kind() {
        Kind::Stream => events(plan).concat(),
        _ => plan.id.content(RESPONSE, plan.response.len),
    }
}

/// The provider's final answer.
pub(crate) fn response(plan: &Plan) -> Text {
    let mut head = format!(
        "HTTP/1.1 {} Because\r\nX-Soak: {}\r\nSet-Cookie: a=b\r\n",
        plan.status, plan.id
    );
    let content = response_content(plan);
    let mut body = plan.response;
    body.len = content.len();
    match body.shape {
        Shape::Nothing | Shape::Close => {}
        Shape::Length => head.push_str(&format!("Content-Length: {}\r\n", body.len)),
        Shape::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
    }
    if let Some(rest) = plan.rest {
        head.push_str(&format!("Retry-After-Ms: {rest}\r\n"));
    }
    if plan.says_close {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    let events = match plan.id.kind() {
        Kind::Stream => events(plan),
        _ => Vec::new(),
    };
    let mut framed = framed(plan, RESPONSE, body, &content, &events);
    if plan.method == "HEAD" {
        framed.clear();
    }
    Text {
        head: head.into_bytes(),
        framed,
    }
}

/// How much of the answer's head and content the provider sends.
pub(crate) fn cut(plan: &Plan, answer: &Text) -> usize {
    match plan.fault {
        Fault::InHead => answer.head.len() * plan.at / 1000,
        Fault::InContent => answer.head.len() + answer.framed.len() * plan.at / 1000,
        _ => answer.head.len() + answer.framed.len(),
    }
}

/// The most bytes of a tiny chunk.
const TINY: usize = 3;

/// Server-sent events and comments.
fn events(plan: &Plan) -> Vec<Vec<u8>> {
    let mut random = plan.id.random(RESPONSE);
    let (mut events, mut len) = (Vec::new(), 0);
    while len < plan.response.len {
        let event = if random.percent(10) {
            ": ping\n\n".to_owned()
        } else {
            let (number, more) = (random.next(), random.below(100));
            format!(
                "event: delta\ndata: {{\"text\":\"{number:016x}{:more$}\"}}\n\n",
                ""
            )
        };
        len += event.len();
        events.push(event.into_bytes());
    }
    events
}

/// Content in its framing; as one chunk an event where there are events.
fn framed(plan: &Plan, aspect: u64, body: Body, content: &[u8], events: &[Vec<u8>]) -> Vec<u8> {
    if body.shape != Shape::Chunked {
        return content.to_vec();
    }
    let random = &mut plan.id.random(aspect);
    let mut out = Vec::with_capacity(content.len() + 1000);
    if events.is_empty() || random.percent(30) {
        let mut rest = content;
        while !rest.is_empty() {
            let limit = match plan.id.kind() {
                Kind::Tiny => TINY,
                _ => random.pick(&[30, 2000, 70_000]).max(content.len() / 200),
            };
            let (piece, after) = rest.split_at(rest.len().min(1 + random.below(limit)));
            chunk(random, piece, &mut out);
            rest = after;
        }
    } else {
        for event in events {
            chunk(random, event, &mut out);
        }
    }
    out.extend_from_slice(b"0\r\n");
    if body.trailers {
        out.extend_from_slice(format!("{TRAILER}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn chunk(random: &mut Random, piece: &[u8], out: &mut Vec<u8>) {
    let extension = random.pick(&["", "", "", ";x", ";a=\"b;c\"", " ;q=1"]);
    out.extend_from_slice(format!("{:X}{extension}\r\n", piece.len()).as_bytes());
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

/// Cuts bytes into pieces of any size, few enough to be sent quickly.
pub(crate) fn pieces<'a>(plan: &Plan, aspect: u64, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut random = plan.id.random(CUTS ^ aspect << 8);
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    let least = bytes.len()
        / match plan.id.kind() {
            Kind::Stream | Kind::Piped | Kind::Tiny => 60,
            _ => 8,
        };
    while !rest.is_empty() {
        let limit = random.pick(&[2, 100, 3000, 100_000]);
        let len = (1 + random.below(limit)).max(least);
        let (piece, after) = rest.split_at(rest.len().min(len));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
