//! Answers behind which a request goes to another instance or with another key, where that is configured.

use crate::support::ports;
use crate::support::{
    Gateway, Scripted, Setup, Upstream, Wire, announced, get, ok, post, response,
};

const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nX-Who: busy\r\n\r\nbusy";

/// Answers everything like this, and goes on.
fn saying(answer: &'static str) -> Scripted {
    Scripted::start(move |wire, _| {
        while wire.try_request().is_ok() {
            if wire.try_send(answer).is_err() {
                return;
            }
        }
    })
}

fn start(urls: &[String], lines: &str) -> Gateway {
    let urls: Vec<String> = urls.iter().map(|url| format!("\"{url}/v1\"")).collect();
    let toml = format!(
        "[providers.vllm]\nbase_urls = [{}]\nbalance = \"first\"\n{lines}\n",
        urls.join(", ")
    );
    Setup::new().toml(&toml).start()
}

#[track_caller]
fn ask(client: &mut Wire, body: &str) -> crate::support::Message {
    client.send(post("/p/vllm/chat/completions", body));
    client.response()
}

#[test]
fn a_request_that_was_not_taken_goes_to_the_next_instance_as_it_was() {
    let (busy, other) = (saying(BUSY), Scripted::echo());
    let gateway = start(&[busy.url(), other.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    let body = "{\"stream\": true}";
    let answer = ask(&mut client, body);
    assert_eq!((answer.status(), answer.text()), (200, body.to_owned()));
    assert_eq!(answer.value("x-who"), None);
    let (one, two) = (busy.received().concat(), other.received().concat());
    let host = |at: &Scripted| format!("Host: {}\r\n", at.addr());
    assert_eq!(
        one.replace(&host(&busy), ""),
        two.replace(&host(&other), "")
    );
    assert!(
        one.contains(&host(&busy)) && two.contains(&host(&other)),
        "{one} {two}"
    );
    let line = gateway.wait_log(|line| line.contains("chat/completions"));
    for part in ["\"status\":200", "\"instance\":2", "\"attempts\":2"] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    // The connection stays, and so does what comes next on it.
    assert_eq!(ask(&mut client, "{}").status(), 200);
}

#[test]
fn a_client_is_told_once_to_go_on() {
    let continuing = |answer: &'static str| {
        Scripted::start(move |wire, _| {
            while wire.try_head().is_ok() {
                let said = wire.try_send("HTTP/1.1 100 Continue\r\n\r\n");
                let content = said.and_then(|()| wire.take(4));
                if content.is_err() || wire.try_send(answer).is_err() {
                    return;
                }
            }
        })
    };
    let fine = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
    let (busy, other) = (continuing(BUSY), continuing(fine));
    let gateway = start(&[busy.url(), other.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    for _ in 0..2 {
        let framing = "Content-Length: 4\r\nExpect: 100-continue";
        client.send(announced("/p/vllm/completions", framing));
        assert_eq!(client.head().status(), 100);
        client.send("1234");
        let answer = client.response();
        assert_eq!((answer.status(), answer.text()), (200, "fine".to_owned()));
    }
}

#[test]
fn a_limited_key_is_followed_by_another() {
    let upstream = Scripted::start(|wire, _| {
        while let Ok(request) = wire.try_request() {
            let key = request.value("authorization").unwrap().to_owned();
            let answer = match key.ends_with("one") {
                true => response("429 Slow", &["Retry-After: 60"], "limited"),
                false => ok(&key),
            };
            if wire.try_send(answer).is_err() {
                return;
            }
        }
    });
    let toml = format!(
        "[providers.vllm]\nbase_url = \"{}/v1\"\napi_keys = [\"sk-one\", \"sk-two\"]\nfailover_on = [429]\n",
        upstream.url()
    );
    let gateway = Setup::new()
        .secret("sk-one")
        .secret("sk-two")
        .toml(&toml)
        .start();
    for session in 0..20 {
        let mut client = gateway.connect();
        let head = format!("X-Session-Id: {session}");
        client.send(crate::support::request(
            "POST",
            "/p/vllm/completions",
            &[&head],
            "{}",
        ));
        let answer = client.response();
        assert_eq!(
            (answer.status(), answer.text()),
            (200, "Bearer sk-two".to_owned())
        );
    }
    let tried = upstream.received().concat().matches("sk-one").count();
    assert_eq!(tried, 1, "it rests then");
}

#[test]
fn the_last_answer_is_the_clients() {
    let (one, two) = (saying(BUSY), saying(BUSY));
    let gateway = start(&[one.url(), two.url()], "failover_on = [503]");
    let answer = ask(&mut gateway.connect(), "{}");
    assert_eq!((answer.status(), answer.text()), (503, "busy".to_owned()));
    assert_eq!(answer.value("x-who"), Some("busy"));
    for instance in [one, two] {
        assert_eq!(instance.received().concat().matches("POST").count(), 1);
    }
}

#[test]
fn where_nobody_else_is_reached_the_answer_is_the_clients_after_all() {
    let unused = [ports::bound(), ports::bound()];
    let nowhere = unused
        .each_ref()
        .map(|fd| format!("http://{}", ports::addr(fd)));
    let pieces = ["busy ", &"b".repeat(400_000)];
    let whole = pieces.concat();
    for coding in ["chunked", "length", "close"] {
        let body = pieces.map(str::to_owned);
        let busy = Scripted::start(move |wire, _| {
            while wire.try_request().is_ok() {
                let [first, rest] = &body;
                let answer = match coding {
                    "chunked" => format!(
                        "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
                        first.len(),
                        rest.len()
                    ),
                    "length" => response("503 Busy", &[], &[&**first, rest].concat()),
                    _ => format!("HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n{first}{rest}"),
                };
                if wire.try_send(answer).is_err() || coding == "close" {
                    return;
                }
            }
        });
        let urls = [&[busy.url()], &nowhere[..]].concat();
        let gateway = start(&urls, "failover_on = [503]");
        let mut client = gateway.connect();
        for n in 1..=2 {
            let answer = ask(&mut client, "{}");
            assert_eq!(answer.status(), 503, "{coding}");
            assert_eq!(answer.text(), whole, "{coding}");
            // Of both requests once, and no more.
            assert_eq!(
                busy.received().concat().matches("POST").count(),
                n,
                "{coding}"
            );
            if coding == "close" {
                break;
            }
        }
        let line = gateway.wait_log(|line| line.contains("chat/completions"));
        for part in ["\"status\":503", "\"instance\":1", "\"attempts\":3"] {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
}

#[test]
fn a_kept_answer_that_breaks_off_does_so_for_the_client() {
    let unused = ports::bound();
    let busy = Scripted::start(|wire, _| {
        let _ = wire.try_request();
        let _ = wire.try_send("HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nbusy");
    });
    let urls = [busy.url(), format!("http://{}", ports::addr(&unused))];
    let gateway = start(&urls, "failover_on = [503]");
    let mut client = gateway.connect();
    client.send(post("/p/vllm/chat/completions", "{}"));
    let answer = client.try_response();
    assert!(answer.is_err(), "{answer:?}");
    let line = gateway.wait_log(|line| line.contains("chat/completions"));
    assert!(
        line.contains("\"status\":503") && line.contains("upstream_closed"),
        "{line}"
    );
}

#[test]
fn an_answer_is_not_kept_once_the_request_was_sent_on() {
    let busy = saying(BUSY);
    let silent = Scripted::start(|wire, _| {
        let _ = wire.try_request();
    });
    let gateway = start(&[busy.url(), silent.url()], "failover_on = [503]");
    let answer = ask(&mut gateway.connect(), "{}");
    assert_eq!(
        answer.status(),
        502,
        "it may have been served: {}",
        answer.text()
    );
}

#[test]
fn other_answers_and_longer_requests_stay_where_they_are() {
    let (busy, other) = (saying(BUSY), Scripted::echo());
    for (lines, body) in [
        ("failover_on = [529]", "{}"),
        ("failover_on = [503]\nreplay_bytes = 300", &*"x".repeat(400)),
        ("failover_on = [503]\nreplay_bytes = 0", "{}"),
        ("", "{}"),
    ] {
        let gateway = start(&[busy.url(), other.url()], lines);
        assert_eq!(ask(&mut gateway.connect(), body).text(), "busy", "{lines}");
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn an_upload_in_pieces_is_held_and_one_that_is_not_whole_stays() {
    let (first, second) = (Upstream::listen(), Upstream::listen());
    let gateway = start(&[first.url(), second.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    client.send(announced("/p/vllm/files", "Content-Length: 10"));
    let mut peer = first.accept();
    peer.head();
    client.send("12345");
    assert_eq!(peer.take(5).unwrap(), b"12345");
    client.send("67890");
    assert_eq!(peer.take(5).unwrap(), b"67890");
    peer.send(BUSY);
    let mut next = second.accept();
    assert_eq!(next.request().text(), "1234567890");
    next.send(ok("whole"));
    assert_eq!(client.response().text(), "whole");
    // Answered before its end: nobody knows what else comes.
    let gateway = start(&[first.url(), second.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    client.send(announced("/p/vllm/files", "Content-Length: 10"));
    client.send("12345");
    let mut peer = first.accept();
    peer.head();
    peer.send(BUSY);
    assert_eq!(client.response().status(), 503);
    assert!(!second.has_connection());
}

#[test]
fn a_chunked_request_arrives_chunk_by_chunk_at_the_next_one() {
    let (busy, other) = (saying(BUSY), Upstream::listen());
    let gateway = start(&[busy.url(), other.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    client.send(announced("/p/vllm/files", "Transfer-Encoding: chunked"));
    client.send("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n");
    let mut peer = other.accept();
    peer.head();
    peer.expect("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n");
    peer.send(ok("all"));
    assert_eq!(client.response().text(), "all");
}

#[test]
fn what_comes_behind_a_request_that_moved_is_answered_in_order() {
    let (busy, other) = (saying(BUSY), Scripted::echo());
    let gateway = start(&[busy.url(), other.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    let both = post("/p/vllm/completions", "first") + &post("/p/vllm/completions", "second");
    client.send(both);
    assert_eq!(client.response().text(), "first");
    assert_eq!(client.response().text(), "second");
    client.send("POST /p/vllm/files HTTP/1.0\r\nAuthorization: Bearer gk-test\r\nContent-Length: 3\r\n\r\nold");
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (200, "old".to_owned()));
    client.expect_end();
}

#[test]
fn a_connection_that_had_ended_is_no_answer_of_the_next_one() {
    let (busy, other) = (saying(BUSY), Upstream::listen());
    let gateway = start(&[busy.url(), other.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    client.send(get("/p/vllm/models"));
    let mut peer = other.accept();
    peer.request();
    peer.send(ok("one"));
    assert_eq!(client.response().text(), "one");
    client.send(get("/p/vllm/models"));
    peer.request();
    peer.close();
    let mut peer = other.accept();
    peer.request();
    peer.send(BUSY);
    assert_eq!(client.response().text(), "busy");
}

#[test]
fn an_upgrade_that_was_not_taken_is_made_by_the_next_one() {
    let (busy, other) = (saying(BUSY), Upstream::listen());
    let gateway = start(&[busy.url(), other.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    client.send(crate::support::request(
        "GET",
        "/p/vllm/realtime",
        &["Connection: Upgrade", "Upgrade: websocket"],
        "",
    ));
    client.send("early");
    let mut peer = other.accept();
    peer.head();
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.head().status(), 101);
    peer.expect("early");
    peer.send("there");
    client.expect("there");
}

#[test]
fn a_head_and_a_client_that_waits_for_100_go_on_as_well() {
    let (busy, other) = (Upstream::listen(), Upstream::listen());
    let gateway = start(&[busy.url(), other.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    client.send("HEAD /p/vllm/models HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer gk-test\r\n\r\n");
    let mut peer = busy.accept();
    peer.request();
    peer.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\n");
    let mut next = other.accept();
    assert_eq!(next.request().head.method(), "HEAD");
    next.send("HTTP/1.1 204 Fine\r\n\r\n");
    assert_eq!(client.head().status(), 204);
    client.send(
        "POST /p/vllm/files HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer gk-test\r\n\
         Expect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    let mut peer = busy.accept();
    peer.head();
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.head().status(), 100);
    client.send("1234");
    assert_eq!(peer.take(4).unwrap(), b"1234");
    peer.send(BUSY);
    assert_eq!(next.request().text(), "1234");
    next.send(ok("whole"));
    assert_eq!(client.response().text(), "whole");
}

#[test]
fn behind_an_interim_answer_that_went_out_nothing_goes_on() {
    let (busy, other) = (Upstream::listen(), Scripted::echo());
    let gateway = start(&[busy.url(), other.url()], "failover_on = [503]");
    let mut client = gateway.connect();
    client.send(post("/p/vllm/completions", "{}"));
    let mut peer = busy.accept();
    peer.request();
    peer.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(client.head().status(), 103);
    peer.send(BUSY);
    assert_eq!(client.response().text(), "busy");
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_key_that_was_told_to_rest_is_used_at_no_other_instance() {
    let limited = "HTTP/1.1 429 Slow\r\nRetry-After: 60\r\nContent-Length: 4\r\n\r\nslow";
    let (one, two) = (saying(limited), saying(limited));
    let keys = "api_keys = [\"sk-one\", \"sk-two\"]";
    let gateway = start(
        &[one.url(), two.url()],
        &format!("failover_on = [429]\n{keys}"),
    );
    let answer = ask(&mut gateway.connect(), "{}");
    assert_eq!((answer.status(), answer.text()), (429, "slow".to_owned()));
    let received = [one, two]
        .map(|instance| instance.received().concat())
        .concat();
    for key in ["sk-one", "sk-two"] {
        assert_eq!(received.matches(key).count(), 1, "{received}");
    }
}
