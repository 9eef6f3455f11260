//! What the client has received: the response of its provider to each request, or an error of the gateway's own.

use super::answers::{Answer, Clear, Last};
use super::cuts::{broken_off, withheld};
use super::fields::{Match, kept, same_head};
use super::framing::{same_content, stripped};
use super::message::status_line;
use super::own_errors::{is_own_error, own_error, own_error_is_right};
use super::persistence::{complete, said};
use super::record::Record;
use super::requests::{Request, Tail};
use super::visits::Visit;

/// Goes through what the client has received, one response a request.
pub fn responses(record: &Record, requests: &[Request], tail: &Tail, visits: &[Visit<'_>]) {
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
pub fn interim_len(got: &[u8], request: &Request, answer: &Answer) -> usize {
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
    let added = said(tunnel)
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
