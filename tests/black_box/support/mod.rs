//! The harness: the program, raw clients, scripted upstreams, certificates.

pub(crate) mod chunked;
pub(crate) mod collector;
pub(crate) mod company;
pub(crate) mod gateway;
pub(crate) mod hops;
pub(crate) mod keys;
pub(crate) mod limited;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod ports;
pub(crate) mod proxy;
pub(crate) mod queue;
pub(crate) mod rig;
pub(crate) mod screen;
pub(crate) mod settings;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod wire;

pub(crate) use gateway::{Gateway, KEY, Setup};
pub(crate) use message::{Framing, Head, Message};
pub(crate) use rig::{ALL_SIDES, Rig, Sides, drained_answer, plain_exchange, wait_refused};
pub(crate) use upstream::{Scripted, Upstream};
pub(crate) use wire::{End, PATIENCE, Wire};

/// Says that this machine lacks what a test needs, which CI installs.
pub(crate) fn not_tried(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}, and this is CI");
    eprintln!("not tried: {why}");
}

/// A GET with the gateway key.
pub(crate) fn get(path: &str) -> String {
    request("GET", path, &[], "")
}

/// A POST with the gateway key and a length.
pub(crate) fn post(path: &str, body: &str) -> String {
    request("POST", path, &[], body)
}

/// A request with the gateway key, further field lines and, unless it is a bare GET, a length.
pub(crate) fn request(method: &str, path: &str, lines: &[&str], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\nx-api-key: {KEY}\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    if method == "POST" || !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text + "\r\n" + body
}

/// A request to `vllm` of this session.
pub(crate) fn of_session(session: usize) -> String {
    let session = format!("session-id: s{session}");
    request("POST", "/p/vllm/chat/completions", &[&session], "{}")
}

/// What a client is answered, which is 200.
#[track_caller]
pub(crate) fn served(client: &mut Wire, request: &str) -> String {
    client.send(request);
    let answer = client.response();
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer.text()
}

/// The head of a POST with the gateway key, whose content is announced by this line and still to come.
pub(crate) fn announced(path: &str, framing: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: gateway\r\nx-api-key: {KEY}\r\n{framing}\r\n\r\n")
}

/// A whole response with a length.
pub(crate) fn response(status: &str, lines: &[&str], body: &str) -> String {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A 200 with this content.
pub(crate) fn ok(body: &str) -> String {
    response("200 OK", &[], body)
}

/// A request of HTTP/1.0 with the gateway key.
pub(crate) fn get_1_0(lines: &str) -> String {
    format!("GET /p/anthropic/models HTTP/1.0\r\nx-api-key: {KEY}\r\n{lines}\r\n")
}
