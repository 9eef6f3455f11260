//! Much data through little memory: checksums both ways, and a reader that stops stops the writer.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};

use crate::support::{Framing, Head, PATIENCE, Rig, Sides, Wire, announced, get, ok, request};

/// The resident memory that the process never goes over.
const RESIDENT_KIB_MAX: u64 = 64 * 1024;

/// Bytes to move in each direction.
fn bulk() -> usize {
    let set = std::env::var("SLUICEGATE_TEST_BULK").ok();
    set.map_or(64 << 20, |bytes| bytes.parse().unwrap())
}

/// One mebibyte that looks like nothing in particular.
fn piece() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut piece = Vec::with_capacity(1 << 20);
    while piece.len() < 1 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        piece.extend_from_slice(&state.to_le_bytes());
    }
    piece
}

/// How content is framed.
fn framed(framing: Framing, total: usize) -> String {
    match framing {
        Framing::Length => format!("Content-Length: {total}"),
        _ => "Transfer-Encoding: chunked".to_owned(),
    }
}

/// Sends `total` bytes, each piece another one, and returns their digest.
fn send_all(wire: &mut Wire, framing: Framing, total: usize) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    let mut piece = piece();
    let (mut left, mut turn) = (total, 0_usize);
    while left > 0 {
        piece[turn % 1000] ^= 0xff;
        let part = &piece[..left.min(piece.len())];
        digest.update(part);
        if framing == Framing::Chunked {
            wire.send(format!("{:x}\r\n", part.len()));
            wire.send(part);
            wire.send("\r\n");
        } else {
            wire.send(part);
        }
        left -= part.len();
        turn += 1;
    }
    if framing == Framing::Chunked {
        wire.send("0\r\n\r\n");
    }
    digest.finish().as_ref().to_vec()
}

/// Receives `total` bytes and returns their digest.
fn receive_all(wire: &mut Wire, head: &Head, total: usize) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    let mut got = 0_usize;
    if head.value("transfer-encoding").is_some() {
        loop {
            let data = wire.chunk().unwrap();
            if data.is_empty() {
                break;
            }
            digest.update(&data);
            got += data.len();
        }
        wire.trailers().unwrap();
    } else {
        assert_eq!(head.value("content-length").unwrap(), total.to_string());
        while got < total {
            let data = wire.take((total - got).min(1 << 18)).unwrap();
            digest.update(&data);
            got += data.len();
        }
    }
    assert_eq!(got, total);
    digest.finish().as_ref().to_vec()
}

/// Moves `total` bytes up and then down, and checks that they are the same and memory stayed small.
fn round_trip(sides: Sides, framing: Framing, total: usize) {
    let rig = Rig::of(sides);
    let mut client = rig.client();
    let line = framed(framing, total);
    client.send(announced("/p/anthropic/files", &line));
    let mut peer = rig.upstream.accept();
    let sender = thread::spawn(move || {
        let digest = send_all(&mut client, framing, total);
        (client, digest)
    });
    let head = peer.head();
    let received = receive_all(&mut peer, &head, total);
    let (mut client, sent) = sender.join().unwrap();
    assert_eq!(received, sent, "upwards, {sides:?}, {framing:?}");
    let sender = thread::spawn(move || {
        peer.send(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"));
        send_all(&mut peer, framing, total)
    });
    let head = client.head();
    let received = receive_all(&mut client, &head, total);
    assert_eq!(
        received,
        sender.join().unwrap(),
        "downwards, {sides:?}, {framing:?}"
    );
    let peak = rig.gateway.resident_peak_kib();
    eprintln!("{sides:?}, {framing:?}: {total} bytes each way, {peak} KiB resident at most");
    assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB resident");
}

#[test]
fn a_large_body_with_a_length_passes_both_ways_in_little_memory() {
    round_trip(Sides::PLAIN, Framing::Length, bulk());
}

#[test]
fn a_large_chunked_body_passes_both_ways_in_little_memory() {
    round_trip(Sides::PLAIN, Framing::Chunked, bulk());
}

#[test]
fn a_large_body_passes_both_ways_on_tls_in_little_memory() {
    // The test's own Sides::TLS is a debug build; a tenth shows the same.
    round_trip(Sides::TLS, Framing::Length, bulk() / 10);
    round_trip(Sides::TLS, Framing::Chunked, bulk() / 10);
}

/// More than all the buffers of two kernels' sockets and the gateway together can hold.
const TOO_MUCH: usize = 64 << 20;

/// Writes until nothing is taken for a while, or all of it was.
fn write_until_stuck(socket: &TcpStream, total: usize) -> usize {
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let piece = vec![b'x'; 1 << 16];
    let (mut written, mut socket) = (0, socket);
    while written < total {
        match socket.write(&piece[..piece.len().min(total - written)]) {
            Ok(taken) => written += taken,
            Err(_) => break,
        }
    }
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    written
}

/// Reads the rest while the other side goes on writing.
fn resume(writer: Wire, reader: &mut Wire, written: usize) -> Wire {
    let sender = thread::spawn(move || {
        let mut writer = writer;
        writer.send(vec![b'x'; TOO_MUCH - written]);
        writer
    });
    let mut left = TOO_MUCH;
    while left > 0 {
        left -= reader.take(left.min(1 << 18)).unwrap().len();
    }
    sender.join().unwrap()
}

#[test]
fn a_client_that_stops_reading_stops_the_provider_and_can_go_on() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {TOO_MUCH}\r\n\r\n"
    ));
    client.head();
    let before = rig.gateway.resident_kib();
    let written = write_until_stuck(peer.socket(), TOO_MUCH);
    let after = rig.gateway.resident_kib();
    eprintln!("stuck after {written} bytes, resident {before} KiB before, {after} KiB after");
    assert!(
        written < TOO_MUCH / 2,
        "the gateway took {written} bytes that nobody read"
    );
    assert!(
        after < before + 4096,
        "{before} KiB before, {after} KiB after"
    );
    let mut peer = resume(peer, &mut client, written);
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.send(ok("next"));
    assert_eq!(client.response().text(), "next");
}

#[test]
fn a_provider_that_stops_reading_stops_the_client_and_can_go_on() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let line = format!("Content-Length: {TOO_MUCH}");
    client.send(request("PUT", "/p/anthropic/files", &[&line], ""));
    let mut peer = rig.upstream.accept();
    peer.head();
    let before = rig.gateway.resident_kib();
    let written = write_until_stuck(client.socket(), TOO_MUCH);
    let after = rig.gateway.resident_kib();
    assert!(
        written < TOO_MUCH / 2,
        "the gateway took {written} bytes that nobody read"
    );
    assert!(
        after < before + 4096,
        "{before} KiB before, {after} KiB after"
    );
    let mut client = resume(client, &mut peer, written);
    peer.send(ok("done"));
    assert_eq!(client.response().text(), "done");
}

#[test]
fn many_small_responses_are_all_whole() {
    let rig = Rig::plain();
    let (mut client, mut peer) = (rig.client(), None);
    for size in 0..600 {
        let body = "s".repeat(size * 37);
        client.send(request("POST", "/p/anthropic/x", &[], &body));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        assert_eq!(peer.request().body.len(), body.len());
        peer.send(ok(&body));
        assert_eq!(client.response().body.len(), body.len());
    }
}

#[test]
fn hundreds_of_open_streams_fit_in_little_memory() {
    for sides in [Sides::PLAIN, Sides::TLS] {
        let rig = Rig::of(sides);
        let before = rig.gateway.resident_kib();
        let mut streams: Vec<_> = (0..200)
            .map(|_| {
                let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
                client.head();
                client.expect_chunks("hello");
                (client, peer)
            })
            .collect();
        let each = (rig.gateway.resident_kib() - before) / 200;
        eprintln!("{sides:?}: {each} KiB for each of 200 open streams");
        assert!(each < 128, "{sides:?}: {each} KiB for each open stream");
        for (client, peer) in &mut streams {
            peer.send("5\r\nagain\r\n0\r\n\r\n");
            client.expect_chunks("again");
        }
    }
}

/// Bytes of a flood; the test's own Sides::TLS is slow in a debug build.
const FLOOD: usize = 16 << 20;

#[test]
fn a_flood_does_not_keep_others_waiting() {
    for sides in [Sides::PLAIN, Sides::TLS] {
        let rig = Rig::of(sides);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        client.head();
        let source = thread::spawn(move || {
            let piece = piece();
            while peer.try_send(&piece).is_ok() {}
        });
        let moved = AtomicUsize::new(0);
        let slowest = thread::scope(|scope| {
            let sink = scope.spawn(|| {
                let mut room = vec![0; 1 << 18];
                while moved.load(Ordering::SeqCst) < FLOOD {
                    let taken = client.read(&mut room).unwrap();
                    moved.fetch_add(taken, Ordering::SeqCst);
                }
            });
            let mut other = rig.client();
            let mut slowest = Duration::ZERO;
            while !sink.is_finished() {
                let begin = Instant::now();
                other.send(get("/health"));
                assert_eq!(other.response().status(), 200);
                slowest = slowest.max(begin.elapsed());
            }
            slowest
        });
        client.reset();
        source.join().unwrap();
        eprintln!("{sides:?}: the slowest answer beside a flood took {slowest:?}");
        assert!(slowest < Duration::from_secs(2), "{sides:?}: {slowest:?}");
    }
}

/// Uploads at a time in the peak, and the content of each.
const PEAK: usize = 1500;
const PEAK_BYTES: usize = 150_000;

#[test]
fn memory_comes_back_after_a_peak_of_uploads() {
    let rig = Rig::plain();
    // A provider with little room: most of each upload has to wait somewhere in front of it.
    rig.upstream.narrow();
    let before = rig.gateway.resident_kib();
    let message = request("POST", "/p/anthropic/x", &[], &"u".repeat(PEAK_BYTES));
    let uploads = (0..PEAK).map(|_| {
        let client = rig.client();
        let mut writer = client.socket().try_clone().unwrap();
        writer.set_nonblocking(true).unwrap();
        let sent = writer.write(message.as_bytes()).unwrap();
        (client, sent, rig.upstream.accept())
    });
    let uploads: Vec<_> = uploads.collect();
    for (client, sent, mut peer) in uploads {
        client.socket().set_nonblocking(false).unwrap();
        let message = message.clone();
        let writer = thread::spawn(move || {
            client
                .socket()
                .write_all(&message.as_bytes()[sent..])
                .unwrap();
            client
        });
        assert_eq!(peer.request().body.len(), PEAK_BYTES);
        peer.send(ok("taken"));
        assert_eq!(writer.join().unwrap().response().text(), "taken");
    }
    let (peak, after) = (rig.gateway.resident_peak_kib(), rig.gateway.resident_kib());
    eprintln!("resident: {before} KiB before, {peak} at the peak, {after} after");
    assert!(peak < 100 * 1024, "{peak} KiB at the peak");
    assert!(
        after < before + 8 * 1024,
        "{before} KiB before, {after} after"
    );
}
