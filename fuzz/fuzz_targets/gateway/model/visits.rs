//! Which requests have reached which providers, and how often: what may be repeated and what may not.

use memchr::memmem;

use super::answers::{Answer, answer};
use super::fields::{Match, added, is_removed, same_head};
use super::framing::same_content;
use super::message::{Field, Found};
use super::record::{Record, Upstream};
use super::requests::{Request, Tail};

/// One request on one connection to a provider.
#[derive(Debug)]
pub struct Visit<'a> {
    pub request: usize,
    pub upstream: &'a Upstream,
    pub answer: Answer,
    /// Where content or tunnel begin in what this provider received.
    pub content_at: usize,
    /// All of the request has arrived.
    pub whole: bool,
}

/// Reads what every provider has received as whole requests, the last one perhaps broken off. `None`: the
/// model cannot tell which request is which.
pub fn visits<'a>(record: &'a Record, requests: &[Request], tail: &Tail) -> Option<Vec<Visit<'a>>> {
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
    let (added, own) = added(request, &kept);
    let len = match same_head(received, &request.line, &kept, &added, Some(own)) {
        Match::Full(len) => len,
        other => return other,
    };
    same_content(&received[len..], len, &request.content)
}
