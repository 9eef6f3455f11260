//! Requests to `vllm` that wait for their turn, and those that have it.

use super::metrics::wait_metrics;
use super::{Gateway, Upstream, Wire, response};

pub(crate) const WAITING: &str = "upstream_queue_requests{provider=\"vllm\",state=\"waiting\"}";
pub(crate) const ADMITTED: &str = "upstream_queue_requests{provider=\"vllm\",state=\"admitted\"}";

/// A client whose request waits; so many do then.
#[track_caller]
pub(crate) fn waits(gateway: &Gateway, request: impl AsRef<[u8]>, count: u32) -> Wire {
    let mut client = gateway.connect();
    client.send(request);
    wait_metrics(gateway, &[(WAITING, count.into())]);
    client
}

/// The provider's next request, which is for this path.
#[track_caller]
pub(crate) fn next(upstream: &Upstream, path: &str) -> Wire {
    let mut peer = upstream.accept();
    assert_eq!(peer.request().head.target(), format!("/{path}"));
    peer
}

/// Answers and closes, so that each request has a connection of its own.
#[track_caller]
pub(crate) fn answer(mut peer: Wire, client: &mut Wire) {
    peer.send(response("200 OK", &["Connection: close"], "done"));
    assert_eq!(client.response().text(), "done");
}
