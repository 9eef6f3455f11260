//! What is under way at each of several instances, of which one is killed, or stalls.
//!
//! The test plays the instances, and no request ends but when it says so: nothing here depends on how fast anything is.

use std::net::SocketAddr;

use crate::support::{Gateway, Setup, Upstream, Wire, get, of_session, ok};

/// Requests that are under way at once.
const MANY: usize = 300;

/// Instances, and what is under way at each of them.
struct Instances {
    gateway: Gateway,
    listening: Vec<Upstream>,
    under_way: Vec<UnderWay>,
}

struct UnderWay {
    client: Wire,
    peer: Wire,
    at: SocketAddr,
}

impl Instances {
    fn start(lines: &str) -> Self {
        let listening: Vec<_> = (0..3).map(|_| Upstream::listen()).collect();
        let urls: Vec<_> = { listening.iter() }
            .map(|one| format!("\"{}/v1\"", one.url()))
            .collect();
        let toml = format!(
            "[providers.vllm]\nbase_urls = [{}]\n{lines}\n",
            urls.join(", ")
        );
        Self {
            gateway: Setup::new()
                .env("SLUICEGATE_WORKERS", "2")
                .toml(&toml)
                .start(),
            listening,
            under_way: Vec::new(),
        }
    }

    /// Sends one more request, which is not answered.
    #[track_caller]
    fn send(&mut self, request: &str) {
        let mut client = self.gateway.connect();
        client.send(request);
        let mut peer = Upstream::accept_any(&self.listening);
        peer.request();
        let at = peer.socket().local_addr().unwrap();
        self.under_way.push(UnderWay { client, peer, at });
    }

    fn send_many(&mut self) {
        for _ in 0..MANY {
            self.send(&get("/p/vllm/models"));
        }
    }

    /// That so many, within a tenth, are under way at each that listens.
    #[track_caller]
    fn are_level(&self, share: usize) {
        for one in &self.listening {
            let here = self
                .under_way
                .iter()
                .filter(|it| it.at == one.addr())
                .count();
            assert!(here.abs_diff(share) <= share / 10, "{here}, not {share}");
        }
    }

    /// Where one request of each of a hundred sessions is served, one after another.
    fn of_sessions(&mut self) -> Vec<SocketAddr> {
        let mut places = Vec::new();
        for session in 0..100 {
            self.send(&of_session(session));
            places.extend(self.under_way.iter().map(|it| it.at));
            answer_all(std::mem::take(&mut self.under_way));
        }
        places
    }

    /// Those at this address, which are not under way any more.
    fn take_from(&mut self, at: SocketAddr) -> Vec<UnderWay> {
        let all = std::mem::take(&mut self.under_way);
        let (here, others) = all.into_iter().partition(|it| it.at == at);
        self.under_way = others;
        here
    }
}

/// They are all answered, and their clients get that.
fn answer_all(all: Vec<UnderWay>) {
    for UnderWay {
        mut client,
        mut peer,
        ..
    } in all
    {
        peer.send(ok("fine"));
        assert_eq!(client.response().text(), "fine");
    }
}

#[test]
fn one_that_is_killed_costs_what_was_under_way_there_and_nothing_else() {
    let mut instances = Instances::start("");
    instances.send_many();
    instances.are_level(MANY / 3);
    let killed = instances.listening.remove(0);
    let at = killed.addr();
    drop(killed);
    for UnderWay {
        mut client, peer, ..
    } in instances.take_from(at)
    {
        peer.reset();
        // It may have been served: that is said, and not asked of another one.
        assert_eq!(client.response().status(), 502);
        // The client's next one is not sent there, or moves on.
        instances.send(&get("/p/vllm/models"));
    }
    instances.are_level(MANY / 2);
    answer_all(instances.under_way);
}

#[test]
fn one_that_stalls_gets_no_more_than_it_holds() {
    let mut instances = Instances::start("");
    instances.send_many();
    let stalled = instances.listening[0].addr();
    let before = instances.take_from(stalled);
    let here = before.len();
    // What the others have ends, over and over: the one that does not answer gets nothing as long as it has more.
    for _ in 0..2 {
        answer_all(std::mem::take(&mut instances.under_way));
        for _ in 0..MANY - here - MANY / 10 {
            instances.send(&get("/p/vllm/models"));
        }
        assert!(instances.take_from(stalled).is_empty());
    }
    answer_all(before);
}

#[test]
fn sessions_of_others_stay_when_one_is_killed() {
    let mut instances = Instances::start("balance = \"session\"");
    let before = instances.of_sessions();
    assert_eq!(instances.of_sessions(), before);
    let killed = instances.listening.remove(0);
    let at = killed.addr();
    drop(killed);
    let after = instances.of_sessions();
    for (before, after) in before.into_iter().zip(after) {
        assert!(after != at && (before == at || before == after));
    }
}
