//! What GoModel's variables can do beside naming a value: references to files and variables, several keys, a header
//! that stays here, a proxy of one provider.

use std::fs;

use crate::support::proxy::Relay;
use crate::support::settings::{assert_line, assert_refused, bare, checked, credential};
use crate::support::{Rig, Setup, Upstream, get, request};

/// Names and values.
type Variables<'a> = &'a [(&'a str, &'a str)];

#[test]
fn references_to_files_and_variables_are_put_in() {
    let upstream = Upstream::listen();
    let setup = || Setup::new().secret("sk-in-file").secret("sk-in-variable");
    let place = setup()
        .file("key", "sk-in-file\n")
        .file("windows", "sk-in-file\r\n");
    let path = |name: &str| place.dir().join(name).display().to_string();
    let team = |value: &str| setup().env("TEAM", value);
    for (made, expected) in [
        (
            setup().env("OPENAI_API_KEY", &format!("${{file:{}}}", path("key"))),
            "sk-in-file",
        ),
        (
            setup().env("OPENAI_API_KEY", &format!("${{file:{}}}", path("windows"))),
            "sk-in-file",
        ),
        (
            team("sk-in-variable").env("OPENAI_API_KEY", "${env:TEAM}"),
            "sk-in-variable",
        ),
        (
            team("sk-in-variable").env("OPENAI_API_KEY", "x-${env:TEAM}-y"),
            "x-sk-in-variable-y",
        ),
        // What was put in is not looked at again.
        (
            team("${env:HOME}").env("OPENAI_API_KEY", "${env:TEAM}"),
            "${env:HOME}",
        ),
        (setup().env("OPENAI_API_KEY", "$${env:TEAM}"), "${env:TEAM}"),
        (
            setup().file(
                ".env",
                &format!("OPENAI_API_KEY=${{file:{}}}\n", path("key")),
            ),
            "sk-in-file",
        ),
        (
            setup().file(".env", "TEAM=sk-in-variable\nOPENAI_API_KEY=${env:TEAM}\n"),
            "sk-in-variable",
        ),
        (
            setup()
                .env("OPENAI_API_KEY_FILE", &format!("${{env:FOLDER}}/{}", "key"))
                .env("FOLDER", &path("")),
            "sk-in-file",
        ),
    ] {
        assert_eq!(credential(made, &upstream), format!("Bearer {expected}"));
    }
    let setup = bare()
        .env(
            "GOMODEL_MASTER_KEY",
            &format!("${{file:{}}}-and-so-on", path("key")),
        )
        .env("VLLM_BASE_URL", "http://${env:HOST_NAME}:1/v1")
        .env("HOST_NAME", "gpu.example");
    let described = checked(setup);
    assert_line(&described, "base_url = \"http://gpu.example:1/v1\"");
    assert_line(&described, "master_key = \"[redacted]\"");
}

#[test]
fn a_reference_that_leads_nowhere_stops_the_start() {
    let place = bare().file("empty", "\n").file("binary", "");
    fs::write(place.dir().join("binary"), b"\xff").unwrap();
    let path = |name: &str| place.dir().join(name).display().to_string();
    for (value, said) in [
        (
            "${file:/run/secrets/nowhere}".to_owned(),
            "${file:/run/secrets/nowhere}: No such file or directory",
        ),
        (format!("${{file:{}}}", path("empty")), "it is empty"),
        (
            format!("${{file:{}}}", path("binary")),
            "expected UTF-8 text",
        ),
        (
            "${file:key}".to_owned(),
            "expected the whole path of a file behind ${file:",
        ),
        (
            "${file:/}".to_owned(),
            "it is a folder; expected a regular file",
        ),
        (
            "${env:NOT_SET}".to_owned(),
            "expected the variable that it refers to to be set",
        ),
        (
            "${vault:kv/openai}".to_owned(),
            "expected ${file:/path} or ${env:NAME}",
        ),
    ] {
        for name in [
            "OPENAI_API_KEY",
            "GOMODEL_MASTER_KEY",
            "OPENAI_EAST_API_KEY_2",
            "VLLM_BASE_URL",
        ] {
            let setup = || bare().env_bytes(name, value.as_bytes());
            let named = format!("environment: {name}: ");
            assert_refused(setup, &[&named, said]);
        }
    }
    // What nobody asks for is not looked up.
    let setup = bare()
        .env("ENABLED_PASSTHROUGH_PROVIDERS", "openai")
        .env("COHERE_API_KEY", "${file:/run/secrets/nowhere}");
    checked(setup);
}

#[test]
fn a_reference_is_followed_again_at_a_reload() {
    let upstream = Upstream::listen();
    let setup = Setup::new()
        .file("key", "sk-before\n")
        .secret("sk-before")
        .secret("sk-after");
    let path = setup.dir().join("key");
    let gateway = setup
        .env("OPENAI_API_KEY", &format!("${{file:{}}}", path.display()))
        .env("OPENAI_BASE_URL", &upstream.url())
        .start();
    for key in ["sk-before", "sk-after"] {
        fs::write(&path, format!("{key}\n")).unwrap();
        gateway.reload();
        let mut client = gateway.connect();
        client.send(get("/p/openai/models"));
        let seen = upstream.accept().request();
        assert_eq!(seen.value("authorization"), Some(&*format!("Bearer {key}")));
    }
}

#[test]
fn braces_that_nothing_fills_are_warned_of() {
    for (value, is_doubtful) in [
        ("${OPENAI_KEY}", true),
        ("sk-${x:-y}", true),
        ("sk-$x", false),
        ("$${x}", false),
    ] {
        let finished = bare().env("OPENAI_API_KEY", value).arg("check").run();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let said = "environment: OPENAI_API_KEY: the ${…} in its value is taken as it is";
        assert_eq!(
            finished.stderr.contains(said),
            is_doubtful,
            "{value}: {finished:?}"
        );
    }
}

#[test]
fn what_a_reference_has_put_in_is_not_repeated() {
    for name in [
        "PORT",
        "LOG_LEVEL",
        "BASE_PATH",
        "HTTP_TIMEOUT",
        "USER_PATH_HEADER",
    ] {
        let setup = || {
            bare()
                .env("OTHER", "sk marker")
                .secret("sk marker")
                .env(name, "${env:OTHER}")
        };
        assert_refused(setup, &[name, "expected"]);
    }
}

#[test]
fn several_keys_are_used_in_the_order_of_their_numbers() {
    let one = ("OPENAI_API_KEY", "sk-one");
    let two = ("OPENAI_API_KEY_2", "sk-two");
    let ten = ("OPENAI_API_KEY_10", "sk-ten");
    let rows: &[(Variables<'_>, usize)] = &[
        (&[one, two, ten], 3),
        (&[one, ten], 2),
        (&[("OPENAI_API_KEY_1", "sk-one"), two], 2),
        // The same key twice is one.
        (&[one, ("OPENAI_API_KEY_2", "sk-one")], 1),
        (&[ten], 1),
    ];
    for (variables, count) in rows {
        let set = |setup: Setup, (name, value): &(&str, &str)| setup.env(name, value).secret(value);
        let shown = checked(variables.iter().fold(bare(), set));
        let keys = vec!["\"[redacted]\""; *count].join(", ");
        let line = match count {
            1 => format!("api_key = {keys}"),
            _ => format!("api_keys = [{keys}]"),
        };
        assert_line(&shown, &line);
    }
    let setup = bare()
        .env("OPENAI_EU_API_KEY", "sk-eu")
        .env("OPENAI_EU_API_KEY_2", "sk-eu-2")
        .secret("sk-eu-2")
        .env("OPENAI_REGION_2_API_KEY", "sk-region");
    let shown = checked(setup);
    for line in [
        "[providers.\"openai-eu\"]",
        "api_keys = [\"[redacted]\", \"[redacted]\"]",
        "[providers.\"openai-region-2\"]",
        "api_key = \"[redacted]\"",
    ] {
        assert_line(&shown, line);
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
fn the_header_of_user_paths_stays_here() {
    let lines = [
        "X-Team-Path: /a",
        "x-gomodel-user-path: /b",
        "x-team-path: /c",
        "X-Team-Paths: kept",
    ];
    let rig = Rig::with(|setup| setup.env("USER_PATH_HEADER", "x-TEAM-path"));
    for path in ["/p/anthropic/models", "/p/openai/models"] {
        let (_, _, seen) = rig.exchange(&request("GET", path, &lines, ""));
        let kept: Vec<&String> = { seen.head.lines.iter() }
            .filter(|line| line.contains("ath"))
            .collect();
        assert_eq!(kept, ["X-Team-Paths: kept"]);
    }
    for name in [
        "two words",
        "X-Päth",
        "X:",
        "Host",
        "Content-Length",
        "transfer-encoding",
        "Authorization",
        "x-api-key",
        "X-Request-ID",
    ] {
        let setup = || bare().env("USER_PATH_HEADER", name);
        assert_refused(
            setup,
            &["environment: USER_PATH_HEADER: expected the name of a header"],
        );
    }
    for name in ["X-GoModel-User-Path", "x-forwarded-user"] {
        checked(bare().env("USER_PATH_HEADER", name));
    }
}

#[test]
fn one_provider_may_have_a_proxy_of_its_own() {
    let upstream = Upstream::listen();
    let relay = Relay::to(&upstream);
    let setup = Setup::new()
        .env("OPENAI_PROXY_URL", &relay.url())
        // Asked for neither.
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("NO_PROXY", "*");
    assert_eq!(
        credential(setup.env("OPENAI_API_KEY", "sk-one"), &upstream),
        "Bearer sk-one"
    );
    assert!(relay.heads()[0].starts_with(&format!("CONNECT {} ", upstream.addr())));
    let east = bare()
        .env("OPENAI_EAST_API_KEY", "sk-east")
        .env(
            "OPENAI_EAST_PROXY_URL",
            "http://me:proxy-marker@proxy.example:3128",
        )
        .secret("proxy-marker");
    assert_line(
        &checked(east),
        "proxy = \"http://[redacted]@proxy.example:3128\"",
    );
    for (url, said) in [
        (
            "socks4://me:proxy-marker@10.0.0.1:1080",
            "expected socks5:// or socks5h://",
        ),
        (
            "https://me:proxy-marker/@10.0.0.1",
            "expected user and password percent-encoded",
        ),
        ("proxy-marker", "expected a proxy such as"),
    ] {
        let setup = || {
            bare()
                .env("OPENAI_API_KEY", "sk-one")
                .env("OPENAI_PROXY_URL", url)
                .secret("proxy-marker")
        };
        assert_refused(setup, &["environment: OPENAI_PROXY_URL: ", said]);
    }
}

#[test]
fn a_silent_stream_ends_as_gomodels_variable_says() {
    for (value, line) in [
        ("300", "body_idle = 300"),
        ("10m", "body_idle = 600"),
        ("0", "body_idle = 0"),
    ] {
        assert_line(
            &checked(bare().env("HTTP_STREAM_IDLE_TIMEOUT", value)),
            line,
        );
    }
    let begin = |idle: &str| {
        let rig = Rig::with(|setup| {
            setup
                .env("HTTP_STREAM_IDLE_TIMEOUT", idle)
                .toml("[timeouts]\nrequest = 3\n")
        });
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        client.head();
        client.expect_chunks("hello");
        let (_, after) = client.wait_for_close();
        after
    };
    // Where it is none, the ceiling of the whole exchange still holds.
    let (ended, at_ceiling) = (begin("500ms"), begin("0"));
    assert!(ended < at_ceiling, "{ended:?} {at_ceiling:?}");
    assert!(at_ceiling.as_secs() >= 2, "{at_ceiling:?}");
}
