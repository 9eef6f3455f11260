//! What each side has to have received, worked out from what both have sent.
//!
//! Where the messages are not clearly valid the model is unsure and checks less; it never guesses.

use memchr::memmem;
use sluicegate::http::rewrite::property::is_disguised;

use crate::message::{self, Content, Field, Found, Framing, Head, Sender};
use crate::play::{End, Record, Side, Upstream};

/// A clearly valid request head, and its content as far as it has come.
#[derive(Debug)]
struct Request {
    head: Head,
    method: String,
    http10: bool,
    provider: usize,
    /// The request line that goes upstream.
    line: String,
    content: Content,
    /// It asks for a websocket.
    upgrade: bool,
    /// It may leave its content out until it is told to go on.
    expects: bool,
    /// Where it begins and its content ends in what the client has sent.
    end: usize,
}

/// What the client has sent behind the requests that are clear.
#[derive(Debug, PartialEq, Eq)]
enum Tail {
    Nothing,
    Part,
    Unsure,
    /// Has to be refused.
    Invalid,
}

/// One request on one connection to a provider.
#[derive(Debug)]
struct Visit<'a> {
    request: usize,
    upstream: &'a Upstream,
    answer: Answer,
    /// Where content or tunnel begin in what this provider received.
    content_at: usize,
    /// All of the request has arrived.
    whole: bool,
}

/// What a provider has answered to one request.
#[derive(Debug)]
struct Answer {
    interim: Vec<Head>,
    last: Last,
}

/// A final response.
#[derive(Debug)]
enum Last {
    Clear(Clear),
    /// Nothing yet.
    Nothing,
    /// Not a whole head yet; it may be bad already.
    Part,
    /// Has to be refused.
    Invalid,
    Unsure,
}

#[derive(Debug)]
struct Clear {
    head: Head,
    framing: Framing,
    content: Content,
}

impl Answer {
    fn unsure() -> Self {
        Self {
            interim: Vec::new(),
            last: Last::Unsure,
        }
    }

    fn is_unsure(&self) -> bool {
        matches!(self.last, Last::Unsure)
    }
}

/// How received bytes compare with what was expected.
#[derive(Debug)]
enum Match {
    /// So many bytes are just what was expected.
    Full(usize),
    /// They end before what was expected does.
    Prefix,
    No(String),
}

/// The gateway's own fields, as this configuration has them.
const HOSTS: [&str; 2] = ["127.0.0.1:1", "127.0.0.1:2"];
const PREFIXES: [&str; 2] = ["/base", ""];
const CREDENTIALS: [&str; 2] = ["Authorization: Bearer key-of-a", "x-api-key: key-of-b"];

const CREDENTIAL_NAMES: [&str; 5] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-sluicegate-key",
];

/// Panics when a side has not received what it should have.
pub fn check(record: &Record) {
    for upstream in &record.upstreams {
        let other = ["key-of-b", "key-of-a"][upstream.provider];
        let has = |bytes: &[u8]| memmem::find(bytes, other.as_bytes()).is_some();
        let leaked = has(&upstream.side.received) && !has(&record.client.sent);
        assert!(!leaked, "a provider's key went to another one");
    }
    let (requests, tail) = requests(&record.client.sent);
    let Some(visits) = visits(record, &requests, &tail) else {
        return;
    };
    responses(record, &requests, &tail, &visits);
}

/// The requests that are clear, in order. Nothing is looked at behind one that may become a tunnel.
fn requests(sent: &[u8]) -> (Vec<Request>, Tail) {
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
    let once = CREDENTIAL_NAMES
        .iter()
        .all(|name| head.all(name).len() <= 1);
    if !known || !host || !once || head.has("sec-websocket-protocol") {
        return None;
    }
    let (provider, endpoint) = endpoint(target)?;
    let framing = head.framing(Framing::None, Sender::Client)?;
    if http10 && framing == Framing::Chunked {
        return None;
    }
    let content = message::content(&sent[at + head.len..], framing, Sender::Client);
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

/// One of HTTP/1.0 and those that are served as 1.1.
fn is_version_1(version: &str) -> bool {
    let minor = version.strip_prefix("HTTP/1.").unwrap_or_default();
    minor.len() == 1 && minor.bytes().all(|byte| byte.is_ascii_digit())
}

/// Provider and endpoint of a plain target.
fn endpoint(target: &str) -> Option<(usize, &str)> {
    let (provider, endpoint) = match target.strip_prefix("/p/")?.split_once('/')? {
        ("a", endpoint) => (0, endpoint),
        ("b", endpoint) => (1, endpoint),
        _ => return None,
    };
    let endpoint = endpoint.strip_prefix("v1/").unwrap_or(endpoint);
    let (path, query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '=' | '&');
    let segment = |s: &str| !s.is_empty() && s.chars().all(plain);
    let clear = path.split('/').all(segment) && query.chars().all(plain);
    (clear && path != "v1" && endpoint.len() < 8000).then_some((provider, endpoint))
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

/// What every request loses.
fn is_removed(request: &Request, field: &Field) -> bool {
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

/// Reads what every provider has received as whole requests, the last one perhaps broken off. `None`: the
/// model cannot tell which request is which.
fn visits<'a>(record: &'a Record, requests: &[Request], tail: &Tail) -> Option<Vec<Visit<'a>>> {
    let same = |a: &Request, b: &Request| a.line == b.line;
    let twins = (1..requests.len()).any(|b| (0..b).any(|a| same(&requests[a], &requests[b])));
    // What the model cannot read may be a twin too.
    let twins = twins || *tail == Tail::Unsure;
    if twins && (record.upstreams.len() > 1 || record.refused) {
        return None;
    }
    let mut visits = Vec::new();
    for upstream in &record.upstreams {
        visits_of(upstream, requests, tail, &mut visits)?;
    }
    for index in 0..requests.len() {
        let on: Vec<&Visit> = visits
            .iter()
            .filter(|visit| visit.request == index)
            .collect();
        assert!(on.len() <= 2, "request {index} went out {} times", on.len());
        if on.len() == 2 {
            let idempotent = ["GET", "HEAD", "PUT", "DELETE"].contains(&&*requests[index].method);
            assert!(idempotent, "request {index} was repeated");
            let stale = |visit: &&&Visit| visit.upstream.side.left.is_some();
            assert!(on.iter().any(|v| stale(&v)), "repeated without need");
        }
    }
    Some(visits)
}

fn visits_of<'a>(
    upstream: &'a Upstream,
    requests: &[Request],
    tail: &Tail,
    visits: &mut Vec<Visit<'a>>,
) -> Option<()> {
    let received = &upstream.side.received;
    let (mut at, mut answered, mut next) = (0, Some(0), 0);
    while at < received.len() {
        let of = |index: &usize| requests[*index].provider == upstream.provider;
        let mut why = String::from("there is no request left");
        let found = (next..requests.len()).filter(of).find_map(|index| {
            match arrived(&received[at..], &requests[index]) {
                Match::No(reason) => {
                    why = reason;
                    None
                }
                found => Some((index, found)),
            }
        });
        let Some((index, found)) = found else {
            if *tail == Tail::Unsure {
                return None;
            }
            panic!("a provider received what nobody sent, at {at}: {why}");
        };
        let request = &requests[index];
        let head = memmem::find(&received[at..], b"\r\n\r\n");
        let content_at = head.map_or(received.len(), |head| at + head + 4);
        let (answer, end) = match answered {
            Some(from) => answer(&upstream.side, from, request),
            None => (Answer::unsure(), None),
        };
        let whole = matches!(found, Match::Full(_));
        visits.push(Visit {
            request: index,
            upstream,
            answer,
            content_at,
            whole,
        });
        let Match::Full(len) = found else { break };
        at += len;
        answered = end;
        next = index + 1;
        let unsure = matches!(request.content.state, Found::Unsure);
        if request.upgrade || unsure {
            // Raw bytes, or who knows what, from here on.
            break;
        }
    }
    Some(())
}

/// Compares what a provider received with a request.
fn arrived(received: &[u8], request: &Request) -> Match {
    let fields = request.head.fields.iter();
    let kept: Vec<&Field> = fields.filter(|field| !is_removed(request, field)).collect();
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
    let len = match same_head(received, &request.line, &kept, &added, Some(own)) {
        Match::Full(len) => len,
        other => return other,
    };
    same_content(&received[len..], len, &request.content)
}

/// Whether received bytes begin with this start line, these fields in order, and those added anywhere; of one more
/// only the beginning is known.
fn same_head(
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

/// Compares the bytes behind a head with content, `len` bytes being the head's.
fn same_content(got: &[u8], len: usize, content: &Content) -> Match {
    let raw = &content.raw;
    let common = got.len().min(raw.len());
    if got[..common] != raw[..common] {
        return Match::No("the content differs".to_owned());
    }
    match content.state {
        Found::Whole(()) if got.len() >= raw.len() => Match::Full(len + raw.len()),
        Found::Part if got.len() > raw.len() => Match::No("more content than sent".to_owned()),
        _ => Match::Prefix,
    }
}

/// What a provider has answered from `from` on, and where the next answer would begin.
fn answer(side: &Side, from: usize, request: &Request) -> (Answer, Option<usize>) {
    let mut at = from;
    let mut interim = Vec::new();
    let last = loop {
        let head = match message::head(&side.sent[at..], Sender::Provider) {
            Found::Whole(head) => head,
            Found::Part if side.sent.len() == at => break Last::Nothing,
            Found::Part => break Last::Part,
            Found::Unsure => break Last::Unsure,
        };
        let Some((code, http10)) = status(&head) else {
            break Last::Unsure;
        };
        let len = head.len;
        if (100..200).contains(&code) && code != 101 && interim.len() < 16 {
            at += len;
            interim.push(head);
            continue;
        }
        // Only a websocket is ever asked for.
        let switches = head.list("upgrade").iter().any(|to| to == "websocket");
        if code == 101 && !(request.upgrade && switches) {
            break Last::Invalid;
        }
        let clear = response_framing(&head, code, http10, request);
        let Some(framing) = clear.filter(|_| code >= 200 || code == 101) else {
            break Last::Unsure;
        };
        at += len;
        let mut content = message::content(&side.sent[at..], framing, Sender::Provider);
        if framing == Framing::Close && code != 101 {
            match side.left {
                Some(End::Fin) => content.state = Found::Whole(()),
                Some(End::FinOrReset) => content.state = Found::Unsure,
                Some(End::Reset) | None => {}
            }
        }
        at += content.raw.len();
        break Last::Clear(Clear {
            head,
            framing,
            content,
        });
    };
    let whole =
        matches!(&last, Last::Clear(clear) if matches!(clear.content.state, Found::Whole(())));
    (Answer { interim, last }, whole.then_some(at))
}

fn status(head: &Head) -> Option<(u16, bool)> {
    let (version, rest) = head.start.split_once(' ')?;
    let (code, reason) = rest.split_once(' ')?;
    let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let known = is_version_1(version) && !reason.starts_with(' ');
    let code: u16 = code.parse().ok()?;
    (digits && known && (100..600).contains(&code)).then_some((code, version == "HTTP/1.0"))
}

fn response_framing(head: &Head, code: u16, http10: bool, request: &Request) -> Option<Framing> {
    let framing = head.framing(Framing::Close, Sender::Provider)?;
    match code {
        101 => Some(Framing::Close),
        204 if framing != Framing::Close => None,
        204 | 304 => Some(Framing::None),
        _ if framing == Framing::Chunked && http10 => None,
        _ if request.method == "HEAD" => Some(Framing::None),
        _ => Some(framing),
    }
}

/// Goes through what the client has received, one response a request.
fn responses(record: &Record, requests: &[Request], tail: &Tail, visits: &[Visit<'_>]) {
    let client = &record.client;
    let (mut at, mut index) = (0, 0);
    let mut persists = true;
    while at < client.received.len() {
        let got = &client.received[at..];
        assert!(persists, "more than the last response, at {at}");
        let Some(request) = requests.get(index) else {
            own_error(got, *tail != Tail::Nothing, "behind the requests", client);
            return;
        };
        let on: Vec<&Visit> = visits.iter().filter(|v| v.request == index).collect();
        let compared = on
            .iter()
            .map(|visit| (*visit, relayed(got, request, &visit.answer)));
        let (no, yes): (Vec<_>, Vec<_>) = compared.partition(|(_, m)| matches!(m, Match::No(_)));
        match yes.first() {
            Some((visit, Match::Full(len))) => {
                persists = complete(record, request, visit, &got[..*len]);
                at += len;
            }
            Some((visit, _)) => return broken_off(record, request, visit, got),
            None => {
                // An error of the gateway's own may come behind interim responses.
                let begin = on
                    .iter()
                    .map(|visit| interim_len(got, request, &visit.answer));
                let begin = begin.max().unwrap_or_default();
                let unsure = on.iter().any(|visit| visit.answer.is_unsure());
                if unsure && !is_own_error(&got[begin..]) {
                    return;
                }
                let right = own_error_is_right(record, request, &on);
                let why = format!("request {index} got no answer of its provider's: {no:?}");
                let Some((len, stays)) = own_error(&got[begin..], right, &why, client) else {
                    return;
                };
                (at, persists) = (at + begin + len, stays);
            }
        }
        index += 1;
    }
    withheld(record, requests, index, persists, visits);
}

/// Whether a clearly valid request may be answered with an error of the gateway's own.
fn own_error_is_right(record: &Record, request: &Request, on: &[&Visit<'_>]) -> bool {
    let unclear = |visit: &&Visit| match &visit.answer.last {
        Last::Clear(clear) => matches!(clear.content.state, Found::Unsure),
        Last::Nothing => visit.upstream.side.left.is_some(),
        Last::Part | Last::Unsure | Last::Invalid => true,
    };
    let bad = matches!(request.content.state, Found::Unsure);
    // It left before the request was there.
    let unread = |upstream: &Upstream| {
        let Side { left, received, .. } = &upstream.side;
        upstream.provider == request.provider && left.is_some() && received.is_empty()
    };
    let disturbed = record.refused || record.upstreams.iter().any(unread);
    disturbed || bad || on.iter().any(|visit| unclear(&visit))
}

/// A response that is complete: whether the connection stays open behind it.
fn complete(record: &Record, request: &Request, visit: &Visit<'_>, got: &[u8]) -> bool {
    let Last::Clear(clear) = &visit.answer.last else {
        return false;
    };
    let begin = interim_len(got, request, &visit.answer);
    let Found::Whole(head) = message::head(&got[begin..], Sender::Gateway) else {
        return false;
    };
    let by_close = clear.ends_with_connection(request);
    let bad = matches!(request.content.state, Found::Unsure);
    if by_close && record.client.left.is_none() && record.closed && !bad {
        assert!(!record.reset, "a complete response was reset");
    }
    let persists = head.persists(request.http10) && !by_close;
    let wished = request.head.persists(request.http10);
    let simple = request.content.raw.is_empty() && !request.http10 && !request.expects;
    if simple && !by_close && wished {
        assert!(persists, "the connection was closed without need");
    }
    assert!(
        wished || !persists,
        "the connection was kept against the client's will"
    );
    persists
}

/// A response that is not complete.
fn broken_off(record: &Record, request: &Request, visit: &Visit<'_>, got: &[u8]) {
    let side = &visit.upstream.side;
    let Last::Clear(clear) = &visit.answer.last else {
        return;
    };
    let Content { raw, plain, state } = &clear.content;
    let bad = matches!(request.content.state, Found::Unsure) || matches!(state, Found::Unsure);
    if record.client.left.is_some() || bad || (clear.is_tunnel() && side.left.is_some()) {
        return;
    }
    let part = matches!(state, Found::Part);
    if record.closed {
        assert!(
            part && side.left.is_some(),
            "a response was cut without need"
        );
        let by_close = clear.ends_with_connection(request);
        assert!(!by_close || record.reset, "a cut response looks complete");
    } else if side.left.is_none() {
        assert!(part, "the rest of a response was withheld");
        let expected = if request.strips(clear) { plain } else { raw };
        assert!(got.ends_with(expected), "a part of a response was withheld");
    }
}

/// What the client waits for and should have by now.
fn withheld(record: &Record, requests: &[Request], index: usize, open: bool, visits: &[Visit<'_>]) {
    let Some(request) = requests.get(index) else {
        return;
    };
    let disturbed = record.client.left.is_some()
        || record.refused
        || record
            .upstreams
            .iter()
            .any(|upstream| upstream.side.left.is_some());
    let unsure = visits.iter().any(|visit| visit.answer.is_unsure());
    if disturbed || unsure || !open || matches!(request.content.state, Found::Unsure) {
        return;
    }
    assert!(!record.closed, "closed without an answer");
    let Some(visit) = visits.iter().find(|visit| visit.request == index) else {
        panic!("request {index} was withheld from its provider");
    };
    assert!(
        !matches!(visit.answer.last, Last::Clear(_)),
        "a response was withheld"
    );
    let got = &visit.upstream.side.received[visit.content_at..];
    let all = got.len() >= request.content.raw.len();
    assert!(visit.whole || all, "content was withheld from the provider");
}

impl Request {
    /// The chunked coding is taken off for it.
    fn strips(&self, clear: &Clear) -> bool {
        self.http10 && clear.framing == Framing::Chunked
    }
}

impl Clear {
    /// Only the end of the client's connection says that it is complete.
    fn ends_with_connection(&self, request: &Request) -> bool {
        self.framing == Framing::Close || request.strips(self)
    }

    /// What follows has no end of its own, so that any end will do.
    fn is_tunnel(&self) -> bool {
        self.head.start.split(' ').nth(1) == Some("101")
    }
}

/// Compares what the client received with what a provider answered.
fn relayed(got: &[u8], request: &Request, answer: &Answer) -> Match {
    let begin = interim_len(got, request, answer);
    match &answer.last {
        Last::Clear(clear) => relayed_last(got, begin, request, clear),
        _ if begin == got.len() => Match::Prefix,
        _ => Match::No("no clear answer".to_owned()),
    }
}

/// How many bytes are interim responses that a provider sent.
fn interim_len(got: &[u8], request: &Request, answer: &Answer) -> usize {
    let mut at = 0;
    for head in answer.interim.iter().filter(|_| !request.http10) {
        let mut kept = kept(head, false);
        kept.retain(|f| !["content-length", "transfer-encoding"].contains(&&*f.name));
        match same_head(&got[at..], &status_line(head), &kept, &[], None) {
            Match::Full(len) => at += len,
            _ => break,
        }
    }
    at
}

fn relayed_last(got: &[u8], at: usize, request: &Request, clear: &Clear) -> Match {
    let Clear { head, content, .. } = clear;
    let tunnel = clear.is_tunnel();
    let strip = request.strips(clear);
    let mut kept = kept(head, tunnel);
    kept.retain(|f| !(strip && ["transfer-encoding", "trailer"].contains(&&*f.name)));
    kept.retain(|f| !(tunnel && ["content-length", "transfer-encoding"].contains(&&*f.name)));
    let mut one_length = Vec::new();
    if let Some(length) = head.listed_length().filter(|_| !tunnel) {
        let length = length.trim_start_matches('0');
        let length = if length.is_empty() { "0" } else { length };
        one_length.push(format!("Content-Length: {length}\r\n"));
        kept.retain(|f| f.name != "content-length");
    }
    let has_id = kept.iter().any(|field| field.name == "x-request-id");
    let id = (!has_id).then_some("X-Request-ID: ");
    let stays = "Keep-Alive: timeout=119\r\n".to_owned();
    let said = "Connection: keep-alive\r\n".to_owned();
    let ends = "Connection: close\r\n".to_owned();
    let persistence = match tunnel {
        true => vec![vec![]],
        false => vec![vec![said, stays], vec![ends]],
    };
    let added = persistence
        .into_iter()
        .map(|lines| [&*lines, &*one_length].concat());
    let mut no = Match::No(String::new());
    for added in added {
        match same_head(&got[at..], &status_line(head), &kept, &added, id) {
            Match::Full(len) => {
                let rest = &got[at + len..];
                return match strip {
                    true => stripped(rest, at + len, content),
                    false => same_content(rest, at + len, content),
                };
            }
            Match::Prefix => return Match::Prefix,
            differs => no = differs,
        }
    }
    no
}

/// Content without its chunked coding; it ends with the connection.
fn stripped(got: &[u8], len: usize, content: &Content) -> Match {
    match content.plain.starts_with(got) {
        true if matches!(content.state, Found::Whole(())) && got.len() == content.plain.len() => {
            Match::Full(len + got.len())
        }
        true => Match::Prefix,
        false => Match::No("the content differs".to_owned()),
    }
}

fn status_line(head: &Head) -> String {
    let rest = head.start.split_once(' ').map_or("", |(_, rest)| rest);
    format!("HTTP/1.1 {rest}")
}

/// The fields of a response that go on.
fn kept(head: &Head, tunnel: bool) -> Vec<&Field> {
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

fn is_own_error(got: &[u8]) -> bool {
    matches!(message::head(got, Sender::Gateway), Found::Whole(head) if head.has("request-id"))
}

/// Reads an error of the gateway's own: its length and whether the connection stays open. `None`: it is not
/// whole because the client did not wait for it.
fn own_error(got: &[u8], right: bool, why: &str, client: &Side) -> Option<(usize, bool)> {
    let Found::Whole(head) = message::head(got, Sender::Gateway) else {
        assert!(client.left.is_some(), "half an error: {why}");
        return None;
    };
    let own = head.has("request-id") || !head.has("x-request-id");
    let local = head.start == "HTTP/1.1 204 No Content" || head.start == "HTTP/1.1 200 OK";
    assert!(
        own || local || right,
        "not an error of the gateway's own: {why}"
    );
    assert!(right, "the gateway refused: {why}");
    let framing = head.framing(Framing::None, Sender::Gateway)?;
    let content = message::content(&got[head.len..], framing, Sender::Gateway);
    Some((head.len + content.raw.len(), head.persists(false)))
}
