//! Several instances of one provider: who gets a request, and who the next one where that cannot be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::support::metrics::wait_metrics;
use crate::support::settings::{assert_line, assert_refused, bare, checked};
use crate::support::tls::{pki, server_config};
use crate::support::{
    Gateway, Scripted, Setup, Upstream, announced, get, of_session, ok, post, response, served,
};

/// A provider that says which one it is.
fn named(name: &'static str) -> Scripted {
    Scripted::start(move |wire, _| {
        while let Ok(request) = wire.try_request() {
            let host = format!("X-Host: {}", request.value("host").unwrap());
            let own = format!("X-Own: {}", request.value("x-own").unwrap_or("-"));
            if wire
                .try_send(response("200 OK", &[&host, &own], name))
                .is_err()
            {
                return;
            }
        }
    })
}

/// `vllm` at these places, with further lines.
fn vllm(urls: &[String], lines: &str) -> String {
    let urls: Vec<String> = urls.iter().map(|url| format!("\"{url}/v1\"")).collect();
    format!(
        "[metrics]\nenabled = true\n[providers.vllm]\nbase_urls = [{}]\n{lines}\n",
        urls.join(", ")
    )
}

fn start(urls: &[String], lines: &str) -> Gateway {
    Setup::new().toml(&vllm(urls, lines)).start()
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn requests_are_shared_out_and_seen_by_instance() {
    let instances = ["a", "b", "c"].map(named);
    let urls = instances.each_ref().map(Scripted::url);
    let gateway = start(&urls, "");
    let mut client = gateway.connect();
    let mut counts = BTreeMap::new();
    for _ in 0..300 {
        *counts
            .entry(served(&mut client, &post("/p/vllm/completions", "{}")))
            .or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert!(
        counts.values().all(|count| (60..140).contains(count)),
        "{counts:?}"
    );
    let of = |name: &str, instance: usize| {
        format!("upstream_instance_{name}{{provider=\"vllm\",instance=\"{instance}\"}}")
    };
    for (instance, name) in (1..).zip(["a", "b", "c"]) {
        wait_metrics(
            &gateway,
            &[
                (&of("requests_total", instance), f64::from(counts[name])),
                (&of("requests_in_flight", instance), 0.0),
                (&of("state", instance), 1.0),
                (&of("failures_total", instance), 0.0),
            ],
        );
    }
    client.send(get("/p/vllm/last"));
    let name = client.response().text();
    let number = 1 + ["a", "b", "c"].iter().position(|it| *it == name).unwrap();
    let line = gateway.wait_log(|line| line.contains("/p/vllm/last"));
    assert!(line.contains(&format!("\"instance\":{number}")), "{line}");
}

#[test]
fn a_busy_instance_gets_less() {
    let (one, two) = (Upstream::listen(), Upstream::listen());
    let gateway = start(&[one.url(), two.url()], "");
    let mut held = gateway.connect();
    held.send(get("/p/vllm/models"));
    let all = [one, two];
    let mut busy = Upstream::accept_any(&all);
    busy.request();
    for _ in 0..5 {
        let mut client = gateway.connect();
        client.send(get("/p/vllm/models"));
        let mut peer = Upstream::accept_any(&all);
        peer.request();
        peer.send(response("200 OK", &["Connection: close"], "idle"));
        assert_eq!(client.response().text(), "idle");
        assert_ne!(
            peer.socket().local_addr().unwrap(),
            busy.socket().local_addr().unwrap()
        );
    }
}

#[test]
fn sessions_stay_and_only_those_of_a_lost_instance_move() {
    let instances = ["a", "b", "c"].map(named);
    let urls = instances.each_ref().map(Scripted::url);
    let gateway = start(&urls, "balance = \"session\"");
    let mut client = gateway.connect();
    let mut all = || -> Vec<String> {
        (0..150)
            .map(|n| served(&mut client, &of_session(n)))
            .collect()
    };
    let before = all();
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(all(), before);
    let path = gateway.setup().dir().join("sluicegate.toml");
    fs::write(path, vllm(&urls[..2], "balance = \"session\"")).unwrap();
    gateway.reload();
    for (before, after) in before.iter().zip(all()) {
        assert!(after != "c" && (before == "c" || *before == after));
    }
}

#[test]
fn the_first_serves_and_the_spare_stands_in() {
    let spare = named("spare");
    let primary = named("primary");
    let gateway = start(&[primary.url(), spare.url()], "balance = \"first\"");
    let mut client = gateway.connect();
    for _ in 0..10 {
        assert_eq!(served(&mut client, &get("/p/vllm/models")), "primary");
    }
    assert_eq!(spare.connections(), 0);
    let gateway = start(
        &[format!("http://{}", nowhere()), spare.url()],
        "balance = \"first\"",
    );
    assert_eq!(
        served(&mut gateway.connect(), &get("/p/vllm/models")),
        "spare"
    );
}

#[test]
fn where_an_instance_is_not_reached_the_next_one_gets_the_request_as_it_was() {
    let alive = named("alive");
    let dead = nowhere();
    let tls = Scripted::start_as(Some(server_config(&pki().stranger)), |wire, _| {
        let _ = wire.try_request();
    });
    for place in [
        format!("http://{dead}"),
        tls.url(),
        "http://nobody.invalid".to_owned(),
    ] {
        let gateway = start(&[place, alive.url()], "balance = \"first\"");
        let mut client = gateway.connect();
        let before = alive.received().concat().len();
        client.send(post("/p/vllm/chat/completions", "{\"a\": 1}"));
        let answer = client.response();
        assert_eq!((answer.status(), answer.text()), (200, "alive".to_owned()));
        assert_eq!(answer.value("x-host"), Some(&*alive.addr().to_string()));
        let received = alive.received().concat();
        let received = &received[before..];
        assert!(
            received.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
            "{received}"
        );
        assert!(received.ends_with("\r\n\r\n{\"a\": 1}"), "{received}");
        assert_eq!(received.matches("Host: ").count(), 1, "{received}");
        let line = gateway.wait_log(|line| line.contains("chat/completions"));
        assert!(
            line.contains("\"instance\":2") && line.contains("\"attempts\":2"),
            "{line}"
        );
        assert!(!line.contains("\"error\""), "{line}");
    }
}

#[test]
fn an_upload_under_way_goes_on_at_the_next_one() {
    let upstream = Upstream::listen();
    let gateway = start(
        &[format!("http://{}", nowhere()), upstream.url()],
        "balance = \"first\"",
    );
    let mut client = gateway.connect();
    client.send(announced("/p/vllm/files", "Content-Length: 10"));
    client.send("12345");
    let mut peer = upstream.accept();
    client.send("67890");
    assert_eq!(peer.request().text(), "1234567890");
    peer.send(ok("whole"));
    assert_eq!(client.response().text(), "whole");
}

#[test]
fn an_instance_that_fails_is_left_alone_and_that_is_said() {
    let alive = named("alive");
    let gateway = start(
        &[format!("http://{}", nowhere()), alive.url()],
        "balance = \"first\"",
    );
    let mut client = gateway.connect();
    for _ in 0..8 {
        assert_eq!(served(&mut client, &get("/p/vllm/models")), "alive");
    }
    let line = gateway.wait_log(|line| line.contains("an instance failed too often"));
    assert!(
        line.contains("\"instance\":1") && line.contains("\"level\":\"warn\""),
        "{line}"
    );
    client.send(get("/p/vllm/last"));
    client.response();
    let line = gateway.wait_log(|line| line.contains("/p/vllm/last"));
    assert!(!line.contains("attempts"), "{line}");
    wait_metrics(
        &gateway,
        &[
            (
                "upstream_instance_state{provider=\"vllm\",instance=\"1\"}",
                0.0,
            ),
            (
                "upstream_instance_failures_total{provider=\"vllm\",instance=\"1\"}",
                3.0,
            ),
        ],
    );
}

#[test]
fn what_may_have_been_sent_is_never_sent_to_another() {
    for answer in ["", "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"] {
        let taker = Scripted::start(move |wire, _| {
            let _ = wire.try_request();
            let _ = wire.try_send(answer);
        });
        let other = named("other");
        let gateway = start(&[taker.url(), other.url()], "balance = \"first\"");
        let mut client = gateway.connect();
        client.send(post("/p/vllm/chat/completions", "{}"));
        let wanted = if answer.is_empty() { 502 } else { 503 };
        assert_eq!(client.response().status(), wanted);
        assert_eq!(other.connections(), 0);
        let failures = "upstream_instance_failures_total{provider=\"vllm\",instance=\"1\"}";
        wait_metrics(&gateway, &[(failures, 1.0)]);
    }
}

#[test]
fn where_none_is_reached_the_client_is_told_as_ever() {
    let places = [nowhere(), nowhere()].map(|place| format!("http://{place}"));
    let gateway = start(&places, "");
    let mut client = gateway.connect();
    client.send(post("/p/vllm/chat/completions", "{}"));
    let answer = client.response();
    assert_eq!(answer.status(), 502);
    assert!(
        answer.text().contains("upstream_connect"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.value("x-should-retry"), Some("true"));
}

#[test]
fn each_table_has_its_weight_its_fields_and_its_roots() {
    let (plain, never) = (named("plain"), named("never"));
    let secure = Scripted::start_as(Some(server_config(&pki().server)), |wire, _| {
        while let Ok(request) = wire.try_request() {
            let own = format!("X-Own: {}", request.value("x-own").unwrap_or("-"));
            if wire
                .try_send(response("200 OK", &[&own], "secure"))
                .is_err()
            {
                return;
            }
        }
    });
    let toml = format!(
        "[providers.vllm]\nheaders = {{ X-Own = \"shared\" }}\n\
         [[providers.vllm.instance]]\nbase_url = \"{}/v1\"\nheaders = {{ x-own = \"of-plain\" }}\n\
         [[providers.vllm.instance]]\nbase_url = \"{}/v1\"\nca_file = \"ca.pem\"\n\
         [[providers.vllm.instance]]\nbase_url = \"{}/v1\"\nweight = 0\n",
        plain.url(),
        secure.url(),
        never.url()
    );
    let setup = Setup::new()
        .without("SSL_CERT_FILE")
        .secret("of-plain")
        .toml(&toml);
    let shown = checked(
        Setup::new()
            .without("SSL_CERT_FILE")
            .secret("of-plain")
            .toml(&toml),
    );
    for line in [
        "[[providers.\"vllm\".instance]]",
        "weight = 0",
        "ca_file = \"ca.pem\"",
        "headers.\"x-own\" = \"[redacted]\"",
    ] {
        assert_line(&shown, line);
    }
    let gateway = setup.start();
    let mut client = gateway.connect();
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        client.send(get("/p/vllm/models"));
        let answer = client.response();
        let own = answer.value("x-own").unwrap().to_owned();
        seen.insert((answer.text(), own));
    }
    let wanted = [("plain", "of-plain"), ("secure", "shared")];
    let wanted: BTreeSet<_> = wanted
        .map(|(name, own)| (name.to_owned(), own.to_owned()))
        .into();
    assert_eq!(seen, wanted);
}

#[test]
fn a_stream_ends_in_peace_at_an_instance_that_a_reload_takes_away() {
    let (one, two) = (Upstream::listen(), named("two"));
    let gateway = start(&[one.url(), two.url()], "balance = \"first\"");
    let mut client = gateway.connect();
    client.send(get("/p/vllm/models"));
    let mut peer = one.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    let path = gateway.setup().dir().join("sluicegate.toml");
    fs::write(path, vllm(&[two.url()], "")).unwrap();
    gateway.reload();
    assert_eq!(
        served(&mut gateway.connect(), &get("/p/vllm/models")),
        "two"
    );
    peer.send("3\r\nend\r\n0\r\n\r\n");
    client.expect_chunks("end");
}

#[test]
fn each_instance_is_gone_to_by_check() {
    let one = named("one");
    let dead = nowhere();
    let setup = Setup::new().toml(&vllm(&[one.url(), format!("http://{dead}")], ""));
    let finished = setup.arg("check").arg("--connect").run();
    let url = one.url();
    let reached = format!(
        "vllm instance 1 of 2: reachable: {url}/v1 at {}: answered 200",
        one.addr()
    );
    assert!(finished.stdout.contains(&reached), "{finished:?}");
    assert!(
        finished
            .stdout
            .contains("vllm instance 2 of 2: not reachable"),
        "{finished:?}"
    );
    assert_eq!(finished.code, Some(1));
}

#[test]
fn what_is_no_group_is_refused_by_name() {
    let table = "[[providers.vllm.instance]]\n";
    let rows: &[(&str, &[&str])] = &[
        (
            "base_urls = []",
            &["providers.vllm.base_urls", "at least one base URL"],
        ),
        (
            "base_urls = [\"http://h/v1\", \"h\"]",
            &["line 2", "providers.vllm.base_urls", "https://"],
        ),
        (
            "base_urls = [\"http://h/v1\", \"http://h/v1\"]",
            &["providers.vllm.base_urls", "each base URL once"],
        ),
        (
            "base_urls = [\"http://h/v1\", \"http://i/v2\"]",
            &["providers.vllm.base_urls", "the same path", "http://i/v2"],
        ),
        (
            "base_url = \"http://h/v1\"\nbase_urls = [\"http://i/v1\"]",
            &[
                "providers.vllm.base_url",
                "only one of base_url and base_urls",
            ],
        ),
        (
            &format!("base_urls = [\"http://i/v1\"]\n{table}base_url = \"http://h\""),
            &["base_urls and instance"],
        ),
        (
            &format!("{table}weight = 3"),
            &[
                "line 2",
                "providers.vllm.instance.base_url",
                "expected a base URL",
            ],
        ),
        (
            &format!("{table}base_url = \"http://h\"\nweight = 1001"),
            &["line 4", "providers.vllm.instance.weight", "0 to 1000"],
        ),
        (
            &format!("{table}base_url = \"http://h\"\nweight = 0"),
            &["weight above 0"],
        ),
        (
            &format!("{table}base_url = \"http://h\"\nheaders = {{ Host = \"x\" }}"),
            &["providers.vllm.instance.headers.Host", "end-to-end"],
        ),
        (
            &format!("{table}base_url = \"http://h\"\nca_file = \"ca.pem\""),
            &["providers.vllm.instance.ca_file", "https://"],
        ),
        (
            &format!("{table}base_url = \"http://h\"\nwieght = 2"),
            &["line 4", "wieght", "weight"],
        ),
        (
            "instance = \"http://h\"",
            &["line 2", "providers.vllm.instance"],
        ),
        (
            "balance = \"round_robin\"",
            &["line 2", "providers.vllm.balance", "least_loaded"],
        ),
    ];
    for (lines, named) in rows {
        assert_refused(
            || bare().toml(&format!("[providers.vllm]\n{lines}\n")),
            named,
        );
    }
    let shown = checked(bare().toml(&vllm(&["http://h".to_owned(), "http://i".to_owned()], "")));
    assert_line(&shown, "base_urls = [\"http://h/v1\", \"http://i/v1\"]");
    assert_line(&shown, "balance = \"least_loaded\"");
    // The variable says where it is, and that is one place.
    let one = bare().toml(&vllm(&["http://h".to_owned(), "http://i".to_owned()], ""));
    let shown = checked(one.env("VLLM_BASE_URL", "http://j/v1"));
    assert_line(&shown, "base_url = \"http://j/v1\"");
}

/// Answers `/health` with this status, as long as it is set, and everything else with its name.
fn probed(name: &'static str, status: &Arc<AtomicU16>) -> Scripted {
    let status = status.clone();
    Scripted::start(move |wire, _| {
        while let Ok(request) = wire.try_request() {
            let answer = match request.head.target() {
                "/health?deep" => {
                    assert_eq!(request.value("authorization"), None);
                    response(&format!("{} S", status.load(Ordering::SeqCst)), &[], "")
                }
                _ => ok(name),
            };
            if wire.try_send(answer).is_err() {
                return;
            }
        }
    })
}

#[test]
fn instances_are_asked_whether_they_are_well() {
    for (expect, good, bad) in [("", 204, 500), (", expect = 429", 429, 200)] {
        let status = Arc::new(AtomicU16::new(good));
        let steady = Arc::new(AtomicU16::new(good));
        let (one, two) = (probed("one", &status), probed("two", &steady));
        let health =
            format!("health = {{ path = \"/health?deep\", interval = \"100ms\"{expect} }}\n");
        let gateway = start(
            &[one.url(), two.url()],
            &format!("balance = \"first\"\napi_key = \"sk-one\"\n{health}"),
        );
        let state = "upstream_instance_state{provider=\"vllm\",instance=\"1\"}";
        let mut client = gateway.connect();
        assert_eq!(served(&mut client, &get("/p/vllm/models")), "one");
        status.store(bad, Ordering::SeqCst);
        let line = gateway.wait_log(|line| line.contains("fails its probes"));
        assert!(
            line.contains("\"instance\":1") && line.contains(&one.url()),
            "{line}"
        );
        wait_metrics(&gateway, &[(state, 0.0)]);
        assert_eq!(served(&mut client, &get("/p/vllm/models")), "two");
        status.store(good, Ordering::SeqCst);
        gateway.wait_log(|line| line.contains("an instance serves again"));
        assert_eq!(served(&mut client, &get("/p/vllm/models")), "one");
    }
}
