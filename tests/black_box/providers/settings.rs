//! Where a provider's keys come from, what is refused, and what is shown of them.

use crate::support::settings::{assert_line, assert_refused, bare, checked};
use crate::support::{Setup, Upstream, get, ok};

/// A provider with these lines.
fn openai(lines: &str) -> Setup {
    bare()
        .secret("sk-one")
        .secret("sk-two")
        .toml(&format!("[providers.openai]\n{lines}\n"))
}

#[test]
fn keys_come_from_the_table_a_file_or_variables() {
    let two = "api_keys = [\"[redacted]\", \"[redacted]\"]";
    let shown = checked(openai("api_keys = [\"sk-one\", \"sk-two\"]"));
    assert_line(&shown, two);
    assert!(
        shown.contains("session_headers = [\"x-claude-code-session-id\""),
        "{shown}"
    );
    let in_file = openai("api_keys_file = \"keys.txt\"")
        .file("keys.txt", "# of the team\n\n  sk-one\r\nsk-two\nsk-one\n");
    assert_line(&checked(in_file), two);
    let by_variables = bare()
        .env("OPENAI_API_KEY_2", "sk-two")
        .env("OPENAI_API_KEY", "sk-one")
        .env("OPENAI_API_KEY_3", "sk-one");
    assert_line(&checked(by_variables), two);
    let by_files = bare()
        .env("OPENAI_API_KEY", "sk-one")
        .secret("sk-two")
        .env("OPENAI_API_KEY_2_FILE", "second")
        .file("second", "sk-two\n");
    assert_line(&checked(by_files), two);
    // One is one, however it is written.
    let one = checked(openai("api_keys = [\"sk-one\", \"sk-one\"]"));
    assert_line(&one, "api_key = \"[redacted]\"");
    assert!(!one.contains("session_headers"), "{one}");
    let variables = openai("api_keys = [\"sk-one\", \"sk-two\"]").env("OPENAI_API_KEY", "sk-three");
    assert_line(&checked(variables), "api_key = \"[redacted]\"");
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let oauth = "sk-ant-oat01-here";
    let many = (0..65)
        .map(|n| format!("\"sk-{n}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let rows: &[(&str, &[&str])] = &[
        (
            "api_key = \"sk-one\"\napi_keys = [\"sk-two\"]",
            &[
                "providers.openai.api_key",
                "only one of api_key and api_keys",
            ],
        ),
        (
            "api_keys = []",
            &["providers.openai.api_keys", "at least one key"],
        ),
        (
            "api_keys = [\"sk-one\", \"\"]",
            &["providers.openai.api_keys", "visible ASCII"],
        ),
        (
            "api_keys = [\"sk-one\", \"sk two\"]",
            &["providers.openai.api_keys", "visible ASCII"],
        ),
        ("api_keys = \"sk-one\"", &["providers.openai.api_keys"]),
        (
            &format!("api_keys = [{many}]"),
            &["providers.openai.api_keys", "at most 64 keys"],
        ),
        (
            "api_keys_file = \"\"",
            &["providers.openai.api_keys_file", "path of a file"],
        ),
        (
            "api_keys_file = \"none.txt\"",
            &["none.txt", "one key a line"],
        ),
        (
            "api_keys_file = \"empty.txt\"",
            &["empty.txt", "no key in it"],
        ),
        (
            "api_keys_file = \"bad.txt\"",
            &["bad.txt line 2", "visible ASCII"],
        ),
        (
            "api_keys = [\"sk-one\"]\nsession_headers = [\"a b\"]",
            &["providers.openai.session_headers", "names of fields"],
        ),
        (
            "api_keys = [\"sk-one\"]\nsession_headers = [\"Authorization\"]",
            &["providers.openai.session_headers", "credential"],
        ),
        (
            &format!("type = \"anthropic\"\napi_keys = [\"sk-one\", \"{oauth}\"]"),
            &["providers.openai", "two providers"],
        ),
    ];
    for (lines, named) in rows {
        let setup = || {
            openai(lines)
                .secret(oauth)
                .file("empty.txt", "# none\n")
                .file("bad.txt", "sk-one\nsk two\n")
        };
        assert_refused(setup, named);
    }
    assert_refused(
        || {
            bare()
                .env("OPENAI_API_KEY", "sk-one")
                .env("OPENAI_API_KEY_2", "")
        },
        &["OPENAI_API_KEY_2", "empty"],
    );
}

#[test]
fn a_reload_takes_keys_and_leaves_them() {
    let upstream = Upstream::listen();
    let file = |keys: &str| {
        format!(
            "[providers.openai]\nbase_url = \"{}/v1\"\napi_keys = [{keys}]\n",
            upstream.url()
        )
    };
    let gateway = Setup::new()
        .secret("sk-one")
        .secret("sk-two")
        .toml(&file("\"sk-one\", \"sk-two\""))
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    let mut peer = upstream.accept();
    let first = peer.request().value("authorization").unwrap().to_owned();
    peer.send(ok(""));
    client.response();
    let other = match first.ends_with("one") {
        true => "sk-two",
        false => "sk-one",
    };
    let path = gateway.setup().dir().join("sluicegate.toml");
    std::fs::write(&path, file(&format!("\"{other}\""))).unwrap();
    gateway.reload();
    client.send(get("/p/openai/models"));
    assert_eq!(
        peer.request().value("authorization"),
        Some(&*format!("Bearer {other}"))
    );
    peer.send(ok(""));
    client.response();
}
