//! How it starts without a key: not at all where one was meant, and for this machine only unless it is told otherwise.

use std::net::SocketAddr;

use crate::support::settings::assert_line;
use crate::support::{Gateway, Setup, get};

fn bare() -> Setup {
    Setup::new().without("GOMODEL_MASTER_KEY")
}

/// Without a word about addresses, on ports that are free.
fn anywhere() -> Setup {
    bare().without("SLUICEGATE_LISTEN").env("PORT", "0")
}

/// Where it listens.
fn addresses(gateway: &Gateway) -> Vec<SocketAddr> {
    let log = gateway.log();
    let lines = log.lines().filter(|line| line.contains("\"listening\""));
    let address = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["addr"].as_str().unwrap().parse().unwrap()
    };
    lines.map(address).collect()
}

#[test]
fn an_empty_key_variable_is_exit_2() {
    for name in [
        "GOMODEL_MASTER_KEY",
        "SLUICEGATE_MASTER_KEY",
        "GOMODEL_MASTER_KEY_FILE",
        "SLUICEGATE_KEYS_FILE",
        "ANTHROPIC_API_KEY",
        "OPENAI_EAST_API_KEY",
    ] {
        for blank in ["", "  "] {
            let by_environment = || bare().env(name, blank);
            let by_file = || bare().file(".env", &format!("{name}='{blank}'\n"));
            let setups = [by_environment(), by_environment().arg("check"), by_file()];
            for setup in setups {
                let finished = setup.run();
                assert_eq!(finished.code, Some(2), "{name}: {finished:?}");
                assert!(finished.stderr.contains(name), "{name}: {finished:?}");
            }
        }
    }
    let empty_file = bare()
        .file("key", "\n")
        .env("GOMODEL_MASTER_KEY_FILE", "key");
    for setup in [empty_file, bare().toml("[auth]\nmaster_key = \"\"\n")] {
        let finished = setup.run();
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains("key"), "{finished:?}");
    }
}

#[test]
fn a_gateway_without_keys_listens_on_loopback_and_says_how_to_change_that() {
    let gateway = anywhere().start();
    gateway.wait_log(|line| {
        let parts = [
            "\"warn\"",
            "no gateway key",
            "loopback",
            "SLUICEGATE_LISTEN",
            "auth.open",
        ];
        parts.iter().all(|part| line.contains(part))
    });
    let listens = addresses(&gateway);
    assert!(
        !listens.is_empty() && listens.iter().all(|at| at.ip().is_loopback()),
        "{listens:?}"
    );
    let mut client = gateway.connect();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn elsewhere_it_listens_where_it_is_told_to() {
    let with_key = anywhere().env("GOMODEL_MASTER_KEY", "0123456789abcdef");
    for setup in [
        anywhere().toml("[auth]\nopen = true\n"),
        bare().env("SLUICEGATE_LISTEN", "0.0.0.0:0"),
        { bare().without("SLUICEGATE_LISTEN") }.toml("[server]\nlisten = [\"0.0.0.0:0\"]\n"),
        with_key,
    ] {
        let gateway = setup.start();
        let listens = addresses(&gateway);
        assert!(
            listens.iter().all(|at| at.ip().is_unspecified()),
            "{listens:?}"
        );
    }
}

#[test]
fn an_open_gateway_that_is_meant_so_is_only_noted() {
    let gateway = anywhere().toml("[auth]\nopen = true\n").start();
    let line = gateway.wait_log(|line| line.contains("no gateway key"));
    assert!(
        line.contains("\"warn\"") && !line.contains("loopback"),
        "{line}"
    );
    let checked = anywhere().toml("[auth]\nopen = true\n").arg("check").run();
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert_line(&checked.stdout, "open = true");
}

#[test]
fn a_short_master_key_is_warned_of() {
    let gateway = bare().env("GOMODEL_MASTER_KEY", "0123456789abcde").start();
    gateway.wait_log(|line| line.contains("\"warn\"") && line.contains("at least 16 bytes"));
    let checked = bare()
        .env("GOMODEL_MASTER_KEY", "0123456789abcde")
        .arg("check")
        .run();
    assert_eq!(checked.code, Some(0));
    assert!(checked.stderr.contains("at least 16 bytes"), "{checked:?}");
    let gateway = bare().env("GOMODEL_MASTER_KEY", "0123456789abcdef").start();
    assert!(!gateway.log().contains("at least 16 bytes"));
}

#[test]
fn a_base_url_of_the_working_directory_is_named_where_the_key_is_not_its_own() {
    let toml = "[providers.openai]\nbase_url = \"http://evil.example/v1\"\n";
    let setup = || Setup::new().env("OPENAI_API_KEY", "sk-marker").toml(toml);
    let said = |text: &str| {
        let parts = [
            "providers.openai.base_url",
            "OPENAI_API_KEY",
            "http://evil.example",
        ];
        parts.iter().all(|part| text.contains(part))
    };
    let gateway = setup().start();
    gateway.wait_log(|line| line.contains("\"warn\"") && said(line));
    let checked = setup().arg("check").run();
    assert!(said(&checked.stderr), "{checked:?}");
    let named = setup()
        .arg("check")
        .arg("--config")
        .arg("sluicegate.toml")
        .run();
    assert!(!said(&named.stderr), "{named:?}");
    let dotenv = { Setup::new() }
        .env("OPENAI_API_KEY", "sk-marker")
        .file(".env", "OPENAI_BASE_URL=http://evil.example/v1\n");
    let checked = dotenv.arg("check").run();
    assert!(
        checked.stderr.contains(".env line 1: OPENAI_BASE_URL"),
        "{checked:?}"
    );
}
