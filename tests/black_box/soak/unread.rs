//! Clients that ask for what the gateway answers by itself, again and again, and read none of it.

use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::plan::{Id, Kind};

/// In which turn of a client one of these may stay for good: the gateway has to let go of it within
/// the run, or soon after.
const FOR_GOOD: u64 = 200;

/// Asks until the gateway takes no more, is served on another connection, holds on for a while and
/// leaves.
pub(crate) fn unread(client: &mut Client<'_>, id: Id) -> Result<(), String> {
    let world = client.world;
    // Metrics are long, so that it takes no flood of log lines, which would be lost, until all
    // buffers are full.
    let ask = |target| format!("GET {target} HTTP/1.1\r\nHost: gateway\r\n\r\n");
    let (nowhere, keyless) = (format!("/nowhere/{id}"), format!("/p/alpha/soak/{id}"));
    let requests = [nowhere.as_str(), "/metrics", &keyless, "/metrics"].map(ask);
    let mut wire = world.connect();
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(wire.socket(), 4096);
    wire.stuff_with(requests.concat().repeat(10).as_bytes());
    let begin = Instant::now();
    for _ in 0..1 + client.random.below(3) {
        let id = client.id(Kind::Json);
        client.exchange(id)?;
    }
    world.time("served beside unread answers", begin.elapsed());
    if client.turns < FOR_GOOD && client.random.percent(50) {
        world.silent.lock().unwrap().push(wire);
        world.outcome(Kind::Unread, "unanswered");
        return Ok(());
    }
    let millis = client.random.below(1500) as u64;
    thread::sleep(Duration::from_millis(millis));
    match client.random.percent(80) {
        true => wire.reset(),
        false => wire.truncate(),
    }
    world.outcome(Kind::Unread, "client left");
    Ok(())
}
