//! Providers behind a SOCKS5 proxy: what it is asked, what its answers mean, what goes through.

use crate::support::hops::Hop;
use crate::support::settings::assert_line;
use crate::support::tls::{pki, server_config};
use crate::support::{Gateway, Message, Setup, Upstream, Wire, get, ok, post};

const MODELS: &str = "/p/far/models";

/// A provider `far` at this URL, behind this proxy.
fn behind(url: &str, proxy: &str) -> Setup {
    Setup::new().toml(&format!(
        "[providers.far]\ntype = \"openai\"\napi_key = \"sk-far\"\nbase_url = \"{url}/v1\"\n\
         proxy = \"{proxy}\"\n"
    ))
}

/// One exchange on a new client connection; the provider's side of it.
#[track_caller]
fn exchange(gateway: &Gateway, upstream: &Upstream) -> Wire {
    let mut client = gateway.connect();
    client.send(post("/p/far/chat/completions", "content"));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().text(), "content");
    peer.send(ok("from afar"));
    assert_eq!(client.response().text(), "from afar");
    peer
}

/// The URL of a proxy that the test plays.
fn url_of(proxy: &Upstream, scheme: &str) -> String {
    format!("{scheme}://{}", proxy.addr())
}

const GREETING: [u8; 3] = [5, 1, 0];
const OPEN: [u8; 10] = [5, 0, 0, 1, 127, 0, 0, 1, 4, 210];

/// The proxy's side of a new client's request, up to where it is asked for `localhost:9`.
#[track_caller]
fn asked(proxy: &Upstream) -> Wire {
    let mut tunnel = proxy.accept();
    tunnel.expect(GREETING);
    tunnel.send([5, 0]);
    tunnel.expect(b"\x05\x01\x00\x03\x09localhost\x00\x09");
    tunnel
}

#[test]
fn plain_and_tls_go_through_and_the_connection_is_used_again() {
    for upstream in [
        Upstream::listen(),
        Upstream::listen_tls(server_config(&pki().server)),
    ] {
        let hop = Hop::socks(&upstream);
        let gateway = behind(&upstream.url(), &hop.url()).start();
        let mut peer = exchange(&gateway, &upstream);
        let mut client = gateway.connect();
        client.send(get(MODELS));
        assert_eq!(peer.request().head.target(), "/v1/models");
        peer.send(ok("once more"));
        assert_eq!(client.response().text(), "once more");
        let authority = upstream.url().split_once("://").unwrap().1.to_owned();
        assert_eq!(hop.asked(), [authority]);
    }
}

#[test]
fn names_are_resolved_here_or_there_as_the_scheme_says() {
    let upstream = Upstream::listen();
    let hop = Hop::socks(&upstream);
    // Nobody here knows this one.
    let gateway = behind("http://elsewhere.test", &hop.url()).start();
    exchange(&gateway, &upstream);
    let local = hop.url().replace("socks5h", "socks5");
    let gateway = behind("http://elsewhere.test", &local).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let got = client.response();
    assert!(
        got.text().contains("\"upstream_resolve\""),
        "{}",
        got.text()
    );
    let gateway = behind("http://localhost:80", &local).start();
    exchange(&gateway, &upstream);
    let asked = hop.asked();
    assert_eq!(asked[0], "elsewhere.test:80");
    assert!(
        ["127.0.0.1:80", "::1:80"].contains(&&*asked[1]),
        "{asked:?}"
    );
    assert_eq!(asked.len(), 2);
}

#[test]
fn where_one_address_is_not_reached_another_is_tried() {
    let proxy = Upstream::listen();
    let setup = behind("http://far.test", &url_of(&proxy, "socks5"));
    let gateway = setup
        .hosts("192.0.2.1 far.test\n192.0.2.2 far.test\n")
        .start_with_hosts();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut tried = Vec::new();
    for answer in [&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0][..], &OPEN] {
        let mut tunnel = proxy.accept();
        tunnel.expect(GREETING);
        tunnel.send([5, 0]);
        tunnel.expect([5, 1, 0, 1]);
        tried.push(tunnel.take(4).unwrap());
        tunnel.expect([0, 80]);
        tunnel.send(answer);
        if answer == OPEN {
            tunnel.request();
            tunnel.send(ok("the other"));
        } else {
            tunnel.wait_for_close();
        }
    }
    assert_eq!(client.response().text(), "the other");
    tried.sort();
    assert_eq!(tried, [[192, 0, 2, 1], [192, 0, 2, 2]]);
}

#[test]
fn credentials_go_to_the_proxy_and_nowhere_else() {
    let proxy = Upstream::listen();
    let url = url_of(&proxy, "socks5h").replace("://", "://me:s%40cret%C3%A9@");
    let setup = behind("http://localhost:9", &url)
        .secret("s%40cret")
        .secret("s@cret");
    let check = setup.command(&["check"]).output().unwrap();
    let described = String::from_utf8(check.stdout).unwrap();
    let shown = url_of(&proxy, "socks5h").replace("://", "://[redacted]:[redacted]@");
    assert_line(&described, &format!("proxy = \"{shown}\""));
    assert!(!described.contains("cret"), "{described}");
    let gateway = setup.start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut tunnel = proxy.accept();
    tunnel.expect([5, 2, 0, 2]);
    tunnel.send([5, 2]);
    tunnel.expect("\u{1}\u{2}me\u{8}s@cret\u{e9}");
    tunnel.send([1, 0]);
    tunnel.expect(b"\x05\x01\x00\x03\x09localhost\x00\x09");
    tunnel.send(OPEN);
    let head = tunnel.head();
    assert!(head.values("proxy-authorization").is_empty());
    tunnel.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
    // One that wants none is asked without.
    let gateway = behind("http://localhost:9", &url).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut tunnel = proxy.accept();
    tunnel.expect([5, 2, 0, 2]);
    tunnel.send([5, 0]);
    tunnel.expect(b"\x05\x01\x00\x03\x09localhost\x00\x09");
    tunnel.send(OPEN);
    tunnel.head();
}

#[test]
fn an_answer_in_pieces_opens_it_and_what_follows_belongs_to_the_provider() {
    let proxy = Upstream::listen();
    let gateway = behind("http://localhost:9", &url_of(&proxy, "socks5h")).start();
    let answers: [&[u8]; 4] = [
        &OPEN,
        &[
            5, 0, 0, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1,
        ],
        b"\x05\x00\x00\x03\x04here\x00\x01",
        &[5, 0, 0, 3, 0, 0, 1],
    ];
    for answer in answers {
        let mut client = gateway.connect();
        client.send(get(MODELS));
        let mut tunnel = asked(&proxy);
        answer.iter().for_each(|byte| tunnel.send([*byte]));
        tunnel.request();
        tunnel.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        assert_eq!(client.response().text(), "hi");
        // A server that is about to close says so before it is asked.
        let mut client = gateway.connect();
        client.send(get(MODELS));
        let mut tunnel = asked(&proxy);
        let late = "HTTP/1.1 408 Too late\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        tunnel.send([answer, late.as_bytes()].concat());
        let got = client.response();
        assert_eq!((got.status(), got.text().as_str()), (408, "hi"));
    }
}

/// Code, word and message of an answer, and whether another try may help.
fn told(got: &Message) -> (u16, String, String, bool) {
    let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
    let retry = got.value("x-should-retry") == Some("true");
    (got.status(), text("code"), text("message"), retry)
}

#[test]
fn what_a_proxy_refuses_is_said_in_our_words() {
    let proxy = Upstream::listen();
    let gateway = behind("http://localhost:9", &url_of(&proxy, "socks5h")).start();
    let reply = |code| vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    let rows: [(&[u8], Vec<u8>, &str, bool); 10] = [
        (b"HT", Vec::new(), "it does not speak SOCKS5", false),
        (&[5, 255], Vec::new(), "it wants credentials", false),
        (
            &[5, 2],
            Vec::new(),
            "a way to log in that was not offered",
            false,
        ),
        (&[5, 0], reply(1), "it has failed", true),
        (
            &[5, 0],
            reply(2),
            "its rules do not allow the connection",
            false,
        ),
        (
            &[5, 0],
            reply(4),
            "the host is unreachable from there",
            true,
        ),
        (&[5, 0], reply(5), "the connection was refused there", true),
        (&[5, 0], reply(99), "it refused with code 99", false),
        (
            &[5, 0],
            vec![5, 0, 0, 9],
            "its answer is not valid SOCKS5",
            false,
        ),
        (
            &[5, 0],
            vec![5],
            "it closed the connection without an answer",
            true,
        ),
    ];
    for (method, answer, said, retry) in rows {
        let mut client = gateway.connect();
        client.send(post("/p/far/x", "content"));
        let mut tunnel = proxy.accept();
        tunnel.expect(GREETING);
        tunnel.send(method);
        if method == [5, 0] {
            tunnel.take(16).unwrap();
            tunnel.send(answer);
            if said.contains("closed") {
                tunnel.half_close();
            }
        }
        let (code, word, message, may_pass) = told(&client.response());
        assert_eq!((code, &*word), (502, "upstream_proxy"), "{message}");
        assert!(message.ends_with(said), "{message}");
        assert_eq!(may_pass, retry, "{message}");
        let detail = format!("\"detail\":\"proxy: {said}\"");
        gateway.wait_log(|line| line.contains(&detail) || line.contains(said));
        tunnel.wait_for_close();
    }
}

#[test]
fn a_proxy_for_all_may_come_from_the_environment() {
    let upstream = Upstream::listen();
    let hop = Hop::socks(&upstream);
    let far = |url: &str| {
        Setup::new().toml(&format!(
            "[providers.far]\ntype = \"openai\"\napi_key = \"sk-far\"\nbase_url = \"{url}/v1\"\n"
        ))
    };
    let gateway = far("http://elsewhere.test")
        .env("ALL_PROXY", &hop.url())
        .start();
    exchange(&gateway, &upstream);
    assert_eq!(hop.asked(), ["elsewhere.test:80"]);
    let listed = far("https://elsewhere.test")
        .env("all_proxy", &hop.url())
        .env("NO_PROXY", ".test");
    let described = listed.arg("check").run().stdout;
    assert!(!described.contains("\nproxy = "), "{described}");
}

#[test]
fn check_goes_through_it_too() {
    let proxy = Upstream::listen();
    let upstream = Upstream::listen();
    let hop = Hop::socks(&upstream);
    let run = |url: &str, proxy: &str| {
        let setup = behind(url, proxy);
        std::thread::spawn(move || setup.arg("check").arg("--connect").run())
    };
    let checking = run("http://elsewhere.test", &hop.url());
    let mut peer = upstream.accept();
    assert_eq!(peer.request().head.target(), "/v1/models");
    peer.send(ok("[]"));
    let finished = checking.join().unwrap();
    assert!(
        finished
            .stdout
            .contains("far: reachable: http://elsewhere.test/v1 through socks5h://")
    );
    let checking = run("http://localhost:9", &url_of(&proxy, "socks5h"));
    asked(&proxy).send([5, 2, 0, 1, 0, 0, 0, 0, 0, 0]);
    let finished = checking.join().unwrap();
    let said = "the proxy gave no tunnel: its rules do not allow the connection";
    assert!(finished.stdout.contains(said), "{finished:?}");
    assert_eq!(finished.code, Some(1));
}
