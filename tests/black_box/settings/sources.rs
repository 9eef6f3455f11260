//! Where settings come from, and which source goes before which.

use crate::support::settings::{assert_line, assert_refused, bare, checked};
use crate::support::{Scripted, Setup, Upstream, get};

#[test]
fn environment_goes_before_dotenv_before_file_before_defaults() {
    // Each source names another key; the strongest one present opens the gateway.
    let all = || {
        Setup::new()
            .without("GOMODEL_MASTER_KEY")
            .secret("gk-file")
            .secret("gk-dotenv")
            .toml("[auth]\nmaster_key = \"gk-file\"\n")
    };
    let dotenv = "# comment\nexport GOMODEL_MASTER_KEY=\"gk-dotenv\"\nPORT=1\n";
    for (setup, key) in [
        (all(), "gk-file"),
        (all().file(".env", dotenv), "gk-dotenv"),
        (
            all()
                .file(".env", dotenv)
                .env("GOMODEL_MASTER_KEY", "gk-env"),
            "gk-env",
        ),
    ] {
        let upstream = Scripted::echo();
        let gateway = setup.base(&upstream.url()).start();
        for tried in ["gk-file", "gk-dotenv", "gk-env"] {
            let mut client = gateway.connect();
            client.send(get("/p/anthropic/x").replace("gk-test", tried));
            let status = client.response().status();
            assert_eq!(
                status,
                if tried == key { 200 } else { 401 },
                "{key}: {tried}"
            );
        }
    }
}

#[test]
fn the_file_is_looked_for_by_argument_then_variable_then_directory() {
    let named = |name: &str| format!("[timeouts]\nconnect = \"{name}s\"\n");
    let setup = || {
        Setup::new()
            .toml(&named("11"))
            .file("variable.toml", &named("12"))
            .file("argument.toml", &named("13"))
    };
    let variable = || setup().env("SLUICEGATE_CONFIG", "variable.toml");
    assert!(checked(setup()).contains("11"));
    assert!(checked(variable()).contains("12"));
    assert!(checked(variable().arg("--config").arg("argument.toml")).contains("13"));
}

#[test]
fn secrets_may_come_from_files() {
    let upstream = Upstream::listen();
    let url = upstream.url();
    let gateway = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .file("master", "  gk-from-file\n")
        .file("openai", "sk-from-file\r\n")
        .file("zai", "sk-zai-from-file\n")
        .file("mine", "sk-mine-from-file")
        .secret("gk-from-file")
        .secret("sk-from-file")
        .secret("sk-zai-from-file")
        .secret("sk-mine-from-file")
        .env("GOMODEL_MASTER_KEY_FILE", "master")
        .env("OPENAI_API_KEY_FILE", "openai")
        .env("OPENAI_BASE_URL", &url)
        .env("ZAI_API_KEY_FILE", "zai")
        .env("ZAI_BASE_URL", &url)
        .toml(&format!(
            "[providers.mine]\ntype = \"openai\"\nbase_url = \"{url}\"\napi_key_file = \"mine\"\n"
        ))
        .start();
    for (name, key) in [
        ("openai", "Bearer sk-from-file"),
        ("zai", "Bearer sk-zai-from-file"),
        ("mine", "Bearer sk-mine-from-file"),
    ] {
        let mut client = gateway.connect();
        client.send(format!("GET /p/{name}/x HTTP/1.1\r\nHost: g\r\n\r\n"));
        assert_eq!(client.response().status(), 401);
        client.send(get(&format!("/p/{name}/x")).replace("gk-test", "gk-from-file"));
        assert_eq!(
            upstream.accept().request().value("authorization"),
            Some(key)
        );
    }
}

#[test]
fn variables_expand_inside_toml_strings() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .env("THE_URL", &upstream.url())
        .env("THE_KEY", "sk-expanded")
        .toml(
            "[providers.one]\ntype = \"openai\"\nbase_url = \"${THE_URL}/a\"\napi_key = \"${THE_KEY}\"\n\
             [providers.two]\ntype = \"openai\"\nbase_url = \"${NO_URL:-http://localhost}/b\"\ncredential = \"none\"\n",
        )
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/one/x"));
    let seen = upstream.accept().request();
    assert_eq!(seen.head.target(), "/a/x");
    assert_eq!(seen.value("authorization"), Some("Bearer sk-expanded"));
}

#[test]
fn a_default_in_a_toml_string_is_used_when_the_variable_is_unset() {
    let toml = "[providers.one]\ntype = \"openai\"\napi_key = \"k\"\n\
                base_url = \"http://${NO_HOST:-default.test}/v1\"\n";
    assert!(checked(Setup::new().toml(toml)).contains("http://default.test/v1"));
    assert_refused(
        || Setup::new().toml(&toml.replace(":-default.test", "")),
        &["sluicegate.toml", "NO_HOST"],
    );
}

#[test]
fn durations_are_seconds_or_strings() {
    for (value, shown) in [("90", "90"), ("\"90s\"", "90"), ("\"1m30s\"", "90")] {
        let text = checked(Setup::new().toml(&format!("[timeouts]\nconnect = {value}\n")));
        let line = text.lines().find(|line| line.contains("connect")).unwrap();
        assert!(
            line.contains(shown) || line.contains("1m30s"),
            "{value}: {line}"
        );
    }
}

#[test]
fn the_environment_wins_over_dotenv_over_the_file_over_the_default() {
    let setup = bare().toml("[server]\nworkers = 2\n");
    assert_line(&checked(setup), "workers = 2");
    let setup = || {
        bare()
            .toml("[server]\nworkers = 2\nlisten = [\"127.0.0.1:2\"]\n[providers.openai]\napi_key = \"sk-marker\"\nbase_url = \"http://file\"\n")
            .secret("sk-marker")
            .file(".env", "# c\nexport SLUICEGATE_WORKERS='3'\nPORT=3\nOPENAI_BASE_URL=\"http://dotenv\" # c\n")
    };
    let described = checked(setup());
    assert_line(&described, "workers = 3");
    assert_line(&described, "listen = [\"127.0.0.1:3\", \"[::1]:3\"]");
    assert_line(&described, "base_url = \"http://dotenv\"");
    let described = checked(
        setup()
            .env("SLUICEGATE_WORKERS", "4")
            .env("PORT", "4")
            .env("OPENAI_BASE_URL", "http://environment"),
    );
    assert_line(&described, "workers = 4");
    assert_line(&described, "listen = [\"127.0.0.1:4\", \"[::1]:4\"]");
    assert_line(&described, "base_url = \"http://environment\"");
}

#[test]
fn a_secret_of_the_environment_wins_over_a_secret_file_of_dotenv() {
    let setup = bare()
        .file(
            ".env",
            "GOMODEL_MASTER_KEY_FILE=nowhere\nOPENAI_API_KEY_FILE=nowhere\n",
        )
        .env("GOMODEL_MASTER_KEY", "gk-marker")
        .env("OPENAI_API_KEY", "sk-marker");
    assert_line(&checked(setup), "[providers.\"openai\"]");
}

#[test]
fn variables_expand_inside_strings_of_the_file() {
    let toml = "[auth]\nmaster_key = \"${TEAM_KEY}\"\n[providers.openai]\napi_key = \"${TEAM_KEY}\"\n\
                base_url = \"http://${HOST_NAME:-fall.back}:${BACK_PORT:-81}${EMPTY:-}\"\n";
    let setup = bare()
        .toml(toml)
        // Named, or where it leads the key would be warned of.
        .arg("--config")
        .arg("sluicegate.toml")
        .env("TEAM_KEY", "gk-marker")
        .file(".env", "BACK_PORT=82\n");
    assert_line(&checked(setup), "base_url = \"http://fall.back:82\"");
}
