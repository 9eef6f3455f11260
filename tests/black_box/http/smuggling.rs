//! Requests that two readers could read in two ways, and other hostile input: refused, with nothing of it sent
//! upstream, and without harm to the next client.

use crate::support::{Gateway, Rig, Scripted, Wire, announced, get, ok, request};

mod variants;

use variants::{CHUNKS, heads};

/// What an attacker hopes to get through behind the request.
const SMUGGLED: &str =
    "GET /p/anthropic/smuggled HTTP/1.1\r\nHost: g\r\nx-api-key: gk-test\r\n\r\n";

/// A chunked POST with this body.
fn chunked_post(body: &str) -> Vec<u8> {
    (announced("/p/anthropic/m", "Transfer-Encoding: chunked") + body).into_bytes()
}

/// A second client gets its own answer, by way of the gateway.
fn second_client(gateway: &Gateway, turn: usize) {
    let mut client = gateway.connect();
    client.send(request(
        "POST",
        &format!("/p/anthropic/own{turn}"),
        &[],
        "mine",
    ));
    let got = client.response();
    assert_eq!(
        got.value("x-target"),
        Some(format!("/v1/own{turn}").as_str())
    );
    assert_eq!(got.text(), "mine");
}

#[test]
fn a_request_of_two_readings_is_refused_with_nothing_sent_upstream() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let rows = heads();
    assert!(rows.len() + CHUNKS.len() >= 60);
    for (turn, variant) in rows.into_iter().enumerate() {
        let name = variant.name;
        let mut client = gateway.connect();
        client.send([&variant.bytes, SMUGGLED.as_bytes()].concat());
        let got = client.response();
        assert!(
            variant.refused.with(got.status()),
            "{name}: {} {}",
            got.status(),
            got.text()
        );
        assert_eq!(got.value("connection"), Some("close"), "{name}");
        assert!(
            got.text().contains("invalid_request_error"),
            "{name}: {}",
            got.text()
        );
        let (rest, _) = client.take_all();
        assert_eq!(
            String::from_utf8_lossy(&rest),
            "",
            "{name}: a second answer"
        );
        second_client(&gateway, turn);
    }
    for seen in upstream.received() {
        assert!(
            !seen.contains("smuggled") && !seen.contains("/v1/m"),
            "{seen}"
        );
        assert_eq!(
            seen.matches("POST /v1/own").count(),
            seen.matches(" HTTP/1.1").count(),
            "{seen}"
        );
    }
}

#[test]
fn the_same_requests_are_refused_as_second_on_a_connection() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    for variant in heads() {
        let name = variant.name;
        let mut client = gateway.connect();
        let first = request("POST", "/p/anthropic/own", &[], "mine");
        client.send([first.as_bytes(), &variant.bytes, SMUGGLED.as_bytes()].concat());
        assert_eq!(client.response().text(), "mine", "{name}");
        let got = client.response();
        assert!(
            variant.refused.with(got.status()),
            "{name}: {} {}",
            got.status(),
            got.text()
        );
        client.wait_for_close();
    }
    for seen in upstream.received() {
        assert!(
            !seen.contains("smuggled") && !seen.contains("/v1/m"),
            "{seen}"
        );
    }
}

#[test]
fn chunks_gone_wrong_are_refused_and_cut_the_upstream_connection() {
    let rig = Rig::plain();
    for (name, bad) in CHUNKS {
        for split in [true, false] {
            let mut client = rig.client();
            let mut peer = if split {
                client.send(chunked_post("3\r\nabc\r\n"));
                let mut peer = rig.upstream.accept();
                peer.head();
                peer.expect("3\r\nabc\r\n");
                client.send(format!("{bad}{SMUGGLED}"));
                peer
            } else {
                client.send(
                    [
                        &chunked_post(&format!("3\r\nabc\r\n{bad}")),
                        SMUGGLED.as_bytes(),
                    ]
                    .concat(),
                );
                let got = client.response();
                assert!(matches!(got.status(), 400 | 431), "{name}: {}", got.text());
                if !rig.upstream.has_connection() {
                    client.wait_for_close();
                    continue;
                }
                rig.upstream.accept()
            };
            if split {
                let got = client.response();
                assert_eq!(got.status(), 400, "{name}: {}", got.text());
                assert_eq!(got.value("connection"), Some("close"), "{name}");
            }
            let (rest, _) = peer.take_all();
            let rest = String::from_utf8_lossy(&rest);
            assert!(!rest.contains("smuggled"), "{name}: {rest}");
            assert!(
                !rest.ends_with("0\r\n\r\n"),
                "{name}: forwarded as whole: {rest}"
            );
            let (rest, _) = client.take_all();
            assert_eq!(
                String::from_utf8_lossy(&rest),
                "",
                "{name}: a second answer"
            );
        }
    }
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/own"));
    peer.send(ok("own"));
    assert_eq!(client.response().text(), "own");
}

#[test]
fn a_body_that_looks_like_a_request_stays_a_body() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(request("POST", "/p/anthropic/own", &[], SMUGGLED));
        assert_eq!(client.response().text(), SMUGGLED);
        client.send(request("GET", "/p/anthropic/own", &[], SMUGGLED));
        assert_eq!(client.response().text(), SMUGGLED);
        client.send(request("POST", "/nowhere", &[], SMUGGLED));
        assert_eq!(client.response().status(), 404);
    }
    assert_eq!(upstream.connections(), 1);
}

/// Bytes without any pattern, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(step).collect()
}

#[test]
fn a_megabyte_of_noise_is_refused_and_others_are_served() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    for turn in 0..3 {
        let mut client = gateway.connect();
        let _ = client.try_send(noise(1_000_000 + turn));
        second_client(&gateway, turn);
        let (answer, _) = client.take_all();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
}

#[test]
fn lines_without_end_are_refused_and_others_are_served() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    for (turn, (begin, statuses)) in [
        ("", &[400_u16, 414, 431, 501] as &[u16]),
        ("GET /p/anthropic/", &[414, 431]),
        ("GET /p/anthropic/x HTTP/1.1\r\nHost: g\r\nX-A: ", &[431]),
        ("GET /p/anthropic/x HTTP/1.1\r\nHost: g\r\n", &[400, 431]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = gateway.connect();
        let _ = client.try_send(format!("{begin}{}", "a".repeat(70_000)));
        let got = client.response();
        assert!(
            statuses.contains(&got.status()),
            "{begin:?}: {}",
            got.text()
        );
        client.wait_for_close();
        second_client(&gateway, turn);
    }
}

#[test]
fn slow_heads_do_not_keep_others_from_being_served() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let text = get("/p/anthropic/slow");
    let mut slow: Vec<Wire> = (0..50).map(|_| gateway.connect()).collect();
    for (turn, byte) in text.bytes().enumerate() {
        for client in &mut slow {
            client.send([byte]);
        }
        second_client(&gateway, turn);
    }
    for mut client in slow {
        assert_eq!(client.response().value("x-target"), Some("/v1/slow"));
    }
}
