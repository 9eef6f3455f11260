//! What is said of settings that are wrong: source, line, key, value, what was expected, and the word that was meant. A
//! row is one slip, as people make it, and all that its message has to hold.

use crate::support::Setup;
use crate::support::settings::{assert_refused, bare};

#[test]
fn a_slip_in_the_file_is_answered_with_all_there_is_to_know() {
    let rows: &[(&str, &str)] = &[
        (
            "[server]\nlistn = [\"127.0.0.1:1\"]\n",
            "sluicegate.toml line 2: server.listn: unknown field `listn`, expected one of `listen`, |; did you mean `listen`?",
        ),
        (
            "# c\n[sever]\nworkers = 1\n",
            "sluicegate.toml line 2: sever: unknown field `sever`, expected one of `server`, |; did you mean `server`?",
        ),
        (
            "[server]\nlevel = \"info\"\n",
            "sluicegate.toml line 2: server.level: unknown field `level`, expected one of |; it is a key of [log]",
        ),
        (
            "base_url = \"http://h\"\n",
            "sluicegate.toml line 1: base_url: unknown field `base_url`, expected one of |; it is a key of [providers.NAME]",
        ),
        (
            "[server]\nlisten = \"127.0.0.1:1\"\n",
            "sluicegate.toml line 2: server.listen: expected a list of strings in brackets|; found \"127.0.0.1:1\"",
        ),
        (
            "[server]\nlisten = [\":8080\"]\n",
            "sluicegate.toml line 2: server.listen: expected an address before the port|; found [\":8080\"]",
        ),
        (
            "[server]\nlisten = [\"localhost:8080\"]\n",
            "sluicegate.toml line 2: server.listen: expected an IP address and no name|; found [\"localhost:8080\"]",
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:99999\"]\n",
            "sluicegate.toml line 2: server.listen: expected a port from 0 to 65535|; found [\"127.0.0.1:99999\"]",
        ),
        (
            "[server]\nlisten = [8080]\n",
            "sluicegate.toml line 2: server.listen: expected a string in quotes|; found 8080",
        ),
        (
            "[server.listen]\naddress = \"127.0.0.1:1\"\n",
            "sluicegate.toml line 1: server.listen: expected a list of strings in brackets|; found a table",
        ),
        (
            "[server]\nlisten = []\n",
            "sluicegate.toml line 2: server.listen: expected at least one address|; found []",
        ),
        (
            "\n[server.tls]\ncert = \"gone.pem\"\nkey = \"key.pem\"\n",
            "sluicegate.toml line 3: server.tls.cert: gone.pem: cannot read it: No such file|; expected a certificate chain in PEM",
        ),
        (
            "[server.tls]\ncert = \"cert.pem\"\nkey = \"gone.pem\"\n",
            "sluicegate.toml line 3: server.tls.key: gone.pem: cannot read it: No such file|; expected a private key in PEM",
        ),
        (
            "[timeouts]\nconnect = \"10 minutes\"\n",
            "sluicegate.toml line 2: timeouts.connect: expected whole seconds or a duration such as|; found \"10 minutes\"",
        ),
        (
            "[timeouts]\nconnect = -5\n",
            "sluicegate.toml line 2: timeouts.connect: expected whole seconds or a duration such as|; found \"-5\"",
        ),
        (
            "[limits]\nbody = \"10X\"\n",
            "sluicegate.toml line 2: limits.body: expected a size such as \"500K\"|; found \"10X\"",
        ),
        (
            "[providers.here]\napi_key = \"sk-1\"\n",
            "sluicegate.toml line 1: providers.here.type: expected one of openai, |; there is no type here",
        ),
        (
            "[providers.here]\ntype = \"openia\"\napi_key = \"sk-1\"\n",
            "sluicegate.toml line 2: providers.here.type: expected one of openai, |; found \"openia\"; did you mean \"openai\"?",
        ),
        (
            "[providers.OpenAI]\napi_key = \"sk-1\"\n",
            "sluicegate.toml line 1: providers.OpenAI.type: expected one of openai, |; did you mean [providers.openai]? capital letters count",
        ),
        (
            "[providers.antropic-east]\napi_key = \"sk-1\"\n",
            "sluicegate.toml line 1: providers.antropic-east.type: |; did you mean [providers.anthropic-east]?",
        ),
        (
            "[providers.openai]\napi_key = \"\"\n",
            "sluicegate.toml line 2: providers.openai.api_key: it is empty; expected a key, or credential = \"none\"",
        ),
        (
            "[providers.openai]\napikey = \"sk-1\"\n",
            "sluicegate.toml line 2: providers.openai.apikey: unknown field `apikey`, expected one of |; did you mean `api_key`?",
        ),
        (
            "[providers.openai]\napi_key_file = \"gone.key\"\n",
            "sluicegate.toml line 2: providers.openai.api_key_file: gone.key: cannot read it: No such file|; expected a file with the key",
        ),
        (
            "[providers.openai]\napi_key = \"sk-1\"\nbase_url = \"api.openai.com/v1\"\n",
            "sluicegate.toml line 3: providers.openai.base_url: expected https:// or http:// at its beginning|; found \"api.openai.com/v1\"",
        ),
        (
            "[providers.openai]\napi_key = \"sk-1\"\nbase_url = \"ftp://api.openai.com\"\n",
            "sluicegate.toml line 3: providers.openai.base_url: expected a URL that begins with https://|; found \"ftp://api.openai.com\"",
        ),
        (
            "[providers.openai]\napi_key = \"sk-1\"\nbase_url = \"https://h/v1?key=sk-1\"\n",
            "sluicegate.toml line 3: providers.openai.base_url: expected a URL without a query|; found \"https://h/v1?…\"",
        ),
        (
            "[providers.openai]\napi_key = \"sk-1\"\nbase_url = \"https://me:sk-1@h/v1\"\n",
            "sluicegate.toml line 3: providers.openai.base_url: expected a URL without user and password|api_key",
        ),
        (
            "[providers.openai]\napi_key = \"sk-1\"\ncredential = \"barer\"\n",
            "sluicegate.toml line 3: providers.openai.credential: expected bearer, x-api-key, api-key, xi-api-key, none or client; found \"barer\"; did you mean \"bearer\"?",
        ),
        (
            "[server]\ndriver = \"iouring\"\n",
            "sluicegate.toml line 2: server.driver: expected auto, io_uring or epoll; found \"iouring\"; did you mean \"io_uring\"?",
        ),
        (
            "[log]\nformat = \"jsn\"\n",
            "sluicegate.toml line 2: log.format: expected text, json, logfmt or auto; found \"jsn\"; did you mean \"json\"?",
        ),
        (
            "[log]\nlevel = \"inof\"\n",
            "sluicegate.toml line 2: log.level: expected error, warn, info or debug; found \"inof\"; did you mean \"info\"?",
        ),
        (
            "[server]\nworkers = 100000\n",
            "sluicegate.toml line 2: server.workers: expected a number of threads, at most 1024|; found \"100000\"",
        ),
        (
            "[server]\nworkers = 1\n[auth]\n[server]\ndriver = \"epoll\"\n",
            "sluicegate.toml line 4: server: expected the table [server] only once",
        ),
        (
            "server:\n  listen: [1]\n",
            "sluicegate.toml line 1: expected TOML, and this looks like YAML|sluicegate check --reference",
        ),
        (
            "[auth]\nkeys_file = \"gone.toml\"\n",
            "sluicegate.toml line 2: auth.keys_file: gone.toml: cannot read it: No such file|; sluicegate key new NAME makes it",
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:1\"]\n[metrics]\nlisten = [\"127.0.0.1:1\"]\n",
            "sluicegate.toml line 4: metrics.listen: 127.0.0.1:1 is taken by 127.0.0.1:1 of server.listen; expected another",
        ),
        // These were good before.
        (
            "[server.tls]\ncert = \"cert.pem\"\n",
            "sluicegate.toml line 2: SLUICEGATE_TLS_KEY (server.tls.key): expected a PEM file, since a certificate is set",
        ),
        (
            "[auth]\nmaster_key = \"${NOPE}\"\n",
            "sluicegate.toml line 2: auth.master_key: expected the variable NOPE to be set, or a default: ${NOPE:-…}",
        ),
        (
            "[providers.openai]\napi_key = \"sk-1\"\napi_key_file = \"b\"\n",
            "sluicegate.toml line 2: providers.openai.api_key: expected only one of api_key and api_key_file",
        ),
        (
            "[providers.openai]\napi_key = \"sk-1\"\nallow = [\"/chat/*\"]\n",
            "sluicegate.toml line 3: providers.openai.allow: rule 1: expected a method or * and a path|; found [\"/chat/*\"]",
        ),
        (
            "[server]\ncors_origins = [\"*\"]\n",
            "sluicegate.toml line 2: server.cors_origins: entry 1: expected the origins one by one|; found [\"*\"]",
        ),
        (
            "[providers.openai]\napi_key = \"sk-1\"\nheaders = { Authorization = \"x\" }\n",
            "sluicegate.toml line 3: providers.openai.headers.Authorization: expected another header",
        ),
        (
            "[providers.openai]\n",
            "sluicegate.toml line 1: providers.openai.api_key: expected api_key, api_key_file or credential = \"none\"",
        ),
    ];
    for (toml, parts) in rows {
        let parts: Vec<&str> = parts.split('|').collect();
        assert_refused(|| bare().toml(toml).secret("sk-1"), &parts);
    }
}

#[test]
fn a_slip_in_a_variable_is_answered_likewise() {
    let rows: &[(&str, &str, &str)] = &[
        (
            "PORT",
            "abc",
            "PORT: expected a port from 0 to 65535; found \"abc\"",
        ),
        (
            "SLUICEGATE_LISTEN",
            ":8080",
            "SLUICEGATE_LISTEN: expected an address before the port|; found [\":8080\"]",
        ),
        (
            "SLUICEGATE_DRIVER",
            "iouring",
            "SLUICEGATE_DRIVER: expected auto, io_uring or epoll; found \"iouring\"; did you mean \"io_uring\"?",
        ),
        (
            "LOG_FORMAT",
            "jsn",
            "LOG_FORMAT: expected text, json, logfmt or auto; found \"jsn\"; did you mean \"json\"?",
        ),
        (
            "HTTP_TIMEOUT",
            "10 minutes",
            "HTTP_TIMEOUT: expected whole seconds or a duration such as|; found \"10 minutes\"",
        ),
        (
            "VLLM_BASE_URL",
            "gpu:8000",
            "VLLM_BASE_URL: expected https:// or http:// at its beginning|; found \"gpu:8000\"",
        ),
        (
            "OPENAI_API_KEY_FILE",
            "gone.key",
            "OPENAI_API_KEY_FILE: gone.key: cannot read it: No such file|; expected a file with the key",
        ),
        (
            "SLUICEGATE_KEYS_FILE",
            "gone.toml",
            "SLUICEGATE_KEYS_FILE: gone.toml: cannot read it: No such file|; sluicegate key new NAME makes it",
        ),
    ];
    for (name, value, parts) in rows {
        let parts: Vec<&str> = parts.split('|').collect();
        let dotenv = format!("# c\n{name}=\"{value}\"\n");
        let by_environment = || bare().env(name, value);
        let by_dotenv = || bare().file(".env", &dotenv);
        for (setup, place) in [
            (&by_environment as &dyn Fn() -> Setup, "environment: "),
            (&by_dotenv, ".env line 2: "),
        ] {
            let begins = format!("{place}{}", parts[0]);
            assert_refused(setup, &[&[&*begins], &parts[1..]].concat());
        }
    }
    let tls = || {
        let setup = bare().env("SLUICEGATE_TLS_CERT", "gone.pem");
        setup.env("SLUICEGATE_TLS_KEY", "gone.key")
    };
    let said = "environment: SLUICEGATE_TLS_CERT: gone.pem: cannot read it: No such file";
    assert_refused(tls, &[said, "; expected a certificate chain in PEM"]);
}

#[test]
fn what_a_start_could_not_open_is_refused_by_check_with_its_place() {
    let log = bare().toml("[log]\nfile = \"gone/access.log\"\n");
    let setup = bare().file("file.txt", "");
    let path = format!("unix:{}/file.txt", setup.dir().display());
    let socket = setup.toml(&format!("[server]\nlisten = [\"{path}\"]\n"));
    let no_socket = format!(
        "server.listen: {path}: there is a file that is no socket; expected a socket, or nothing there"
    );
    for (setup, said) in [
        (
            log,
            "log.file: gone/access.log: cannot open it: No such file or directory (os error 2); \
             expected a folder that is there",
        ),
        (socket, &no_socket),
    ] {
        let finished = setup.arg("check").run();
        assert_eq!(finished.code, Some(2), "{finished:?}");
        let line = format!("sluicegate: sluicegate.toml line 2: {said}\n");
        assert_eq!(finished.stderr.lines().last(), Some(line.trim_end()));
    }
}

/// A setup that nothing is warned of.
fn quiet() -> Setup {
    Setup::new().env("GOMODEL_MASTER_KEY", "gk-of-sixteen-letters")
}

#[test]
fn what_has_no_effect_or_cannot_be_meant_so_is_warned_of() {
    let rows: &[(&str, &str, &str)] = &[
        (
            "OPENAI_API_KEY",
            "\"sk-1\"",
            "the quotes around its value are taken as a part of it",
        ),
        (
            "OPENAI_APIKEY",
            "sk-1",
            "it has no effect; did you mean OPENAI_API_KEY?",
        ),
        (
            "OPNAI_API_KEY",
            "sk-1",
            "it has no effect; did you mean OPENAI_API_KEY?",
        ),
        (
            "SLUICEGATE_WORKRES",
            "3",
            "there is no such variable; it has no effect; did you mean SLUICEGATE_WORKERS?",
        ),
        (
            "SLUICEGATE_SPEED",
            "3",
            "there is no such variable; it has no effect",
        ),
        (
            "GROQ_API_KEY",
            "sk-1",
            "there is no provider type groq, so it has no effect; expected a table [providers.groq]",
        ),
        (
            "OPENAI_BASE_URL",
            "http://h",
            "it has no effect without OPENAI_API_KEY",
        ),
        (
            "OPENAI_API_KEY",
            "null",
            "its value is the word null; expected none, or a value",
        ),
        (
            "OPENROUTER_EAST_API_KEY",
            "unset",
            "its value is the word unset; expected none, or a value",
        ),
    ];
    let checked = quiet().arg("check").arg("--strict").run();
    assert_eq!((checked.code, &*checked.stderr), (Some(0), ""));
    for (name, value, said) in rows {
        let by_environment = || quiet().env_bytes(name, value.as_bytes()).secret("sk-1");
        let by_dotenv = || {
            quiet()
                .file(".env", &format!("{name}='{value}'\n"))
                .secret("sk-1")
        };
        for (setup, place) in [
            (&by_environment as &dyn Fn() -> Setup, "environment"),
            (&by_dotenv, ".env line 1"),
        ] {
            let warning = format!("{place}: {name}: {said}");
            let checked = setup().arg("check").run();
            assert_eq!(checked.code, Some(0), "{checked:?}");
            let line = format!("sluicegate: warning: {warning}");
            assert!(checked.stderr.contains(&line), "no {line} in {checked:?}");
            assert_eq!(checked.stderr.lines().count(), 1, "{checked:?}");
            let strict = setup().arg("check").arg("--strict").run();
            assert_eq!(strict.code, Some(2), "{strict:?}");
            assert_eq!(
                (strict.stdout, strict.stderr),
                (checked.stdout, checked.stderr)
            );
            let gateway = setup().start();
            let warning = serde_json::to_string(&warning).unwrap();
            let warning = warning.trim_matches('"');
            gateway.wait_log(|line| line.contains("\"warn\"") && line.contains(warning));
        }
    }
    // Put in by the file, it has an effect.
    let toml = "[providers.groq]\ntype = \"openai\"\nbase_url = \"http://h\"\napi_key = \"${GROQ_API_KEY}\"\n";
    let setup = quiet().toml(toml).env("GROQ_API_KEY", "sk-1");
    let finished = setup
        .arg("check")
        .arg("--config")
        .arg("sluicegate.toml")
        .run();
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
}

#[test]
fn a_table_of_a_provider_that_is_not_exposed_is_warned_of() {
    let toml = "[passthrough]\nproviders = [\"openai\", \"antropic\"]\n[providers.zai]\napi_key = \"sk-1\"\n";
    let setup = quiet()
        .toml(toml)
        .secret("sk-1")
        .env("ZAI_EAST_API_KEY", "sk-2");
    let finished = setup.arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let said: Vec<&str> = finished.stderr.lines().collect();
    let listed = "sluicegate: warning: sluicegate.toml line 2: passthrough.providers: antropic: unknown provider type";
    let table = "sluicegate: warning: sluicegate.toml line 3: providers.zai: it has no effect, since its type is not \
                 exposed; expected zai in passthrough.providers (ENABLED_PASSTHROUGH_PROVIDERS)";
    assert_eq!(said.len(), 3, "{said:?}");
    // Variables may be another program's.
    assert!(
        said[0].contains("without effect here: ZAI_EAST_API_KEY;"),
        "{said:?}"
    );
    assert!(said[1].starts_with(listed), "{said:?}");
    assert!(said[1].ends_with("; did you mean anthropic?"), "{said:?}");
    assert_eq!(said[2], table);
}

#[test]
fn check_says_where_every_value_was_written() {
    let toml = "[server]\nworkers = 3\n\n[timeouts]\nconnect = \"7s\"\nrequest = 9\n\n[upstream]\n\
                proxy = \"http://proxy.test:3128\"\nca_file = \"ca.pem\"\n\n[providers.here]\ntype = \"openai\"\n\
                base_url = \"https://${NAME}.test\"\napi_key_file = \"secret.txt\"\nheaders = { X-Team = \"a\" }\n";
    let setup = bare().toml(toml).without("SSL_CERT_FILE");
    let dotenv = "\nPORT=81\nHTTP_TIMEOUT=5\nOPENROUTER_SITE_URL=http://me.test\n";
    let setup = { setup.file(".env", dotenv) }
        .env("NAME", "far")
        .env("SLUICEGATE_WORKERS", "4")
        .env("SLUICEGATE_WARM", "2")
        .env("GOMODEL_MASTER_KEY_FILE", "secret.txt")
        .env("OPENROUTER_API_KEY", "sk-1")
        .env("SLUICEGATE_CONFIG", "sluicegate.toml");
    let finished = setup.arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let lines: Vec<&str> = finished.stdout.lines().collect();
    for (value, place) in [
        (
            "listen = [\"0.0.0.0:81\", \"[::]:81\"]",
            ".env line 2: PORT",
        ),
        ("workers = 4", "environment: SLUICEGATE_WORKERS"),
        ("connect = 7", "sluicegate.toml line 5"),
        ("request = 5", ".env line 3: HTTP_TIMEOUT"),
        (
            "master_key = \"[redacted]\"",
            "environment: GOMODEL_MASTER_KEY_FILE",
        ),
        ("ca_file = \"ca.pem\"", "sluicegate.toml line 10"),
        ("base_url = \"https://far.test\"", "sluicegate.toml line 14"),
        (
            "api_key = \"[redacted]\"",
            "sluicegate.toml line 15: providers.here.api_key_file",
        ),
        (
            "api_key = \"[redacted]\"",
            "environment: OPENROUTER_API_KEY",
        ),
        (
            "proxy = \"http://proxy.test:3128\"",
            "sluicegate.toml line 9: upstream.proxy",
        ),
        ("warm = 2", "environment: SLUICEGATE_WARM"),
        (
            "headers.\"X-Team\" = \"[redacted]\"",
            "sluicegate.toml line 16",
        ),
        (
            "# sent unless the client does: HTTP-Referer: http://me.test",
            ".env line 4: OPENROUTER_SITE_URL",
        ),
    ] {
        let line = format!("{value:<37}   # {place}");
        assert!(lines.contains(&&*line), "no {line} in {lines:#?}");
    }
    // Defaults are written nowhere.
    for value in [
        "body_idle = 600",
        "driver = \"auto\"",
        "credential = \"bearer\"",
    ] {
        assert!(lines.contains(&value), "no {value} in {lines:#?}");
    }
}

#[test]
fn strict_takes_the_open_gateway_for_a_fault() {
    for (strict, code) in [(false, 0), (true, 2)] {
        let setup = bare().arg("check");
        let finished = if strict { setup.arg("--strict") } else { setup }.run();
        assert_eq!(finished.code, Some(code), "{finished:?}");
        assert!(finished.stderr.contains("no gateway key"), "{finished:?}");
        assert!(finished.stdout.contains("[server]"), "{finished:?}");
    }
}

#[test]
fn a_slip_on_the_command_line_is_answered_with_the_word_that_was_meant() {
    for (words, meant) in [
        ("--conifg x", "'--config'"),
        ("chek", "'check'"),
        ("check --refrence", "'--reference'"),
        ("check --stric", "'--strict'"),
        ("key lst", "'list'"),
        ("key revok a", "'revoke'"),
        ("key new a --expire 3d", "'--expires'"),
        ("demo --onse", "'--once'"),
        ("top --jsn", "'--json'"),
    ] {
        let setup = words
            .split(' ')
            .fold(Setup::bare(), |setup, word| setup.arg(word));
        let finished = setup.run();
        assert_eq!(finished.code, Some(2), "{words}: {finished:?}");
        let said = { finished.stderr.lines() }
            .any(|line| line.contains("similar") && line.ends_with(meant));
        assert!(said, "{words}: {finished:?}");
    }
    let plain = |words: &[&str]| {
        let finished = words
            .iter()
            .fold(Setup::bare(), |setup, word| setup.arg(word))
            .run();
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
        finished.stdout
    };
    assert_eq!(plain(&["help"]), plain(&["--help"]));
    assert_eq!(
        plain(&["help", "key", "new"]),
        plain(&["key", "new", "--help"])
    );
    assert_eq!(
        plain(&["key", "help", "new"]),
        plain(&["key", "new", "--help"])
    );
}
