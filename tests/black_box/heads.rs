//! Request and response heads: what is removed, what is added, and that all else stays as it was.

use crate::support::{Gateway, Upstream, get};

#[test]
fn smoke() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/v1/models"));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().head.start, "GET /v1/models HTTP/1.1");
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().text(), "hi");
}
