//! When connections of clients stay open.

use super::answers::{Clear, Last};
use super::framing::Framing;
use super::message::{self, Found, Head, Sender};
use super::record::Record;
use super::requests::Request;
use super::responses::interim_len;
use super::visits::Visit;

impl Head {
    /// Whether its sender keeps the connection open.
    pub fn persists(&self, http10: bool) -> bool {
        let options = self.list("connection");
        let has = |wanted: &str| options.iter().any(|option| option == wanted);
        !has("close") && (!http10 || has("keep-alive"))
    }
}

impl Clear {
    /// Only the end of the client's connection says that it is complete.
    pub fn ends_with_connection(&self, request: &Request) -> bool {
        self.framing == Framing::Close || request.strips(self)
    }
}

/// The lines that say in a response whether the connection stays open; any of these.
pub fn said(tunnel: bool) -> Vec<Vec<String>> {
    let stays = "Keep-Alive: timeout=119\r\n".to_owned();
    let said = "Connection: keep-alive\r\n".to_owned();
    let ends = "Connection: close\r\n".to_owned();
    match tunnel {
        true => vec![vec![]],
        false => vec![vec![said, stays], vec![ends]],
    }
}

/// A response that is complete: whether the connection stays open behind it.
pub fn complete(record: &Record, request: &Request, visit: &Visit<'_>, got: &[u8]) -> bool {
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
    // Content that was promised and has not come may be nobody's to take any more.
    let empty = matches!(request.content.state, Found::Whole(())) && request.content.raw.is_empty();
    let simple = empty && !request.http10 && !request.expects;
    if simple && !by_close && wished {
        assert!(persists, "the connection was closed without need");
    }
    assert!(
        wished || !persists,
        "the connection was kept against the client's will"
    );
    persists
}
