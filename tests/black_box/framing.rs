//! Which bytes belong to a message: lengths, chunks, trailers, interim responses, HTTP/1.0, pipelining.

use crate::support::{End, Framing, KEY, Rig, get, ok, request, response};

/// A chunked body of every shape: extensions, upper case, leading zeros, trailers.
const CHUNKED: &str = "5\r\nhello\r\nA;name=\"v;x\"\r\n0123456789\r\n01\r\n!\r\n000\r\n\
                       X-Sum: 1\r\nx-other:two\r\n\r\n";
const CHUNKED_CONTENT: &str = "hello0123456789!";
const CHUNKED_TRAILERS: [&str; 2] = ["X-Sum: 1", "x-other:two"];

fn chunked_request(body: &str) -> String {
    request(
        "POST",
        "/p/anthropic/messages",
        &["Transfer-Encoding: chunked"],
        "",
    )
    .replace("Content-Length: 0\r\n", "")
        + body
}

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
        let text = chunked_request("2\r\nhi\r\n0\r\n\r\n").replace(
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
    for cut in 0..CHUNKED.len() {
        client.send(chunked_request(&CHUNKED[..cut]));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        let head = peer.head();
        assert_eq!(head.value("transfer-encoding"), Some("chunked"));
        rig.settle();
        client.send(&CHUNKED[cut..]);
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
            CHUNKED_CONTENT,
            "cut {cut}"
        );
        assert_eq!(peer.trailers().unwrap(), CHUNKED_TRAILERS, "cut {cut}");
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
    for cut in 0..CHUNKED.len() {
        client.send(get("/p/anthropic/models"));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        peer.request();
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            &CHUNKED[..cut]
        ));
        rig.settle();
        peer.send(&CHUNKED[cut..]);
        let got = client.response();
        assert_eq!(got.framing, Framing::Chunked);
        assert_eq!(got.text(), CHUNKED_CONTENT, "cut {cut}");
        assert_eq!(got.trailers, CHUNKED_TRAILERS, "cut {cut}");
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
    for byte in chunked_request(CHUNKED).bytes() {
        client.send([byte]);
        rig.settle();
    }
    let mut peer = rig.upstream.accept();
    let seen = peer.request();
    assert_eq!(seen.text(), CHUNKED_CONTENT);
    assert_eq!(seen.trailers, CHUNKED_TRAILERS);
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}");
    for byte in answer.bytes() {
        peer.send([byte]);
        rig.settle();
    }
    let got = client.response();
    assert_eq!(got.text(), CHUNKED_CONTENT);
    assert_eq!(got.trailers, CHUNKED_TRAILERS);
}

#[test]
fn one_chunk_of_many_pieces_and_many_chunks_in_one_piece() {
    let rig = Rig::plain();
    let many: String = (0..2000).map(|i| format!("4\r\n{i:04}\r\n")).collect();
    let content: String = (0..2000).map(|i| format!("{i:04}")).collect();
    let big = format!("{:x}\r\n{content}\r\n", content.len());
    for body in [many, big] {
        let (mut client, mut peer, seen) =
            rig.exchange(&chunked_request(&(body.clone() + "0\r\n\r\n")));
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
    let (_, _, seen) = rig.exchange(&chunked_request(&format!(
        "2{extension}\r\nhi\r\n0\r\n\r\n"
    )));
    assert_eq!(seen.text(), "hi");
    let mut client = rig.client();
    client.send(chunked_request("2\r\nhi\r\n"));
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
        "Connection: close",
        "bad name: x",
        " X-Folded: x",
        "X-Nul: a\0b",
    ] {
        let mut client = rig.client();
        client.send(chunked_request("2\r\nhi\r\n"));
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
        client.send(chunked_request("2\r\nhi\r\n"));
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
    client.send(request("HEAD", "/p/anthropic/models", &[], ""));
    let mut peer = rig.upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let got = client.response_to_head();
    assert_eq!(got.value("content-length"), Some("1000"));
    client.send(request("HEAD", "/p/anthropic/models", &[], ""));
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.response_to_head();
    for answer in ["204 No Content", "304 Not Modified"] {
        for line in ["Content-Length: 7", "X-None: 0"] {
            client.send(get("/p/anthropic/models"));
            peer.request();
            peer.send(format!("HTTP/1.1 {answer}\r\n{line}\r\n\r\n"));
            let got = client.response();
            assert_eq!(got.head.start, format!("HTTP/1.1 {answer}"));
        }
    }
    // All on one connection each: neither side waited for content.
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.send(ok("next"));
    assert_eq!(client.response().text(), "next");
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

/// A request of HTTP/1.0 with the gateway key.
fn get_1_0(lines: &str) -> String {
    format!("GET /p/anthropic/models HTTP/1.0\r\nx-api-key: {KEY}\r\n{lines}\r\n")
}

#[test]
fn an_http_1_0_client_gets_no_chunked_framing() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get_1_0(""));
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{CHUNKED}"
    ));
    let got = client.response();
    assert_eq!(got.framing, Framing::Close);
    assert_eq!(
        (got.text().as_str(), got.end.clone()),
        (CHUNKED_CONTENT, Some(End::Clean))
    );
    assert_eq!(got.value("connection"), Some("close"));
    assert!(!rig.upstream.has_connection());
}

#[test]
fn an_http_1_0_client_that_asks_for_keep_alive_gets_no_chunked_framing_either() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get_1_0("Connection: keep-alive\r\n"));
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}"
    ));
    let got = client.response();
    assert_eq!(
        (got.framing, got.text().as_str()),
        (Framing::Close, CHUNKED_CONTENT)
    );
    assert_eq!(got.value("connection"), Some("close"));
}

#[test]
fn an_http_1_0_client_is_kept_only_when_it_asks() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get_1_0("Connection: Keep-Alive\r\n"));
    for _ in 0..2 {
        peer.send(ok("kept"));
        let got = client.response();
        assert_eq!(got.text(), "kept");
        assert_eq!(
            got.value("connection").map(str::to_lowercase).as_deref(),
            Some("keep-alive")
        );
        client.send(get_1_0("Connection: Keep-Alive\r\n"));
        peer.request();
    }
    peer.send(ok("kept"));
    client.response();
    client.send(get_1_0(""));
    peer.request();
    peer.send(ok("last"));
    let got = client.response();
    assert_eq!(got.text(), "last");
    assert_eq!(got.value("connection"), Some("close"));
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn an_http_1_0_error_closes_too() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send("GET /nowhere HTTP/1.0\r\n\r\n");
    let got = client.response();
    assert_eq!(
        (got.status(), got.value("connection")),
        (404, Some("close"))
    );
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn ten_pipelined_requests_are_answered_in_order() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let all: String = (0..10)
        .map(|i| {
            request(
                "POST",
                &format!("/p/anthropic/r{i}"),
                &[],
                &"b".repeat(i * 10),
            )
        })
        .collect();
    client.send(all);
    let mut peer = rig.upstream.accept();
    for i in 0..10 {
        let seen = peer.request();
        assert_eq!(seen.head.target(), format!("/v1/r{i}"));
        assert_eq!(seen.body.len(), i * 10);
        peer.send(ok(&format!("answer {i}")));
        assert_eq!(client.response().text(), format!("answer {i}"));
    }
    assert!(!rig.upstream.has_connection());
}

#[test]
fn pipelined_requests_are_answered_in_order_among_the_gateways_own_answers() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(
        get("/health")
            + &get("/nowhere")
            + &request("POST", "/nowhere", &[], "some content")
            + &chunked_request("3\r\nabc\r\n0\r\n\r\n")
                .replace("/p/anthropic/messages", "/nowhere")
            + &get("/p/anthropic/models")
            + &get("/health"),
    );
    assert_eq!(client.response().status(), 200);
    for _ in 0..3 {
        assert_eq!(client.response().status(), 404);
    }
    let mut peer = rig.upstream.accept();
    peer.request();
    peer.send(ok("third"));
    assert_eq!(client.response().text(), "third");
    assert_eq!(client.response().text(), "{\"status\":\"ok\"}");
}

#[test]
fn expect_100_continue_is_honoured_end_to_end() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let text = request(
        "POST",
        "/p/anthropic/messages",
        &["Expect: 100-continue"],
        "0123456789",
    );
    let (head, body) = text.split_at(text.len() - 10);
    client.send(head);
    let mut peer = rig.upstream.accept();
    let seen = peer.head();
    assert_eq!(seen.value("expect"), Some("100-continue"));
    // Nothing but the provider says that it goes on.
    assert!(!client.readable_now());
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.response().status(), 100);
    client.send(body);
    peer.expect("0123456789");
    peer.send(ok("done"));
    assert_eq!(client.response().text(), "done");
}

#[test]
fn an_expectation_may_be_refused_with_a_final_answer() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let text = request(
        "POST",
        "/p/anthropic/messages",
        &["Expect: 100-continue"],
        "0123456789",
    );
    client.send(&text[..text.len() - 10]);
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.send(response("413 Content Too Large", &[], "too large"));
    let got = client.response();
    assert_eq!((got.status(), got.text().as_str()), (413, "too large"));
}

#[test]
fn a_client_that_does_not_wait_for_100_may_send_its_content() {
    let rig = Rig::plain();
    let text = request(
        "POST",
        "/p/anthropic/messages",
        &["Expect: 100-continue"],
        "0123456789",
    );
    let (mut client, mut peer, seen) = rig.exchange(&text);
    assert_eq!(seen.text(), "0123456789");
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    peer.send(ok("done"));
    assert_eq!(client.response().status(), 100);
    assert_eq!(client.response().text(), "done");
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
    let line = "Expect: something-else";
    let (_, _, seen) = rig.exchange(&request("POST", "/p/anthropic/messages", &[line], "x"));
    assert_eq!(seen.value("expect"), Some("something-else"));
}

#[test]
fn interim_responses_are_relayed_to_http_1_1_clients() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nlink: </b>\r\n\r\n");
    let got = client.response();
    assert_eq!(got.head.start, "HTTP/1.1 103 Early Hints");
    assert_eq!(got.head.values("link"), ["</a>; rel=preload", "</b>"]);
    peer.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n");
    assert_eq!(client.response().status(), 102);
    assert_eq!(client.response().status(), 199);
    peer.send(ok("final"));
    assert_eq!(client.response().text(), "final");
}

#[test]
fn interim_responses_are_dropped_for_http_1_0_clients() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get_1_0(""));
    peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    peer.send(ok("final"));
    let got = client.response();
    assert_eq!((got.status(), got.text().as_str()), (200, "final"));
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
    let got = loop {
        let got = client.response();
        if got.status() != 103 {
            break got;
        }
    };
    assert_eq!(got.status(), 502);
    assert_eq!(got.value("x-should-retry"), Some("false"));
    peer.wait_for_close();
}

#[test]
fn a_response_without_reading_of_two_kinds_is_never_relayed() {
    let rig = Rig::plain();
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "v".repeat(70_000));
    let many: String = (0..201).map(|i| format!("X-{i}: {i}\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    let rows = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nhi!",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\tX-A: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: 1\rX-B: 2\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\rX\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP 200 OK\r\nContent-Length: 0\r\n\r\n",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "garbage without any form\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        &long,
        &many,
    ];
    for row in rows {
        let shown: String = row.chars().take(90).collect();
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send(row);
        let got = client.response();
        assert_eq!(got.status(), 502, "{shown:?}");
        assert!(
            got.text().contains("api_error"),
            "{shown:?}: {}",
            got.text()
        );
        assert_eq!(got.value("x-should-retry"), Some("false"), "{shown:?}");
        peer.wait_for_close();
        // The client's connection is as good as before.
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200, "{shown:?}");
    }
}

#[test]
fn a_chunked_response_gone_wrong_cuts_both_sides() {
    let rig = Rig::plain();
    for bad in [
        "x\r\n",
        "-1\r\n",
        "0x2\r\nhi\r\n",
        "fffffffffffffffff\r\n",
        "2\nhi\r\n",
        "2\r\nhiX\r\n",
        "2\r\nhi\n",
        "2 \r\nhi\r\nzz\r\n",
        "\r\n",
        "0\r\nbad trailer\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
    ] {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        client.head();
        client.expect_chunks("abc");
        peer.send(bad);
        peer.wait_for_close();
        let (rest, _) = client.take_all();
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.ends_with("\r\n\r\n"), "{bad:?}: {rest:?} looks whole");
    }
}
