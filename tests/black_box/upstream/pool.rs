//! Connections to the provider: which one is used again, which never, and what is sent twice.

use crate::support::{ALL_SIDES, Rig, Sides, Wire, get, ok, request, response};

/// Sends `request`, which must come on `peer`, and answers it.
#[track_caller]
fn served_by(client: &mut Wire, peer: &mut Wire, request: &str) {
    client.send(request);
    peer.request();
    peer.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
}

/// Two idle connections to the provider; the second one was used last.
fn two_idle(rig: &mut Rig) -> (Wire, Wire, Wire) {
    let (mut one, mut older, _) = rig.exchange(&get("/p/anthropic/models"));
    let (mut two, mut newer, _) = rig.exchange(&get("/p/anthropic/models"));
    older.send(ok("one"));
    assert_eq!(one.response().text(), "one");
    rig.settle();
    newer.send(ok("two"));
    assert_eq!(two.response().text(), "two");
    rig.settle();
    (one, older, newer)
}

#[test]
fn requests_one_after_the_other_share_a_connection() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send(ok("first"));
        assert_eq!(client.response().text(), "first");
        for _ in 0..5 {
            served_by(&mut client, &mut peer, &get("/p/anthropic/models"));
            served_by(&mut rig.client(), &mut peer, &get("/p/anthropic/models"));
            let post = request("POST", "/p/anthropic/messages", &[], "content");
            served_by(&mut client, &mut peer, &post);
        }
        assert!(!rig.upstream.has_connection(), "{sides:?}");
    }
}

#[test]
fn the_most_recently_used_connection_is_taken_first() {
    let mut rig = Rig::plain();
    let (mut client, mut older, mut newer) = two_idle(&mut rig);
    for _ in 0..3 {
        served_by(&mut client, &mut newer, &get("/p/anthropic/models"));
    }
    assert!(!older.readable_now());
    // Both at once: the older one is still good.
    client.send(get("/p/anthropic/models"));
    newer.request();
    served_by(&mut rig.client(), &mut older, &get("/p/anthropic/models"));
    assert!(!rig.upstream.has_connection());
}

#[test]
fn a_stale_connection_is_replaced_without_an_error() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for reset in [false, true] {
            for method in ["GET", "POST"] {
                let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
                peer.send(ok("first"));
                assert_eq!(client.response().text(), "first");
                if reset {
                    peer.reset()
                } else {
                    peer.close()
                }
                client.send(request(method, "/p/anthropic/messages", &[], "content"));
                let mut fresh = rig.upstream.accept();
                assert_eq!(
                    fresh.request().text(),
                    "content",
                    "{sides:?} {reset} {method}"
                );
                fresh.send(ok("second"));
                assert_eq!(
                    client.response().text(),
                    "second",
                    "{sides:?} {reset} {method}"
                );
            }
        }
    }
}

#[test]
fn the_death_of_an_idle_connection_is_noticed_when_it_happens() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send(ok("first"));
        client.response();
        peer.half_close();
        // The gateway closes its side too, without any further request.
        peer.wait_for_close();
    }
}

#[test]
fn stray_bytes_on_an_idle_connection_close_it_and_reach_nobody() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send(ok("first"));
        assert_eq!(client.response().text(), "first");
        peer.send(ok("evil"));
        let (mut other, mut fresh, _) = rig.exchange(&get("/p/anthropic/models"));
        fresh.send(ok("own"));
        assert_eq!(other.response().text(), "own", "{sides:?}");
        peer.wait_for_close();
        served_by(&mut client, &mut fresh, &get("/p/anthropic/models"));
    }
}

#[test]
fn bytes_beyond_the_end_of_a_response_close_it_and_reach_nobody() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for answer in [
            ok("first") + &ok("evil"),
            ok("first") + "x",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\nevil"
                .to_owned(),
        ] {
            let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
            peer.send(&answer);
            assert_eq!(client.response().text(), "first", "{sides:?}");
            let (mut other, mut fresh, _) = rig.exchange(&get("/p/anthropic/models"));
            fresh.send(response("200 OK", &["Connection: close"], "own"));
            assert_eq!(other.response().text(), "own", "{sides:?}");
            peer.wait_for_close();
        }
    }
}

#[test]
fn content_after_a_head_204_or_304_closes_it_and_reaches_nobody() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nevil"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        ),
    ] {
        let rig = Rig::plain();
        let (mut client, mut peer, _) =
            rig.exchange(&request(method, "/p/anthropic/models", &[], ""));
        peer.send(answer);
        client.response_to_head();
        let (mut other, mut fresh, _) = rig.exchange(&get("/p/anthropic/models"));
        fresh.send(ok("own"));
        assert_eq!(other.response().text(), "own", "{answer:?}");
        peer.wait_for_close();
        client.send(get("/health"));
        assert_eq!(
            client.response().text(),
            "{\"status\":\"ok\"}",
            "{answer:?}"
        );
    }
}

#[test]
fn a_connection_that_the_provider_will_close_is_not_used_again() {
    for answer in [
        response("200 OK", &["Connection: close"], "last"),
        response("200 OK", &["connection: X-A, Close"], "last"),
        ok("last").replace("HTTP/1.1", "HTTP/1.0"),
    ] {
        let rig = Rig::plain();
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send(&answer);
        assert_eq!(client.response().text(), "last");
        peer.wait_for_close();
        let (mut other, mut fresh, _) = rig.exchange(&get("/p/anthropic/models"));
        fresh.send(ok("own"));
        assert_eq!(other.response().text(), "own", "{answer:?}");
        // The client's connection is its own matter.
        served_by(&mut client, &mut fresh, &get("/p/anthropic/models"));
    }
}

/// A kept connection on which one exchange went well.
fn warm(rig: &Rig) -> (Wire, Wire) {
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(ok("warm"));
    assert_eq!(client.response().text(), "warm");
    (client, peer)
}

#[test]
fn a_post_is_never_sent_twice() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for reset in [false, true] {
            for (method, lines) in [
                ("POST", &[] as &[&str]),
                ("POST", &["Idempotency-Key: 4711"]),
                ("PATCH", &[]),
            ] {
                let (mut client, mut peer) = warm(&rig);
                client.send(request(method, "/p/anthropic/messages", lines, "content"));
                assert_eq!(peer.request().text(), "content");
                if reset {
                    peer.reset()
                } else {
                    peer.close()
                }
                let got = client.response();
                let what = format!("{sides:?} {reset} {method} {lines:?}");
                assert_eq!(got.status(), 502, "{what}: {}", got.text());
                assert_eq!(got.value("x-should-retry"), Some("false"), "{what}");
                rig.upstream.expect_untouched();
            }
        }
    }
}

#[test]
fn an_idempotent_request_is_sent_once_more_on_a_fresh_connection() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let (mut client, mut peer) = warm(&rig);
            let body = if method == "PUT" { "content" } else { "" };
            client.send(request(method, "/p/anthropic/models", &["X-A: 1"], body));
            let first = peer.request();
            peer.close();
            let mut fresh = rig.upstream.accept();
            let second = fresh.request();
            assert_eq!(first.head.raw, second.head.raw, "{sides:?} {method}");
            assert_eq!(first.body, second.body, "{sides:?} {method}");
            fresh.send("HTTP/1.1 204 Second\r\nConnection: close\r\n\r\n");
            assert_eq!(client.response().head.start, "HTTP/1.1 204 Second");
        }
    }
}

#[test]
fn nothing_is_sent_a_third_time() {
    let rig = Rig::plain();
    let (mut client, mut peer) = warm(&rig);
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.close();
    let mut fresh = rig.upstream.accept();
    fresh.request();
    fresh.close();
    let got = client.response();
    assert_eq!(
        (got.status(), got.value("x-should-retry")),
        (502, Some("false"))
    );
    rig.upstream.expect_untouched();
}

#[test]
fn a_failure_on_a_fresh_connection_is_not_retried() {
    for reset in [false, true] {
        let rig = Rig::plain();
        let (mut client, peer, _) = rig.exchange(&get("/p/anthropic/models"));
        if reset {
            peer.reset()
        } else {
            peer.close()
        }
        let got = client.response();
        assert_eq!(
            (got.status(), got.value("x-should-retry")),
            (502, Some("false"))
        );
        rig.upstream.expect_untouched();
    }
}

#[test]
fn a_failure_after_the_first_response_byte_is_not_retried() {
    for begun in [
        "H",
        "HTTP/1.1 200 OK\r\nContent-Len",
        "HTTP/1.1 103 Hints\r\n\r\n",
    ] {
        let rig = Rig::plain();
        let (mut client, mut peer) = warm(&rig);
        client.send(get("/p/anthropic/models"));
        peer.request();
        peer.send(begun);
        peer.close();
        let mut got = client.response();
        if got.status() == 103 {
            got = client.response();
        }
        assert_eq!(
            (got.status(), got.value("x-should-retry")),
            (502, Some("false")),
            "{begun:?}"
        );
        rig.upstream.expect_untouched();
    }
}

#[test]
fn a_request_whose_content_is_not_all_there_is_not_retried() {
    let rig = Rig::plain();
    let (mut client, mut peer) = warm(&rig);
    client.send(request(
        "PUT",
        "/p/anthropic/files",
        &["Content-Length: 1000"],
        "",
    ));
    peer.head();
    client.send("hello");
    peer.expect("hello");
    peer.close();
    let got = client.response();
    assert_eq!(
        (got.status(), got.value("x-should-retry")),
        (502, Some("false"))
    );
    rig.upstream.expect_untouched();
}

#[test]
fn one_failure_never_empties_the_pool() {
    let mut rig = Rig::plain();
    let (mut client, mut older, mut newer) = two_idle(&mut rig);
    client.send(request("POST", "/p/anthropic/messages", &[], "content"));
    newer.request();
    newer.close();
    assert_eq!(client.response().status(), 502);
    served_by(&mut client, &mut older, &get("/p/anthropic/models"));
    assert!(!rig.upstream.has_connection());
}

#[test]
fn a_stale_pool_costs_one_retry_at_most() {
    let mut rig = Rig::plain();
    let (mut client, older, mut newer) = two_idle(&mut rig);
    client.send(get("/p/anthropic/models"));
    newer.request();
    newer.close();
    // The retry goes to a fresh connection, not to the next one that may be stale.
    let mut fresh = rig.upstream.accept();
    fresh.request();
    fresh.send(ok("fresh"));
    assert_eq!(client.response().text(), "fresh");
    assert!(!older.readable_now());
}

/// A provider `short` whose connections are kept idle for a second.
fn short() -> Rig {
    Rig::with(|setup| {
        let url = setup.var("ANTHROPIC_BASE_URL");
        setup.toml(&format!(
            "[providers.short]\ntype = \"openai\"\nbase_url = \"{url}\"\ncredential = \"none\"\n\
             idle_upstream = \"1s\"\n"
        ))
    })
}

#[test]
fn an_idle_connection_is_closed_after_its_limit_and_never_used_again() {
    let rig = short();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/short/models"));
    peer.send(ok("first"));
    assert_eq!(client.response().text(), "first");
    let (_, after) = peer.wait_for_close();
    assert!(after.as_millis() > 500, "closed after {after:?}");
    client.send(get("/p/short/models"));
    let mut fresh = rig.upstream.accept();
    fresh.request();
    fresh.send(ok("second"));
    assert_eq!(client.response().text(), "second");
}

#[test]
fn a_truncating_tls_provider_costs_an_idle_connection_only() {
    let rig = Rig::of(Sides::TLS_UPSTREAM);
    let (mut client, peer) = warm(&rig);
    peer.truncate();
    client.send(request("POST", "/p/anthropic/messages", &[], "content"));
    let mut fresh = rig.upstream.accept();
    fresh.request();
    fresh.send(ok("fresh"));
    assert_eq!(client.response().text(), "fresh");
}

#[test]
fn answers_never_cross_between_clients() {
    let rig = Rig::plain();
    let mut pairs: Vec<_> = (0..20)
        .map(|i| (i, rig.exchange(&get(&format!("/p/anthropic/c{i}")))))
        .collect();
    // Answered in another order than asked.
    pairs.reverse();
    pairs.swap(3, 11);
    for (i, (client, peer, seen)) in &mut pairs {
        assert_eq!(seen.head.target(), format!("/v1/c{i}"));
        peer.send(ok(&format!("for {i}")));
        assert_eq!(client.response().text(), format!("for {i}"));
    }
}

#[test]
fn an_idle_connection_is_closed_also_when_no_client_is_there() {
    let rig = short();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/short/models"));
    peer.send(ok("first"));
    client.response();
    client.close();
    peer.wait_for_close();
}
