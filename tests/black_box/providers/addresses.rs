//! A name that stands for an instance at each of its addresses (`resolve = "all"`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::metrics::{Metrics, wait_metrics};
use crate::support::settings::{assert_line, assert_refused, bare, checked};
use crate::support::tls::{pki, server_config};
use crate::support::{
    Gateway, PATIENCE, Scripted, Setup, Upstream, Wire, get, of_session, post, response, served,
};

/// `localhost` at these last numbers of 127.0.0.
fn hosts(last: impl IntoIterator<Item = u8>) -> String {
    let lines = last
        .into_iter()
        .map(|last| format!("127.0.0.{last} localhost\n"));
    lines.collect()
}

/// `vllm` at this port of `localhost`, with further lines; answers get old soon.
fn toml(addr: SocketAddr, lines: &str) -> String {
    format!(
        "[metrics]\nenabled = true\n[upstream]\naddress_age = \"200ms\"\n[providers.vllm]\n\
         base_url = \"http://localhost:{}/v1\"\nresolve = \"all\"\n{lines}\n",
        addr.port()
    )
}

fn start(addr: SocketAddr, hosts: &str, lines: &str) -> Gateway {
    let setup = Setup::new().toml(&toml(addr, lines)).hosts(hosts);
    setup.start_with_hosts()
}

/// Providers at so many addresses of one port, from 127.0.0.2 on, that say at which they are.
fn named(count: u8) -> Vec<Scripted> {
    Scripted::start_on(count, |wire, _| {
        let own = wire.socket().local_addr().unwrap().ip().to_string();
        while let Ok(request) = wire.try_request() {
            let host = format!("X-Host: {}", request.value("host").unwrap());
            let answer = response("200 OK", &[&host], &own);
            if wire.try_send(answer).is_err() {
                return;
            }
        }
    })
}

/// Waits until it says that addresses have come or gone.
#[track_caller]
fn wait_moved(gateway: &Gateway, what: &str, addresses: &str) -> String {
    let field = format!("\"{what}\":\"{addresses}\"");
    gateway.wait_log(|line| line.contains("stands for other addresses") && line.contains(&field))
}

/// No question has an answer from now on.
fn hang(gateway: &Gateway) {
    let etc = gateway.setup().dir().join("etc");
    let (pipe, mode) = (etc.join("pipe"), Mode::RUSR | Mode::WUSR);
    mknodat(CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
    fs::rename(&pipe, etc.join("hosts")).unwrap();
}

fn instance(series: &str, last: u8) -> String {
    format!("upstream_instance_{series}{{provider=\"vllm\",instance=\"1-127.0.0.{last}\"}}")
}

#[test]
fn the_addresses_of_a_name_share_the_requests_and_are_seen() {
    let all = named(3);
    let port = all[0].addr().port();
    let gateway = start(all[0].addr(), &hosts([4, 2, 3]), "");
    let mut client = gateway.connect();
    let mut counts = BTreeMap::new();
    for _ in 0..150 {
        client.send(post("/p/vllm/completions", "{}"));
        let answer = client.response();
        // They are known by the name, whatever the address.
        assert_eq!(answer.value("x-host"), Some(&*format!("localhost:{port}")));
        *counts.entry(answer.text()).or_insert(0) += 1;
    }
    assert!(
        counts.len() == 3 && counts.values().all(|count| *count > 20),
        "{counts:?}"
    );
    for last in 2..5 {
        let count = counts[&format!("127.0.0.{last}")];
        let requests = instance("requests_total", last);
        wait_metrics(
            &gateway,
            &[
                (&requests, f64::from(count)),
                (&instance("state", last), 1.0),
            ],
        );
    }
    let at = served(&mut client, &get("/p/vllm/last"));
    let line = gateway.wait_log(|line| line.contains("/p/vllm/last"));
    let seen = format!("\"instance\":1,\"address\":\"{at}\"");
    assert!(line.contains(&seen), "{line}");
    let line = wait_moved(&gateway, "added", "127.0.0.2 127.0.0.3 127.0.0.4");
    assert!(
        line.contains("\"name\":\"localhost\"") && line.contains("\"addresses\":3"),
        "{line}"
    );
}

#[test]
fn an_address_that_is_added_gets_its_share() {
    let all = named(2);
    let gateway = start(all[0].addr(), &hosts([2]), "");
    let mut client = gateway.connect();
    for _ in 0..5 {
        assert_eq!(served(&mut client, &get("/p/vllm/models")), "127.0.0.2");
    }
    let known = Metrics::of(&gateway).get(&instance("requests_total", 2));
    assert!(known >= 5.0, "{known}");
    gateway.hosts(&hosts([2, 3]));
    wait_moved(&gateway, "added", "127.0.0.3");
    let served: BTreeSet<String> = (0..50)
        .map(|_| served(&mut client, &get("/p/vllm/models")))
        .collect();
    assert_eq!(served.len(), 2, "{served:?}");
    // What was known of the first goes on.
    let metrics = Metrics::of(&gateway);
    let requests = [2, 3].map(|last| metrics.get(&instance("requests_total", last)));
    assert!(
        requests[0] > known && requests.iter().sum::<f64>() >= 55.0,
        "{requests:?}"
    );
    assert!(!gateway.log().contains("configuration reloaded"));
}

#[test]
fn one_that_is_gone_ends_its_stream_and_gets_nothing_new() {
    let all = Upstream::listen_on(2);
    let gateway = start(all[0].addr(), &hosts([3]), "");
    let mut idle_client = gateway.connect();
    let mut client = gateway.connect();
    client.send(get("/p/vllm/models"));
    let mut leaving = all[1].accept();
    leaving.request();
    leaving.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
    client.take_until(b"12345").unwrap();
    idle_client.send(get("/p/vllm/models"));
    let mut idle = all[1].accept();
    idle.request();
    idle.send(response("200 OK", &[], "idle"));
    assert_eq!(idle_client.response().text(), "idle");
    gateway.hosts(&hosts([2]));
    wait_moved(&gateway, "added", "127.0.0.2");
    wait_moved(&gateway, "removed", "127.0.0.3");
    idle.wait_for_close();
    for _ in 0..5 {
        idle_client.send(get("/p/vllm/models"));
        let mut peer = all[0].accept();
        peer.request();
        peer.send(response("200 OK", &["Connection: close"], "new"));
        assert_eq!(idle_client.response().text(), "new");
    }
    assert!(!all[1].has_connection());
    leaving.send("67890");
    client.take_until(b"67890").unwrap();
    leaving.wait_for_close();
    let metrics = Metrics::of(&gateway);
    assert!(!metrics.0.contains("127.0.0.3"), "{}", metrics.0);
}

/// Waits until just these are instances.
#[track_caller]
fn wait_instances(gateway: &Gateway, last: &[u8]) {
    let until = Instant::now() + PATIENCE;
    loop {
        let metrics = Metrics::of(gateway);
        let count = metrics
            .0
            .matches("\nsluicegate_upstream_instance_state{")
            .count();
        let all = last
            .iter()
            .all(|last| metrics.0.contains(&instance("state", *last)));
        if all && count == last.len() {
            return;
        }
        assert!(Instant::now() < until, "{last:?}: {}", metrics.0);
    }
}

#[test]
fn requests_under_load_see_nothing_of_addresses_that_come_and_go() {
    let all = named(4);
    let quiet = "[log]\naccess = false";
    let gateway = start(all[0].addr(), &hosts([2]), quiet);
    let over = AtomicBool::new(false);
    let asked: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = gateway.connect();
                    let mut asked = 0;
                    while !over.load(Ordering::SeqCst) {
                        served(&mut client, &post("/p/vllm/completions", "{\"a\": 1}"));
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        // One that comes back would have the name taken for one of which parts are said.
        for last in [&[3][..], &[3, 4], &[5]] {
            gateway.hosts(&hosts(last.iter().copied()));
            wait_instances(&gateway, last);
        }
        over.store(true, Ordering::SeqCst);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    let received: usize = all
        .iter()
        .map(|one| one.received().concat().matches("POST ").count())
        .sum();
    assert_eq!(received, asked);
}

#[test]
fn a_name_without_an_answer_keeps_its_addresses() {
    let all = named(2);
    let gateway = start(all[0].addr(), &hosts([2, 3]), "");
    let answers = |gateway: &Gateway, answer: &str| {
        let series = "upstream_name_answers_total{provider=\"vllm\",name=\"localhost\",answer=";
        Metrics::of(gateway).get(&format!("{series}\"{answer}\"}}"))
    };
    let both = |gateway: &Gateway| {
        let mut client = gateway.connect();
        let served: BTreeSet<String> = (0..50)
            .map(|_| served(&mut client, &get("/p/vllm/models")))
            .collect();
        assert_eq!(served.len(), 2, "{served:?}");
    };
    gateway.hosts("");
    let until = Instant::now() + PATIENCE;
    while answers(&gateway, "failed") < 5.0 {
        assert!(Instant::now() < until, "{}", gateway.log());
    }
    both(&gateway);
    let log = gateway.log();
    assert_eq!(
        log.matches("a name has no answer; its addresses stay")
            .count(),
        1,
        "{log}"
    );
    // Nor does a reload have to wait for an answer, or forget them.
    hang(&gateway);
    gateway.reload();
    both(&gateway);
    assert!(!gateway.log().contains("\"removed\""));
}

#[test]
fn a_name_that_comes_back_is_told_of() {
    let all = named(1);
    let gateway = start(all[0].addr(), "", "");
    gateway.wait_log(|line| line.contains("a name has no address yet"));
    let mut client = gateway.connect();
    client.send(get("/p/vllm/models"));
    let answer = client.response();
    assert_eq!(answer.status(), 502);
    assert!(
        answer.text().contains("upstream_resolve"),
        "{}",
        answer.text()
    );
    gateway.hosts(&hosts([2]));
    gateway.wait_log(|line| line.contains("a name has an answer again"));
    wait_moved(&gateway, "added", "127.0.0.2");
    assert_eq!(served(&mut client, &get("/p/vllm/models")), "127.0.0.2");
}

#[test]
fn sessions_stay_at_their_address_and_an_added_one_takes_its_share_alone() {
    const SESSIONS: usize = 150;
    let all = named(4);
    let gateway = start(all[0].addr(), &hosts([2, 3, 4]), "balance = \"session\"");
    let mut client = gateway.connect();
    let mut where_all_are = || -> Vec<String> {
        (0..SESSIONS)
            .map(|session| served(&mut client, &of_session(session)))
            .collect()
    };
    let before = where_all_are();
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3);
    gateway.hosts(&hosts([5, 4, 3, 2]));
    wait_moved(&gateway, "added", "127.0.0.5");
    let after = where_all_are();
    let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    assert!(moved.iter().all(|(_, to)| *to == "127.0.0.5"), "{moved:?}");
    // A quarter is its share.
    assert!((15..60).contains(&moved.len()), "{}", moved.len());
    gateway.hosts(&hosts([2, 3, 4]));
    wait_moved(&gateway, "removed", "127.0.0.5");
    assert_eq!(where_all_are(), before);
}

#[test]
fn one_that_is_not_reached_leaves_as_soon_as_its_name_does_not_say_it() {
    let mut all = Upstream::listen_on(2);
    let old = toml(all[0].addr(), "balance = \"first\"").replace("200ms", "1h");
    let setup = Setup::new().toml(&old).hosts(&hosts([2, 3]));
    let gateway = setup.start_with_hosts();
    let asks = |upstream: &Upstream| {
        let mut client = gateway.connect();
        client.send(get("/p/vllm/models"));
        let mut peer = upstream.accept();
        peer.request();
        peer.send(response("200 OK", &["Connection: close"], "fine"));
        assert_eq!(client.response().text(), "fine");
    };
    asks(&all[0]);
    gateway.hosts(&hosts([3]));
    drop(all.remove(0));
    asks(&all[0]);
    // It is an hour until the name is asked for anyway.
    wait_moved(&gateway, "removed", "127.0.0.2");
}

#[test]
fn a_name_that_has_moved_altogether_costs_no_request() {
    for (before, after) in [(1, 1), (2, 1), (2, 2)] {
        let mut all = Upstream::listen_on(4);
        let old = toml(all[0].addr(), "").replace("200ms", "1h");
        let setup = Setup::new().toml(&old).hosts(&hosts(2..2 + before));
        let gateway = setup.start_with_hosts();
        // Nobody listens where the name stood, and the gateway does not know.
        let _refusing: Vec<_> = all.drain(..2).map(Upstream::refuse).collect();
        gateway.hosts(&hosts(4..4 + after));
        let mut client = gateway.connect();
        client.send(post("/p/vllm/chat/completions", "{\"a\": 1}"));
        let mut peer = Upstream::accept_any(&all);
        assert_eq!(peer.request().text(), "{\"a\": 1}");
        peer.send(response("200 OK", &[], "moved"));
        assert_eq!(client.response().text(), "moved");
        let line = gateway.wait_log(|line| line.contains("chat/completions"));
        let at = peer.socket().local_addr().unwrap().ip();
        let seen = [
            format!("\"address\":\"{at}\""),
            format!("\"attempts\":{}", before + 1),
        ];
        assert!(seen.iter().all(|part| line.contains(part)), "{line}");
        client.send(get("/p/vllm/models"));
        let mut peer = Upstream::accept_any(&all);
        peer.request();
        peer.send(response("200 OK", &[], "there"));
        assert_eq!(client.response().text(), "there");
    }
}

#[test]
fn an_address_that_is_new_gets_what_those_that_stay_did_not_take() {
    let mut all = Upstream::listen_on(3);
    let old = toml(all[0].addr(), "balance = \"first\"").replace("200ms", "1h");
    let setup = Setup::new().toml(&old).hosts(&hosts([2, 3]));
    let gateway = setup.start_with_hosts();
    let _refusing: Vec<_> = all.drain(..2).map(Upstream::refuse).collect();
    gateway.hosts(&hosts([2, 3, 4]));
    let mut client = gateway.connect();
    client.send(post("/p/vllm/chat/completions", "{}"));
    let mut peer = all[0].accept();
    peer.request();
    peer.send(response("200 OK", &[], "new"));
    assert_eq!(client.response().text(), "new");
}

#[test]
fn nobody_waits_for_an_answer_beyond_the_time_of_a_request() {
    let all = Upstream::listen_on(1);
    let lines = "[timeouts]\nrequest = \"200ms\"\n";
    let old = toml(all[0].addr(), lines).replace("200ms\"\n[prov", "1h\"\n[prov");
    let setup = Setup::new().toml(&old).hosts(&hosts([2]));
    let gateway = setup.start_with_hosts();
    let _refusing: Vec<_> = all.into_iter().map(Upstream::refuse).collect();
    hang(&gateway);
    let mut client = gateway.connect();
    client.send(post("/p/vllm/chat/completions", "{}"));
    assert!(client.response().status() >= 500);
    let line = gateway.wait_log(|line| line.contains("chat/completions"));
    let taken = line.split("\"duration_us\":").nth(1).unwrap();
    let taken: u64 = taken.split(',').next().unwrap().parse().unwrap();
    // It would wait for two seconds.
    assert!(taken < 1_500_000, "{line}");
}

#[test]
fn where_a_name_stays_and_nobody_is_there_the_client_hears_of_it() {
    let all = Upstream::listen_on(2);
    let old = toml(all[0].addr(), "").replace("200ms", "1h");
    let setup = Setup::new().toml(&old).hosts(&hosts([2, 3]));
    let gateway = setup.start_with_hosts();
    let _refusing: Vec<_> = all.into_iter().map(Upstream::refuse).collect();
    // The name is asked for anew, once a second at most, and says the same.
    for _ in 0..3 {
        let mut client = gateway.connect();
        client.send(post("/p/vllm/chat/completions", "{}"));
        let answer = client.response();
        assert_eq!(answer.status(), 502);
        assert!(answer.text().contains("\"upstream_connect\""));
    }
    let answers =
        "upstream_name_answers_total{provider=\"vllm\",name=\"localhost\",answer=\"same\"}";
    let same = Metrics::of(&gateway).get(answers);
    assert!(same >= 1.0, "{same}");
    // One who leaves waits for nothing.
    let mut client = gateway.connect();
    client.send(post("/p/vllm/abandoned", "{}"));
    client.close();
    gateway.wait_log(|line| line.contains("/p/vllm/abandoned"));
    wait_metrics(&gateway, &[("requests_in_flight", 0.0)]);
}

/// A client whose request waits at the first of two addresses, which its name leaves for the other one; that, and the first,
/// which goes on saying nothing.
fn left_while_waiting(
    gateway: &Gateway,
    mut all: Vec<Upstream>,
) -> (Wire, Upstream, (Upstream, Vec<TcpStream>)) {
    let silent = all.remove(0).black_hole();
    let mut client = gateway.connect();
    client.send(post("/p/vllm/chat/completions", "{\"a\": 1}"));
    gateway.hosts(&hosts([3]));
    (client, all.remove(0), silent)
}

#[test]
fn a_request_that_waits_for_an_address_that_leaves_goes_to_another() {
    let all = Upstream::listen_on(2);
    let port = all[0].addr().port();
    let lines = "[timeouts]\nconnect = \"2s\"\n";
    let gateway = start(all[0].addr(), &hosts([2]), lines);
    let (mut client, three, _silent) = left_while_waiting(&gateway, all);
    wait_moved(&gateway, "removed", "127.0.0.2");
    let mut peer = three.accept();
    let got = peer.request();
    assert_eq!(got.text(), "{\"a\": 1}");
    assert_eq!(got.value("host"), Some(&*format!("localhost:{port}")));
    peer.send(response("200 OK", &[], "moved"));
    assert_eq!(client.response().text(), "moved");
    let line = gateway.wait_log(|line| line.contains("chat/completions"));
    assert!(line.contains("\"address\":\"127.0.0.3\""), "{line}");
}

#[test]
fn a_connection_to_an_address_that_stood_in_for_another_stays_its_own() {
    let all = Upstream::listen_on(2);
    let lines = "[timeouts]\nconnect = \"2s\"\n";
    let two = all[0].addr();
    let gateway = start(two, &hosts([2]), lines);
    let (mut client, three, silent) = left_while_waiting(&gateway, all);
    let mut peer = three.accept();
    peer.request();
    drop(silent);
    let again = Upstream::listen_at(two);
    gateway.hosts(&hosts([2]));
    wait_moved(&gateway, "removed", "127.0.0.3");
    peer.send(response("200 OK", &[], "stood in"));
    assert_eq!(client.response().text(), "stood in");
    client.send(get("/p/vllm/models"));
    let mut peer = again.accept();
    peer.request();
    peer.send(response("200 OK", &[], "back"));
    assert_eq!(client.response().text(), "back");
}

#[test]
fn a_reload_that_changes_what_a_name_stands_for_costs_no_request() {
    for (before, after) in [("all", "one"), ("one", "all")] {
        let all = Upstream::listen_on(2);
        let lines = "[timeouts]\nconnect = \"2s\"\n";
        let settings =
            |what: &str| toml(all[0].addr(), lines).replace("\"all\"", &format!("{what:?}"));
        let (old, new) = (settings(before), settings(after));
        let setup = Setup::new().toml(&old).hosts(&hosts([2]));
        let gateway = setup.start_with_hosts();
        let (mut client, three, _silent) = left_while_waiting(&gateway, all);
        fs::write(gateway.setup().dir().join("sluicegate.toml"), new).unwrap();
        gateway.reload();
        let mut peer = three.accept();
        // A connection that was made for the old configuration is not used.
        while peer.try_request().is_err() {
            peer = three.accept();
        }
        peer.send(response("200 OK", &[], "still"));
        assert_eq!(client.response().text(), "still");
    }
}

#[test]
fn the_certificate_is_the_names_at_each_address() {
    let mut all = Upstream::listen_on_two();
    for one in &mut all {
        one.secure(server_config(&pki().server));
    }
    let secure = toml(all[0].addr(), "warm = 0").replace("http://", "https://");
    let setup = Setup::new().toml(&secure).hosts(&hosts([2, 3]));
    let gateway = setup.start_with_hosts();
    let mut used = BTreeSet::new();
    // One in a billion that it is always the same.
    for _ in 0..31 {
        let mut client = gateway.connect();
        client.send(get("/p/vllm/models"));
        let mut peer = Upstream::accept_any(&all);
        used.insert(peer.socket().local_addr().unwrap());
        peer.request();
        peer.send(response("200 OK", &["Connection: close"], "fine"));
        assert_eq!(client.response().text(), "fine");
    }
    assert_eq!(used.len(), 2);
}

#[test]
fn each_address_is_asked_whether_it_is_well() {
    let all = Scripted::start_on(2, |wire, _| {
        let ip = wire.socket().local_addr().unwrap().ip().to_string();
        let status = match &*ip {
            "127.0.0.2" => "200 OK",
            _ => "500 Ill",
        };
        while wire.try_request().is_ok() {
            if wire.try_send(response(status, &[], "")).is_err() {
                return;
            }
        }
    });
    let lines = "health = { path = \"/health\", interval = \"100ms\" }";
    let gateway = start(all[0].addr(), &hosts([2, 3]), lines);
    let line = gateway.wait_log(|line| line.contains("an instance fails its probes"));
    assert!(
        line.contains("\"instance\":1,") && line.contains("\"address\":\"127.0.0.3\""),
        "{line}"
    );
    wait_metrics(
        &gateway,
        &[(&instance("state", 3), 0.0), (&instance("state", 2), 1.0)],
    );
}

#[test]
fn names_stand_beside_other_instances() {
    let all = named(2);
    let other = Scripted::start(|wire, _| {
        while let Ok(request) = wire.try_request() {
            let own = request.value("x-own").unwrap_or("-").to_owned();
            if wire.try_send(response("200 OK", &[], &own)).is_err() {
                return;
            }
        }
    });
    let toml = format!(
        "[metrics]\nenabled = true\n[providers.vllm]\nresolve = \"all\"\n\
         [[providers.vllm.instance]]\nbase_url = \"{}/v1\"\nresolve = \"one\"\nheaders = {{ X-Own = \"elsewhere\" }}\n\
         [[providers.vllm.instance]]\nbase_url = \"http://localhost:{}/v1\"\nweight = 3\n\
         [[providers.vllm.instance]]\nbase_url = \"http://never.example/v1\"\nweight = 0\n\
         [[providers.vllm.instance]]\nbase_url = \"http://localhost:9/v1\"\nweight = 0\n",
        other.url(),
        all[0].addr().port()
    );
    let setup = || {
        Setup::new()
            .secret("elsewhere")
            .toml(&toml)
            .hosts(&hosts([3, 2]))
    };
    let gateway = setup().start_with_hosts();
    let mut client = gateway.connect();
    let mut counts = BTreeMap::new();
    for _ in 0..200 {
        *counts
            .entry(served(&mut client, &get("/p/vllm/models")))
            .or_insert(0) += 1;
    }
    // 1, 3 and 3 of 7.
    assert!((8..60).contains(&counts["elsewhere"]), "{counts:?}");
    assert_eq!(counts.len(), 3, "{counts:?}");
    let metrics = Metrics::of(&gateway);
    let of_name = "name_answers_total{provider=\"vllm\",name=\"localhost\",answer=\"changed\"} 1\n";
    assert_eq!(metrics.0.matches(of_name).count(), 1, "{}", metrics.0);
    for label in ["1", "2-127.0.0.2", "2-127.0.0.3", "3", "4-127.0.0.2"] {
        let label = format!("instance_state{{provider=\"vllm\",instance=\"{label}\"}} 1");
        assert!(metrics.0.contains(&label), "{}", metrics.0);
    }
}

#[test]
fn what_is_too_much_is_said_with_numbers() {
    let port = Upstream::listen().addr();
    let gateway = start(port, &hosts(2..82), "");
    let line = gateway.wait_log(|line| line.contains("more addresses than there can be instances"));
    for part in ["\"name\":\"localhost\"", "\"addresses\":80", "\"used\":64"] {
        assert!(line.contains(part), "{line}");
    }
    let metrics = Metrics::of(&gateway);
    let states = metrics
        .0
        .matches("\nsluicegate_upstream_instance_state{")
        .count();
    assert_eq!(states, 64);
    assert!(metrics.0.contains(&instance("state", 2)) && !metrics.0.contains("127.0.0.66"));
}

#[test]
fn a_reload_that_has_a_name_stand_for_many_does_not_wait_for_them() {
    let all = named(2);
    let one = toml(all[0].addr(), "").replace("\"all\"", "\"one\"");
    let setup = Setup::new().toml(&one).hosts(&hosts([2, 3]));
    let gateway = setup.start_with_hosts();
    let mut client = gateway.connect();
    served(&mut client, &get("/p/vllm/models"));
    assert!(!Metrics::of(&gateway).0.contains("upstream_instance_state"));
    let path = gateway.setup().dir().join("sluicegate.toml");
    fs::write(&path, toml(all[0].addr(), "")).unwrap();
    gateway.reload();
    wait_moved(&gateway, "added", "127.0.0.2 127.0.0.3");
    let states = [2, 3].map(|last| instance("state", last));
    wait_metrics(&gateway, &[(&states[0], 1.0), (&states[1], 1.0)]);
    fs::write(&path, one).unwrap();
    gateway.reload();
    served(&mut client, &get("/p/vllm/models"));
    assert!(!Metrics::of(&gateway).0.contains("upstream_instance_state"));
}

#[test]
fn check_says_what_a_name_stands_for() {
    let vllm = |lines: &str| bare().toml(&format!("[providers.vllm]\n{lines}\n"));
    let one = checked(vllm(
        "base_url = \"http://vllm.example:8000/v1\"\nresolve = \"all\"",
    ));
    for line in [
        "base_url = \"http://vllm.example:8000/v1\"",
        "resolve = \"all\"",
        "balance = \"least_loaded\"",
        "# an instance for each address of vllm.example, asked for at the start and every 30s",
    ] {
        assert_line(&one, line);
    }
    let two = checked(vllm(
        "base_urls = [\"http://a.example/v1\", \"http://b.example/v1\"]\nresolve = \"all\"",
    ));
    assert_line(
        &two,
        "base_urls = [\"http://a.example/v1\", \"http://b.example/v1\"]",
    );
    assert_line(&two, "resolve = \"all\"");
    let mixed = checked(vllm(
        "[[providers.vllm.instance]]\nbase_url = \"http://a.example/v1\"\nresolve = \"all\"\n\
         [[providers.vllm.instance]]\nbase_url = \"http://b.example/v1\"",
    ));
    assert_eq!(mixed.matches("resolve = \"all\"").count(), 1, "{mixed}");
    let usual = checked(vllm(
        "base_url = \"http://vllm.example:8000/v1\"\nresolve = \"one\"",
    ));
    assert!(!usual.contains("resolve"), "{usual}");
}

#[test]
fn what_cannot_be_looked_up_is_refused() {
    let name = "base_url = \"http://vllm.example/v1\"\n";
    let rows: &[(&str, &[&str])] = &[
        (
            "base_url = \"http://10.0.0.7/v1\"\nresolve = \"all\"",
            &[
                "line 3: providers.vllm.resolve",
                "expected a host name in the base URL beside resolve = \"all\"; found http://10.0.0.7/v1",
            ],
        ),
        (
            "base_url = \"http+unix://%2Frun%2Fv.sock/v1\"\nresolve = \"all\"",
            &[
                "line 3: providers.vllm.resolve",
                "found http+unix://%2Frun%2Fv.sock/v1",
            ],
        ),
        (
            "resolve = \"all\"\nbase_urls = [\"http://a.example/v1\", \"http://[::1]/v1\"]",
            &["line 2: providers.vllm.resolve", "found http://[::1]/v1"],
        ),
        (
            "[[providers.vllm.instance]]\nbase_url = \"http://10.0.0.7/v1\"\nresolve = \"all\"",
            &[
                "line 4: providers.vllm.instance.resolve",
                "found http://10.0.0.7/v1",
            ],
        ),
        (
            &format!("{name}resolve = \"all\"\nproxy = \"http://proxy.example:3128\""),
            &[
                "line 3: providers.vllm.resolve",
                "expected proxy = \"none\" beside resolve = \"all\"",
            ],
        ),
        (
            &format!("{name}resolve = \"many\""),
            &[
                "line 3: providers.vllm.resolve",
                "expected one or all; found \"many\"",
            ],
        ),
    ];
    for (lines, named) in rows {
        assert_refused(
            || bare().toml(&format!("[providers.vllm]\n{lines}\n")),
            named,
        );
    }
}

#[test]
fn check_goes_to_each_address() {
    let all = named(2);
    let port = all[0].addr().port();
    let setup = Setup::new()
        .toml(&toml(all[0].addr(), ""))
        .hosts(&hosts([4, 3, 2]));
    let (code, stdout) = setup.run_with_hosts(&["check", "--connect"]);
    let at = |last: u8| format!("http://localhost:{port}/v1 at 127.0.0.{last}:{port}");
    assert_eq!(
        stdout.lines().collect::<Vec<_>>(),
        [
            format!("vllm: reachable: {}: answered 200", at(2)),
            format!("vllm: reachable: {}: answered 200", at(3)),
            format!(
                "vllm: not reachable: {}: no connection: Connection refused (os error 111)",
                at(4)
            ),
        ]
    );
    assert_eq!(code, Some(1));
}

#[test]
fn the_limit_of_an_instance_is_that_of_each_of_its_addresses() {
    let all = Upstream::listen_on_two();
    let toml = format!(
        "[metrics]\nenabled = true\n[upstream]\naddress_age = \"200ms\"\n[[providers.vllm.instance]]\n\
         base_url = \"http://localhost:{}/v1\"\nresolve = \"all\"\nconcurrency = 2\n",
        all[0].addr().port()
    );
    let gateway = { Setup::new().toml(&toml) }
        .hosts(&hosts([2, 3]))
        .start_with_hosts();
    wait_moved(&gateway, "added", "127.0.0.2 127.0.0.3");
    let mut under_way = Vec::new();
    for _ in 0..4 {
        let mut client = gateway.connect();
        client.send(get("/p/vllm/models"));
        let mut peer = Upstream::accept_any(&all);
        peer.request();
        under_way.push((client, peer));
    }
    for last in 2..4 {
        wait_metrics(
            &gateway,
            &[
                (&instance("limit", last), 2.0),
                (&instance("requests_in_flight", last), 2.0),
            ],
        );
    }
    let mut fifth = gateway.connect();
    fifth.send(get("/p/vllm/fifth"));
    wait_metrics(
        &gateway,
        &[(
            "upstream_queue_requests{provider=\"vllm\",state=\"waiting\"}",
            1.0,
        )],
    );
    assert!(!all.iter().any(Upstream::has_connection));
    let (mut first, mut peer) = under_way.remove(2);
    peer.send(response("200 OK", &["Connection: close"], "first"));
    assert_eq!(first.response().text(), "first");
    let mut next = Upstream::accept_any(&all);
    assert!(next.request().head.start.contains("/fifth"));
    next.send(response("200 OK", &[], "fifth"));
    assert_eq!(fifth.response().text(), "fifth");
}
