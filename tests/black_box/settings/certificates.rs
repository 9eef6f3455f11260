//! Certificates, keys and roots in files: which of them count, what is trusted, what is said of those that cannot be
//! used or will soon be of no use.

use std::fs;

use crate::support::settings::{assert_refused, bare};
use crate::support::tls::{Identity, pki, server_config};
use crate::support::{Gateway, Scripted, Setup, Wire, get, request};

/// Status and text of the answer to a request to this provider.
fn asked(gateway: &Gateway, provider: &str) -> (u16, String) {
    let mut client = gateway.connect();
    client.send(request("POST", &format!("/p/{provider}/x"), &[], "content"));
    let got = client.response();
    (got.status(), got.text())
}

#[track_caller]
fn trusts(gateway: &Gateway, provider: &str) {
    assert_eq!(asked(gateway, provider), (200, "content".to_owned()));
}

#[track_caller]
fn distrusts(gateway: &Gateway, provider: &str, why: &str) {
    let (status, text) = asked(gateway, provider);
    assert!(status == 502 && text.contains(why), "{status} {text}");
}

fn showing(identity: &Identity) -> Scripted {
    Scripted::echo_as(Some(server_config(identity)))
}

#[test]
fn folders_of_roots_are_a_list_and_some_may_be_missing() {
    let upstream = showing(&pki().server);
    let setup = Setup::new()
        .base(&upstream.url())
        .without("SSL_CERT_FILE")
        .env("SSL_CERT_DIR", "missing:one:/also/missing::two");
    for (folder, ca) in [("one", &pki().stranger.cert), ("two", &pki().ca)] {
        fs::create_dir(setup.dir().join(folder)).unwrap();
        fs::write(setup.dir().join(folder).join("root.pem"), ca).unwrap();
    }
    trusts(&setup.start(), "anthropic");
}

#[test]
fn a_ca_file_of_ours_wins_over_the_environment() {
    let upstream = showing(&pki().server);
    for (environment, ours, trusted) in [
        (&pki().stranger.cert, &pki().ca, true),
        (&pki().ca, &pki().stranger.cert, false),
    ] {
        let gateway = Setup::new()
            .base(&upstream.url())
            .file("environment.pem", environment)
            .file("ours.pem", ours)
            .env("SSL_CERT_FILE", "environment.pem")
            .toml("[upstream]\nca_file = \"ours.pem\"\n")
            .start();
        match trusted {
            true => trusts(&gateway, "anthropic"),
            false => distrusts(&gateway, "anthropic", "UnknownIssuer"),
        }
    }
}

#[test]
fn each_provider_may_have_roots_of_its_own() {
    let (known, stranger) = (showing(&pki().server), showing(&pki().stranger));
    let table = |name: &str, upstream: &Scripted, lines: &str| {
        format!(
            "[providers.{name}]\ntype = \"openai\"\ncredential = \"none\"\nbase_url = \"{}\"\n{lines}\n",
            upstream.url()
        )
    };
    let own = "ca_file = \"stranger.pem\"\n";
    let toml = [
        table("a", &known, ""),
        table("b", &stranger, own),
        table("c", &known, own),
        table("d", &stranger, ""),
    ];
    let setup = Setup::new()
        .file("stranger.pem", &pki().stranger_ca)
        .toml(&toml.concat());
    let gateway = setup.start();
    // Twice, so that sessions are there to be resumed.
    for _ in 0..2 {
        trusts(&gateway, "a");
        trusts(&gateway, "b");
        distrusts(&gateway, "c", "UnknownIssuer");
        distrusts(&gateway, "d", "UnknownIssuer");
    }
}

#[test]
fn a_certificate_that_is_named_itself_is_trusted_for_its_name_and_time() {
    let signs = pki().pinned(&["localhost"], (2000, 3000));
    let other = pki().pinned(&["localhost"], (2000, 3000));
    for (shown, named, why) in [
        (&signs, &signs.cert, None),
        (&other, &signs.cert, Some("UnknownIssuer|CaUsedAsEndEntity")),
        // One that an authority signed may be named as well.
        (&pki().server, &pki().server.cert, None),
        (&pki().stranger, &pki().server.cert, Some("UnknownIssuer")),
    ] {
        let upstream = showing(shown);
        for variable in [true, false] {
            let setup = Setup::new().base(&upstream.url()).file("named.pem", named);
            let setup = match variable {
                true => setup.env("SSL_CERT_FILE", "named.pem"),
                false => setup.toml("[upstream]\nca_file = \"named.pem\"\n"),
            };
            let gateway = setup.start();
            match why {
                None => trusts(&gateway, "anthropic"),
                Some(why) => {
                    let (status, text) = asked(&gateway, "anthropic");
                    let said = why.split('|').any(|why| text.contains(why));
                    assert!(status == 502 && said, "{status} {text}");
                }
            }
        }
    }
}

#[test]
fn a_certificate_that_is_named_itself_has_to_fit_like_any_other() {
    for (names, years, why) in [
        (&["elsewhere.test"], (2000, 3000), "not valid for name"),
        (&["localhost"], (2000, 2001), "expired"),
        (&["localhost"], (2900, 3000), "not valid yet"),
    ] {
        let shown = pki().pinned(names, years);
        let upstream = showing(&shown);
        let gateway = Setup::new()
            .base(&upstream.url())
            .file("named.pem", &shown.cert)
            .env("SSL_CERT_FILE", "named.pem")
            .start();
        distrusts(&gateway, "anthropic", why);
    }
}

/// A date so many days from now.
fn in_days(days: i64) -> (i32, u8, u8) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap().as_secs()).unwrap();
    let then = u64::try_from(now + days * 86_400).unwrap();
    let text = sluicegate::door::date::rfc3339(then, 0).to_string();
    let mut parts = text[..10]
        .split('-')
        .map(|part| part.parse::<i32>().unwrap());
    let mut next = || parts.next().unwrap();
    let (year, month, day) = (next(), next(), next());
    (year, month.try_into().unwrap(), day.try_into().unwrap())
}

#[test]
fn certificates_that_end_soon_are_warned_of_and_measured() {
    let dated = |from, until| pki().dated(&["localhost"], in_days(from), in_days(until));
    let toml = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\nclient_ca = \"clients.pem\"\n\
                [upstream]\nca_file = \"roots.pem\"\nclient_cert = \"one.pem\"\nclient_key = \"one.key\"\n\
                [metrics]\nlisten = [\"127.0.0.1:0\"]\n";
    let (server, client) = (dated(-100, 10), dated(-100, -1));
    let with = |server: &Identity, client: &Identity, roots: &str| {
        let setup = Setup::new()
            .base("https://localhost:9")
            .without("SSL_CERT_FILE")
            .file("cert.pem", &server.cert)
            .file("key.pem", &server.key)
            .file("one.pem", &client.cert)
            .file("one.key", &client.key);
        let setup = setup
            .file("clients.pem", &pki().ca)
            .file("roots.pem", roots);
        setup.toml(toml)
    };
    // Of roots the last one counts: some that have ended are in every bundle.
    let ended = pki().pinned(&["old.test"], (1990, 2000));
    let both = format!("{}{}", ended.cert, pki().ca);
    let fresh = with(&pki().server, &pki().client, &both).arg("check").run();
    assert!(!fresh.stderr.contains(".pem"), "{fresh:?}");
    let checked = with(&server, &client, &ended.cert).arg("check").run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    for warning in [
        "warning: sluicegate.toml line 2: server.tls.cert: cert.pem: it expires in 9 days, on ",
        "warning: sluicegate.toml line 7: upstream.client_cert: one.pem: it expired on ",
        "warning: sluicegate.toml line 6: upstream.ca_file: roots.pem: it expired on Sat, 01 Jan 2000",
    ] {
        let times = checked.stderr.matches(warning).count();
        assert_eq!(times, 1, "{warning}: {}", checked.stderr);
    }
    let gateway = with(&server, &client, &both).start();
    gateway.wait_log(|line| line.contains("a certificate needs care") && line.contains("cert.pem"));
    let text = metrics(&gateway);
    let name = "sluicegate_certificate_expiry_seconds";
    for (labels, until) in [
        ("use=\"server\"", in_days(10)),
        ("use=\"client\",provider=\"anthropic\"", in_days(-1)),
        ("use=\"client\",provider=\"openai\"", in_days(-1)),
    ] {
        let date = format!("{:04}-{:02}-{:02}T00:00:00Z", until.0, until.1, until.2);
        let seconds = sluicegate::door::date::parse_rfc3339(&date).unwrap();
        let line = format!("{name}{{{labels}}} {seconds}");
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in {text}"
        );
    }
}

/// What operators see.
fn metrics(gateway: &Gateway) -> String {
    let line = gateway.wait_log(|line| line.contains("serving metrics"));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut operator = Wire::connect(line["addr"].as_str().unwrap().parse().unwrap());
    operator.send(get("/metrics"));
    operator.response().text()
}

#[test]
fn roots_that_are_not_there_are_named_where_a_provider_needs_them() {
    let https = "[providers.openai]\napi_key = \"gk-marker\"\n";
    for (name, value, said) in [
        (
            "SSL_CERT_FILE",
            "nowhere.pem",
            "environment: SSL_CERT_FILE: nowhere.pem: expected certificates",
        ),
        (
            "SSL_CERT_FILE",
            "empty.pem",
            "SSL_CERT_FILE: empty.pem: expected certificates",
        ),
        (
            "SSL_CERT_DIR",
            "/b:/a",
            "environment: SSL_CERT_DIR: /b:/a: expected certificates",
        ),
    ] {
        let named = || {
            let setup = bare().without("SSL_CERT_FILE").env(name, value);
            setup.file("empty.pem", "").secret("gk-marker")
        };
        assert_refused(|| named().toml(https), &[said]);
        // Without TLS nobody asks for them.
        let plain = "[providers.vllm]\nbase_url = \"http://127.0.0.1:9\"\n";
        let checked = named().toml(plain).arg("check").run();
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
    // A setting of our own has to be right in any case.
    for (toml, said) in [
        (
            "[upstream]\nca_file = \"gone.pem\"\n",
            "sluicegate.toml line 2: upstream.ca_file: gone.pem: cannot read it: No such file",
        ),
        (
            "[upstream]\nca_file = \"\"\n",
            "upstream.ca_file: expected the path of a file",
        ),
        (
            "[upstream]\nca_file = \"empty.pem\"\n",
            "empty.pem: expected a certificate chain in PEM: the file is empty",
        ),
        (
            "[providers.openai]\napi_key = \"gk-marker\"\nca_file = \"gone.pem\"\n",
            "sluicegate.toml line 3: providers.openai.ca_file: gone.pem: cannot read it: No such file",
        ),
        (
            "[providers.vllm]\nbase_url = \"http://127.0.0.1:9\"\nca_file = \"ca.pem\"\n",
            "providers.vllm.ca_file: expected an https:// base_url",
        ),
    ] {
        let setup = || bare().toml(toml).file("empty.pem", "").secret("gk-marker");
        assert_refused(setup, &[said]);
    }
}

/// Keys and certificates that openssl and others write, made for these tests alone.
fn corpus(name: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/keys");
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn what_is_wrong_with_a_certificate_or_a_key_is_said_of_the_right_file() {
    let server = &pki().server;
    let of_key = |what: &str| format!("environment: SLUICEGATE_TLS_KEY: key.pem: {what}");
    let of_cert = |what: &str| format!("environment: SLUICEGATE_TLS_CERT: cert.pem: {what}");
    for (cert, key, said) in [
        (
            &*server.cert,
            &*corpus("encrypted.key"),
            of_key("expected a private key in PEM: the key is encrypted; decrypt it with openssl"),
        ),
        (
            &server.cert,
            &corpus("encrypted_traditional.key"),
            of_key("expected a private key in PEM: the key is encrypted"),
        ),
        (
            &server.cert,
            &corpus("rsa_1024.key"),
            of_key("unsupported key type: RSA of 1024 bits; expected RSA of 2048"),
        ),
        (
            &server.cert,
            &corpus("rsa_1024_pkcs8.key"),
            of_key("unsupported key type: RSA of 1024 bits"),
        ),
        (
            &server.cert,
            &corpus("rsa_pss.key"),
            of_key("unsupported key type: RSA-PSS"),
        ),
        (
            &server.cert,
            &corpus("secp256k1.key"),
            of_key("unsupported key type: EC on secp256k1"),
        ),
        (
            &server.cert,
            &corpus("secp256k1_pkcs8.key"),
            of_key("unsupported key type: EC on secp256k1"),
        ),
        (
            &server.cert,
            &corpus("ed448.key"),
            of_key("unsupported key type: Ed448"),
        ),
        (
            &server.cert,
            &corpus("openssh.key"),
            of_key("expected a private key in PEM: the file holds a key in OpenSSH's"),
        ),
        (
            &server.cert,
            &corpus("public.key"),
            of_key("expected a private key in PEM: the file holds a public key"),
        ),
        (
            &server.cert,
            &server.cert,
            of_key("expected a private key in PEM: the file holds a certificate, not"),
        ),
        (
            &server.cert,
            "",
            of_key("expected a private key in PEM: the file is empty"),
        ),
        (
            &server.key,
            &server.key,
            of_cert("expected a certificate chain in PEM: the file holds a private key, not"),
        ),
        (
            &corpus("request.pem"),
            &server.key,
            of_cert("expected a certificate chain in PEM: the file holds a certificate request"),
        ),
        (
            &server.cert,
            &pki().stranger.key,
            of_cert("certificate and key do not fit"),
        ),
    ] {
        let setup = || {
            let setup = bare().file("cert.pem", cert).file("key.pem", key);
            let setup = setup.env("SLUICEGATE_TLS_CERT", "cert.pem");
            setup.env("SLUICEGATE_TLS_KEY", "key.pem")
        };
        assert_refused(setup, &[&said]);
    }
}
