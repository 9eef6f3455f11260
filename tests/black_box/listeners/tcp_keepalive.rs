//! What the kernel does for silent connections, as it shows in its table of them.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{Gateway, PATIENCE, Rig, Setup, Upstream, Wire, plain_exchange};

/// The time until the kernel asks whether the other end is there, in hundredths of a second; `None` is never. For the
/// connection from `near` to `far`, once nothing is under way on it.
#[track_caller]
fn asked_in(near: SocketAddr, far: SocketAddr) -> Option<u32> {
    let hex = |addr: SocketAddr| match addr {
        SocketAddr::V4(v4) => {
            format!("{:08X}:{:04X}", v4.ip().to_bits().to_be(), v4.port())
        }
        SocketAddr::V6(_) => panic!("not in this table"),
    };
    let ends = format!(" {} {} ", hex(near), hex(far));
    let until = Instant::now() + PATIENCE;
    loop {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table.lines().find(|line| line.contains(&ends));
        let line = line.unwrap_or_else(|| panic!("no {ends} in {table}"));
        // Behind the ends: state, queues, `timer:when`.
        let (timer, when) = line
            .split_whitespace()
            .nth(5)
            .unwrap()
            .split_once(':')
            .unwrap();
        match timer {
            "00" => return None,
            "02" => return Some(u32::from_str_radix(when, 16).unwrap()),
            // Something is not acknowledged yet.
            _ => assert!(Instant::now() < until, "{line}"),
        }
        thread::yield_now();
    }
}

/// For a client's connection and for one to the provider.
fn legs(gateway: &Gateway, upstream: &Upstream) -> [Option<u32>; 2] {
    let (client, peer) = plain_exchange(gateway, upstream);
    let ends = |wire: &Wire| {
        let (ours, theirs) = (wire.socket().local_addr(), wire.socket().peer_addr());
        (theirs.unwrap(), ours.unwrap())
    };
    let legs = [ends(&client), ends(&peer)].map(|(near, far)| asked_in(near, far));
    peer.close();
    legs
}

#[track_caller]
fn assert_within(legs: [Option<u32>; 2], seconds: u32) {
    for leg in legs {
        let when = leg.expect("nobody asks");
        // The table's clock is its own.
        assert!(when <= seconds * 100 + 100, "{when}");
        assert!(when > seconds * 50, "{when}");
    }
}

#[test]
fn silent_connections_are_looked_after_on_both_legs() {
    let rig = Rig::plain();
    assert_within(legs(&rig.gateway, &rig.upstream), 60);
}

#[test]
fn a_reload_changes_it_for_new_connections() {
    let rig = Rig::with(|setup| setup.toml("[tcp]\nkeepalive = 0\n"));
    assert_eq!(legs(&rig.gateway, &rig.upstream), [None, None]);
    let old = rig.client();
    let file = rig.gateway.setup().dir().join("sluicegate.toml");
    fs::write(file, "[tcp]\nkeepalive = \"20m\"\nkeepalive_interval = 1\n").unwrap();
    rig.gateway.signal(Signal::HUP);
    rig.gateway
        .wait_log(|line| line.contains("configuration reloaded"));
    assert_within(legs(&rig.gateway, &rig.upstream), 1200);
    let ends = (old.socket().peer_addr(), old.socket().local_addr());
    assert_eq!(asked_in(ends.0.unwrap(), ends.1.unwrap()), None);
}

#[test]
fn a_socket_that_somebody_else_opened_is_no_exception() {
    let upstream = Upstream::listen();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new().base(&format!("{}/v1", upstream.url()));
    let gateway = setup.start_with_socket(OwnedFd::from(listener));
    assert_within(legs(&gateway, &upstream), 60);
}
