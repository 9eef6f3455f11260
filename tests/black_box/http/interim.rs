//! `Expect: 100-continue`, and responses that come before the response.

use crate::support::{End, Rig, announced, get, get_1_0, ok, post, request, response};

/// A request that waits for a 100, and its content.
fn expecting() -> (String, &'static str) {
    let lines = "Expect: 100-continue\r\nContent-Length: 10";
    (announced("/p/anthropic/messages", lines), "0123456789")
}

#[test]
fn expect_100_continue_is_honoured_end_to_end() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let (head, body) = expecting();
    client.send(head);
    let mut peer = rig.upstream.accept();
    let seen = peer.head();
    assert_eq!(seen.value("expect"), Some("100-continue"));
    // Nothing but the provider says that it goes on.
    assert!(!client.readable_now(), "a 100 nobody sent");
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    client.expect("HTTP/1.1 100 Continue\r\n\r\n");
    client.send(body);
    peer.expect(body);
    peer.send(ok("done"));
    assert_eq!(client.response().text(), "done");
    client.send(post("/p/anthropic/messages", "again"));
    assert_eq!(peer.request().text(), "again", "both connections stay");
}

#[test]
fn an_end_behind_an_interim_response_is_an_end_without_an_answer() {
    for (begun, code) in [
        ("", "upstream_closed"),
        ("HTTP/1.1 200 O", "upstream_invalid_response"),
    ] {
        let rig = Rig::plain();
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send("HTTP/1.1 103 Early Hints\r\n\r\n");
        assert_eq!(client.response().status(), 103);
        peer.send(begun);
        peer.close();
        let got = client.response();
        assert_eq!(got.status(), 502);
        assert!(got.text().contains(code), "{}", got.text());
    }
}

#[test]
fn an_expectation_may_be_refused_with_a_final_answer_which_ends_the_connections() {
    let rig = Rig::plain();
    for (status, text) in [
        ("413 Content Too Large", "too large"),
        ("417 Expectation Failed", "no"),
    ] {
        let (mut client, mut peer) = rig.begin(expecting().0);
        peer.send(response(status, &[], text));
        let got = client.response();
        assert_eq!(got.head.start, format!("HTTP/1.1 {status}"));
        assert_eq!(got.text(), text);
        assert_eq!(got.value("connection"), Some("close"));
        assert_eq!(client.expect_end(), End::Clean);
        assert_eq!(peer.expect_end(), End::Clean, "its framing is unknown now");
    }
}

#[test]
fn a_client_that_does_not_wait_for_100_may_send_its_content() {
    for continues in [true, false] {
        let rig = Rig::plain();
        let (head, body) = expecting();
        let (mut client, mut peer, seen) = rig.exchange(&(head + body));
        assert_eq!(seen.text(), body);
        if continues {
            peer.send("HTTP/1.1 100 Continue\r\n\r\n");
            assert_eq!(client.response().status(), 100);
        }
        peer.send(ok("done"));
        assert_eq!(client.response().text(), "done");
        client.send(post("/p/anthropic/messages", "again"));
        assert_eq!(peer.request().text(), "again", "both connections stay");
    }
}

#[test]
fn an_error_of_the_gateway_answers_an_expectation_at_once() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(
        "POST /p/anthropic/messages HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\n\
         Content-Length: 10\r\n\r\n",
    );
    assert_eq!(client.response().status(), 401);
    rig.upstream.expect_untouched();
}

#[test]
fn another_expectation_is_relayed() {
    let rig = Rig::plain();
    for other in ["something-else", "wonders"] {
        let line = format!("Expect: {other}");
        let (_, _, seen) = rig.exchange(&request("POST", "/p/anthropic/messages", &[&line], "x"));
        assert_eq!(seen.value("expect"), Some(other));
    }
}

#[test]
fn an_http_1_0_client_expects_no_100() {
    let rig = Rig::plain();
    let lines = "Expect: 100-continue\r\nExpect: something-else\r\nContent-Length: 5\r\n\
                 Connection: keep-alive\r\n";
    let mut client = rig.client();
    client.send(get_1_0(lines).replace("GET", "POST"));
    let mut peer = rig.upstream.accept();
    assert_eq!(peer.head().values("expect"), ["something-else"]);
    // An answer before the content: nobody waits, so the connection goes on.
    peer.send(ok("early"));
    let got = client.response();
    assert_eq!(got.text(), "early");
    let kept = got.value("connection").map(str::to_lowercase);
    assert_eq!(kept.as_deref(), Some("keep-alive"));
    client.send("hello");
    peer.expect("hello");
}

#[test]
fn interim_responses_are_relayed_at_once_to_http_1_1_clients() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    for _ in 0..3 {
        peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nlink: </b>\r\n\r\n");
        let got = client.response();
        assert_eq!(got.head.start, "HTTP/1.1 103 Early Hints");
        assert_eq!(got.head.values("link"), ["</a>; rel=preload", "</b>"]);
    }
    peer.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n");
    assert_eq!(client.response().status(), 102);
    assert_eq!(client.response().status(), 199);
    let behind = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    peer.send(behind.to_owned() + &ok("final"));
    assert_eq!(client.response().status(), 103);
    assert_eq!(client.response().status(), 102);
    assert_eq!(client.response().text(), "final");
}

#[test]
fn interim_responses_are_dropped_for_http_1_0_clients() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get_1_0(""));
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    peer.send(hints);
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    peer.send(hints.to_owned() + &ok("final"));
    let got = client.response();
    assert_eq!((got.status(), got.text().as_str()), (200, "final"));
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn sixteen_interim_responses_pass_and_one_more_is_502() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(16) + &ok("final"));
    for _ in 0..16 {
        assert_eq!(client.response().status(), 103);
    }
    assert_eq!(client.response().text(), "final");
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17) + &ok("final"));
    for _ in 0..16 {
        assert_eq!(client.response().status(), 103);
    }
    let got = client.response();
    assert_eq!(got.status(), 502);
    assert_eq!(got.value("x-should-retry"), Some("false"));
    peer.wait_for_close();
}

#[test]
fn an_interim_response_has_no_content_whatever_its_lines_say() {
    let rig = Rig::plain();
    for line in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send(format!("HTTP/1.1 103 Early Hints\r\n{line}\r\n\r\n"));
        peer.send(response("200 OK", &["Connection: close"], "final"));
        let mut got = client.response();
        if got.status() == 103 {
            got = client.response();
        }
        // Refusing it is as safe.
        assert!(
            got.status() == 502 || got.text() == "final",
            "{line}: {}",
            got.text()
        );
    }
}
