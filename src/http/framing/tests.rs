//! Tables of framing, each read whole, at every cut, byte by byte and with a message behind it.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::property::{
    advance, chunked_holds, chunked_holds_at_cut, decision_holds, plain_holds, relay, strip,
};
use super::*;
use crate::http::head::{Fields, HeadView, Side, parse_request, parse_response};

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n";

fn request_length(version: &str, lines: &str) -> Result<BodyLength, FramingError> {
    let input = format!("POST / HTTP/{version}\r\nHost: h\r\n{lines}\r\n");
    let mut fields = Fields::new();
    let head = parse_request(input.as_bytes(), &mut fields)
        .unwrap()
        .unwrap();
    decision_holds(input.as_bytes());
    request_body(HeadView::new(&head, &fields, input.as_bytes()))
}

fn response_length(
    status_line: &str,
    lines: &str,
    is_head: bool,
) -> Result<BodyLength, FramingError> {
    let input = format!("HTTP/{status_line}\r\n{lines}\r\n");
    let mut fields = Fields::new();
    let head = parse_response(input.as_bytes(), &mut fields)
        .unwrap()
        .unwrap();
    decision_holds(input.as_bytes());
    response_body(HeadView::new(&head, &fields, input.as_bytes()), is_head)
}

#[test]
fn request_lengths() {
    use BodyLength::*;
    use FramingError::*;
    let rows: &[(&str, Result<BodyLength, FramingError>)] = &[
        ("", Ok(Empty)),
        ("Content-Length: 0\r\n", Ok(Empty)),
        ("Content-Length: 00\r\n", Ok(Empty)),
        ("Content-Length: 5\r\n", Ok(Length(5))),
        ("content-length:\t005 \r\n", Ok(Length(5))),
        (
            "Content-Length: 9223372036854775807\r\n",
            Ok(Length(LENGTH_MAX)),
        ),
        (
            "Content-Length: 9223372036854775808\r\n",
            Err(LengthInvalid),
        ),
        (
            "Content-Length: 18446744073709551615\r\n",
            Err(LengthInvalid),
        ),
        (
            "Content-Length: 18446744073709551616\r\n",
            Err(LengthInvalid),
        ),
        (
            "Content-Length: 99999999999999999999999\r\n",
            Err(LengthInvalid),
        ),
        ("Content-Length: +5\r\n", Err(LengthInvalid)),
        ("Content-Length: -5\r\n", Err(LengthInvalid)),
        ("Content-Length: 0x5\r\n", Err(LengthInvalid)),
        ("Content-Length: 5 5\r\n", Err(LengthInvalid)),
        ("Content-Length: 5,5\r\n", Err(LengthInvalid)),
        ("Content-Length: 5,\r\n", Err(LengthInvalid)),
        ("Content-Length:\r\n", Err(LengthInvalid)),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Err(LengthRepeated),
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Err(LengthRepeated),
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(request_length("1.1", lines), *expected, "{lines:?}");
    }
    assert_eq!(
        request_length("1.0", "Content-Length: 5\r\n"),
        Ok(Length(5))
    );
}

#[test]
fn request_codings() {
    use BodyLength::*;
    use FramingError::*;
    let rows: &[(&str, Result<BodyLength, FramingError>)] = &[
        ("Transfer-Encoding: chunked\r\n", Ok(Chunked)),
        ("transfer-encoding:\t CHUNKED \r\n", Ok(Chunked)),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Err(LengthWithCoding),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            Err(LengthWithCoding),
        ),
        (
            "Transfer-Encoding: gzip\r\nContent-Length: x\r\n",
            Err(LengthWithCoding),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Err(CodingUnsupported),
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            Err(CodingUnsupported),
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Err(CodingUnsupported),
        ),
        ("Transfer-Encoding: identity\r\n", Err(CodingUnsupported)),
        ("Transfer-Encoding: xchunked\r\n", Err(CodingUnsupported)),
        ("Transfer-Encoding:\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: ,chunked\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: chunked,\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: chunked;q=1\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: \"chunked\"\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: chun ked\r\n", Err(CodingMalformed)),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n",
            Err(CodingMalformed),
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(request_length("1.1", lines), *expected, "{lines:?}");
    }
    assert_eq!(
        request_length("1.0", "Content-Length: 5\r\n"),
        Ok(Length(5))
    );
    assert_eq!(
        request_length("1.0", "Transfer-Encoding: chunked\r\n"),
        Err(CodingInHttp10)
    );
}

#[test]
fn request_codings_with_parameters() {
    use FramingError::*;
    let rows: &[(&str, Result<BodyLength, FramingError>)] = &[
        (
            "Transfer-Encoding: chunked ; q = \"1\"\r\n",
            Err(CodingMalformed),
        ),
        ("Transfer-Encoding: gzip;q=1\r\n", Err(CodingUnsupported)),
        (
            "Transfer-Encoding: gzip ;\tq = 1;r=2\r\n",
            Err(CodingUnsupported),
        ),
        (
            "Transfer-Encoding: gzip;q=\"a, \\\" ;b\", chunked\r\n",
            Err(CodingUnsupported),
        ),
        ("Transfer-Encoding: gzip;\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: gzip;q\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: gzip;q=\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: gzip;=1\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: gzip;q=\"a\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: gzip;q=\"a\\\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: gzip;q=\"a\"b\r\n", Err(CodingMalformed)),
        ("Transfer-Encoding: gzip;q=1,\r\n", Err(CodingMalformed)),
    ];
    for (lines, expected) in rows {
        assert_eq!(request_length("1.1", lines), *expected, "{lines:?}");
    }
}

#[test]
fn response_lengths() {
    use BodyLength::*;
    use FramingError::*;
    let ok = "1.1 200 OK";
    let rows: &[(&str, &str, Result<BodyLength, FramingError>)] = &[
        (ok, "", Ok(UntilClose)),
        ("1.0 200 OK", "", Ok(UntilClose)),
        (ok, "Content-Length: 0\r\n", Ok(Empty)),
        (ok, "Content-Length: 5\r\n", Ok(Length(5))),
        (
            ok,
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            Ok(Length(5)),
        ),
        (
            ok,
            "Content-Length: 5\r\nContent-Length: 05\r\n",
            Err(LengthRepeated),
        ),
        (
            ok,
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            Err(LengthRepeated),
        ),
        (ok, "Transfer-Encoding: chunked\r\n", Ok(Chunked)),
        (
            ok,
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Err(LengthWithCoding),
        ),
        (
            ok,
            "Transfer-Encoding: gzip, chunked\r\n",
            Err(CodingUnsupported),
        ),
        (
            "1.0 200 OK",
            "Transfer-Encoding: chunked\r\n",
            Err(CodingInHttp10),
        ),
        ("1.1 204 No", "Content-Length: 5\r\n", Ok(Empty)),
        ("1.1 304 No", "Transfer-Encoding: chunked\r\n", Ok(Empty)),
        ("1.1 100 Continue", "", Ok(Empty)),
        ("1.1 101 Switching", "Content-Length: 5\r\n", Ok(Empty)),
        ("1.1 199 x", "", Ok(Empty)),
        ("1.1 205 x", "", Ok(UntilClose)),
        ("1.1 204 No", "Content-Length: x\r\n", Err(LengthInvalid)),
    ];
    for (line, lines, expected) in rows {
        assert_eq!(
            response_length(line, lines, false),
            *expected,
            "{line} {lines:?}"
        );
    }
    assert_eq!(
        response_length(ok, "Content-Length: 5\r\n", true),
        Ok(Empty)
    );
    assert_eq!(response_length(ok, "", true), Ok(Empty));
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(response_length(ok, both, true), Err(LengthWithCoding));
}

#[test]
fn response_lists_of_lengths() {
    use BodyLength::*;
    use FramingError::*;
    let rows: &[(&str, Result<BodyLength, FramingError>)] = &[
        ("Content-Length: 5, 5\r\n", Ok(Length(5))),
        (
            "Content-Length: 5\t,5 ,5\r\nContent-Length: 5\r\n",
            Ok(Length(5)),
        ),
        ("Content-Length: 5, 6\r\n", Err(LengthRepeated)),
        ("Content-Length: 5, 05\r\n", Err(LengthRepeated)),
        ("Content-Length: 5,\r\n", Err(LengthRepeated)),
        ("Content-Length: ,\r\n", Err(LengthInvalid)),
        ("Content-Length: x,x\r\n", Err(LengthInvalid)),
    ];
    for (lines, expected) in rows {
        let length = response_length("1.1 200 OK", lines, false);
        assert_eq!(length, *expected, "{lines:?}");
    }
}

#[test]
fn persistence() {
    let rows = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive, CLOSE\r\n", false),
        ("1.1", "Connection: x\r\nConnection: , close ,\r\n", false),
        (
            "1.1",
            "Connection: closed\r\nProxy-Connection: close\r\n",
            true,
        ),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: x, keep-alive\r\n", true),
        (
            "1.0",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        ("1.0", "Connection: close, keep-alive\r\n", false),
        ("1.0", "Proxy-Connection: keep-alive\r\n", false),
    ];
    for (version, lines, expected) in rows {
        let input = format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n");
        let mut fields = Fields::new();
        let head = parse_request(input.as_bytes(), &mut fields)
            .unwrap()
            .unwrap();
        assert_eq!(
            persists(
                head.version,
                HeadView::new(&head, &fields, input.as_bytes()).section
            ),
            expected,
            "{input:?}"
        );
    }
}

/// Reads a chunked request in every way there is; returns its content, or `None` if more must come.
fn read(input: &[u8]) -> Result<Option<Vec<u8>>, FramingError> {
    read_side(input, Side::Request)
}

fn read_side(input: &[u8], side: Side) -> Result<Option<Vec<u8>>, FramingError> {
    chunked_holds(input, 1);
    // At every byte, but for the inputs that only show a limit.
    let step = 1 + input.len() / 2048 * 512;
    for at in (0..input.len()).step_by(step) {
        chunked_holds_at_cut(input, at);
    }
    let done = advance(BodyLength::Chunked, input, input.len(), side).done?;
    let (outcome, content) = strip(BodyLength::Chunked, input, input.len());
    if done {
        let followed = [input, NEXT].concat();
        let expected = (outcome, content.clone());
        assert_eq!(
            strip(BodyLength::Chunked, &followed, followed.len()),
            expected
        );
    }
    Ok(done.then_some(content))
}

#[test]
fn chunked_messages_that_are_refused() {
    use FramingError::*;
    let rows: &[(&str, FramingError)] = &[
        ("\r\n", ChunkSizeInvalid),
        ("0x5\r\n", ChunkSizeInvalid),
        ("+5\r\n", ChunkSizeInvalid),
        (" 5\r\n", ChunkSizeInvalid),
        (";a\r\n", ChunkSizeInvalid),
        ("5 \r\n", ChunkSizeInvalid),
        ("5 5\r\n", ChunkSizeInvalid),
        ("5\0\r\n", ChunkSizeInvalid),
        ("5;\0\r\n", ChunkSizeInvalid),
        ("5;\x7f\r\n", ChunkSizeInvalid),
        ("00000000000000005\r\n", ChunkSizeOverflow),
        ("8000000000000000", ChunkSizeOverflow),
        ("ffffffffffffffff", ChunkSizeOverflow),
        ("5\r\nhello\r\n7ffffffffffffffb\r\n", ChunkSizeOverflow),
        ("5\r\nhello\r\n7fffffffffffffff;a\r\n", ChunkSizeOverflow),
        ("\n", ChunkBareLf),
        ("5\n", ChunkBareLf),
        ("5 \n", ChunkBareLf),
        ("5;a\n", ChunkBareLf),
        ("5\rx", ChunkBareLf),
        ("5\r\r\n", ChunkBareLf),
        ("5\r\nhelloX", ChunkDataEnd),
        ("5\r\nhello\n", ChunkDataEnd),
        ("5\r\nhello\rX", ChunkDataEnd),
        ("0\r\n\n", ChunkBareLf),
        ("0\r\n\rX", ChunkBareLf),
        ("0\r\n: b\r\n", TrailerInvalid),
        ("0\r\n A: b\r\n", TrailerInvalid),
        ("0\r\nA\r\n", TrailerInvalid),
        ("0\r\nA : b\r\n", TrailerInvalid),
        ("0\r\nA: b\r\n c\r\n", TrailerInvalid),
        ("0\r\nA: \0", TrailerInvalid),
        ("0\r\nA\n", ChunkBareLf),
        ("0\r\nA: b\n", ChunkBareLf),
        ("0\r\nA: b\rc", ChunkBareLf),
        ("0\r\nHost:", TrailerForbidden),
        ("0\r\nA: b\r\nCONTENT-length:", TrailerForbidden),
        (
            "0\r\nX-Forwarded-A-Very-Long-Name-Indeed:",
            TrailerForbidden,
        ),
    ];
    for (input, error) in rows {
        assert_eq!(
            read(input.as_bytes()),
            Err(*error),
            "{}",
            input.escape_debug()
        );
        let before = &input.as_bytes()[..input.len() - 1];
        if !input.ends_with("\r\n") {
            assert_eq!(
                read(before),
                Ok(None),
                "refused with the last byte: {input:?}"
            );
        }
    }
}

#[test]
fn chunked_messages_that_have_not_ended() {
    for input in [
        "",
        "0",
        "5 ",
        "5;",
        "0\r",
        "0\r\n",
        "0\r\n\r",
        "5\r\nhello",
        "0\r\nHost",
        "0\r\nA:\r\n",
    ] {
        assert_eq!(read(input.as_bytes()), Ok(None), "{input:?}");
    }
    assert_eq!(read(b"7fffffffffffffff\r\nx"), Ok(None));
    assert_eq!(read(b"5\r\nhello\r\n7ffffffffffffffa\r\nx"), Ok(None));
}

#[test]
fn chunked_limits() {
    use FramingError::*;
    let line = |len: usize| format!("0;{}\r\n\r\n", "x".repeat(len - 4)).into_bytes();
    let max = usize::from(CHUNK_LINE_BYTES_MAX);
    assert_eq!(read(&line(max)), Ok(Some(vec![])));
    assert_eq!(read(&line(max + 1)), Err(ChunkLineTooLong));
    let trailers = |count: usize| format!("0\r\n{}\r\n", "A:b\r\n".repeat(count)).into_bytes();
    assert_eq!(read(&trailers(100)), Ok(Some(vec![])));
    assert_eq!(read(&trailers(101)), Err(TrailersTooLong));
    let long = |len: usize| format!("0\r\nA:{}\r\n\r\n", "b".repeat(len - 4)).into_bytes();
    let max = TRAILER_BYTES_MAX as usize;
    let advanced = |input: &[u8]| advance(BodyLength::Chunked, input, 7, Side::Request).done;
    assert_eq!(advanced(&long(max)), Ok(true));
    assert_eq!(advanced(&long(max + 1)), Err(TrailersTooLong));
    for len in [max, max + 1] {
        chunked_holds(&long(len), 1000);
    }
}

#[test]
fn every_byte_in_every_place() {
    let message = b"5 ;a\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for at in 0..message.len() {
        for byte in 0..=u8::MAX {
            let mut changed = message.to_vec();
            changed[at] = byte;
            chunked_holds(&changed, 1);
            changed.insert(at, message[at]);
            chunked_holds(&changed, 3);
        }
    }
}

#[test]
fn content_of_known_and_unknown_length() {
    for length in [1, 2, 33, 34, 35, LENGTH_MAX] {
        for step in [1, 2, 7, 100] {
            plain_holds(length, NEXT, step);
        }
    }
    let mut cursor = Cursor::new(BodyLength::Length(10));
    assert_eq!(
        cursor.advance(b"abc", Side::Request),
        Ok(Advance {
            taken: 3,
            done: false
        })
    );
    assert_eq!((cursor.remaining(), cursor.content_bytes()), (Some(7), 3));
    assert!(Cursor::new(BodyLength::Empty).is_done());
    assert!(Cursor::new(BodyLength::Length(0)).is_done());
    assert_eq!(Cursor::new(BodyLength::UntilClose).remaining(), None);
    assert_eq!(Cursor::new(BodyLength::Chunked).remaining(), None);
    assert_eq!(
        (cursor.ahead(), Cursor::new(BodyLength::Chunked).ahead()),
        (7, 0)
    );
    let mut chunked = Cursor::new(BodyLength::Chunked);
    for (input, ahead) in [
        ("1", 0),
        ("0 \r\n", 16),
        ("12345", 11),
        ("6789012345612", 0),
    ] {
        let _ = chunked.advance(input.as_bytes(), Side::Response);
        assert_eq!(chunked.ahead(), ahead, "{input:?}");
    }
}

#[test]
fn content_moves_to_the_front() {
    let mut buf = *b"5\r\nhello\r\n6;x\r\n world\r\n0\r\nA: b\r\n\r\nnext";
    let taken = buf.len() - 4;
    let stripped = Cursor::new(BodyLength::Chunked).strip(&mut buf);
    assert_eq!(
        stripped,
        Ok(Stripped {
            taken,
            kept: 11,
            done: true
        })
    );
    assert!(buf.starts_with(b"hello world") && buf.ends_with(b"next"));
}

fn corpus(verdict: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus/chunked")
        .join(verdict);
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn corpus_is_accepted() {
    let corpus = corpus("accept");
    assert!(!corpus.is_empty());
    for (name, input) in corpus {
        assert!(matches!(read(&input), Ok(Some(_))), "{name}");
    }
}

#[test]
fn corpus_is_refused() {
    let corpus = corpus("refuse");
    assert!(!corpus.is_empty());
    for (name, input) in corpus {
        assert!(read(&input).is_err(), "{name}");
        assert!(read_side(&input, Side::Response).is_err(), "{name}");
    }
}

#[test]
fn corpus_of_what_only_responses_may_hold() {
    let corpus = corpus("response_only");
    assert!(!corpus.is_empty());
    for (name, input) in corpus {
        assert!(read(&input).is_err(), "{name}");
        let content = read_side(&input, Side::Response);
        assert!(matches!(content, Ok(Some(_))), "{name}");
    }
}

#[test]
fn blanks_before_the_colons_of_trailers_go_and_nothing_else() {
    use FramingError::{ChunkBareLf, TrailerForbidden, TrailerInvalid, TrailersTooLong};
    let cut = |trailers: &str| format!("2\r\n :\r\n0\r\n{trailers}\r\n");
    for (trailers, expected) in [
        ("A : b\r\n", "A: b\r\n"),
        (
            "A \t :b\r\nC: d : e \r\nE\t:\r\n",
            "A:b\r\nC: d : e \r\nE:\r\n",
        ),
        ("A: b\r\n", "A: b\r\n"),
    ] {
        let input = cut(trailers) + " : behind";
        for step in 1..input.len() {
            let (outcome, sent) = relay(BodyLength::Chunked, input.as_bytes(), step);
            assert_eq!(outcome.done, Ok(true), "{trailers:?}");
            assert_eq!(String::from_utf8(sent).unwrap(), cut(expected), "{step}");
        }
    }
    for (trailers, error) in [
        ("A b: c", TrailerInvalid),
        ("A \r\n", TrailerInvalid),
        ("A \n", ChunkBareLf),
        ("Host :", TrailerForbidden),
    ] {
        let input = format!("0\r\n{trailers}");
        let read = relay(BodyLength::Chunked, input.as_bytes(), 1).0;
        assert_eq!(read.done, Err(error), "{trailers:?}");
    }
    let max = usize::try_from(TRAILER_BYTES_MAX).unwrap();
    let long = |len: usize| format!("0\r\nA{}:\r\n\r\n", " ".repeat(len - 4));
    for (len, done) in [(max, Ok(true)), (max + 1, Err(TrailersTooLong))] {
        let read = relay(BodyLength::Chunked, long(len).as_bytes(), usize::MAX).0;
        assert_eq!(read.done, done, "{len}");
    }
}

/// Messages made of pieces that are mostly right, so that all of the grammar is reached.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let chunks = prop::sample::select(
        &[
            "5\r\nhello\r\n",
            "1;a=b\r\nx\r\n",
            "A\r\n0\r\n\r\n\r\n\r\n0\r\n",
            "3 \t;\r\nabc\r\n",
            "2 \t\r\nab\r\n",
            "001\r\n\n\r\n",
            "5\r\nhell\r\n",
            "2\nab\r\n",
            "g\r\n",
            "",
        ][..],
    );
    let trailers = prop::sample::select(
        &[
            "A: b\r\n",
            "Empty:\r\n",
            "X-Request-Id: \t1\r\n",
            "Hosts: x\r\n",
            "Blank \t: x : y\r\n",
            "Host : x\r\n",
            "Host: x\r\n",
            " fold\r\n",
            "A: b\n",
        ][..],
    );
    let chunks = prop::collection::vec(chunks, 0..5);
    let trailers = prop::collection::vec(trailers, 0..4);
    let last = prop::sample::select(&["0\r\n", "0\r\n", "000;x\r\n", "0 \r\n", ""][..]);
    let noise = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (chunks, last, trailers, noise).prop_map(|(chunks, last, trailers, noise)| {
        let message = format!("{}{last}{}\r\nnext", chunks.concat(), trailers.concat());
        let mut message = message.into_bytes();
        for (index, byte) in noise {
            let at = index.index(message.len());
            message[at] = byte;
        }
        message
    })
}

proptest! {
    #[test]
    fn properties_hold_for_messages(
        input in messages(), step in 1usize..9, at in any::<prop::sample::Index>(),
    ) {
        chunked_holds(&input, step);
        chunked_holds_at_cut(&input, at.index(input.len()));
    }

    #[test]
    fn persistence_is_what_all_options_together_say(
        minor in 0..=1, lines in "(Connection:( ?(close|Keep-Alive|KEEP-ALIVE|upgrade|x|)[, ]?){0,3}\r\n){0,3}",
    ) {
        decision_holds(format!("GET / HTTP/1.{minor}\r\nHost: h\r\n{lines}\r\n").as_bytes());
    }

    #[test]
    fn properties_hold_for_noise(
        input in prop::collection::vec(any::<u8>(), 0..200), length in 0u64..300, step in 1usize..50,
    ) {
        chunked_holds(&input, step);
        plain_holds(length, &input, step);
    }

    #[test]
    fn properties_hold_for_heads(
        lines in prop::collection::vec(prop::sample::select(&[
            "Content-Length: 5", "Content-Length: 05", "Content-Length: 5,5",
            "Content-Length: 0", "content-length: 5 ,\t5", "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip", "transfer-encoding: CHUNKED", "Transfer-Encoding:", "A: b", "Host: h",
        ][..]), 0..4),
        start in prop::sample::select(&[
            "POST / HTTP/1.1\r\nHost: h", "POST / HTTP/1.0", "HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204",
        ][..]),
    ) {
        decision_holds(format!("{start}\r\n{}\r\n\r\n", lines.join("\r\n")).as_bytes());
    }
}
