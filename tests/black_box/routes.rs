//! Spec section 3: where a request goes, byte for byte.

use crate::support::upstream::serve_ok;
use crate::support::{Client, Gateway, Upstream, get};

#[test]
fn endpoint_and_query_arrive_unchanged() {
    let upstream = Upstream::ok();
    let gateway = Gateway::before(&upstream);
    let mut client = Client::connect(&gateway);
    let rows = [
        (
            "/p/anthropic/v1/messages?beta=true",
            "/v1/messages?beta=true",
        ),
        ("/p/anthropic/messages", "/v1/messages"),
        (
            "/p/anthropic/v1/models/vendor%2Fmodel",
            "/v1/models/vendor%2Fmodel",
        ),
        (
            "/p/anthropic/a//b;x=1,y/%C3%A9/%252e?",
            "/v1/a//b;x=1,y/%C3%A9/%252e?",
        ),
        (
            "/p/anthropic/x?a=1&a=2&b=&=c&+%20;%zz",
            "/v1/x?a=1&a=2&b=&=c&+%20;%zz",
        ),
        ("/p/anthropic/v1beta/x", "/v1/v1beta/x"),
        ("http://other.example:1/p/anthropic/x", "/v1/x"),
    ];
    for (target, expected) in rows {
        assert_eq!(client.exchange(get(target)).status, 200, "{target}");
        let recorded = upstream.recorded();
        let text = String::from_utf8_lossy(recorded.last().unwrap()).into_owned();
        let line = text
            .split("\r\n")
            .filter(|line| line.starts_with("GET "))
            .last()
            .unwrap()
            .to_owned();
        assert_eq!(line, format!("GET {expected} HTTP/1.1"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn over_tls_on_both_sides() {
    let upstream = Upstream::start_tls(serve_ok);
    let gateway = Gateway::start(|setup| {
        setup.provider("ANTHROPIC", &upstream).tls();
    });
    let mut client = Client::connect_tls(&gateway);
    for _ in 0..3 {
        assert_eq!(
            client.exchange(get("/p/anthropic/v1/models")).text(),
            "{\"ok\":true}"
        );
    }
    assert_eq!(upstream.connections(), 1);
}
