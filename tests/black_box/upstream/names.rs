//! Host names of providers: answers that grow old, names that move, several addresses of which one may be silent.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustls::ServerConfig;

use crate::support::metrics::{Metrics, wait_metrics};
use crate::support::tls::{pki, server_config};
use crate::support::{
    Gateway, PATIENCE, Setup, Upstream, Wire, get, ok, plain_exchange, post, response,
};

const TWO: &str = "127.0.0.2 localhost\n";
const THREE: &str = "127.0.0.3 localhost\n";
const BOTH: &str = "127.0.0.2 localhost\n127.0.0.3 localhost\n";

/// A provider known by name, at this port.
fn setup(upstream: &Upstream, hosts: &str) -> Setup {
    let scheme = upstream.url();
    let scheme = scheme.split(':').next().unwrap();
    let url = format!("{scheme}://localhost:{}/v1", upstream.addr().port());
    Setup::new()
        .base(&url)
        .hosts(hosts)
        .env("METRICS_ENABLED", "true")
}

/// A request that comes to `upstream` on a new connection, which ends with it.
#[track_caller]
fn asks(gateway: &Gateway, upstream: &Upstream) {
    let mut client = gateway.connect();
    client.send(post("/p/openai/chat/completions", "content"));
    answers_last(&mut upstream.accept(), &mut client);
}

#[track_caller]
fn answers_last(peer: &mut Wire, client: &mut Wire) {
    assert_eq!(peer.request().text(), "content");
    peer.send(response("200 OK", &["Connection: close"], "fine"));
    assert_eq!(client.response().text(), "fine");
}

/// Changes the hosts behind an exchange, and lets so much time pass that an answer from before is more than a second
/// old: an idle connection is closed after two.
fn pass_time(gateway: &Gateway, upstream: &Upstream, hosts: &str) {
    let (_client, mut peer) = plain_exchange(gateway, upstream);
    gateway.hosts(hosts);
    peer.wait_for_close();
}

const SHORT_AGE: &str = "[upstream]\naddress_age = \"1s\"\n\
     [providers.openai]\ntype = \"openai\"\nidle_upstream = \"2s\"\n";

#[test]
fn a_name_that_has_moved_is_followed_before_a_request_fails() {
    let [two, three] = Upstream::listen_on_two();
    let gateway = setup(&two, TWO).start_with_hosts();
    asks(&gateway, &two);
    drop(two);
    gateway.hosts(THREE);
    asks(&gateway, &three);
    asks(&gateway, &three);
}

#[test]
fn the_metrics_say_how_old_an_answer_is() {
    let [two, _three] = Upstream::listen_on_two();
    let gateway = setup(&two, TWO).start_with_hosts();
    let (_client, _peer) = plain_exchange(&gateway, &two);
    let name = "sluicegate_upstream_addresses_age_seconds{provider=\"openai\"} ";
    let until = Instant::now() + PATIENCE;
    let age: f64 = loop {
        let metrics = Metrics::of(&gateway);
        let line = metrics.0.lines().find_map(|line| line.strip_prefix(name));
        if let Some(age) = line {
            break age.parse().unwrap();
        }
        assert!(Instant::now() < until, "{}", metrics.0);
    };
    assert!((0.0..600.0).contains(&age), "{age}");
}

#[test]
fn one_that_listens_where_a_name_was_gets_nothing_once_the_answer_is_old() {
    let [two, three] = Upstream::listen_on_two();
    let gateway = setup(&two, TWO).toml(SHORT_AGE).start_with_hosts();
    for (old, new, hosts) in [(&two, &three, THREE), (&three, &two, TWO)] {
        pass_time(&gateway, old, hosts);
        asks(&gateway, new);
        old.expect_untouched();
    }
}

#[test]
fn one_with_another_certificate_is_passed_over_for_the_new_address() {
    let [mut two, mut three] = Upstream::listen_on_two();
    two.secure(server_config(&pki().server));
    three.secure(server_config(&pki().server));
    let gateway = setup(&two, TWO).start_with_hosts();
    asks(&gateway, &two);
    let strange: Arc<ServerConfig> = server_config(&pki().elsewhere);
    two.secure(strange);
    gateway.hosts(THREE);
    let mut client = gateway.connect();
    client.send(post("/p/openai/chat/completions", "content"));
    let mut stranger = two.accept();
    assert!(stranger.handshake().is_err() || stranger.take_all().0.is_empty());
    answers_last(&mut three.accept(), &mut client);
}

#[test]
fn a_resolver_that_fails_or_hangs_leaves_the_answer_in_force() {
    let [two, _three] = Upstream::listen_on_two();
    let gateway = setup(&two, TWO).toml(SHORT_AGE).start_with_hosts();
    pass_time(&gateway, &two, "");
    asks(&gateway, &two);
    // Nobody writes into it, so that reading it does not end.
    let etc = gateway.setup().dir().join("etc");
    let (pipe, mode) = (etc.join("pipe"), Mode::RUSR | Mode::WUSR);
    mknodat(CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
    std::fs::rename(&pipe, etc.join("hosts")).unwrap();
    asks(&gateway, &two);
    asks(&gateway, &two);
}

#[test]
fn connections_are_spread_over_the_addresses_of_a_name() {
    let upstreams = Upstream::listen_on_two();
    let gateway = setup(&upstreams[0], BOTH).start_with_hosts();
    let mut used = HashSet::new();
    // One in a billion that it is always the same.
    for _ in 0..31 {
        let mut client = gateway.connect();
        client.send(post("/p/openai/chat/completions", "content"));
        let mut peer = Upstream::accept_any(&upstreams);
        used.insert(peer.socket().local_addr().unwrap());
        answers_last(&mut peer, &mut client);
    }
    assert_eq!(used.len(), 2);
}

#[test]
fn an_address_that_does_not_answer_is_remembered() {
    let [two, three] = Upstream::listen_on_two();
    let gateway = setup(&two, BOTH).start_with_hosts();
    let _silent = two.black_hole();
    for _ in 0..31 {
        asks(&gateway, &three);
    }
    // Met once, at the latest by the third of four requests or so.
    let shunned = "upstream_addresses_shunned_total";
    wait_metrics(&gateway, &[(shunned, 1.0)]);
}

#[test]
fn a_name_that_leaves_an_address_that_does_not_answer_is_followed_in_time() {
    let [two, three] = Upstream::listen_on_two();
    let gateway = setup(&two, TWO).start_with_hosts();
    let _silent = two.black_hole();
    gateway.hosts(THREE);
    asks(&gateway, &three);
}

#[test]
fn a_connection_to_an_address_that_the_name_has_left_is_let_go() {
    let [two, three] = Upstream::listen_on_two();
    // It would be kept for a minute.
    let setup = setup(&two, TWO).toml("[upstream]\naddress_age = \"200ms\"\n");
    let gateway = setup.start_with_hosts();
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    let mut idle = two.accept();
    idle.request();
    let mut busy_client = gateway.connect();
    busy_client.send(get("/p/openai/busy"));
    let mut busy = two.accept();
    busy.request();
    idle.send(ok("idle"));
    assert_eq!(client.response().text(), "idle");
    gateway.hosts(THREE);
    // Nobody asks for anything meanwhile.
    idle.wait_for_close();
    busy.send(ok("busy"));
    assert_eq!(busy_client.response().text(), "busy");
    busy.wait_for_close();
    asks(&gateway, &three);
}
