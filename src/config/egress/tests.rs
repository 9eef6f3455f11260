//! Proxies out of files and environment, the list of hosts without one, certificates to show.

use super::super::property::{Env as Vars, MARKER, load_from};
use super::super::proxy::{ProxyKind, proxy};
use super::*;

#[test]
fn urls_of_proxies() {
    let rows = [
        ("http://proxy", Some(("proxy:80", None))),
        ("HTTP://Proxy:3128/", Some(("proxy:3128", None))),
        ("http://[::1]:9", Some(("[::1]:9", None))),
        (
            "http://u:p@10.0.0.1:3128",
            Some(("10.0.0.1:3128", Some("dTpw"))),
        ),
        ("http://u@p", Some(("p:80", Some("dTo=")))),
        (
            "http://u%40x:p%3A%2F%C3%A9@p:1",
            Some(("p:1", Some("dUB4OnA6L8Op"))),
        ),
        ("http://u:p:q@p", Some(("p:80", Some("dTpwOnE=")))),
        ("http://u:p@q@p", Some(("p:80", Some("dTpwQHE=")))),
        ("proxy:3128", None),
        ("https://proxy", Some(("https proxy:443", None))),
        (
            "HTTPS://u:p@proxy:8443/",
            Some(("https proxy:8443", Some("dTpw"))),
        ),
        ("socks5://proxy", Some(("socks5 proxy:1080", None))),
        ("socks5h://[::1]:9", Some(("socks5h [::1]:9", None))),
        (
            "socks5h://u%3Ax:p%40@proxy",
            Some(("socks5h proxy:1080", Some("\u{1}\u{3}u:x\u{2}p@"))),
        ),
        ("socks://proxy", None),
        ("socks4a://proxy", None),
        ("socks5://u@proxy", None),
        ("socks5://:p@proxy", None),
        ("socks5://u:%0a@proxy", None),
        ("ftp://proxy", None),
        ("http://", None),
        ("http://p:0", None),
        ("http://p:65536", None),
        ("http://p/path", None),
        ("http://p?q", None),
        ("http://u:a/b@p", None),
        ("http://u:%@p", None),
        ("http://u:%0a@p", None),
        ("http://u%3Ax:p@p", None),
        ("http://p q", None),
    ];
    for (url, expected) in rows {
        let found = proxy(url).ok();
        let basic = |found: &Proxy| {
            let basic = found.login.as_ref()?;
            Some(String::from_utf8(basic.expose().to_vec()).unwrap())
        };
        let shown = |found: &Proxy| match found.kind {
            ProxyKind::Http => format!("{}:{}", found.host, found.port),
            kind => format!("{} {}:{}", kind.scheme(), found.host, found.port),
        };
        let found = found.map(|found| (shown(&found), basic(&found)));
        let expected = expected.map(|(at, basic)| (at.to_owned(), basic.map(str::to_owned)));
        assert_eq!(found, expected, "{url}");
    }
}

#[test]
fn what_is_no_proxy_is_said_without_the_password() {
    for (url, said) in [
        ("socks4://u:Sk5Marker@p", "no other version of SOCKS"),
        ("socks5://:Sk5Marker@p", "1 to 255 bytes"),
        ("https://u:Sk5Marker/@p", "percent-encoded"),
        ("http://u:Sk5Marker/@p", "percent-encoded"),
        ("http://u:Sk5Marker", "port"),
        ("Sk5Marker", "such as http://"),
    ] {
        for toml in [
            format!("[upstream]\nproxy = '{url}'\n"),
            format!("[providers.openai]\napi_key = 'k'\nproxy = '{url}'\n"),
        ] {
            let error = load_from(&[], "", &toml).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                shown.contains(said) && shown.contains("proxy"),
                "{url}: {shown}"
            );
            assert!(!shown.contains(MARKER), "{shown}");
        }
    }
}

/// The proxy of the first provider, as `check` shows it.
fn through(env: Vars<'_>, toml: &str) -> Result<Option<String>, String> {
    let config = load_from(env, "", toml).map_err(|error| error.to_string())?;
    assert!(!config.describe().contains(MARKER) && !format!("{config:?}").contains(MARKER));
    let again = load_from(&[], "", &config.describe()).unwrap();
    let shown = |config: &super::super::Config| {
        let proxy = config
            .providers
            .first()
            .and_then(|provider| provider.first.proxy.clone());
        proxy.map(|proxy| proxy.to_string())
    };
    assert_eq!(shown(&again), shown(&config));
    Ok(shown(&config))
}

const HTTPS: &str = "[providers.openai]\napi_key = 'k'\nbase_url = 'https://api.test/v1'\n";
const HTTP: &str = "[providers.openai]\napi_key = 'k'\nbase_url = 'http://api.test/v1'\n";

#[test]
fn the_environment_decides_by_scheme() {
    let rows: &[(Vars<'_>, &str, Option<&str>)] = &[
        (&[], HTTPS, None),
        (&[("HTTPS_PROXY", "http://a")], HTTPS, Some("http://a:80")),
        (&[("https_proxy", "http://a")], HTTPS, Some("http://a:80")),
        (
            &[("HTTPS_PROXY", "a:1"), ("https_proxy", "b")],
            HTTPS,
            Some("http://a:1"),
        ),
        (
            &[("HTTPS_PROXY", ""), ("https_proxy", "b")],
            HTTPS,
            Some("http://b:80"),
        ),
        (&[("HTTP_PROXY", "a")], HTTPS, None),
        (&[("HTTPS_PROXY", "a")], HTTP, None),
        (&[("HTTP_PROXY", "a")], HTTP, Some("http://a:80")),
        (&[("http_proxy", "a")], HTTP, Some("http://a:80")),
        (
            &[("HTTPS_PROXY", "http://u:Sk5Marker@a")],
            HTTPS,
            Some("http://[redacted]@a:80"),
        ),
        (
            &[("HTTPS_PROXY", "a"), ("NO_PROXY", "api.test")],
            HTTPS,
            None,
        ),
        (
            &[("HTTPS_PROXY", "a"), ("no_proxy", "api.test")],
            HTTPS,
            None,
        ),
        (
            &[
                ("HTTPS_PROXY", "a"),
                ("NO_PROXY", "b"),
                ("no_proxy", "api.test"),
            ],
            HTTPS,
            Some("http://a:80"),
        ),
        // Meant for other programs, or for nobody.
        (
            &[("HTTP_PROXY", "socks4://a"), ("HTTPS_PROXY", "b")],
            HTTPS,
            Some("http://b:80"),
        ),
        (
            &[("HTTPS_PROXY", "socks4://a"), ("NO_PROXY", "*")],
            HTTPS,
            None,
        ),
    ];
    for (env, toml, expected) in rows {
        assert_eq!(
            through(env, toml).unwrap().as_deref(),
            *expected,
            "{env:?} {toml}"
        );
    }
    let error = through(&[("https_proxy", "socks4://u:Sk5Marker@a")], HTTPS).unwrap_err();
    assert!(
        error.starts_with("environment: https_proxy: expected socks5:// or socks5h://"),
        "{error}"
    );
    assert!(!error.contains(MARKER));
}

#[test]
fn one_variable_is_for_either_scheme() {
    let rows: &[(Vars<'_>, &str, Option<&str>)] = &[
        (
            &[("ALL_PROXY", "socks5h://u:Sk5Marker@a")],
            HTTPS,
            Some("socks5h://[redacted]:[redacted]@a:1080"),
        ),
        (&[("all_proxy", "a:1")], HTTP, Some("http://a:1")),
        (
            &[("ALL_PROXY", "a"), ("https_proxy", "https://b")],
            HTTPS,
            Some("https://b:443"),
        ),
        (&[("ALL_PROXY", "a"), ("NO_PROXY", "api.test")], HTTP, None),
    ];
    for (env, toml, expected) in rows {
        let found = through(env, toml).unwrap();
        assert_eq!(found.as_deref(), *expected, "{env:?} {toml}");
    }
}

#[test]
fn what_a_file_says_wins_over_the_environment() {
    let env = [
        ("HTTPS_PROXY", "env"),
        ("HTTP_PROXY", "env"),
        ("NO_PROXY", "*"),
    ];
    let all = |proxy: &str| format!("[upstream]\nproxy = '{proxy}'\n");
    let rows = [
        (
            format!("{}{HTTPS}", all("http://all")),
            Some("http://all:80"),
        ),
        (
            format!("{}{HTTP}", all("http://all")),
            Some("http://all:80"),
        ),
        (
            format!("{}{HTTPS}proxy = 'http://own'\n", all("http://all")),
            Some("http://own:80"),
        ),
        (
            format!("{}{HTTPS}proxy = 'none'\n", all("http://all")),
            None,
        ),
        (
            format!("{}{HTTPS}proxy = ''\n", all("http://all")),
            Some("http://all:80"),
        ),
        (
            format!("{}{HTTPS}proxy = 'http://own'\n", all("none")),
            Some("http://own:80"),
        ),
        (
            format!("{HTTPS}proxy = 'http://own'\n"),
            Some("http://own:80"),
        ),
    ];
    for (toml, expected) in rows {
        assert_eq!(through(&env, &toml).unwrap().as_deref(), expected, "{toml}");
    }
    for toml in [all("none") + HTTPS, format!("{HTTPS}proxy = 'none'\n")] {
        assert_eq!(through(&env[..2], &toml).unwrap(), None, "{toml}");
    }
    // Loopback is no exception either: the file says so.
    let local =
        "[providers.openai]\napi_key = 'k'\nbase_url = 'http://127.0.0.1'\nproxy = 'http://p'\n";
    assert_eq!(through(&[], local).unwrap().as_deref(), Some("http://p:80"));
}

#[test]
fn a_unix_socket_has_no_proxy() {
    let unix = "[providers.vllm]\nbase_url = 'http+unix://%2Frun%2Fv.sock/v1'\n";
    let env = [("HTTP_PROXY", "env"), ("HTTPS_PROXY", "env")];
    assert_eq!(through(&env, unix).unwrap(), None);
    let all = format!("[upstream]\nproxy = 'http://p'\n{unix}");
    assert_eq!(through(&env, &all).unwrap(), None);
    let error = through(&[], &format!("{unix}proxy = 'http://p'\n")).unwrap_err();
    assert!(
        error.contains("providers.vllm.proxy") && error.contains("Unix socket"),
        "{error}"
    );
}

/// The rows of Go's own test of `useProxy` among them.
#[test]
fn hosts_without_a_proxy() {
    let list = "foobar.com, .barbaz.net, *.wild.org, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2002:db8:a::45]:80, 2002:db8::/32, port.com:8080, \
                , :80, /, 300.1.1.1/8, 10.0.0.0/33, [::1, .";
    let rows = [
        ("http://localhost", true),
        ("http://127.0.0.1", true),
        ("http://127.0.0.2", true),
        ("http://[::1]", true),
        ("http://[::ffff:127.0.0.1]", true),
        ("http://[::2]", false),
        ("http://localhost.net", false),
        ("http://local.localhost", false),
        ("http://foobar.com", true),
        ("http://www.foobar.com", true),
        ("http://FooBar.com", true),
        ("http://foofoobar.com", false),
        ("http://barbaz.net", false),
        ("http://www.barbaz.net", true),
        ("http://wild.org", false),
        ("http://a.b.wild.org", true),
        ("http://baz.com", false),
        ("http://192.168.1.1", true),
        ("http://192.168.1.1:9", true),
        ("http://[::ffff:192.168.1.1]", true),
        ("http://192.168.1.2", false),
        ("http://192.168.1.2:81", true),
        ("http://192.168.1.3", true),
        ("http://192.168.1.3:81", false),
        ("http://192.168.1.4", false),
        ("http://10.0.0.2", true),
        ("http://10.0.0.4", false),
        ("http://[2001:db8::52:0:1]", true),
        ("http://[2001:db8::52:0:2]:443", true),
        ("http://[2001:db8::52:0:2]:80", false),
        ("http://[2002:db8:a::45]", true),
        ("http://[2002:db8:b::1]", true),
        ("http://[2003:db8::1]", false),
        ("http://port.com", false),
        ("http://port.com:8080", true),
        ("http://a.port.com:8080", true),
    ];
    for (url, expected) in rows {
        let base = super::super::url::base(url).unwrap();
        assert_eq!(
            NoProxy::parse(list).has(&base.host, base.port),
            expected,
            "{url}"
        );
        assert!(NoProxy::parse("a, *").has(&base.host, base.port), "{url}");
    }
    let mapped = NoProxy::parse("::ffff:10.0.0.0/104, 0.0.0.0/32");
    let ten = super::super::url::base("http://10.1.2.3").unwrap();
    assert!(mapped.has(&ten.host, 80));
    assert!(NoProxy::parse("0.0.0.0/0").has(&ten.host, 80));
    assert!(!NoProxy::parse("::/0").has(&ten.host, 80));
}

#[test]
fn certificates_to_show() {
    let own = "client_cert = 'secret'\nclient_key = 'secret'\n";
    let identities = |toml: &str| {
        let config = load_from(&[], "", toml).map_err(|error| error.to_string())?;
        assert!(!config.describe().contains(MARKER) && !format!("{config:?}").contains(MARKER));
        let known = |provider: &super::super::Provider| provider.first.identity.is_some();
        Ok::<_, String>(config.providers.iter().map(known).collect::<Vec<_>>())
    };
    assert_eq!(identities(&format!("{HTTPS}{own}")), Ok(vec![true]));
    assert_eq!(
        identities(&format!("[upstream]\n{own}{HTTPS}")),
        Ok(vec![true])
    );
    // Where nobody can ask for it, what is for all is for nobody.
    assert_eq!(
        identities(&format!("[upstream]\n{own}{HTTP}")),
        Ok(vec![false])
    );
    assert_eq!(
        identities(&format!("{HTTPS}client_cert = ''\n")),
        Ok(vec![false])
    );
    let refused = [
        (
            format!("{HTTP}{own}"),
            "providers.openai.client_cert: expected an https://",
        ),
        (
            format!("{HTTPS}client_cert = 'secret'\n"),
            "providers.openai.client_key: expected PEM files",
        ),
        (
            format!("{HTTPS}client_key = 'secret'\n"),
            "providers.openai.client_cert: expected PEM files",
        ),
        (
            "[upstream]\nclient_key = 'secret'\n".to_owned(),
            "upstream.client_cert: expected PEM files",
        ),
        (
            format!("{HTTPS}client_cert = 'secret'\nclient_key = 'gone'\n"),
            "openai.client_key: gone: ",
        ),
        (
            "[upstream]\nclient_cert = 'gone'\nclient_key = 'secret'\n".to_owned(),
            "upstream.client_cert: gone: ",
        ),
    ];
    for (toml, said) in refused {
        let error = identities(&toml).unwrap_err();
        assert!(error.contains(said), "{toml}: {error}");
    }
}

#[test]
fn whom_a_proxy_is_trusted_on_the_word_of() {
    let paths = |toml: &str| {
        let read = |path: &Path| match path.to_str() {
            Some("sluicegate.toml") => Ok(toml.as_bytes().to_vec()),
            Some("all" | "all-proxies" | "own" | "own-proxy") => Ok(b"pem".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let config = super::super::load(&super::super::Sources {
            env: [].into(),
            flags: [].into(),
            read: &read,
            read_pem: &read,
            file: None,
            terminal: false,
        });
        let config = config.map_err(|error| error.to_string())?;
        let proxy = config.providers[0].first.proxy.as_ref().unwrap();
        let trusted = match &proxy.trust {
            Trust::File(file) => file.path.display().to_string(),
            _ => String::new(),
        };
        Ok::<_, String>((trusted, config.describe()))
    };
    let own = "proxy = 'https://p'\nca_file = 'own'\n";
    let rows = [
        (format!("{HTTPS}{own}"), ""),
        (format!("[upstream]\nca_file = 'all'\n{HTTPS}{own}"), "all"),
        (
            format!("[upstream]\nca_file = 'all'\nproxy_ca_file = 'all-proxies'\n{HTTPS}{own}"),
            "all-proxies",
        ),
        (
            format!(
                "[upstream]\nproxy_ca_file = 'all-proxies'\n{HTTPS}{own}proxy_ca_file = 'own-proxy'\n"
            ),
            "own-proxy",
        ),
        // Who shows no certificate need not be trusted.
        (
            format!("[upstream]\nproxy_ca_file = 'all-proxies'\n{HTTPS}proxy = 'http://p'\n"),
            "",
        ),
    ];
    for (toml, expected) in rows {
        let (trusted, described) = paths(&toml).unwrap();
        assert_eq!(trusted, expected, "{toml}");
        // What is printed is the same configuration.
        assert_eq!(paths(&described).unwrap().0, expected, "{described}");
    }
    // Where there is no proxy though the environment names one, nobody has to be trusted.
    let env = [("HTTPS_PROXY", "https://p"), ("NO_PROXY", "api.test")];
    let toml = format!("{HTTPS}proxy_ca_file = 'secret'\n");
    assert_eq!(through(&env, &toml).unwrap(), None);
    assert_eq!(
        through(&env[..1], &toml).unwrap().as_deref(),
        Some("https://p:443")
    );
    assert!(through(&[], &toml).is_err());
    for proxy in ["http://p", "socks5://p", "none"] {
        let error = paths(&format!(
            "{HTTPS}proxy = '{proxy}'\nproxy_ca_file = 'own'\n"
        ));
        let error = error.unwrap_err();
        assert!(
            error.contains("openai.proxy_ca_file: expected an https:// proxy"),
            "{error}"
        );
    }
}
