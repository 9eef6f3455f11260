//! Every variable and every key of the file, as `sluicegate check` shows them.

use crate::support::settings::{assert_line, bare, checked};
use crate::support::tls::pki;
use crate::support::{KEY, Setup};

#[test]
fn defaults_are_as_documented() {
    let described = checked(bare().without("SSL_CERT_FILE"));
    for line in [
        "# configuration file: none",
        "listen = [\"127.0.0.1:8080\", \"[::1]:8080\"]",
        "base_path = \"/\"",
        "workers = 0 # one per usable core",
        "driver = \"auto\"",
        "[auth] # none: this gateway is open",
        "providers = [\"openai\", \"anthropic\", \"openrouter\", \"zai\", \"vllm\", \"deepseek\"]",
        "user_path_header = \"X-GoModel-User-Path\"",
        "v1_alias = true",
        "request = 0",
        "response_header = 600",
        "connect = 5",
        "request_header = 10",
        "idle_client = 120",
        "body_idle = 600",
        "tunnel_idle = 3600",
        "drain_delay = 0",
        "drain = 300",
        "enabled = false",
        "endpoint = \"/metrics\"",
        "format = \"json\"",
        "level = \"info\"",
        "access = true",
        "file = \"stderr\"",
        "listen = []",
        "server_timing = false",
        "cors_origins = []",
        "landlock = \"auto\" # where the kernel has it",
        "dumpable = false",
    ] {
        assert_line(&described, line);
    }
    assert!(!described.contains("body ="), "{described}");
    assert!(!described.contains("[providers."), "{described}");
    let described = checked(Setup::bare());
    assert!(described.contains("8080"), "{described}");
}

#[test]
fn every_variable_takes_effect() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("PORT", "9")], "listen = [\"127.0.0.1:9\", \"[::1]:9\"]"),
        (
            &[("PORT", "9"), ("GOMODEL_MASTER_KEY", "gk-marker")],
            "listen = [\"0.0.0.0:9\", \"[::]:9\"]",
        ),
        (
            &[("SLUICEGATE_KEYS_FILE", "keys.toml")],
            "listen = [\"0.0.0.0:8080\", \"[::]:8080\"]",
        ),
        (
            &[
                ("SLUICEGATE_LISTEN", "127.0.0.1:1, unix:/run/g.sock"),
                ("PORT", "9"),
            ],
            "listen = [\"127.0.0.1:1\", \"unix:/run/g.sock\"]",
        ),
        (
            &[("SLUICEGATE_CORS_ORIGINS", "https://app.test,")],
            "cors_origins = [\"https://app.test\"]",
        ),
        (&[("BASE_PATH", "/g/")], "base_path = \"/g\""),
        (&[("SLUICEGATE_WORKERS", "3")], "workers = 3"),
        (&[("SLUICEGATE_DRIVER", "epoll")], "driver = \"epoll\""),
        (&[("SLUICEGATE_LANDLOCK", "true")], "landlock = true"),
        (&[("SLUICEGATE_DUMPABLE", "true")], "dumpable = true"),
        (
            &[
                ("SLUICEGATE_TLS_CERT", "cert.pem"),
                ("SLUICEGATE_TLS_KEY", "key.pem"),
            ],
            "tls.cert = \"cert.pem\"",
        ),
        (
            &[
                ("SLUICEGATE_TLS_CERT", "cert.pem"),
                ("SLUICEGATE_TLS_KEY", "key.pem"),
            ],
            "tls.key = \"key.pem\"",
        ),
        (
            &[("GOMODEL_MASTER_KEY", "gk-marker")],
            "master_key = \"[redacted]\"",
        ),
        (
            &[("SLUICEGATE_MASTER_KEY", "gk-marker")],
            "master_key = \"[redacted]\"",
        ),
        (
            &[("GOMODEL_MASTER_KEY_FILE", "secret.txt")],
            "master_key = \"[redacted]\"",
        ),
        (
            &[("SLUICEGATE_MASTER_KEY_FILE", "secret.txt")],
            "master_key = \"[redacted]\"",
        ),
        (
            &[("SLUICEGATE_KEYS_FILE", "keys.toml")],
            "keys_file = \"keys.toml\"",
        ),
        (&[("ENABLE_PASSTHROUGH_ROUTES", "false")], "enabled = false"),
        (
            &[("ALLOW_PASSTHROUGH_V1_ALIAS", "false")],
            "v1_alias = false",
        ),
        (
            &[("ENABLED_PASSTHROUGH_PROVIDERS", "vllm, openai")],
            "providers = [\"vllm\", \"openai\"]",
        ),
        (&[("BODY_SIZE_LIMIT", "10M")], "body = 10485760"),
        (&[("BODY_SIZE_LIMIT", "500K")], "body = 512000"),
        (&[("BODY_SIZE_LIMIT", "1G")], "body = 1073741824"),
        (&[("HTTP_TIMEOUT", "90")], "request = 90"),
        (&[("HTTP_TIMEOUT", "1h30m")], "request = 5400"),
        (
            &[("HTTP_RESPONSE_HEADER_TIMEOUT", "10m")],
            "response_header = 600",
        ),
        (
            &[
                ("METRICS_ENABLED", "true"),
                ("ENABLE_PASSTHROUGH_ROUTES", "false"),
            ],
            "enabled = true",
        ),
        (&[("METRICS_ENDPOINT", "/m")], "endpoint = \"/m\""),
        (&[("LOG_FORMAT", "text")], "format = \"text\""),
        (&[("LOG_LEVEL", "debug")], "level = \"debug\""),
        (&[], "# trusted: SSL_CERT_FILE = \"ca.pem\""),
        (&[("OPENAI_API_KEY", "sk-marker")], "[providers.\"openai\"]"),
        (
            &[("OPENAI_API_KEY", "sk-marker")],
            "base_url = \"https://api.openai.com/v1\"",
        ),
        (
            &[("OPENAI_API_KEY_FILE", "secret.txt")],
            "api_key = \"[redacted]\"",
        ),
        (
            &[("ANTHROPIC_API_KEY", "sk-marker")],
            "credential = \"x-api-key\"",
        ),
        (
            &[("ANTHROPIC_API_KEY", "sk-marker")],
            "base_url = \"https://api.anthropic.com/v1\"",
        ),
        (
            &[("OPENROUTER_API_KEY", "sk-marker")],
            "base_url = \"https://openrouter.ai/api/v1\"",
        ),
        (
            &[("ZAI_API_KEY", "sk-marker")],
            "base_url = \"https://api.z.ai/api/paas/v4\"",
        ),
        (
            &[("DEEPSEEK_API_KEY", "sk-marker")],
            "base_url = \"https://api.deepseek.com\"",
        ),
        (
            &[("VLLM_API_KEY", "sk-marker")],
            "base_url = \"http://localhost:8000/v1\"",
        ),
        (
            &[("VLLM_BASE_URL", "http://gpu:1/v1/")],
            "base_url = \"http://gpu:1/v1\"",
        ),
        (
            &[("VLLM_BASE_URL", "http://gpu:1/v1/")],
            "credential = \"none\"",
        ),
        (
            &[("VLLM_BASE_URL", "http://gpu:1/v1/")],
            "idle_upstream = 4",
        ),
        (
            &[("OPENAI_EAST_API_KEY", "sk-marker")],
            "[providers.\"openai-east\"]",
        ),
        (
            &[("OPENAI_US_EAST_1_API_KEY", "sk-marker")],
            "[providers.\"openai-us-east-1\"]",
        ),
        (
            &[
                ("OPENROUTER_API_KEY", "sk-marker"),
                ("OPENROUTER_SITE_URL", "https://me.test"),
            ],
            "# sent unless the client does: HTTP-Referer: https://me.test",
        ),
        (
            &[
                ("OPENROUTER_API_KEY", "sk-marker"),
                ("OPENROUTER_APP_NAME", "me"),
            ],
            "# sent unless the client does: X-OpenRouter-Title: me",
        ),
    ];
    for (variables, line) in rows {
        let mut setup = bare();
        for (name, value) in *variables {
            setup = setup.env(name, value);
        }
        assert_line(&checked(setup), line);
    }
}

#[test]
fn trusted_folders_are_shown() {
    let described = checked(bare().without("SSL_CERT_FILE").env("SSL_CERT_DIR", "."));
    assert!(described.contains("SSL_CERT_DIR"), "{described}");
}

#[test]
fn every_key_of_the_file_takes_effect() {
    let toml = r#"
        [server]
        listen = ["127.0.0.1:7", "[::1]:7"]
        base_path = "/gate"
        workers = 5
        driver = "io_uring"
        server_timing = true
        landlock = false
        dumpable = true
        cors_origins = ["https://app.test", "http://[::1]:3000"]
        tls = { cert = "cert.pem", key = "key.pem", client_ca = "ca.pem" }
        [auth]
        master_key = "gk-marker"
        keys_file = "keys.toml"
        [passthrough]
        enabled = false
        v1_alias = false
        providers = ["openai", "openrouter", "vllm"]
        [limits]
        body = "3K"
        [timeouts]
        request = "1h30m"
        response_header = 21
        connect = "22s"
        request_header = 23
        idle_client = "1m"
        body_idle = 25
        tunnel_idle = 26
        drain_delay = "250ms"
        drain = 28
        [metrics]
        enabled = true
        endpoint = "/m"
        listen = ["127.0.0.1:9", "unix:/run/m.sock"]
        [log]
        format = "text"
        level = "warn"
        access = false
        file = "access.log"
        [upstream]
        ca_file = "ca.pem"
        client_cert = "client.pem"
        client_key = "client.key"
        proxy = "http://me:proxy-marker@proxy.test:3128"
        [providers.openrouter]
        api_key_file = "secret.txt"
        site_url = "https://me.test"
        app_name = "me"
        [providers.here]
        type = "vllm"
        base_url = "http://gpu:8000"
        credential = "client"
        idle_upstream = "9s"
        proxy = "http://other.test"
        headers = { X-Team = "team-marker" }
        [providers.openai-near]
        base_url = "http+unix://%2Frun%2Fnear.sock/v1"
        api_key = "sk-marker"
    "#;
    let setup = bare().without("SSL_CERT_FILE").toml(toml);
    let setup = { setup }
        .file("client.pem", &pki().client.cert)
        .file("client.key", &pki().client.key);
    let secrets = ["gk-marker", "team-marker", "proxy-marker", "sk-marker"];
    let described = checked({ secrets.iter() }.fold(setup, |setup, secret| setup.secret(secret)));
    for line in [
        "# configuration file: sluicegate.toml",
        "listen = [\"127.0.0.1:7\", \"[::1]:7\"]",
        "base_path = \"/gate\"",
        "workers = 5",
        "driver = \"io_uring\"",
        "tls.cert = \"cert.pem\"",
        "tls.key = \"key.pem\"",
        "tls.client_ca = \"ca.pem\"",
        "[auth]",
        "master_key = \"[redacted]\"",
        "keys_file = \"keys.toml\"",
        "enabled = false",
        "v1_alias = false",
        "providers = [\"openai\", \"openrouter\", \"vllm\"]",
        "body = 3072",
        "request = 5400",
        "response_header = 21",
        "connect = 22",
        "request_header = 23",
        "idle_client = 60",
        "body_idle = 25",
        "tunnel_idle = 26",
        "drain_delay = \"250ms\"",
        "drain = 28",
        "enabled = true",
        "endpoint = \"/m\"",
        "format = \"text\"",
        "level = \"warn\"",
        "access = false",
        "file = \"access.log\"",
        "listen = [\"127.0.0.1:9\", \"unix:/run/m.sock\"]",
        "server_timing = true",
        "landlock = false",
        "dumpable = true",
        "cors_origins = [\"https://app.test\", \"http://[::1]:3000\"]",
        "ca_file = \"ca.pem\"",
        "api_key = \"[redacted]\"",
        "# sent unless the client does: HTTP-Referer: https://me.test",
        "# sent unless the client does: X-OpenRouter-Title: me",
        "[providers.\"here\"]",
        "base_url = \"http://gpu:8000\"",
        "credential = \"client\"",
        "idle_upstream = 9",
        "headers.\"X-Team\" = \"[redacted]\"",
        "client_cert = \"client.pem\"",
        "client_key = \"client.key\"",
        "proxy = \"http://[redacted]@proxy.test:3128\"",
        "proxy = \"http://other.test:80\"",
        "base_url = \"http+unix://%2Frun%2Fnear.sock/v1\"",
    ] {
        assert_line(&described, line);
    }
}

#[test]
fn an_open_gateway_says_so() {
    let gateway = Setup::new().without("GOMODEL_MASTER_KEY").start();
    gateway.wait_log(|line| line.contains("\"warn\"") && line.contains("no gateway key"));
    let gateway = Setup::new().start();
    assert!(!gateway.log().contains("no gateway key"), "{KEY} is set");
}

#[test]
fn check_prints_what_is_in_force_with_secrets_redacted() {
    let text = checked(
        Setup::new()
            .env("GOMODEL_MASTER_KEY", "gk-very-secret")
            .env("OPENAI_API_KEY", "sk-openai-secret")
            .env("HTTP_RESPONSE_HEADER_TIMEOUT", "33")
            .toml(
                "[timeouts]\nconnect = \"7s\"\n[providers.mine]\ntype = \"anthropic\"\n\
                   base_url = \"https://mine.test/v1\"\napi_key = \"sk-mine-secret\"\n\
                   headers = { \"X-Token\" = \"header-secret\" }\n",
            )
            .secret("sk-mine-secret")
            .secret("header-secret"),
    );
    for word in [
        "connect",
        "7",
        "33",
        "openai",
        "mine",
        "https://mine.test/v1",
        "https://api.openai.com/v1",
    ] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}
