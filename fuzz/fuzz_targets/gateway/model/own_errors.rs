//! Errors of the gateway's own: where they are right, and how they end.

use super::answers::Last;
use super::framing::{self, Framing};
use super::message::{self, Found, Sender};
use super::record::{Record, Side, Upstream};
use super::requests::Request;
use super::visits::Visit;

/// Whether a clearly valid request may be answered with an error of the gateway's own.
pub fn own_error_is_right(record: &Record, request: &Request, on: &[&Visit<'_>]) -> bool {
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

pub fn is_own_error(got: &[u8]) -> bool {
    matches!(message::head(got, Sender::Gateway), Found::Whole(head) if head.has("request-id"))
}

/// Reads an error of the gateway's own: its length and whether the connection stays open. `None`: it is not
/// whole because the client did not wait for it.
pub fn own_error(got: &[u8], right: bool, why: &str, client: &Side) -> Option<(usize, bool)> {
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
    let content = framing::content(&got[head.len..], framing, Sender::Gateway);
    Some((head.len + content.raw.len(), head.persists(false)))
}
