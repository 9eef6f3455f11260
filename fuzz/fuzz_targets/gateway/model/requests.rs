//! What the client has sent, as requests.

use memchr::memmem;

use super::credentials;
use super::framing::{self, Content, Framing};
use super::message::{self, Found, Head, Sender, is_version_1};
use super::routing::{PREFIXES, endpoint};

/// A clearly valid request head, and its content as far as it has come.
#[derive(Debug)]
pub struct Request {
    pub head: Head,
    pub method: String,
    pub http10: bool,
    pub provider: usize,
    /// The request line that goes upstream.
    pub line: String,
    pub content: Content,
    /// It asks for a websocket.
    pub upgrade: bool,
    /// It may leave its content out until it is told to go on.
    pub expects: bool,
    /// Where it begins and its content ends in what the client has sent.
    pub end: usize,
}

/// What the client has sent behind the requests that are clear.
#[derive(Debug, PartialEq, Eq)]
pub enum Tail {
    Nothing,
    Part,
    Unsure,
    /// Has to be refused.
    Invalid,
}

/// The requests that are clear, in order. Nothing is looked at behind one that may become a tunnel.
pub fn requests(sent: &[u8]) -> (Vec<Request>, Tail) {
    let mut requests: Vec<Request> = Vec::new();
    let mut at = 0;
    while at < sent.len() {
        match request(sent, at) {
            Found::Whole(request) => {
                at = request.end;
                let tail = match request.content.state {
                    Found::Whole(()) if request.upgrade => Tail::Unsure,
                    Found::Whole(()) => Tail::Nothing,
                    Found::Part => Tail::Part,
                    Found::Unsure => Tail::Unsure,
                };
                requests.push(request);
                if tail != Tail::Nothing {
                    return (requests, tail);
                }
            }
            Found::Part => return (requests, Tail::Part),
            Found::Unsure if has_to_be_refused(&sent[at..]) => return (requests, Tail::Invalid),
            Found::Unsure => return (requests, Tail::Unsure),
        }
    }
    (requests, Tail::Nothing)
}

fn request(sent: &[u8], at: usize) -> Found<Request> {
    let head = match message::head(&sent[at..], Sender::Client) {
        Found::Whole(head) => head,
        Found::Part => return Found::Part,
        Found::Unsure => return Found::Unsure,
    };
    match clear_request(head, sent, at) {
        Some(request) => Found::Whole(request),
        None => Found::Unsure,
    }
}

fn clear_request(head: Head, sent: &[u8], at: usize) -> Option<Request> {
    let parts: Vec<&str> = head.start.split(' ').collect();
    let [method, target, version] = *parts else {
        return None;
    };
    let methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"];
    let http10 = version == "HTTP/1.0";
    let known = methods.contains(&method) && is_version_1(version);
    // Pages of elsewhere are refused where there are no keys, and so is what has come round.
    let known = known && !head.has("origin") && !head.has("x-sluicegate-loop");
    let hosts = head.all("host");
    let plain = |c: char| c.is_ascii_lowercase() || c == '.';
    let host = match *hosts {
        [host] => host.starts_with(char::is_alphabetic) && host.chars().all(plain),
        [] => http10,
        _ => false,
    };
    if !known || !host || !credentials::come_once(&head) || head.has("sec-websocket-protocol") {
        return None;
    }
    let (provider, endpoint) = endpoint(target)?;
    let framing = head.framing(Framing::None, Sender::Client)?;
    if http10 && framing == Framing::Chunked {
        return None;
    }
    let content = framing::content(&sent[at + head.len..], framing, Sender::Client);
    let empty = matches!(framing, Framing::None | Framing::Length(0));
    let has = |name: &str, option: &str| head.list(name).iter().any(|o| o == option);
    let upgrade = method == "GET"
        && !http10
        && empty
        && has("upgrade", "websocket")
        && has("connection", "upgrade");
    Some(Request {
        method: method.to_owned(),
        http10,
        provider,
        line: format!("{method} {}/{endpoint} HTTP/1.1", PREFIXES[provider]),
        upgrade,
        expects: head.has("expect"),
        end: at + head.len + content.raw.len(),
        content,
        head,
    })
}

/// Whether a head has a fault that nobody may overlook.
fn has_to_be_refused(bytes: &[u8]) -> bool {
    let end = memmem::find(bytes, b"\r\n\r\n");
    let Some(end) = end else { return false };
    let head = &bytes[..end + 2];
    let bare_lf = |at: usize| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r');
    let bare_cr = |at: usize| head[at] == b'\r' && head.get(at + 1) != Some(&b'\n');
    if (0..head.len()).any(|at| head[at] == 0 || bare_lf(at) || bare_cr(at)) {
        return true;
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let count = |name: &str| text.matches(&format!("\r\n{name}:")).count();
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    text.contains("\r\n ")
        || text.contains("\r\n\t")
        || lengths > 1
        || (lengths > 0 && codings > 0)
        || count("host") > 1
}
