//! Proxies that give no tunnel: what the client is told, and what nobody is.

use serde_json::Value;

use crate::support::proxy::asked;
use crate::support::{Gateway, Setup, Upstream, Wire, post};

/// Said by the proxy, never to be repeated.
const GOSSIP: &str = "p4ssw0rd";

/// In front of a proxy that the test plays.
fn behind(proxy: &str, timeouts: &str) -> Gateway {
    let toml = format!(
        "{timeouts}[providers.far]\ntype = \"openai\"\napi_key = \"sk-far\"\n\
         base_url = \"https://localhost:9\"\nproxy = \"{proxy}\"\n"
    );
    Setup::new().toml(&toml).secret(GOSSIP).start()
}

/// Status, code, message and whether another try is asked for.
#[track_caller]
fn told(client: &mut Wire) -> (u16, String, String, bool) {
    let got = client.response();
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
    assert!(!got.text().contains(GOSSIP), "{}", got.text());
    let retry = got.value("x-should-retry") == Some("true");
    (got.status(), text("code"), text("message"), retry)
}

#[test]
fn a_refusal_is_502_with_the_proxys_status() {
    let proxy = Upstream::listen();
    let gateway = behind(&proxy.url().replace("http://", "http://u:p4ssw0rd@"), "");
    let rows = [
        ("407 p4ssw0rd", "407", false),
        ("401 p4ssw0rd", "401: it wants other credentials", false),
        ("403 p4ssw0rd", "403", false),
        ("302 Found", "302", false),
        ("101 Switching Protocols", "101", false),
        ("429 Slow down", "429", true),
        ("500 p4ssw0rd", "500", true),
        ("502 Bad Gateway", "502", true),
        ("503 ", "503", true),
        ("504 Gateway Timeout", "504", true),
    ];
    for (status, said, again) in rows {
        let mut client = gateway.connect();
        client.send(post("/p/far/x", "content"));
        let mut tunnel = proxy.accept();
        asked(&mut tunnel);
        let basic = "Proxy-Authenticate: Basic realm=\"p4ssw0rd\"";
        tunnel.send(format!(
            "HTTP/1.1 {status}\r\n{basic}\r\nContent-Length: 8\r\n\r\np4ssw0rd"
        ));
        let (code, word, message, retry) = told(&mut client);
        assert_eq!(
            (code, &*word, retry),
            (502, "upstream_proxy", again),
            "{status}"
        );
        assert!(
            message.contains("provider far") && message.contains(said),
            "{message}"
        );
        tunnel.wait_for_close();
        // The client's connection stays.
        client.send("GET /health HTTP/1.1\r\nHost: g\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn what_is_no_answer_is_502() {
    let proxy = Upstream::listen();
    let gateway = behind(&proxy.url(), "");
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(16 << 10));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    let rows = [
        ("SSH-2.0-p4ssw0rd\r\n", false),
        ("HTTP/1.1 200 OK\n\n", false),
        ("HTTP/2.0 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nA B : c\r\n\r\n", false),
        ("\u{15}\u{3}\u{3}\0\u{2}\u{2}(", false),
        (&endless, false),
        (&interim, false),
    ];
    for (answer, again) in rows {
        let mut client = gateway.connect();
        client.send(post("/p/far/x", "content"));
        let mut tunnel = proxy.accept();
        asked(&mut tunnel);
        // It may have heard enough before all is sent.
        let _ = tunnel.try_send(answer);
        let (code, word, _, retry) = told(&mut client);
        assert_eq!(
            (code, &*word, retry),
            (502, "upstream_proxy", again),
            "{answer:.30}"
        );
        tunnel.wait_for_close();
    }
}

#[test]
fn a_proxy_that_breaks_off_is_502() {
    let proxy = Upstream::listen();
    let gateway = behind(&proxy.url(), "");
    for (said, reset) in [
        ("", false),
        ("HTTP/1.1 200", false),
        ("HTTP/1.1 2", true),
        ("", true),
    ] {
        let mut client = gateway.connect();
        client.send(post("/p/far/x", "content"));
        let mut tunnel = proxy.accept();
        asked(&mut tunnel);
        tunnel.send(said);
        match reset {
            true => tunnel.reset(),
            false => tunnel.close(),
        }
        let (code, word, _, retry) = told(&mut client);
        assert_eq!(
            (code, &*word, retry),
            (502, "upstream_proxy", true),
            "{said}"
        );
    }
}

#[test]
fn a_proxy_that_nobody_runs_is_502() {
    let nobody = { Upstream::listen() }.url();
    let gateway = behind(&nobody, "");
    let mut client = gateway.connect();
    client.send(post("/p/far/x", "content"));
    let (code, word, message, retry) = told(&mut client);
    assert_eq!(
        (code, &*word, retry),
        (502, "upstream_proxy", true),
        "{message}"
    );
}

#[test]
fn a_proxy_that_takes_its_time_is_504() {
    let proxy = Upstream::listen();
    let gateway = behind(&proxy.url(), "[timeouts]\nconnect = \"500ms\"\n");
    for said in [
        "",
        "HTTP/1.1 200 OK\r\nX: ",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let mut client = gateway.connect();
        client.send(post("/p/far/x", "content"));
        let mut tunnel = proxy.accept();
        asked(&mut tunnel);
        tunnel.send(said);
        let (code, word, _, retry) = told(&mut client);
        assert_eq!(
            (code, &*word, retry),
            (504, "upstream_connect_timeout", true),
            "{said}"
        );
        tunnel.wait_for_close();
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_at_start() {
    for (url, said) in [
        (
            "socks4://u:p4ssw0rd@127.0.0.1:1080",
            "no other version of SOCKS is spoken",
        ),
        (
            "socks5h://:p4ssw0rd@127.0.0.1:1080",
            "expected user and password of 1 to 255 bytes each",
        ),
        ("http://u:p4ssw0rd", "port"),
    ] {
        let table = "[providers.openai]\napi_key = \"sk-openai\"\n";
        let file = Setup::new().toml(&format!("[upstream]\nproxy = \"{url}\"\n{table}"));
        let variable = Setup::new().toml(table).env("HTTPS_PROXY", url);
        for (setup, named) in [(file, "upstream.proxy"), (variable, "HTTPS_PROXY")] {
            let finished = setup.secret(GOSSIP).run();
            assert_eq!(finished.code, Some(2), "{finished:?}");
            assert!(
                finished.stderr.contains(named) && finished.stderr.contains(said),
                "{finished:?}"
            );
        }
    }
}
