//! Valid messages with random faults in them: whatever comes in, only well-formed messages go out, nothing
//! panics and nobody else notices. The same faults in every run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{End, Gateway, Head, KEY, Scripted, Setup, get};

/// Messages of each direction.
const TURNS: usize = 1500;

/// A small generator; the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// One fault, sometimes two: a byte changed, taken away, doubled, put in, or a piece moved.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        const ODD: &[u8] = b"\r\n\0 \t:;,\"%/\\.-+_0159afAFxX\x0b\x0c\x7f\x80\xffGHTP";
        for _ in 0..1 + self.below(4) / 3 {
            let at = self.below(bytes.len());
            let odd = ODD[self.below(ODD.len())];
            match self.below(6) {
                0 => bytes[at] = odd,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, odd),
                4 => bytes.insert(at, bytes[at]),
                _ => {
                    let end = (at + 1 + self.below(12)).min(bytes.len());
                    let piece: Vec<u8> = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(odd);
            }
        }
    }
}

/// Requests to spoil.
fn requests() -> Vec<String> {
    let head = |line: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: gateway\r\nx-api-key: {KEY}\r\nCookie: a=b\r\nX-Kept: yes\r\n"
        )
    };
    vec![
        head("GET /p/anthropic/v1/models?limit=10") + "\r\n",
        head("POST /p/anthropic/v1/messages") + "Content-Length: 5\r\n\r\nhello",
        head("POST /p/anthropic/v1/messages")
            + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
        head("GET http://gateway/p/anthropic/x") + "Connection: close, X-Kept\r\n\r\n",
        head("POST /p/anthropic/v1/messages")
            + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        head("GET /p/anthropic/x").replace("HTTP/1.1", "HTTP/1.0")
            + "Connection: keep-alive\r\n\r\n",
    ]
}

/// Walks through everything that came on one upstream connection; returns how many whole requests there were.
/// Panics where a part of it is not well-formed; it may break off anywhere.
fn walk(mut bytes: &[u8]) -> usize {
    let find = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|w| w == mark);
    for count in 0.. {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return count;
        };
        let (head, rest) = bytes.split_at(end + 4);
        let head = Head::parse(head.to_vec());
        assert!(head.start.ends_with(" HTTP/1.1"), "{}", head.start);
        assert_eq!(head.start.split(' ').count(), 3, "{}", head.start);
        assert!(head.target().starts_with("/v1/"), "{}", head.start);
        assert_eq!(head.value("x-api-key"), Some("sk-anthropic"));
        assert_eq!(head.values("host").len(), 1);
        assert_eq!(head.values("cookie").len(), 0);
        bytes = rest;
        if let Some(len) = head.value("content-length") {
            assert_eq!(head.value("transfer-encoding"), None);
            assert!(len.bytes().all(|b| b.is_ascii_digit()), "{len}");
            let Some((_, rest)) = bytes.split_at_checked(len.parse().unwrap()) else {
                return count;
            };
            bytes = rest;
        } else if let Some(coding) = head.value("transfer-encoding") {
            assert_eq!(coding, "chunked");
            let Some(rest) = walk_chunks(bytes) else {
                return count;
            };
            bytes = rest;
        }
    }
    0
}

/// What is behind a chunked body; none when it breaks off.
fn walk_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    let find = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|w| w == mark);
    loop {
        let end = find(bytes, b"\r\n")?;
        let line = std::str::from_utf8(&bytes[..end]).unwrap_or("?");
        let digits = line.split(';').next().unwrap().chars();
        let size = digits.fold(0_usize, |sum, digit| {
            let digit = digit
                .to_digit(16)
                .unwrap_or_else(|| panic!("chunk line {line:?}"));
            sum.checked_mul(16).unwrap() + digit as usize
        });
        bytes = &bytes[end + 2..];
        if size == 0 {
            break;
        }
        let data = bytes.get(..size.checked_add(2)?)?;
        assert!(data.ends_with(b"\r\n"), "chunk data");
        bytes = &bytes[size + 2..];
    }
    loop {
        let end = find(bytes, b"\r\n")?;
        let line = &bytes[..end];
        bytes = &bytes[end + 2..];
        if line.is_empty() {
            return Some(bytes);
        }
        assert!(
            line.contains(&b':') && !line.contains(&b'\n'),
            "trailer {line:?}"
        );
    }
}

fn healthy(gateway: &Gateway) {
    let mut client = gateway.connect();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

/// Answers every head that looks whole at once, and reads whatever comes.
fn answering() -> Scripted {
    Scripted::start(|wire, _| {
        while let Ok(head) = wire.try_head() {
            if head.value("expect").is_some() {
                let _ = wire.try_send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let len: usize = head
                .value("content-length")
                .map_or(0, |l| l.parse().unwrap_or(0));
            let read = match head.value("transfer-encoding") {
                None => wire.take(len.min(1 << 20)).is_ok(),
                Some(_) => loop {
                    match wire.chunk() {
                        Ok(data) if data.is_empty() => break wire.trailers().is_ok(),
                        Ok(_) => {}
                        Err(_) => break false,
                    }
                },
            };
            if !read
                || wire
                    .try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .is_err()
            {
                return;
            }
        }
    })
}

#[test]
fn spoiled_requests_go_upstream_well_formed_or_not_at_all() {
    let upstream = answering();
    let gateway = Setup::new().base(&format!("{}/v1", upstream.url())).start();
    let mut random = Random(0x5107_ced0_2f6e_3779);
    let requests = requests();
    let mut barrier = gateway.connect();
    for turn in 0..TURNS {
        let mut bytes = requests[turn % requests.len()].clone().into_bytes();
        random.spoil(&mut bytes);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let mut client = gateway.connect();
        if client.try_send(&bytes).is_ok() {
            // What is whole gets its answer before the departure that an incomplete one is ended with.
            for _ in 0..10 {
                if !client.readable_now() {
                    barrier.send(get("/health"));
                    barrier.response();
                }
            }
            client.half_close();
        }
        let (answer, _) = client.take_all();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 "),
            "{shown:?}: {answer}"
        );
        if turn % 50 == 0 {
            healthy(&gateway);
        }
    }
    healthy(&gateway);
    let whole: usize = upstream
        .received_bytes()
        .iter()
        .map(|seen| walk(seen))
        .sum();
    eprintln!("{whole} of {TURNS} spoiled requests went upstream whole");
}

/// Responses to spoil.
const RESPONSES: [&str; 5] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Kept: yes\r\nSet-Cookie: a=b\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: 1\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
    "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    "HTTP/1.1 204 No Content\r\nConnection: X-Kept\r\nX-Kept: yes\r\n\r\n",
];

#[test]
fn spoiled_responses_come_to_the_client_well_formed_or_cut() {
    let answers: Arc<Mutex<Vec<u8>>> = Arc::default();
    let given = Arc::clone(&answers);
    let upstream = Scripted::start(move |wire, _| {
        if wire.try_request().is_ok() {
            let answer = given.lock().unwrap().clone();
            let _ = wire.try_send(answer);
            wire.half_close();
            wire.wait_for_close();
        }
    });
    let gateway = Setup::new().base(&format!("{}/v1", upstream.url())).start();
    let mut random = Random(0x0dd0_1dea_5eed_f00d);
    let kinds = [
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    ];
    for turn in 0..TURNS {
        let mut bytes = RESPONSES[turn % RESPONSES.len()].as_bytes().to_vec();
        random.spoil(&mut bytes);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        *answers.lock().unwrap() = bytes;
        let mut client = gateway.connect();
        client.send(get("/p/anthropic/x"));
        // The reader is strict: it panics on anything that is not well-formed.
        let got = loop {
            match client.try_response() {
                Ok(got) if (100..200).contains(&got.status()) => {}
                got => break got,
            }
        };
        match &got {
            Ok(got) if got.status() == 502 => kinds[0].fetch_add(1, Ordering::SeqCst),
            Ok(got) => {
                assert_eq!(got.head.values("set-cookie").len(), 0, "{shown:?}");
                if got.value("connection") != Some("close") {
                    client.send(get("/health"));
                    assert_eq!(client.response().text(), "{\"status\":\"ok\"}", "{shown:?}");
                }
                kinds[1].fetch_add(1, Ordering::SeqCst)
            }
            Err(broken) => {
                assert!(matches!(broken.end, End::Clean | End::Reset), "{shown:?}");
                kinds[2].fetch_add(1, Ordering::SeqCst)
            }
        };
    }
    healthy(&gateway);
    eprintln!("of {TURNS} spoiled responses 502, relayed, cut: {kinds:?}");
}
