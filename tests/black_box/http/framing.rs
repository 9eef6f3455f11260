//! Which bytes belong to a message: lengths, chunks, trailers, no content, content until the end.

use crate::support::chunked::{self, ALL_SHAPES, ALL_SHAPES_CONTENT, ALL_SHAPES_TRAILERS};
use crate::support::{End, Framing, Rig, get, ok, request, response};

#[test]
fn a_length_is_forwarded_as_received() {
    let rig = Rig::plain();
    let (mut client, mut peer, seen) =
        rig.exchange(&request("POST", "/p/anthropic/messages", &[], "0123456789"));
    assert_eq!(seen.value("content-length"), Some("10"));
    assert_eq!(seen.value("transfer-encoding"), None);
    assert_eq!(seen.text(), "0123456789");
    peer.send(response("200 OK", &[], "answer"));
    let got = client.response();
    assert_eq!(
        (got.framing, got.text().as_str()),
        (Framing::Length, "answer")
    );
}

#[test]
fn a_request_without_content_gets_no_framing_of_its_own() {
    let rig = Rig::plain();
    let (_, _, seen) = rig.exchange(&get("/p/anthropic/models"));
    assert_eq!(
        (
            seen.value("content-length"),
            seen.value("transfer-encoding")
        ),
        (None, None)
    );
    let text = request("POST", "/p/anthropic/messages", &[], "");
    let (_, _, seen) = rig.exchange(&text);
    assert_eq!(seen.value("content-length"), Some("0"));
}

#[test]
fn chunked_in_any_case_is_written_chunked() {
    let rig = Rig::plain();
    for coding in ["chunked", "Chunked", "CHUNKED"] {
        let text = chunked::post("2\r\nhi\r\n0\r\n\r\n").replace(
            "Transfer-Encoding: chunked",
            &format!("transfer-ENCODING: {coding}"),
        );
        let (mut client, mut peer, seen) = rig.exchange(&text);
        assert_eq!(seen.value("transfer-encoding"), Some("chunked"), "{coding}");
        assert_eq!(seen.value("content-length"), None);
        assert_eq!(
            (seen.framing, seen.text().as_str()),
            (Framing::Chunked, "hi")
        );
        peer.send(response("200 OK", &["Connection: close"], ""));
        client.response();
    }
}

#[test]
fn chunked_requests_cut_at_every_byte_arrive_intact() {
    let mut rig = Rig::plain();
    let (mut client, mut peer) = (rig.client(), None);
    for cut in 0..ALL_SHAPES.len() {
        client.send(chunked::post(&ALL_SHAPES[..cut]));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        let head = peer.head();
        assert_eq!(head.value("transfer-encoding"), Some("chunked"));
        rig.settle();
        client.send(&ALL_SHAPES[cut..]);
        let mut content = Vec::new();
        loop {
            let data = peer.chunk().unwrap();
            if data.is_empty() {
                break;
            }
            content.extend_from_slice(&data);
        }
        assert_eq!(
            String::from_utf8_lossy(&content),
            ALL_SHAPES_CONTENT,
            "cut {cut}"
        );
        assert_eq!(peer.trailers().unwrap(), ALL_SHAPES_TRAILERS, "cut {cut}");
        peer.send(ok("fine"));
        assert_eq!(client.response().text(), "fine", "cut {cut}");
    }
    assert!(
        !rig.upstream.has_connection(),
        "the connection was not kept"
    );
}

#[test]
fn chunked_responses_cut_at_every_byte_arrive_intact() {
    let mut rig = Rig::plain();
    let (mut client, mut peer) = (rig.client(), None);
    for cut in 0..ALL_SHAPES.len() {
        client.send(get("/p/anthropic/models"));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        peer.request();
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            &ALL_SHAPES[..cut]
        ));
        rig.settle();
        peer.send(&ALL_SHAPES[cut..]);
        let got = client.response();
        assert_eq!(got.framing, Framing::Chunked);
        assert_eq!(got.text(), ALL_SHAPES_CONTENT, "cut {cut}");
        assert_eq!(got.trailers, ALL_SHAPES_TRAILERS, "cut {cut}");
    }
    assert!(
        !rig.upstream.has_connection(),
        "the connection was not kept"
    );
}

#[test]
fn messages_that_come_byte_by_byte_arrive_intact() {
    let mut rig = Rig::plain();
    let mut client = rig.client();
    for byte in chunked::post(ALL_SHAPES).bytes() {
        client.send([byte]);
        rig.settle();
    }
    let mut peer = rig.upstream.accept();
    let seen = peer.request();
    assert_eq!(seen.text(), ALL_SHAPES_CONTENT);
    assert_eq!(seen.trailers, ALL_SHAPES_TRAILERS);
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{ALL_SHAPES}");
    for byte in answer.bytes() {
        peer.send([byte]);
        rig.settle();
    }
    let got = client.response();
    assert_eq!(got.text(), ALL_SHAPES_CONTENT);
    assert_eq!(got.trailers, ALL_SHAPES_TRAILERS);
}

#[test]
fn one_chunk_of_many_pieces_and_many_chunks_in_one_piece() {
    let rig = Rig::plain();
    let many: String = (0..2000).map(|i| format!("4\r\n{i:04}\r\n")).collect();
    let content: String = (0..2000).map(|i| format!("{i:04}")).collect();
    let big = format!("{:x}\r\n{content}\r\n", content.len());
    for body in [many, big] {
        let (mut client, mut peer, seen) =
            rig.exchange(&chunked::post(&(body.clone() + "0\r\n\r\n")));
        assert_eq!(seen.text(), content);
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n"
        ));
        assert_eq!(client.response().text(), content);
    }
}

#[test]
fn chunk_extensions_up_to_16_kib_pass_and_longer_ones_do_not() {
    let rig = Rig::plain();
    let extension = format!(";x={}", "e".repeat(12_000));
    let (_, _, seen) = rig.exchange(&chunked::post(&format!("2{extension}\r\nhi\r\n0\r\n\r\n")));
    assert_eq!(seen.text(), "hi");
    let mut client = rig.client();
    client.send(chunked::post("2\r\nhi\r\n"));
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.expect("2\r\nhi\r\n");
    let _ = client.try_send(format!("2;x={}", "e".repeat(40_000)));
    assert_eq!(client.response().status(), 400);
    peer.wait_for_close();
}

#[test]
fn trailers_with_framing_routing_or_credential_fields_are_400() {
    let rig = Rig::plain();
    for field in [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: evil.test",
        "Authorization: Bearer x",
        "X-Api-Key: x",
        "api-key: x",
        "Sec-WebSocket-Protocol: openai-insecure-api-key.x",
        "Connection: close",
        "bad name: x",
        " X-Folded: x",
        "X-Nul: a\0b",
    ] {
        let mut client = rig.client();
        client.send(chunked::post("2\r\nhi\r\n"));
        let mut peer = rig.upstream.accept();
        peer.head();
        peer.expect("2\r\nhi\r\n");
        client.send(format!("0\r\n{field}\r\n\r\n"));
        let got = client.response();
        assert_eq!(got.status(), 400, "{field}: {}", got.text());
        let (rest, _) = peer.take_all();
        assert!(!rest.ends_with(b"\r\n\r\n"), "{field}: forwarded as whole");
        client.wait_for_close();
    }
}

#[test]
fn trailers_count_against_the_head_limits() {
    let rig = Rig::plain();
    let many: String = (0..101).map(|i| format!("X-{i}: {i}\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "v".repeat(70_000));
    for trailers in [many, long] {
        let mut client = rig.client();
        client.send(chunked::post("2\r\nhi\r\n"));
        let mut peer = rig.upstream.accept();
        peer.head();
        peer.expect("2\r\nhi\r\n");
        let _ = client.try_send(format!("0\r\n{trailers}\r\n"));
        assert_eq!(client.response().status(), 431);
        let (rest, _) = peer.take_all();
        assert!(!rest.ends_with(b"\r\n\r\n"), "forwarded as whole");
    }
}

#[test]
fn head_204_and_304_have_no_content_whatever_their_lines_say() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(get("/p/anthropic/models"));
    let mut peer = rig.upstream.accept();
    peer.request();
    peer.send(ok("first"));
    client.response();
    // All on one connection each: neither side waits for content, and the next request may be there already.
    for line in [
        "Content-Length: 1000",
        "Transfer-Encoding: chunked",
        "X-None: 0",
    ] {
        for (method, status) in [
            ("HEAD", "200 OK"),
            ("GET", "204 No Content"),
            ("GET", "304 Not Modified"),
        ] {
            let what = format!("{method}, {status}, {line}");
            let asked = request(method, "/p/anthropic/models", &[], "");
            client.send(asked + &get("/p/anthropic/models"));
            assert_eq!(peer.request().head.method(), method);
            peer.send(format!("HTTP/1.1 {status}\r\nX-A: b\r\n{line}\r\n\r\n"));
            let head = client.response_to_head().head;
            assert_eq!(head.start, format!("HTTP/1.1 {status}"));
            if status.starts_with("204") {
                // RFC 9110, section 8.6, and RFC 9112, section 6.1.
                for gone in ["content-length", "transfer-encoding"] {
                    assert_eq!(head.value(gone), None, "{what}");
                }
            }
            if method == "HEAD" {
                assert!(head.lines.iter().any(|l| l == line), "{what}: {head:?}");
            }
            assert_eq!(peer.request().head.method(), "GET", "{what}");
            peer.send(ok("next"));
            assert_eq!(client.response().text(), "next", "{what}");
        }
    }
}

#[test]
fn a_close_delimited_response_ends_cleanly() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil ");
    let head = client.head();
    peer.send("the end");
    peer.close();
    // It stays close-delimited or becomes chunked; both are whole.
    if head.value("transfer-encoding").is_some() {
        client.expect_chunks("until the end");
        assert_eq!(client.chunk().unwrap(), b"");
        client.trailers().unwrap();
    } else {
        assert_eq!(head.value("connection"), Some("close"));
        let (body, end) = client.take_all();
        assert_eq!(
            (String::from_utf8_lossy(&body).as_ref(), end),
            ("until the end", End::Clean)
        );
    }
}

#[test]
fn a_close_delimited_response_without_content_ends_cleanly() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.0 200 OK\r\n\r\n");
    peer.close();
    let got = client.response();
    assert_eq!((got.status(), got.text().as_str()), (200, ""));
    assert!(matches!(got.end, None | Some(End::Clean)));
}

#[test]
fn answers_of_the_gateway_to_head_have_no_content() {
    let rig = Rig::plain();
    let mut client = rig.client();
    for (path, status) in [("/health", 200), ("/nowhere", 404), ("/p/nobody/x", 400)] {
        client.send(request("HEAD", path, &[], ""));
        let answer = client.response_to_head();
        assert_eq!(answer.status(), status, "{path}");
        assert_ne!(answer.value("content-length"), Some("0"));
    }
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}
