//! Exchanges as rows: what the upstream says and what comes of it, whole, a byte at a time, and with more behind it.

use super::*;
use crate::http::framing::BodyLength;

/// What came of what an upstream said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Statuses of the heads that were passed on, in order.
    heads: Vec<u16>,
    content: Vec<u8>,
    /// What the client was told of its connection.
    persists: bool,
    stop: Option<&'static str>,
    /// The connection of the upstream may be used again, where the response is over.
    reusable: Option<bool>,
}

fn stop_name(stop: Stop) -> &'static str {
    match stop {
        Stop::Refuse(Failure::ResponseInvalid) => "refuse",
        Stop::Refuse(_) => "refuse for another reason",
        Stop::Cut { reset: false, .. } => "cut",
        Stop::Cut { reset: true, .. } => "reset",
        Stop::Left { .. } => "left",
        Stop::HungUp => "hung up",
    }
}

/// Plays an upstream that says `bytes` in pieces of `step` and ends then, if it `ends`.
fn play(terms: Terms, bytes: &[u8], step: usize, ends: bool) -> Outcome {
    let done = Cursor::new(BodyLength::Empty);
    let mut exchange = Exchange::new(terms, done, false);
    let mut outcome = Outcome::default();
    let mut stopped = Ok(());
    for piece in bytes.chunks(step.max(1)) {
        if stopped.is_err() || exchange.is_response_over() {
            break;
        }
        stopped = feed(&mut exchange, piece, &mut outcome);
    }
    if stopped.is_ok() && ends && !exchange.is_response_over() {
        stopped = exchange.upstream_ended(true, false).map(|_| ());
    }
    outcome.stop = stopped.err().map(stop_name);
    outcome.reusable = exchange
        .is_over()
        .then(|| exchange.conclusion(true).reusable.is_some());
    outcome
}

fn feed(exchange: &mut Exchange, piece: &[u8], outcome: &mut Outcome) -> Result<(), Stop> {
    let mut room = [piece, &[0; 2048]].concat();
    if exchange.is_tunnel() {
        outcome.content.extend_from_slice(piece);
        return Ok(());
    }
    if exchange.is_content() {
        let room = &mut room[..piece.len()];
        let taken = exchange.content(room)?;
        outcome.content.extend_from_slice(&room[..taken.kept]);
        return Ok(());
    }
    let Some(end) = exchange.upstream_sent(&mut room, piece.len())? else {
        return Ok(());
    };
    let (mut begin, mut fields) = (0, Fields::new());
    loop {
        let (content, kept) = match exchange.next_head(&mut room[begin..end], &mut fields, false)? {
            Next::More => return Ok(()),
            Next::Interim { at, head } => {
                begin += at + head.len;
                if exchange.passes_interim() {
                    outcome.heads.push(head.status);
                }
                continue;
            }
            Next::Switch { at, head } => {
                outcome.heads.push(head.status);
                exchange.switched();
                let content = begin + at + head.len;
                (content, end - content)
            }
            Next::Final { at, head, answer } => {
                outcome.heads.push(head.status);
                outcome.persists = answer.persists();
                exchange.answered(&answer);
                (begin + at + head.len, answer.taken.kept)
            }
        };
        outcome
            .content
            .extend_from_slice(&room[content..content + kept]);
        return Ok(());
    }
}

/// Terms by their letters: `1` HTTP/1.0, `h` HEAD, `u` an upgrade, `p` a client that persists.
fn terms(letters: &str) -> Terms {
    Terms {
        http10: letters.contains('1'),
        head_only: letters.contains('h'),
        upgrade: letters.contains('u'),
        client_persists: letters.contains('p'),
        ..Terms::default()
    }
}

struct Row {
    name: &'static str,
    terms: &'static str,
    says: &'static str,
    heads: &'static [u16],
    content: &'static str,
    persists: bool,
    /// What its end means; nothing where it is over before.
    end: Option<&'static str>,
    reusable: bool,
}

const ROWS: &[Row] = &[
    Row {
        name: "a length",
        terms: "p",
        says: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        heads: &[200],
        content: "hello",
        persists: true,
        end: None,
        reusable: true,
    },
    Row {
        name: "a length, and an upstream that closes",
        terms: "p",
        says: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        heads: &[200],
        content: "hello",
        persists: true,
        end: None,
        reusable: false,
    },
    Row {
        name: "chunks",
        terms: "p",
        says: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        heads: &[200],
        content: "2\r\nhi\r\n0\r\n\r\n",
        persists: true,
        end: None,
        reusable: true,
    },
    Row {
        name: "chunks for HTTP/1.0",
        terms: "1p",
        says: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        heads: &[200],
        content: "hi",
        persists: false,
        end: None,
        reusable: true,
    },
    Row {
        name: "interim responses",
        terms: "p",
        says: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
               HTTP/1.1 204 No Content\r\n\r\n",
        heads: &[100, 103, 204],
        content: "",
        persists: true,
        end: None,
        reusable: true,
    },
    Row {
        name: "interim responses for HTTP/1.0",
        terms: "1p",
        says: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        heads: &[204],
        content: "",
        persists: true,
        end: None,
        reusable: true,
    },
    Row {
        name: "HEAD",
        terms: "hp",
        says: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        heads: &[200],
        content: "",
        persists: true,
        end: None,
        reusable: true,
    },
    Row {
        name: "content until the end",
        terms: "p",
        says: "HTTP/1.1 200 OK\r\n\r\nhello",
        heads: &[200],
        content: "hello",
        persists: false,
        end: Some("whole"),
        reusable: false,
    },
    Row {
        name: "a length that is not reached",
        terms: "p",
        says: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        heads: &[200],
        content: "hello",
        persists: true,
        end: Some("cut"),
        reusable: false,
    },
    Row {
        name: "chunks that break off, for HTTP/1.0",
        terms: "1",
        says: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi",
        heads: &[200],
        content: "hi",
        persists: false,
        end: Some("reset"),
        reusable: false,
    },
    Row {
        name: "a websocket",
        terms: "u",
        says: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n\x01\x02",
        heads: &[101],
        content: "\x01\x02",
        persists: false,
        end: Some("hung up"),
        reusable: false,
    },
    Row {
        name: "a websocket that nobody asked for",
        terms: "p",
        says: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        heads: &[],
        content: "",
        persists: false,
        end: Some("refuse"),
        reusable: false,
    },
    Row {
        name: "another protocol than was asked for",
        terms: "u",
        says: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        heads: &[],
        content: "",
        persists: false,
        end: Some("refuse"),
        reusable: false,
    },
    Row {
        name: "a head that breaks off",
        terms: "p",
        says: "HTTP/1.1 200 OK\r\nContent-",
        heads: &[],
        content: "",
        persists: false,
        end: Some("refuse"),
        reusable: false,
    },
    Row {
        name: "a blank before a colon",
        terms: "p",
        says: "HTTP/1.1 200 OK\r\nServer : a\r\nContent-Length: 2\r\n\r\nhi",
        heads: &[200],
        content: "hi",
        persists: true,
        end: None,
        reusable: true,
    },
    Row {
        name: "two lengths",
        terms: "p",
        says: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        heads: &[],
        content: "",
        persists: false,
        end: Some("refuse"),
        reusable: false,
    },
];

#[test]
fn an_upstream_says_it_whole_in_bytes_and_with_more_behind() {
    for row in ROWS {
        let expected = |end: bool, reusable: bool| Outcome {
            heads: row.heads.to_vec(),
            content: row.content.as_bytes().to_vec(),
            persists: row.persists,
            stop: row.end.filter(|_| end).filter(|end| *end != "whole"),
            reusable: (row.end.is_none() || (end && row.end == Some("whole"))).then_some(reusable),
        };
        let bytes = row.says.as_bytes();
        for step in [bytes.len(), 1, 7] {
            let outcome = play(terms(row.terms), bytes, step, true);
            assert_eq!(
                outcome,
                expected(true, row.reusable),
                "{} by {step}",
                row.name
            );
        }
        if row.end.is_none() {
            // What comes behind it belongs to nobody, and spoils the connection.
            let more = [bytes, b"HTTP/1.1 200 OK\r\n"].concat();
            let outcome = play(terms(row.terms), &more, more.len(), true);
            assert_eq!(outcome, expected(true, false), "{}, and more", row.name);
        }
    }
}

#[test]
fn sixteen_interim_responses_are_passed_on_and_no_more() {
    let interim = b"HTTP/1.1 102 Processing\r\n\r\n";
    for (count, stop) in [(16, None), (17, Some("refuse"))] {
        let says = [
            &interim.repeat(count)[..],
            b"HTTP/1.1 204 No Content\r\n\r\n",
        ]
        .concat();
        let outcome = play(terms("p"), &says, says.len(), true);
        assert_eq!((outcome.heads.len().min(16), outcome.stop), (16, stop));
    }
}

#[test]
fn only_what_was_not_begun_is_asked_for_again() {
    let exchange = || Exchange::new(terms("p"), Cursor::new(BodyLength::Empty), false);
    let mut untouched = exchange();
    assert_eq!(
        untouched.upstream_ended(false, true).ok(),
        Some(UpstreamEnd::Repeat)
    );
    let ended = untouched.upstream_ended(false, false).unwrap_err();
    assert!(matches!(ended, Stop::Refuse(Failure::UpstreamReset)));
    let mut begun = exchange();
    assert!(feed(&mut begun, b"H", &mut Outcome::default()).is_ok());
    let ended = begun.upstream_ended(true, true).unwrap_err();
    assert!(matches!(ended, Stop::Refuse(Failure::ResponseInvalid)));
}

#[test]
fn own_answers_leave_what_can_be_read_to_its_end() {
    let cursor = |left| Some(Cursor::new(BodyLength::Length(left)));
    let short = |after: After| match after {
        After::Persist => "persist",
        After::Discard(_) => "discard",
        After::Close { linger: true } => "linger",
        After::Close { linger: false } => "close",
        After::Truncate { .. } | After::Drop => "else",
    };
    let most = DISCARD_BYTES_MAX as u64;
    let rows = [
        (true, None, false, "persist"),
        (false, None, false, "close"),
        (true, cursor(most), false, "discard"),
        (true, cursor(most + 1), false, "linger"),
        (true, cursor(most), true, "linger"),
        (false, cursor(most), false, "linger"),
    ];
    for (persists, rest, expects, expected) in rows {
        let rest = rest.map(|cursor| (cursor, expects));
        assert_eq!(short(after_own(persists, rest)), expected, "{rest:?}");
    }
}
