//! `contrib/benchmark`, the entry for the public benchmark of LLM gateways, against what it starts.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::contrib::{lines, path, text, variables};
use crate::support::{Gateway, Setup, Upstream, ports, response};

/// The dialects of the grid, in the order of its rows and of their characters.
const DIALECTS: [&str; 6] = [
    "openai",
    "openai-responses",
    "anthropic",
    "gemini",
    "cohere",
    "bedrock",
];

fn definition() -> Value {
    serde_json::from_str(&text("contrib/benchmark/definition.json")).unwrap()
}

/// A text of the definition.
fn word<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("{pointer}: {value}"))
}

/// The gateway as the rig starts it: no file, these variables and no other, on a port of its own.
fn start(upstream: &Upstream) -> Gateway {
    let definition = definition();
    let held = ports::bound();
    let places = [
        ("{GW_PORT}", ports::addr(&held).port().to_string()),
        ("{GW_AUTH}", word(&definition, "/auth").to_owned()),
        ("{MOCK_PORT}", upstream.addr().port().to_string()),
    ];
    drop(held);
    let setup = variables(&text("contrib/benchmark/env")).into_iter().fold(
        // The lines in the form that the tests read.
        Setup::bare().env("LOG_FORMAT", "json"),
        |setup, (name, value)| {
            let fill = |value: String, (place, with): &(&str, String)| value.replace(place, with);
            let value = places.iter().fold(value, fill);
            assert!(!value.contains(['{', '}']), "{name}={value}");
            setup.env(&name, &value)
        },
    );
    setup.start()
}

/// How the rig lets a client of this dialect say who it is.
fn credential(dialect: &str, auth: &str) -> String {
    match dialect {
        "anthropic" => format!("x-api-key: {auth}\r\nanthropic-version: 2023-06-01\r\n"),
        _ => format!("authorization: Bearer {auth}\r\n"),
    }
}

#[test]
fn every_cell_is_served_with_the_key_that_its_dialect_sends() {
    let definition = definition();
    let upstream = Upstream::listen();
    let gateway = start(&upstream);
    let auth = word(&definition, "/auth");
    let cells = definition["cell_paths"].as_object().unwrap();
    for (cell, target) in cells {
        let (ingress, egress) = cell.split_once('>').unwrap();
        let body = format!(
            "{{\"model\":\"{}\"}}",
            definition["egress_models"][egress].as_str().unwrap()
        );
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: 127.0.0.1\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            target.as_str().unwrap(),
            credential(ingress, auth),
            body.len(),
        );
        let mut client = gateway.connect();
        client.send(request);
        let mut peer = upstream.accept();
        let came = peer.request();
        let wanted = match egress {
            "openai" => "/v1/chat/completions",
            "openai-responses" => "/v1/responses",
            _ => "/v1/messages",
        };
        assert_eq!((came.head.target(), came.text()), (wanted, body), "{cell}");
        peer.send(response("200 OK", &["Content-Length: 2"], "{}"));
        assert_eq!(client.response().status(), 200, "{cell}");
        client.send(format!(
            "GET {} HTTP/1.1\r\nhost: g\r\n{}\r\n",
            target.as_str().unwrap(),
            credential(ingress, "another")
        ));
        assert_eq!(client.response().status(), 401, "{cell}");
    }
}

#[test]
fn the_grid_is_that_of_a_passthrough() {
    let definition = definition();
    let grid = definition["matrix"].as_array().unwrap();
    assert_eq!(grid.len(), DIALECTS.len());
    let mut cells = BTreeSet::new();
    for (ingress, row) in DIALECTS.iter().zip(grid) {
        let row = row.as_str().unwrap();
        assert_eq!(row.len(), DIALECTS.len());
        for (egress, mark) in DIALECTS.iter().zip(row.chars()) {
            assert!(mark == '0' || mark == '1', "{row}");
            assert!(mark == '0' || ingress == egress, "{ingress} {egress}");
            if mark == '1' {
                cells.insert(format!("{ingress}>{egress}"));
            }
        }
    }
    let paths = definition["cell_paths"].as_object().unwrap();
    assert_eq!(cells, paths.keys().cloned().collect());
    let egress = definition["egress"].as_array().unwrap();
    let egress: BTreeSet<_> = egress.iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(egress.len(), cells.len());
    assert!(
        egress
            .iter()
            .all(|name| cells.contains(&format!("{name}>{name}")))
    );
    assert_eq!(paths["openai>openai"], definition["path"]);
}

#[test]
fn every_setting_has_a_reason_and_every_reason_a_setting() {
    let set: BTreeSet<String> = { variables(&text("contrib/benchmark/env")).into_iter() }
        .map(|(name, value)| {
            assert!(!value.is_empty(), "{name}");
            name
        })
        .collect();
    let why = text("contrib/benchmark/why");
    let mut explained = BTreeSet::new();
    for line in lines(&why) {
        let mut words = line.split_whitespace();
        let (name, reason) = (words.next().unwrap(), words.next().unwrap());
        assert!(
            ["boot", "upstream", "ingress", "bind"].contains(&reason),
            "{line}"
        );
        assert_eq!(words.next(), Some("#"), "{line}");
        assert!(explained.insert(name.to_owned()), "{name} twice");
    }
    assert_eq!(set, explained);
}

/// What the benchmark's own check refuses.
#[test]
fn the_definition_is_sound() {
    let definition = definition();
    for field in [
        "name",
        "display",
        "lang",
        "class",
        "repo",
        "path",
        "model",
        "auth",
        "matrix_note",
    ] {
        let text = word(&definition, &format!("/{field}"));
        assert!(
            !text.trim().is_empty() && !text.contains('$'),
            "{field}: {text}"
        );
    }
    assert_eq!(word(&definition, "/name"), "sluicegate");
    assert!(definition["port"].as_u64().is_some_and(|port| port > 0));
    assert_eq!(word(&definition, "/launch/kind"), "native");
    assert_eq!(word(&definition, "/runtime/kind"), "native");
    let build = path("contrib/benchmark").join(word(&definition, "/launch/build"));
    let mode = build.metadata().unwrap().permissions().mode();
    assert_ne!(mode & 0o111, 0, "{mode:o}");
    // The script puts the program there, and it is found among all processes by this.
    let binary = word(&definition, "/launch/binary/0");
    let within = format!("$here/{binary}");
    assert!(
        text("contrib/benchmark/build.sh").contains(&within),
        "{within}"
    );
    let matched = word(&definition, "/runtime/proc_match");
    assert!(binary.contains(matched) && matched.len() >= 8 && !matched.contains("otb"));
    let version = format!(":-v{}}}", env!("CARGO_PKG_VERSION"));
    assert!(
        text("contrib/benchmark/build.sh").contains(&version),
        "{version}"
    );
}
