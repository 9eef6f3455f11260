//! Rules against paths as they are written, and as an upstream may read them.

use proptest::prelude::*;

use super::*;

fn rules(list: &[&str]) -> Rules {
    Rules::parse(list).unwrap()
}

#[test]
fn rules_are_read_or_refused() {
    for good in [
        "POST /chat/*",
        "* /models",
        "GET /models*",
        " GET\t /v1/models ",
        "* /*",
        "* /v1/*",
        "M-SEARCH /x",
    ] {
        assert!(Rules::parse(&[good]).is_ok(), "{good}");
    }
    for bad in [
        "",
        "POST",
        "/chat",
        "POST chat",
        "post /chat",
        "POST,GET /chat",
        "* /",
        "* /v1",
        "* /v1*",
        "* /V1*",
        "* /V1/v1*",
        "* /v1/",
        "* /chat/",
        "* /c*t",
        "* /**",
        "* /a b",
        "* /a%20b",
        "* /a?b",
        "* /a;b",
        "* /a\\b",
        "* /a//b",
        "* //a",
        "* /../a",
        "* /a/.",
        "* /\u{e9}",
    ] {
        let error = Rules::parse(&["* /x", bad]).unwrap_err();
        assert!(error.contains("expected"), "{bad}: {error}");
    }
    assert_eq!(
        rules(&["POST /chat/*", "* /x"]).to_string(),
        r#"["POST /chat/*", "* /x"]"#
    );
}

#[test]
fn a_version_before_a_rule_makes_no_difference_to_what_is_denied() {
    let list = rules(&["DELETE /V1/files/a", "* /v1/V1/pause", "GET /v1/v1/x*"]);
    for (method, path) in [
        ("DELETE", "files/a"),
        ("delete", "V1/files/a"),
        ("DELETE", "v1/v1/files/a"),
        ("POST", "pause"),
        ("POST", "v1/V1/pause"),
        ("GET", "v1/xy"),
        ("GET", "%78"),
    ] {
        let denied = list.deny(method.as_bytes(), path.as_bytes());
        assert!(denied, "{method} {path}");
    }
    assert!(!list.deny(b"GET", b"v1/files/a"));
    // What is allowed is as it is written.
    assert!(list.allow(b"DELETE", b"V1/files/a"));
    assert!(!list.allow(b"DELETE", b"files/a"));
    assert!(!list.allow(b"POST", b"pause"));
}

#[test]
fn an_allow_list_lets_only_what_is_listed_pass() {
    let list = rules(&["POST /chat/*", "GET /v1/models", "* /files*"]);
    for (method, endpoint, allowed) in [
        ("POST", "chat/completions", true),
        ("POST", "v1/chat/completions", true),
        ("POST", "chat/", true),
        ("POST", "chat", false),
        ("POST", "chatter", false),
        ("POST", "Chat/completions", false),
        ("GET", "chat/completions", false),
        ("post", "chat/completions", false),
        ("GET", "models", true),
        ("HEAD", "v1/models", true),
        ("HEAD", "chat/completions", false),
        ("GET", "models/", false),
        ("GET", "models/a", false),
        ("DELETE", "files/x", true),
        ("DELETE", "filesystem", true),
        ("POST", "", false),
        ("POST", "v1", false),
        ("POST", "v1/v1/chat/x", false),
        ("POST", "/chat/x", false),
        // Every reading has to be below the prefix.
        ("POST", "chat/a%20b", true),
        ("POST", "chat/a%2Fb", true),
        ("POST", "chat/%63ompletions", true),
        ("POST", "%63hat/completions", true),
        ("POST", "chat%2Fcompletions", false),
        ("POST", "chat/%252e%252e/x", false),
        ("POST", "chat/..;/x", false),
        ("POST", "chat/%2e%2e;a/x", false),
        ("POST", "chat/a;b", true),
        ("POST", "chat/%00", false),
        ("POST", "chat/%0d%0a", false),
        ("POST", "chat/%c0%af", false),
        ("POST", "chat/%c3%a9", true),
        ("POST", "chat/%252541", true),
        ("POST", "chat/%25252541", false),
        ("GET", "models%3Fx", false),
        ("GET", "models%00", false),
        ("GET", "models;x", false),
    ] {
        let found = list.allow(method.as_bytes(), endpoint.as_bytes());
        assert_eq!(found, allowed, "{method} {endpoint}");
    }
    assert!(!Rules::default().allow(b"GET", b"x"));
    assert!(rules(&["* /*"]).allow(b"PATCH", b"any/thing"));
}

#[test]
fn a_deny_list_refuses_whatever_may_be_read_as_listed() {
    let list = rules(&["* /pause", "POST /load/*", "GET /secret"]);
    for (method, endpoint, denied) in [
        ("POST", "pause", true),
        ("GET", "pause", true),
        ("POST", "v1/pause", true),
        ("POST", "v1/v1/pause", true),
        ("POST", "pause/", true),
        ("POST", "/pause", true),
        ("POST", "//pause//", true),
        ("POST", "%70ause", true),
        ("POST", "%70%61%75%73%65", true),
        ("POST", "%2Fpause", true),
        ("POST", "pause%2f", true),
        ("POST", "%5cpause", true),
        ("POST", "%2570ause", true),
        ("POST", "v1%2Fpause", true),
        ("POST", "%761/pause", true),
        ("POST", "PAUSE", true),
        ("POST", "pause;x=y", true),
        ("POST", "pause%3Bx", true),
        ("POST", "pause%3Fx", true),
        ("POST", "pause%23x", true),
        ("POST", "pause%00", true),
        ("POST", "x/%252e%252e/pause", true),
        ("POST", "x/..;/pause", true),
        ("POST", "pauses", false),
        ("POST", "pause/x", false),
        ("POST", "x/pause", false),
        ("POST", "models/vendor%2Fpause", false),
        ("POST", "chat/completions", false),
        ("POST", "load/x", true),
        ("POST", "load//x", true),
        ("POST", "load%2fx", true),
        ("GET", "load/x", false),
        ("POST", "loads", false),
        ("HEAD", "secret", true),
        ("POST", "secret", false),
        ("post", "load/x", true),
        ("Post", "LOAD/%2561", true),
        ("get", "secret", true),
        ("Head", "secret", true),
        ("heads", "secret", false),
    ] {
        let found = list.deny(method.as_bytes(), endpoint.as_bytes());
        assert_eq!(found, denied, "{method} {endpoint}");
    }
    assert!(!Rules::default().deny(b"GET", b"%00"));
}

#[test]
fn paths_of_nothing_but_escapes_are_read_in_time() {
    let path = format!("x%{}", "25".repeat(8000));
    assert!(!rules(&["* /*"]).allow(b"GET", path.as_bytes()));
    assert!(rules(&["* /y"]).deny(b"GET", path.as_bytes()));
}

/// Spells some bytes as escapes.
fn escaped(path: &str, picks: &[bool]) -> String {
    let mut picks = picks.iter().cycle();
    path.bytes()
        .map(|byte| match picks.next() {
            Some(true) => format!("%{byte:02x}"),
            _ => char::from(byte).to_string(),
        })
        .collect()
}

proptest! {
    #[test]
    fn no_spelling_gets_around_a_deny_list(
        picks in prop::collection::vec(any::<bool>(), 1..12),
        before in prop::sample::select(vec!["", "/", "v1/", "V1/", "//v1/"]),
        behind in prop::sample::select(vec!["", "/", "//", ";a", "/;a"]),
        method in "[Pp][Oo][Ss][Tt]",
        twice in any::<bool>(),
    ) {
        let mut path = format!("{before}{}{behind}", escaped("load/x", &picks));
        if twice {
            path = path.replace('%', "%25");
        }
        prop_assert!(rules(&["POST /load/x"]).deny(method.as_bytes(), path.as_bytes()), "{} {}", method, path);
    }

    #[test]
    fn what_is_allowed_lies_below_the_prefix_however_often_it_is_decoded(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "chat", "/", "%2f", "%252f", ".", "%2e", "%252e", ";", "%3b", "a", "v1/", "%63hat", "%5c",
                "%00", "%25", "admin",
            ]),
            0..8,
        ),
    ) {
        let path = parts.concat();
        if rules(&["POST /chat/*"]).allow(b"POST", path.as_bytes()) {
            let mut read = path.trim_start_matches("v1/").as_bytes().to_vec();
            loop {
                let text = String::from_utf8(read.clone()).unwrap();
                // The first reading may spell the letters of the prefix as escapes.
                let plain = decoded(&read, is_unreserved);
                prop_assert!(plain.starts_with(b"chat/"), "{} in {}", text, path);
                prop_assert!(!text.split(['/', '\\']).any(|s| s == ".."), "{} in {}", text, path);
                let next = decoded(&read, |_| true);
                if next == read {
                    break;
                }
                read = next;
            }
        }
    }

    #[test]
    fn properties_hold(
        method in "(GET|HEAD|POST|get|post)",
        endpoint in "([a-c]{1,2}/){0,2}[a-c]{1,2}[;%/]?",
        list in "((GET|POST|\\*) /(v1/)?([a-c]{1,2}/){0,2}[a-c]{0,2}\\*?\n){0,4}",
        at in any::<usize>(),
    ) {
        property::holds(format!("{method}\n{endpoint}\n{list}").as_bytes(), at);
    }

    #[test]
    fn any_bytes_are_judged(method in "[A-Z]{1,5}", path in prop::collection::vec(any::<u8>(), 0..40)) {
        let list = rules(&["* /*"]);
        let all = list.allow(method.as_bytes(), &path);
        let none = list.deny(method.as_bytes(), &path);
        prop_assert!(all || none);
    }
}
