//! Credential fields, and what keys are limited to.

use super::*;
use crate::http::head::{self, Fields, HeadScan, Section};

const NOW: u64 = 1000;

fn keys(master: Option<&str>, managed: Option<&[(&str, Option<u64>)]>) -> Keys {
    let master = master.map(|key| Secret::new(key).unwrap());
    let managed = managed.map(|list| -> Vec<ManagedKey> {
        let entry = |(key, expires): &(&str, Option<u64>)| ManagedKey {
            expires: *expires,
            ..managed_key(key)
        };
        list.iter().map(entry).collect()
    });
    Keys::new(master.as_ref(), managed.as_deref(), None)
}

/// Without limits, and with itself as id.
fn managed_key(key: &str) -> ManagedKey {
    ManagedKey {
        id: key.to_owned(),
        name: None,
        sha256: sha256(key.as_bytes()),
        disabled: false,
        expires: None,
        providers: None,
        allow: None,
        rate: None,
        streams: None,
    }
}

/// The indices of the fields that carried a key, or why there is no grant.
fn check(keys: &Keys, lines: &[&str]) -> Result<Vec<usize>, AuthError> {
    let text = format!(
        "GET / HTTP/1.1\r\nHost: g\r\n{}\r\n",
        lines
            .iter()
            .map(|line| format!("{line}\r\n"))
            .collect::<String>()
    );
    let mut fields = Fields::new();
    head::request(&mut HeadScan::default(), text.as_bytes(), &mut fields)
        .unwrap()
        .unwrap();
    let grant = keys.check(Section::new(&fields, text.as_bytes()), || NOW)?;
    // `Host` is field 0.
    Ok((0..fields.len())
        .filter(|index| grant.used(*index))
        .map(|index| index - 1)
        .collect())
}

/// A line with so many wrong keys and the right one.
fn guesses(wrong: usize) -> String {
    let mut line = "Sec-WebSocket-Protocol: ".to_owned();
    for number in 0..wrong {
        line += &format!("openai-insecure-api-key.{number}, ");
    }
    line + "openai-insecure-api-key.key"
}

#[test]
fn credential_fields() {
    let keys = keys(Some("key"), None);
    let (missing, invalid) = (Err(AuthError::MissingKey), Err(AuthError::InvalidKey));
    let repeated = Err(AuthError::RepeatedCredential);
    type Row<'a> = (&'a [&'a str], Result<Vec<usize>, AuthError>);
    let rows: &[Row<'_>] = &[
        (&[], missing.clone()),
        (&["X-Other: key"], missing),
        (&["Authorization: Bearer key"], Ok(vec![0])),
        (&["authorization: bEARER   key"], Ok(vec![0])),
        (&["X-Api-Key: key"], Ok(vec![0])),
        (&["api-key: key"], Ok(vec![0])),
        (&["X-Sluicegate-Key: key"], Ok(vec![0])),
        (&["Authorization: key"], invalid.clone()),
        (&["Authorization: Basic key"], invalid.clone()),
        (&["Authorization: Bearer"], invalid.clone()),
        (&["Authorization: Bearerkey"], invalid.clone()),
        (&["x-api-key: Bearer key"], invalid.clone()),
        (&["x-api-key:"], invalid.clone()),
        (&["x-api-key: KEY"], invalid.clone()),
        (&["x-api-key: key1"], invalid.clone()),
        (&["x-api-key: ke"], invalid.clone()),
        (&["x-goog-api-key: key"], Err(AuthError::MissingKey)),
        (
            &["Authorization: Bearer other", "x-api-key: key"],
            Ok(vec![1]),
        ),
        (
            &["Authorization: Bearer key", "x-api-key: key"],
            Ok(vec![0, 1]),
        ),
        (&["x-api-key: key", "X-API-KEY: key"], repeated.clone()),
        (&["x-api-key: key", "x-api-key: other"], repeated.clone()),
        (
            &["Authorization: Bearer key", "Authorization: Basic x"],
            repeated,
        ),
        (
            &["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.key"],
            Ok(vec![]),
        ),
        (
            &["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.other"],
            invalid,
        ),
        (
            &["Sec-WebSocket-Protocol: realtime"],
            Err(AuthError::MissingKey),
        ),
        (&[&guesses(3)], Ok(vec![])),
        (&[&guesses(3), "x-api-key: other"], Ok(vec![])),
        // One more, and a request would be a way to try thousands.
        (&[&guesses(4)], Err(AuthError::RepeatedCredential)),
        (
            &[&guesses(2), &guesses(1)],
            Err(AuthError::RepeatedCredential),
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(check(&keys, lines), *expected, "{lines:?}");
    }
}

#[test]
fn open_only_without_any_key_and_file() {
    assert_eq!(check(&keys(None, None), &[]), Ok(vec![]));
    assert_eq!(
        check(&keys(None, None), &["x-api-key: a", "x-api-key: b"]),
        Ok(vec![])
    );
    assert_eq!(
        check(&keys(None, Some(&[])), &[]),
        Err(AuthError::MissingKey)
    );
    assert_eq!(
        check(&keys(None, Some(&[])), &["x-api-key: a"]),
        Err(AuthError::InvalidKey)
    );
    assert_eq!(
        check(&keys(Some("a"), None), &[]),
        Err(AuthError::MissingKey)
    );
}

#[test]
fn the_last_key_is_not_lost_but_may_be_revoked() {
    let with = |master: Option<&str>, list: Option<&[Option<u64>]>| {
        let entry = |expires: &Option<u64>| ("a", *expires);
        let list: Option<Vec<_>> = list.map(|list| list.iter().map(entry).collect());
        keys(master, list.as_deref())
    };
    let (open, empty) = (with(None, None), with(None, Some(&[])));
    let (master, usable) = (with(Some("m"), None), with(None, Some(&[None])));
    let revoked = with(None, Some(&[Some(NOW)]));
    let both = with(Some("m"), Some(&[Some(NOW)]));
    let rows: &[(&Keys, &Keys, bool)] = &[
        (&open, &open, true),
        (&open, &empty, true),
        (&open, &revoked, true),
        (&open, &master, true),
        (&master, &open, false),
        (&master, &empty, false),
        (&master, &revoked, false),
        (&master, &usable, true),
        (&master, &both, true),
        (&both, &revoked, false),
        (&both, &master, true),
        (&usable, &open, false),
        (&usable, &empty, false),
        (&usable, &revoked, true),
        (&usable, &master, true),
        (&revoked, &open, false),
        (&revoked, &empty, false),
        (&revoked, &revoked, true),
        (&revoked, &usable, true),
        (&empty, &open, false),
        (&empty, &empty, true),
        (&empty, &revoked, true),
    ];
    for (row, (before, after, allowed)) in rows.iter().enumerate() {
        assert_eq!(after.may_follow(before, NOW).is_ok(), *allowed, "row {row}");
    }
}

#[test]
fn managed_keys_until_they_expire() {
    let list = [
        ("a", None),
        ("b", Some(NOW + 1)),
        ("c", Some(NOW)),
        ("d", Some(0)),
    ];
    let keys = keys(Some("m"), Some(&list));
    for (key, valid) in [
        ("m", true),
        ("a", true),
        ("b", true),
        ("c", false),
        ("d", false),
        ("e", false),
    ] {
        assert_eq!(
            check(&keys, &[&format!("api-key: {key}")]).is_ok(),
            valid,
            "{key}"
        );
    }
}

/// A head with one credential line.
fn parsed(line: &str) -> (String, Fields) {
    let text = format!("GET / HTTP/1.1\r\nHost: g\r\n{line}\r\n\r\n");
    let mut fields = Fields::new();
    head::request(&mut HeadScan::default(), text.as_bytes(), &mut fields)
        .unwrap()
        .unwrap();
    (text, fields)
}

/// What a request with this credential line leads to.
fn ask<'k>(
    keys: &'k Keys,
    line: &str,
    asked: [&str; 3],
    now: u64,
) -> Result<Outcome<'k>, AuthError> {
    let (text, fields) = parsed(line);
    let grant = keys.check(Section::new(&fields, text.as_bytes()), || NOW)?;
    let [provider, method, endpoint] = asked.map(str::as_bytes);
    grant.permit(Asked {
        provider,
        method,
        endpoint,
    })?;
    let lease = grant.enter(|| now)?;
    Ok(Outcome {
        id: grant.id(),
        lease,
    })
}

#[derive(Debug)]
struct Outcome<'k> {
    id: Option<&'k str>,
    lease: Option<Lease>,
}

const CHAT: [&str; 3] = ["openai", "POST", "chat/completions"];

#[test]
fn why_a_key_is_worth_nothing_is_told_to_its_holder_only() {
    let disabled = ManagedKey {
        disabled: true,
        ..managed_key("off")
    };
    let expired = ManagedKey {
        expires: Some(NOW),
        ..managed_key("old")
    };
    let list = [disabled, expired, managed_key("good")];
    let keys = Keys::new(None, Some(&list), None);
    for (line, expected) in [
        ("api-key: off", Err(AuthError::KeyDisabled)),
        ("api-key: old", Err(AuthError::KeyExpired)),
        ("api-key: other", Err(AuthError::InvalidKey)),
        ("api-key:", Err(AuthError::InvalidKey)),
        (
            "api-key: other\r\nx-api-key: off",
            Err(AuthError::KeyDisabled),
        ),
        (
            "api-key: off\r\nx-api-key: other",
            Err(AuthError::KeyDisabled),
        ),
        ("api-key: off\r\nx-api-key: good", Ok(Some("good"))),
        ("X-Other: 1", Err(AuthError::MissingKey)),
    ] {
        let found = ask(&keys, line, CHAT, 0).map(|outcome| outcome.id);
        assert_eq!(found, expected, "{line}");
    }
    // A dead key does not go on either.
    let (text, fields) = parsed("api-key: off\r\nx-api-key: good\r\nX-Sluicegate-Key: other");
    let grant = keys
        .check(Section::new(&fields, text.as_bytes()), || NOW)
        .unwrap();
    assert_eq!(
        [1, 2, 3].map(|index| grant.used(index)),
        [true, true, false]
    );
}

#[test]
fn the_first_usable_key_counts_and_the_master_key_has_no_limits() {
    let none = ManagedKey {
        providers: Some(vec![]),
        ..managed_key("none")
    };
    let list = [none, managed_key("all")];
    let master = Secret::new("m").unwrap();
    let keys = Keys::new(Some(&master), Some(&list), None);
    for (line, expected) in [
        ("api-key: m", Ok(Some("master"))),
        ("api-key: all", Ok(Some("all"))),
        ("api-key: none", Err(AuthError::ProviderNotAllowed)),
        ("api-key: all\r\nx-api-key: none", Ok(Some("all"))),
        (
            "api-key: none\r\nx-api-key: all",
            Err(AuthError::ProviderNotAllowed),
        ),
        ("api-key: m\r\nx-api-key: none", Ok(Some("master"))),
    ] {
        let found = ask(&keys, line, CHAT, 0).map(|outcome| outcome.id);
        assert_eq!(found, expected, "{line}");
    }
    let open = Keys::new(None, None, None);
    assert_eq!(ask(&open, "api-key: x", CHAT, 0).unwrap().id, None);
}

#[test]
fn keys_are_limited_to_providers_and_endpoints() {
    let limited = ManagedKey {
        providers: Some(vec!["openai".into(), "a".into()]),
        allow: Some(Rules::parse(&["POST /v1/chat/*", "GET /models"]).unwrap()),
        ..managed_key("k")
    };
    let keys = Keys::new(None, Some(&[limited]), None);
    let provider = Some(AuthError::ProviderNotAllowed);
    let endpoint = Some(AuthError::EndpointNotAllowed);
    for (asked, expected) in [
        (CHAT, None),
        (["a", "POST", "v1/chat/completions"], None),
        (["a", "GET", "models"], None),
        (["OpenAI", "GET", "models"], provider),
        (["", "GET", "models"], provider),
        (["b", "GET", "other"], provider),
        (["a", "POST", "models"], endpoint),
        (["a", "GET", ""], endpoint),
        (["a", "POST", "embeddings"], endpoint),
    ] {
        let found = ask(&keys, "api-key: k", asked, 0).err();
        assert_eq!(found, expected, "{asked:?}");
    }
}

#[test]
fn what_is_counted_goes_on_with_the_next_keys() {
    let limited = |rate: &str| ManagedKey {
        rate: Some(Rate::parse(rate).unwrap()),
        streams: Some(1),
        ..managed_key("k")
    };
    let first = Keys::new(None, Some(&[limited("2/m")]), None);
    let ask = |keys, now| ask(keys, "api-key: k", CHAT, now);
    let under_way = ask(&first, 0).unwrap();
    // What is one stream too many does not count for the rate.
    assert_eq!(ask(&first, 0).unwrap_err(), AuthError::TooManyStreams);
    let second = Keys::new(
        None,
        Some(&[limited("2/m"), managed_key("new")]),
        Some(&first),
    );
    assert_eq!(ask(&second, 0).unwrap_err(), AuthError::TooManyStreams);
    drop(under_way);
    assert!(ask(&second, 0).unwrap().lease.is_some());
    let exceeded = AuthError::RateExceeded { retry_after: 30 };
    assert_eq!(ask(&second, 0).unwrap_err(), exceeded);
    // And what is too fast holds no stream.
    assert_eq!(ask(&second, 0).unwrap_err(), exceeded);
    // A new secret under the same id, a key that is off for a while: the count stays.
    let rotated = ManagedKey {
        sha256: sha256(b"other"),
        disabled: true,
        ..limited("2/m")
    };
    let third = Keys::new(None, Some(&[rotated]), Some(&second));
    let fourth = Keys::new(None, Some(&[limited("2/m")]), Some(&third));
    assert_eq!(ask(&fourth, 0).unwrap_err(), exceeded);
    let fresh = Keys::new(None, Some(&[limited("2/m")]), None);
    assert!(ask(&fresh, 0).is_ok());
}

#[test]
fn among_ten_thousand_keys_each_opens_for_itself() {
    let list: Vec<_> = (0..10_000)
        .map(|n| managed_key(&format!("key-{n}")))
        .collect();
    let keys = Keys::new(None, Some(&list), None);
    for n in (0..10_000).step_by(97) {
        let id = format!("key-{n}");
        let found = ask(&keys, &format!("api-key: {id}"), CHAT, 0).unwrap();
        assert_eq!(found.id, Some(&*id));
    }
    assert!(ask(&keys, "api-key: key-10000", CHAT, 0).is_err());
}

proptest::proptest! {
    #[test]
    fn properties_hold(
        lines in "((Authorization|x-api-key|API-KEY|xi-api-key|X-Sluicegate-Key|Sec-WebSocket-Protocol|A): \
            ((Bearer|bearer |Basic )? ?[mkrex\"= ]{0,2}|\
            openai-insecure-api-key\\.[mkre], ?OpenAI-insecure-api-key\\.[mkre]?|a, b)\r\n){0,5}",
    ) {
        property::holds(&property::keys(), lines.trim_end().as_bytes());
    }
}
