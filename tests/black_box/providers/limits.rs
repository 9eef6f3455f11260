//! A limit for each instance: who goes where, who waits, and that no server ever has more than it takes.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::limited::Server;
use crate::support::metrics::{Metrics, wait_metrics};
use crate::support::queue::{ADMITTED, WAITING, answer, next, waits};
use crate::support::settings::{assert_line, assert_refused, bare, checked};
use crate::support::{Gateway, Setup, Upstream, Wire, request, response};

fn under_way(instance: usize) -> String {
    format!("upstream_instance_requests_in_flight{{provider=\"vllm\",instance=\"{instance}\"}}")
}

/// `vllm` at these places, each with its limit, if it is one; with further lines of its table.
fn vllm(places: &[(String, usize)], lines: &str) -> String {
    let one = |(url, limit): &(String, usize)| {
        let limited = (*limit > 0).then(|| format!("concurrency = {limit}\n"));
        let limited = limited.unwrap_or_default();
        format!("[[providers.vllm.instance]]\nbase_url = \"{url}/v1\"\n{limited}")
    };
    let instances: String = places.iter().map(one).collect();
    format!("[metrics]\nenabled = true\n[providers.vllm]\n{lines}\n{instances}")
}

fn start(places: &[(String, usize)], lines: &str) -> Gateway {
    Setup::new().toml(&vllm(places, lines)).start()
}

fn rewrite(gateway: &Gateway, toml: &str) {
    fs::write(gateway.setup().dir().join("sluicegate.toml"), toml).unwrap();
    gateway.reload();
}

fn of(session: &str, path: &str) -> String {
    let session = format!("session-id: {session}");
    request("POST", &format!("/p/vllm/{path}"), &[&session], "{}")
}

/// A client that has asked.
fn asks(gateway: &Gateway, session: &str, path: &str) -> Wire {
    let mut client = gateway.connect();
    client.send(of(session, path));
    client
}

fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Clients that ask again and again until they are told to stop: what they were answered, by status.
fn crowd(gateway: &Gateway, count: usize, meanwhile: impl FnOnce()) -> BTreeMap<u16, usize> {
    let (over, seen) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for client in 0..count {
            let (over, seen, gateway) = (&over, &seen, &gateway);
            scope.spawn(move || {
                let mut wire = gateway.connect();
                while !over.load(Ordering::SeqCst) {
                    wire.send(of(&client.to_string(), "chat/completions"));
                    let answer = wire.response();
                    *seen.lock().unwrap().entry(answer.status()).or_default() += 1;
                    if answer
                        .value("connection")
                        .is_some_and(|value| value.contains("close"))
                    {
                        wire = gateway.connect();
                    }
                }
            });
        }
        meanwhile();
        over.store(true, Ordering::SeqCst);
    });
    seen.into_inner().unwrap()
}

const LIMITS: [usize; 3] = [2, 3, 1];

fn places(servers: &[Server; 3], limits: [usize; 3]) -> Vec<(String, usize)> {
    servers.iter().map(Server::url).zip(limits).collect()
}

#[track_caller]
fn none_had_too_many(servers: &[Server; 3]) {
    let too_many = servers.each_ref().map(|server| server.had().1);
    assert_eq!(too_many, [0; 3]);
}

#[track_caller]
fn each_had(servers: &[Server; 3], most: [usize; 3]) {
    let had = servers.each_ref().map(|server| server.had().0);
    assert_eq!(had, most);
}

#[test]
fn no_server_has_more_than_its_limit_and_each_is_used() {
    for balance in ["least_loaded", "session", "first"] {
        let servers = LIMITS.map(Server::start);
        let setup = vllm(
            &places(&servers, LIMITS),
            &format!("balance = \"{balance}\""),
        );
        let setup = Setup::new().env("SLUICEGATE_WORKERS", "3").toml(&setup);
        let gateway = setup.start();
        let seen = crowd(&gateway, 60, || {
            servers.iter().for_each(|server| server.wait_served(100));
        });
        none_had_too_many(&servers);
        each_had(&servers, LIMITS);
        assert!(seen.len() == 1 && seen[&200] >= 300, "{balance}: {seen:?}");
        wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
        let metrics = Metrics::of(&gateway);
        for (instance, limit) in (1..).zip(LIMITS) {
            let name = "upstream_instance_limit";
            let series = format!("{name}{{provider=\"vllm\",instance=\"{instance}\"}}");
            assert_eq!(metrics.get(&series) as usize, limit);
            assert_eq!(metrics.get(&under_way(instance)), 0.0);
        }
    }
}

#[test]
fn one_that_is_killed_and_comes_back_has_never_more_nor_have_the_others() {
    let servers = LIMITS.map(Server::start);
    let health = "health = { path = \"/health\", interval = \"100ms\" }";
    let setup = vllm(&places(&servers, LIMITS), health);
    let setup = Setup::new().env("SLUICEGATE_WORKERS", "3").toml(&setup);
    let gateway = setup.start();
    let count = |what: &str| gateway.log().matches(what).count();
    let seen = crowd(&gateway, 60, || {
        for round in 1..=3 {
            servers[1].wait_served(50);
            servers[1].kill();
            // From there on it is back as soon as it answers.
            let begin = Instant::now();
            while count("fails its probes") < round {
                assert!(begin.elapsed() < Duration::from_secs(20), "{round}");
                thread::yield_now();
            }
            servers[0].wait_served(50);
            servers[2].wait_served(50);
            servers[1].come_back();
        }
        servers[1].wait_served(50);
    });
    none_had_too_many(&servers);
    // Lost is what had been sent to the one that was killed, or went to connections before their end was seen.
    let lost = seen.get(&502).copied().unwrap_or_default();
    assert!(
        seen.keys().all(|status| [200, 502].contains(status)),
        "{seen:?}"
    );
    assert!(lost <= 3 * 3 * LIMITS[1], "{seen:?}");
    let none = [under_way(1), under_way(2), under_way(3)];
    let none = none.each_ref().map(|series| (&**series, 0.0));
    wait_metrics(&gateway, &none);
    wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
}

#[test]
fn reloads_raise_lower_and_lift_limits_under_load() {
    let servers = LIMITS.map(Server::start);
    let all = |limits| vllm(&places(&servers, limits), "");
    let setup = Setup::new().env("SLUICEGATE_WORKERS", "3");
    let gateway = setup.toml(&all(LIMITS)).start();
    let each = |limits: [usize; 3]| {
        servers
            .iter()
            .zip(limits)
            .for_each(|(server, limit)| server.limit(limit));
    };
    let serve = || servers.iter().for_each(|server| server.wait_served(60));
    let seen = crowd(&gateway, 60, || {
        serve();
        for limits in [[4, 1, 3], [1, 5, 2], LIMITS] {
            each([5; 3]);
            rewrite(&gateway, &all(limits));
            // Those that were under way above the new limit end first.
            let until = Instant::now() + Duration::from_secs(20);
            let is_above = |metrics: &Metrics| {
                let pairs = (1..).zip(limits);
                let mut above =
                    pairs.filter(|(it, limit)| metrics.get(&under_way(*it)) > *limit as f64);
                above.next().is_some()
            };
            while is_above(&Metrics::of(&gateway)) {
                assert!(Instant::now() < until, "limits of {limits:?} do not hold");
            }
            each(limits);
            serve();
            none_had_too_many(&servers);
            each_had(&servers, limits);
        }
        each([usize::MAX; 3]);
        rewrite(&gateway, &all([0; 3]));
        serve();
        // Nobody waits: all of them are there.
        let together = servers.iter().map(|server| server.had().0);
        assert!(together.sum::<usize>() > 12);
    });
    none_had_too_many(&servers);
    assert!(seen.len() == 1, "{seen:?}");
    let metrics = Metrics::of(&gateway).0;
    assert!(
        !metrics.contains("upstream_queue") && !metrics.contains("_limit{"),
        "{metrics}"
    );
}

#[test]
fn one_that_a_reload_adds_serves_who_comes_then_and_nobody_waits_for_those_that_it_takes_away() {
    let all = [(); 5].map(|()| Upstream::listen());
    let those = |places: &[usize]| {
        let places: Vec<_> = places.iter().map(|it| (all[*it].url(), 1)).collect();
        vllm(&places, "balance = \"first\"")
    };
    let gateway = Setup::new().toml(&those(&[0, 1])).start();
    let mut one = asks(&gateway, "a", "one");
    let at_first = next(&all[0], "one");
    let mut two = asks(&gateway, "a", "two");
    let at_second = next(&all[1], "two");
    let mut old = waits(&gateway, of("b", "old"), 1);
    rewrite(&gateway, &those(&[0, 1, 2]));
    let mut new = asks(&gateway, "c", "new");
    let at_third = next(&all[2], "new");
    let mut newer = waits(&gateway, of("d", "newer"), 2);
    answer(at_third, &mut new);
    let at_third = next(&all[2], "newer");
    answer(at_second, &mut two);
    let at_second = next(&all[1], "old");
    let (mut stays, mut lost) = (
        waits(&gateway, of("e", "stays"), 1),
        waits(&gateway, of("f", "lost"), 2),
    );
    // The third is what is left of those that they could have gone to.
    rewrite(&gateway, &those(&[2, 3]));
    answer(at_second, &mut old);
    answer(at_third, &mut newer);
    let at_third = next(&all[2], "stays");
    rewrite(&gateway, &those(&[3, 4]));
    let told = lost.response();
    assert_eq!(told.status(), 503);
    assert!(told.text().contains("no_instance"), "{}", told.text());
    // What is under way ends in peace.
    answer(at_first, &mut one);
    answer(at_third, &mut stays);
    wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
}

/// Where a session's request goes that has all to itself.
#[track_caller]
fn home(gateway: &Gateway, all: &[Upstream], session: &str) -> usize {
    let mut client = asks(gateway, session, "home");
    let mut peer = Upstream::accept_any(all);
    peer.request();
    let addr = peer.socket().local_addr().unwrap();
    answer(peer, &mut client);
    all.iter().position(|one| one.addr() == addr).unwrap()
}

#[test]
fn a_session_goes_to_the_next_in_its_rank_while_its_own_is_full() {
    let all = [(); 3].map(|()| Upstream::listen());
    let urls: Vec<_> = all.iter().map(|one| (one.url(), 1)).collect();
    let gateway = start(&urls, "balance = \"session\"");
    let first = home(&gateway, &all, "s");
    // The next is the one that the session would have if there were no first.
    let mut others = urls.clone();
    others.remove(first);
    let second = home(&start(&others, "balance = \"session\""), &all, "s");
    let third = 3 - first - second;
    let mut clients = Vec::new();
    for (nth, at) in [first, second, third].into_iter().enumerate() {
        let path = format!("r{nth}");
        let client = asks(&gateway, "s", &path);
        clients.push((client, next(&all[at], &path)));
    }
    let mut waiting = waits(&gateway, of("s", "late"), 1);
    let (mut client, peer) = clients.remove(1);
    answer(peer, &mut client);
    // That is where there is room.
    answer(next(&all[second], "late"), &mut waiting);
    for (mut client, peer) in clients {
        answer(peer, &mut client);
    }
    assert_eq!(home(&gateway, &all, "s"), first);
}

#[test]
fn the_spare_takes_what_the_first_has_no_room_for_and_then_they_wait() {
    let all = [(); 2].map(|()| Upstream::listen());
    let urls: Vec<_> = all.iter().map(|one| (one.url(), 1)).collect();
    let lines = "balance = \"first\"\nqueue = { length = 2, wait = \"20s\" }";
    let gateway = start(&urls, lines);
    let mut one = asks(&gateway, "a", "one");
    let at_first = next(&all[0], "one");
    let mut two = asks(&gateway, "a", "two");
    let at_spare = next(&all[1], "two");
    let gone = waits(&gateway, of("a", "gone"), 1);
    let mut stays = waits(&gateway, of("b", "stays"), 2);
    let full = asks(&gateway, "a", "full").response();
    assert_eq!(full.status(), 503);
    assert!(full.text().contains("queue_full"), "{}", full.text());
    gone.close();
    wait_metrics(&gateway, &[(WAITING, 1.0)]);
    answer(at_spare, &mut two);
    answer(next(&all[1], "stays"), &mut stays);
    answer(at_first, &mut one);
    let mut again = asks(&gateway, "a", "again");
    answer(next(&all[0], "again"), &mut again);
    wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
}

#[test]
fn beside_one_without_a_limit_nobody_waits() {
    let all = [(); 2].map(|()| Upstream::listen());
    let urls = [(all[0].url(), 1), (all[1].url(), 0)];
    let gateway = start(&urls, "balance = \"first\"");
    let mut clients = vec![asks(&gateway, "a", "one")];
    let mut peers = vec![next(&all[0], "one")];
    for _ in 0..5 {
        clients.push(asks(&gateway, "a", "more"));
        peers.push(next(&all[1], "more"));
    }
    for (peer, client) in peers.into_iter().zip(&mut clients) {
        answer(peer, client);
    }
}

#[test]
fn the_provider_s_own_limit_holds_as_well() {
    let all = [(); 2].map(|()| Upstream::listen());
    let urls = [(all[0].url(), 1), (all[1].url(), 5)];
    let gateway = start(&urls, "balance = \"first\"\nconcurrency = 2");
    let mut one = asks(&gateway, "a", "one");
    let at_first = next(&all[0], "one");
    let mut two = asks(&gateway, "a", "two");
    let at_second = next(&all[1], "two");
    let mut three = waits(&gateway, of("a", "three"), 1);
    wait_metrics(&gateway, &[(ADMITTED, 2.0)]);
    answer(at_second, &mut two);
    let at_second = next(&all[1], "three");
    let mut four = waits(&gateway, of("a", "four"), 1);
    answer(at_first, &mut one);
    answer(next(&all[0], "four"), &mut four);
    answer(at_second, &mut three);
}

#[test]
fn what_is_not_reached_waits_for_room_elsewhere_and_its_own_place_is_another_s() {
    let (other, dead) = (Upstream::listen(), nowhere());
    let urls = [(format!("http://{dead}"), 1), (other.url(), 1)];
    let lines = "balance = \"first\"\nconcurrency = 8\nqueue = { length = 4, wait = \"20s\" }";
    let gateway = start(&urls, lines);
    // It goes there by way of the first.
    let mut one = asks(&gateway, "a", "one");
    let peer = next(&other, "one");
    let mut moved = waits(&gateway, of("a", "moved"), 1);
    wait_metrics(
        &gateway,
        &[(&under_way(1), 0.0), (&under_way(2), 1.0), (ADMITTED, 2.0)],
    );
    let gone = waits(&gateway, of("b", "gone"), 2);
    // Three in a row: from here on the first is left out, and the second is all there is.
    let line = gateway.wait_log(|line| line.contains("an instance failed too often"));
    assert!(line.contains("\"instance\":1"), "{line}");
    let mut fresh = waits(&gateway, of("c", "fresh"), 3);
    assert!(!other.has_connection());
    answer(peer, &mut one);
    let peer = next(&other, "moved");
    gone.close();
    wait_metrics(&gateway, &[(WAITING, 1.0)]);
    answer(peer, &mut moved);
    answer(next(&other, "fresh"), &mut fresh);
    wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
    let line = gateway.wait_log(|line| line.contains("/p/vllm/moved"));
    for part in [
        "\"queued_us\":",
        "\"attempts\":2",
        "\"instance\":2",
        "\"status\":200",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
}

#[test]
fn what_was_not_taken_waits_for_room_elsewhere() {
    let all = [(); 2].map(|()| Upstream::listen());
    let urls: Vec<_> = all.iter().map(|one| (one.url(), 1)).collect();
    let lines = "balance = \"first\"\nfailover_on = [503]\nqueue = { length = 9, wait = \"2s\" }";
    let gateway = start(&urls, lines);
    let busy = |peer: &mut Wire| peer.send(response("503 Busy", &["Connection: close"], "busy"));
    let mut one = asks(&gateway, "a", "one");
    busy(&mut next(&all[0], "one"));
    let peer = next(&all[1], "one");
    let mut two = asks(&gateway, "a", "two");
    busy(&mut next(&all[0], "two"));
    wait_metrics(&gateway, &[(WAITING, 1.0), (&under_way(1), 0.0)]);
    // Its place at the first is free for others meanwhile.
    let mut three = asks(&gateway, "a", "three");
    answer(next(&all[0], "three"), &mut three);
    answer(peer, &mut one);
    let peer = next(&all[1], "two");
    let mut late = asks(&gateway, "a", "late");
    busy(&mut next(&all[0], "late"));
    let told = late.response();
    assert_eq!(told.status(), 503);
    assert!(told.text().contains("queue_timeout"), "{}", told.text());
    assert!(told.value("retry-after").is_some());
    answer(peer, &mut two);
    wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
}

#[test]
fn one_that_is_out_is_not_used_for_want_of_room_and_those_who_wait_go_to_it_when_it_is_back() {
    let (first, second) = (Server::start(1), Upstream::listen());
    let urls = [(first.url(), 1), (second.url(), 1)];
    let lines = "balance = \"first\"\nhealth = { path = \"/health\", interval = \"100ms\" }";
    first.kill();
    // Whoever asks the second for its health is answered.
    let (asked, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let gateway = start(&urls, lines);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                if !second.waits_for(Duration::from_millis(10)) {
                    continue;
                }
                let mut peer = second.accept();
                match peer.request().head.target() {
                    "/health" => peer.send(response("200 OK", &["Connection: close"], "")),
                    _ => asked.lock().unwrap().push(peer),
                }
            }
        });
        gateway.wait_log(|line| line.contains("fails its probes"));
        let mut held = asks(&gateway, "a", "held");
        wait_metrics(&gateway, &[(&under_way(2), 1.0)]);
        let mut late = waits(&gateway, of("b", "late"), 1);
        wait_metrics(&gateway, &[(&under_way(1), 0.0)]);
        first.come_back();
        // Nothing else happens.
        assert_eq!(late.response().text(), "served");
        let begin = Instant::now();
        while asked.lock().unwrap().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(20), "it never came");
            thread::yield_now();
        }
        answer(asked.lock().unwrap().remove(0), &mut held);
        over.store(true, Ordering::SeqCst);
    });
}

#[test]
fn what_is_no_limit_of_an_instance_is_refused_by_name() {
    let instance = |lines: &str| {
        format!(
            "[[providers.vllm.instance]]\nbase_url = \"http://10.0.0.7:8000/v1\"\n{lines}\n\
             [[providers.vllm.instance]]\nbase_url = \"http://10.0.0.8:8000/v1\"\n"
        )
    };
    let limited = format!(
        "[providers.vllm]\nqueue = {{ length = 7 }}\n{}",
        instance("concurrency = 3")
    );
    let shown = checked(bare().toml(&limited));
    for line in [
        "[[providers.\"vllm\".instance]]",
        "concurrency = 3",
        "queue = { length = 7, wait = 30 }",
    ] {
        assert_line(&shown, line);
    }
    assert!(!shown.contains("base_urls"), "{shown}");
    // A variable wins over all that the table says of places, their limits included.
    let elsewhere = bare().env("VLLM_BASE_URL", "http://10.0.0.9:8000/v1");
    let shown = checked(elsewhere.toml(&limited));
    assert!(
        !shown.contains("concurrency") && !shown.contains("queue ="),
        "{shown}"
    );
    let alone = "[providers.vllm]\n[[providers.vllm.instance]]\n\
                 base_url = \"http://10.0.0.7:8000/v1\"\nconcurrency = 3\n";
    assert_line(&checked(bare().toml(alone)), "concurrency = 3");
    let number: &[&str] = &[
        "line 4",
        "providers.vllm.instance.concurrency",
        "1 to 100000",
    ];
    for wrong in ["0", "-1", "100001", "4294967297", "2.5", "\"many\""] {
        let toml = format!(
            "[providers.vllm]\n{}",
            instance(&format!("concurrency = {wrong}"))
        );
        assert_refused(|| bare().toml(&toml), number);
    }
    let rows: &[(String, &[&str])] = &[
        (
            format!(
                "[providers.vllm]\nqueue = {{ length = 7 }}\n{}",
                instance("")
            ),
            &[
                "line 2",
                "providers.vllm.queue",
                "[[providers.vllm.instance]]",
                "concurrency",
            ],
        ),
        (
            "[providers.vllm.instance]\nconcurrency = 3\n".to_owned(),
            &["expected tables [[providers.vllm.instance]]"],
        ),
        (
            "[providers.vllm]\n[[providers.vllm.instance]]\nconcurrency = 3\n".to_owned(),
            &[
                "providers.vllm.instance.base_url",
                "concurrency belongs in [providers.vllm]",
            ],
        ),
    ];
    for (toml, named) in rows {
        assert_refused(|| bare().toml(toml), named);
    }
}
