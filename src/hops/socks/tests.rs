//! Negotiations with proxies that exist, with such as refuse, and with answers made at random.

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_asked() {
    let asked = |target| {
        let mut negotiation = Negotiation::new(target, 443, None).unwrap();
        assert_eq!(negotiation.greeting(), [5, 1, 0]);
        match negotiation.advance(&[5, 0]) {
            Ok(Next::Send(bytes)) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        asked(Target::Ip("192.0.2.1".parse().unwrap())),
        [5, 1, 0, 1, 192, 0, 2, 1, 1, 187]
    );
    let v6 = asked(Target::Ip("2001:db8::1".parse().unwrap()));
    assert_eq!(v6[..8], [5, 1, 0, 4, 0x20, 1, 0x0d, 0xb8]);
    assert_eq!(v6[8..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187]);
    assert_eq!(
        asked(Target::Name("api.test")),
        b"\x05\x01\x00\x03\x08api.test\x01\xbb"
    );
    let longest = "a".repeat(255);
    assert_eq!(asked(Target::Name(&longest)).len(), 5 + 255 + 2);
    for name in ["", &"a".repeat(256)] {
        let refused = Negotiation::new(Target::Name(name), 1, None).err();
        assert_eq!(refused, Some(SocksError::Name));
    }
}

#[test]
fn credentials() {
    assert_eq!(
        login(b"me", "p\u{e9}".as_bytes()).unwrap().as_slice(),
        b"\x01\x02me\x03p\xc3\xa9"
    );
    let long = [b'x'; 256];
    assert_eq!(login(&long[1..], &long[1..]).unwrap().len(), 3 + 2 * 255);
    for (user, password) in [
        (&b""[..], &b"p"[..]),
        (b"u", b""),
        (&long, b"p"),
        (b"u", &long),
    ] {
        assert_eq!(login(user, password), None);
    }
}

#[test]
fn answers() {
    let open: [&[u8]; 4] = [
        &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        &[
            5, 0, 5, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9,
        ],
        b"\x05\x00\x05\x00\x00\x03\x05a.b.c\x00\x50",
        // No name is one, too, if only its length is right.
        &[5, 0, 5, 0, 0, 3, 0, 1, 2],
    ];
    for answers in open {
        for logs_in in [false, true] {
            for end in 0..=answers.len() {
                property::holds(&answers[..end], logs_in);
            }
            property::holds(&[answers, b"HTTP/1.1 408"].concat(), logs_in);
        }
    }
    property::holds(&[5, 2, 1, 0, 5, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7], true);
}

#[test]
fn refusals() {
    let refused = |answers: &[u8], login| {
        property::holds(answers, login);
        let user = login.then_some(&[1, 1, b'u', 1, b'p'][..]);
        let mut negotiation = Negotiation::new(Target::Name("a"), 1, user).unwrap();
        let mut rest = answers;
        loop {
            let (answer, behind) = rest.split_at(negotiation.wanted());
            rest = behind;
            if let Err(error) = negotiation.advance(answer) {
                return error;
            }
        }
    };
    let rows: [(&[u8], bool, SocksError, &str); 12] = [
        (b"HTTP", false, SocksError::Version, "does not speak SOCKS5"),
        (&[4, 0], false, SocksError::Version, "does not speak SOCKS5"),
        (
            &[5, 255],
            false,
            SocksError::NoneFits(false),
            "wants credentials",
        ),
        (&[5, 255], true, SocksError::NoneFits(true), "neither"),
        (&[5, 2], false, SocksError::NotOffered, "not offered"),
        (&[5, 1], true, SocksError::NotOffered, "not offered"),
        (
            &[5, 2, 1, 1],
            true,
            SocksError::Login,
            "refused user and password",
        ),
        (&[5, 2, 5, 0], true, SocksError::Version, "does not speak"),
        (&[5, 0, 5, 2], false, SocksError::Refused(2), "rules"),
        (&[5, 0, 5, 9], false, SocksError::Refused(9), "code 9"),
        (
            &[5, 0, 5, 0, 1, 1],
            false,
            SocksError::Malformed,
            "not valid",
        ),
        (
            &[5, 0, 5, 0, 0, 2],
            false,
            SocksError::Malformed,
            "not valid",
        ),
    ];
    for (answers, login, expected, said) in rows {
        let error = refused(answers, login);
        assert_eq!(error, expected, "{answers:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let passing: Vec<u8> = (0..=255)
        .filter(|code| SocksError::Refused(*code).may_pass())
        .collect();
    assert_eq!(passing, [1, 3, 4, 5, 6]);
    assert!(!SocksError::Login.may_pass() && !SocksError::Version.is_of_address());
    assert!(SocksError::Refused(8).is_of_address() && !SocksError::Refused(2).is_of_address());
}

proptest! {
    #[test]
    fn answers_are_taken_as_a_naive_reader_takes_them(
        begin in prop_oneof![Just(vec![5_u8, 0]), Just(vec![5, 2, 1, 0]), prop::collection::vec(0_u8..6, 0..4)],
        reply in prop_oneof![Just(vec![5_u8, 0, 0]), prop::collection::vec(0_u8..9, 0..4)],
        rest in prop::collection::vec(prop_oneof![0_u8..9, any::<u8>()], 0..40),
        logs_in in any::<bool>(),
    ) {
        property::holds(&[begin, reply, rest].concat(), logs_in);
    }

    #[test]
    fn no_answer_panics(answers in prop::collection::vec(any::<u8>(), 0..300), logs_in in any::<bool>()) {
        property::holds(&answers, logs_in);
    }
}
