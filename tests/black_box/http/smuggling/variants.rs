//! The tables: heads and chunks that two readers could read in two ways.

use crate::support::KEY;
use crate::support::wire::latin1;

/// A request that is refused before a byte of it goes upstream.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) refused: Refused,
}

/// The statuses that a variant may be answered with.
#[derive(Clone, Copy)]
pub(crate) enum Refused {
    /// 400 and nothing else.
    Malformed,
    /// 501: a transfer coding that is well-formed and unknown.
    Unsupported,
    /// 505.
    Version,
    /// Whether it is malformed or unsupported is a matter of taste.
    Any,
}

impl Refused {
    pub(crate) fn with(self, status: u16) -> bool {
        match self {
            Self::Malformed => status == 400,
            Self::Unsupported => status == 501,
            Self::Version => status == 505,
            Self::Any => matches!(status, 400 | 501 | 505),
        }
    }
}

/// All of them.
pub(crate) fn heads() -> Vec<Variant> {
    let variant = |name, head: String, body: &str, refused| Variant {
        name,
        bytes: [latin1(&head), b"\r\n\r\n".to_vec(), latin1(body)].concat(),
        refused,
    };
    let post = format!("POST /p/anthropic/m HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n");
    let lengths = LENGTHS.iter().map(|(name, value)| {
        variant(
            name,
            format!("{post}Content-Length: {value}"),
            "hello",
            Refused::Malformed,
        )
    });
    let codings = CODINGS.iter().map(|(refused, name, value)| {
        variant(
            name,
            format!("{post}Transfer-Encoding: {value}"),
            "0\r\n\r\n",
            *refused,
        )
    });
    let lines = LINES.iter().map(|(name, lines)| {
        variant(
            name,
            format!("{post}{lines}"),
            "0\r\n\r\n",
            Refused::Malformed,
        )
    });
    let raw = RAW.iter().map(|(refused, name, head)| {
        variant(
            name,
            head.replace("KEY", &format!("x-api-key: {KEY}")),
            "",
            *refused,
        )
    });
    lengths.chain(codings).chain(lines).chain(raw).collect()
}

/// Values of `Content-Length`.
const LENGTHS: &[(&str, &str)] = &[
    ("length: a list of differing lengths", "5, 6"),
    ("length: a list of the same length", "5, 5"),
    ("length: one length and a comma", "5,"),
    ("length: plus", "+5"),
    ("length: minus", "-5"),
    ("length: hexadecimal", "0x5"),
    ("length: exponent", "5e0"),
    ("length: point", "5.0"),
    ("length: blank inside", "5 5"),
    ("length: letters behind", "5a"),
    ("length: underscore", "5_0"),
    ("length: double quotes", "\"5\""),
    ("length: brackets", "[5]"),
    ("length: no length", ""),
    ("length: blanks only", "   "),
    ("length: over 64 bits", "18446744073709551621"),
    (
        "length: far over 64 bits",
        "99999999999999999999999999999999",
    ),
    ("length: vertical tab before", "\x0b5"),
    ("length: form feed behind", "5\x0c"),
    ("length: bare CR behind", "5\r"),
    ("length: NUL behind", "5\0"),
    ("length: no-break space before", "\u{a0}5"),
    ("length: other digits", "\u{665}"),
];

/// Values of `Transfer-Encoding`.
const CODINGS: &[(Refused, &str, &str)] = &[
    (
        Refused::Unsupported,
        "coding: chunked, then identity",
        "chunked, identity",
    ),
    (
        Refused::Unsupported,
        "coding: identity, then chunked",
        "identity, chunked",
    ),
    (Refused::Unsupported, "coding: identity", "identity"),
    (
        Refused::Unsupported,
        "coding: gzip, then chunked",
        "gzip, chunked",
    ),
    (Refused::Unsupported, "coding: gzip", "gzip"),
    (Refused::Unsupported, "coding: cow", "cow"),
    (Refused::Any, "coding: chunked twice", "chunked, chunked"),
    (
        Refused::Any,
        "coding: chunked twice in two lines",
        "chunked\r\nTransfer-Encoding: chunked",
    ),
    (
        Refused::Any,
        "coding: chunked, identity in two lines",
        "chunked\r\nTransfer-Encoding: identity",
    ),
    (
        Refused::Any,
        "coding: identity, chunked in two lines",
        "identity\r\nTransfer-Encoding: chunked",
    ),
    (
        Refused::Any,
        "coding: chunked, nothing in two lines",
        "chunked\r\nTransfer-Encoding:",
    ),
    (Refused::Any, "coding: nothing", ""),
    (Refused::Any, "coding: comma", ","),
    (Refused::Any, "coding: chunked and a comma", "chunked,"),
    (Refused::Any, "coding: a comma and chunked", ", chunked"),
    (Refused::Any, "coding: xchunked", "xchunked"),
    (Refused::Any, "coding: chunkedx", "chunkedx"),
    (Refused::Any, "coding: double quotes", "\"chunked\""),
    (Refused::Any, "coding: single quotes", "'chunked'"),
    (Refused::Any, "coding: parameter", "chunked;a=b"),
    (Refused::Any, "coding: semicolon", "chunked;"),
    (Refused::Any, "coding: vertical tab before", "\x0bchunked"),
    (Refused::Any, "coding: vertical tab behind", "chunked\x0b"),
    (Refused::Any, "coding: form feed behind", "chunked\x0c"),
    (Refused::Any, "coding: NUL behind", "chunked\0"),
    (Refused::Any, "coding: DEL behind", "chunked\x7f"),
    (
        Refused::Any,
        "coding: no-break space behind",
        "chunked\u{a0}",
    ),
    (Refused::Any, "coding: Kelvin sign", "chun\u{212a}ed"),
    (Refused::Any, "coding: blank inside", "chun ked"),
    (Refused::Any, "coding: bare CR before", "\rchunked"),
    (Refused::Any, "coding: bare CR behind", "chunked\r"),
];

/// Lines behind `Host` and the key.
const LINES: &[(&str, &str)] = &[
    (
        "length and coding",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
    ),
    (
        "coding and length",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ),
    (
        "length 0 and coding",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ),
    (
        "capitals",
        "CONTENT-LENGTH: 5\r\nTRANSFER-ENCODING: CHUNKED",
    ),
    (
        "length and empty coding",
        "Content-Length: 5\r\nTransfer-Encoding:",
    ),
    (
        "length and a line between",
        "Content-Length: 5\r\nX-A: 1\r\nTransfer-Encoding: chunked",
    ),
    (
        "differing lengths",
        "Content-Length: 5\r\nContent-Length: 6",
    ),
    (
        "the same length twice",
        "Content-Length: 5\r\nContent-Length: 5",
    ),
    (
        "lengths 5 and 05",
        "Content-Length: 5\r\nContent-Length: 05",
    ),
    ("blank before the length's colon", "Content-Length : 5"),
    ("tab before the length's colon", "Content-Length\t: 5"),
    (
        "blank before the coding's colon",
        "Transfer-Encoding : chunked",
    ),
    (
        "tab before the coding's colon",
        "Transfer-Encoding\t: chunked",
    ),
    (
        "vertical tab before the coding's colon",
        "Transfer-Encoding\x0b: chunked",
    ),
    ("coding in a fold", "X-A: 1\r\n Transfer-Encoding: chunked"),
    (
        "coding in a fold by tab",
        "X-A: 1\r\n\tTransfer-Encoding: chunked",
    ),
    ("folded coding", "Transfer-Encoding:\r\n chunked"),
    ("folded coding by tab", "Transfer-Encoding:\r\n\tchunked"),
    ("folded length", "Content-Length:\r\n 5"),
    ("an empty fold", "X-A: 1\r\n \r\nContent-Length: 5"),
    ("a line without a colon", "X-A\r\nContent-Length: 5"),
    ("an empty name", ": 5"),
    ("a name with a blank", "X A: 5"),
    ("a name with a slash", "X/A: 5"),
    ("a name in brackets", "[X]: 5"),
    ("a name with a high byte", "X\u{e9}: 5"),
    ("a name with NUL", "X\0: 5"),
    ("a name with a bare CR", "X\rA: 5"),
    ("a name that begins with a colon", "::5"),
    ("coding behind NUL", "\0Transfer-Encoding: chunked"),
    ("a value with NUL", "X-A: a\0b"),
    (
        "a value with a bare CR",
        "X-A: a\rTransfer-Encoding: chunked",
    ),
    (
        "a value with a bare LF",
        "X-A: a\nTransfer-Encoding: chunked",
    ),
    ("a value with two CR", "X-A: a\r\r\nContent-Length: 5"),
    ("a value with a control byte", "X-A: a\x01b"),
    ("a value with DEL", "X-A: a\x7fb"),
    ("LF for CRLF once", "X-A: 1\nX-B: 2"),
    ("an empty line by LF", "X-A: 1\n\nGET /x HTTP/1.1"),
    ("two hosts", "Host: h"),
    ("the same host twice", "Host: g"),
    ("an empty second host", "Host:"),
];

/// Whole heads, but the empty line at their end; `KEY` stands for the line with the key.
const RAW: &[(Refused, &str, &str)] = &[
    (
        Refused::Malformed,
        "coding in HTTP/1.0",
        "POST /p/anthropic/m HTTP/1.0\r\nKEY\r\nTransfer-Encoding: chunked",
    ),
    (
        Refused::Malformed,
        "a fold behind the request line",
        "GET /p/anthropic/m HTTP/1.1\r\n X: 1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "LF everywhere",
        "GET /p/anthropic/m HTTP/1.1\nHost: g\nKEY\n\n",
    ),
    (
        Refused::Malformed,
        "LF behind the request line",
        "GET /p/anthropic/m HTTP/1.1\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "LF for the empty line",
        "GET /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\n",
    ),
    (
        Refused::Malformed,
        "CR for the empty line",
        "GET /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\r",
    ),
    (
        Refused::Malformed,
        "CR behind the request line",
        "GET /p/anthropic/m HTTP/1.1\rHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "no host",
        "GET /p/anthropic/m HTTP/1.1\r\nKEY",
    ),
    (
        Refused::Malformed,
        "no host and an absolute target",
        "GET http://g/p/anthropic/m HTTP/1.1\r\nKEY",
    ),
    (
        Refused::Malformed,
        "two hosts in HTTP/1.0",
        "GET /p/anthropic/m HTTP/1.0\r\nHost: a\r\nHost: b\r\nKEY",
    ),
    (Refused::Any, "no version", "GET /p/anthropic/m"),
    (
        Refused::Version,
        "HTTP/0.9",
        "GET /p/anthropic/m HTTP/0.9\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Version,
        "HTTP/2.0",
        "GET /p/anthropic/m HTTP/2.0\r\nHost: g\r\nKEY",
    ),
    (Refused::Version, "the HTTP/2 preface", "PRI * HTTP/2.0"),
    (
        Refused::Any,
        "HTTP/11",
        "GET /p/anthropic/m HTTP/11\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Any,
        "HTTP/1.10",
        "GET /p/anthropic/m HTTP/1.10\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Any,
        "HTTP/1",
        "GET /p/anthropic/m HTTP/1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Any,
        "HTTP/1.",
        "GET /p/anthropic/m HTTP/1.\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Any,
        "HTTP/1,1",
        "GET /p/anthropic/m HTTP/1,1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Any,
        "http/1.1",
        "GET /p/anthropic/m http/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Any,
        "HTTP /1.1",
        "GET /p/anthropic/m HTTP /1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Any,
        "a blank in the target",
        "GET /p/anthropic/m x HTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Any,
        "no method",
        "/p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "two blanks before the target",
        "GET  /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "two blanks before the version",
        "GET /p/anthropic/m  HTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "a tab before the version",
        "GET /p/anthropic/m\tHTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "a blank behind the version",
        "GET /p/anthropic/m HTTP/1.1 \r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "a blank before the method",
        " GET /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "a method with a colon",
        "G:T /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "a method with NUL",
        "GET\0 /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "a method with a high byte",
        "G\u{e9}T /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY",
    ),
    (
        Refused::Malformed,
        "a TLS client hello",
        "\x16\x03\x01\0\u{a5}\x01\0\0\u{a1}\x03\x03",
    ),
];

/// Name and the chunked body that goes wrong after its first chunk.
pub(crate) const CHUNKS: &[(&str, &str)] = &[
    ("no size", "\r\nhello\r\n0\r\n\r\n"),
    ("no size but an extension", ";x=y\r\nhello\r\n0\r\n\r\n"),
    ("size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("size with plus", "+5\r\nhello\r\n0\r\n\r\n"),
    ("size with minus", "-5\r\nhello\r\n0\r\n\r\n"),
    ("size with underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("size with a blank before", " 5\r\nhello\r\n0\r\n\r\n"),
    ("size with letters behind", "5g\r\nhello\r\n0\r\n\r\n"),
    ("size with a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
    (
        "size of 64 bits and more",
        "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "size that wraps to 5",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("size with NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("size and bare LF", "5\nhello\r\n0\r\n\r\n"),
    ("size and bare CR", "5\rhello\r\n0\r\n\r\n"),
    ("size and two CR", "5\r\r\nhello\r\n0\r\n\r\n"),
    ("extension with bare LF", "5;x\nhello\r\n0\r\n\r\n"),
    ("extension with bare CR", "5;x\ry\r\nhello\r\n0\r\n\r\n"),
    ("extension with NUL", "5;x=\0\r\nhello\r\n0\r\n\r\n"),
    ("data longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
    ("data and bare LF", "5\r\nhello\n0\r\n\r\n"),
    ("data and bare CR", "5\r\nhello\r0\r\n\r\n"),
    ("data without its end", "5\r\nhello0\r\n\r\n"),
    ("last chunk and bare LF", "0\n\r\n"),
    ("end and bare LF", "0\r\n\n"),
    ("end and bare CR", "0\r\n\rX"),
    ("trailer with bare LF", "0\r\nX-A: 1\n\r\n"),
    (
        "trailer with a blank before the colon",
        "0\r\nX-A : 1\r\n\r\n",
    ),
    ("folded trailer", "0\r\nX-A: 1\r\n folded\r\n\r\n"),
    ("trailer without a colon", "0\r\nX-A\r\n\r\n"),
    ("length as trailer", "0\r\nContent-Length: 5\r\n\r\n"),
];
