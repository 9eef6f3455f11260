//! Responses that are not complete: cut where their provider cut them, and never withheld.

use super::answers::Last;
use super::framing::Content;
use super::message::Found;
use super::record::Record;
use super::requests::Request;
use super::visits::Visit;

/// A response that is not complete.
pub fn broken_off(record: &Record, request: &Request, visit: &Visit<'_>, got: &[u8]) {
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
pub fn withheld(
    record: &Record,
    requests: &[Request],
    index: usize,
    open: bool,
    visits: &[Visit<'_>],
) {
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
