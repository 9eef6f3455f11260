//! Answers of proxies that exist, of hostile ones, and answers made at random.

use proptest::prelude::*;

use super::*;

#[test]
fn requests() {
    assert_eq!(
        request("api.test:443", None),
        b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n"
    );
    assert_eq!(
        request("[::1]:80", Some(b"dTpw")),
        b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
    );
}

#[test]
fn answers() {
    let refused = |status| Err(AnswerError::Refused(status));
    let whole = |text: &str| Ok(Some(text.len()));
    let squid = "HTTP/1.1 200 Connection established\r\n\r\n";
    let tinyproxy = "HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy/1.11.1\r\n\r\n";
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let blanks =
        "HTTP/1.1 103 Wait\r\nA \t: b\r\n\r\nHTTP/1.2 200 OK\r\nA : b\r\nC: d\r\nE\t:\r\n\r\n";
    let late =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\nA: b\r\n\r\nHTTP/1.1 204 \r\n\r\n";
    let rows = [
        (squid.to_owned(), whole(squid)),
        (tinyproxy.to_owned(), whole(tinyproxy)),
        (length.to_owned(), whole(length)),
        (late.to_owned(), whole(late)),
        (format!("{squid}\u{16}\u{3}\u{1}"), whole(squid)),
        ("HTTP/1.1 407 Who are you\r\n\r\n".to_owned(), refused(407)),
        (
            "HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\n".to_owned(),
            refused(403),
        ),
        ("HTTP/1.1 503 \r\n\r\n".to_owned(), refused(503)),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n".to_owned(),
            refused(302),
        ),
        (
            "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n".to_owned(),
            refused(101),
        ),
        (blanks.to_owned(), whole(blanks)),
        ("HTTP/1.1 407 No\r\nA : b\r\n\r\n".to_owned(), refused(407)),
        ("HTTP/1.1 200 OK\r\nA : b\r\n".to_owned(), Ok(None)),
        ("HTTP/1.1 200 OK\r\nA: b\r\n".to_owned(), Ok(None)),
        (String::new(), Ok(None)),
    ];
    for (text, expected) in rows {
        assert_eq!(
            TunnelAnswer::default().read(text.as_bytes()),
            expected,
            "{text}"
        );
        for step in 1..=text.len() {
            property::holds(text.as_bytes(), step);
        }
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    for text in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX A : b\r\n\r\n",
        "\u{15}\u{3}\u{3}\0\u{2}\u{2}(",
    ] {
        let read = TunnelAnswer::default().read(text.as_bytes());
        assert!(
            matches!(read, Err(AnswerError::Malformed(_))),
            "{text}: {read:?}"
        );
        property::holds(text.as_bytes(), 1);
    }
}

#[test]
fn an_answer_has_a_limit() {
    let field = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(ANSWER_BYTES_MAX));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(ANSWER_BYTES_MAX / 25 + 1);
    for long in [field, interim] {
        property::holds(long.as_bytes(), 1000);
        let read = TunnelAnswer::default().read(long.as_bytes());
        assert_eq!(read, Err(AnswerError::TooLong));
    }
    let padding = ANSWER_BYTES_MAX - "HTTP/1.1 200 OK\r\nA: \r\n\r\n".len();
    let fits = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(padding));
    assert_eq!(
        TunnelAnswer::default().read(fits.as_bytes()),
        Ok(Some(ANSWER_BYTES_MAX))
    );
}

proptest! {
    #[test]
    fn answers_read_the_same_however_they_are_cut(
        heads in prop::collection::vec(
            ("HTTP/1\\.[01] [1-5][0-9]{2} [a-z]{0,3}\r\n(X-[a-z] ?: [ -~]{0,9}\r\n){0,3}\r\n", any::<bool>()),
            0..4,
        ),
        noise in "[ -~\r\n]{0,40}",
        step in 1_usize..80,
    ) {
        let mut text = String::new();
        for (head, interim) in heads {
            // Without a little help there is hardly ever more than one.
            let class = if interim { " 1" } else { " 2" };
            text.push_str(&head.replacen(" 3", class, 1));
        }
        text.push_str(&noise);
        property::holds(text.as_bytes(), step);
    }

    #[test]
    fn no_answer_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..20) {
        property::holds(&bytes, step);
    }
}
