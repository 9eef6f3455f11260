//! Where clients are listened for, who of them is let in, and to what.

use crate::config::kinds::{
    BASE_PATH, DRIVER, LANDLOCK, LISTEN, NETWORKS, ORIGINS, PATH, PRIVATE_HEADER, PROXY_PROTOCOL,
    SOCKET, SPIN, SWITCH, WORKERS, WRONG_KEY_DELAY, port,
};
use crate::config::model::Config;
use crate::config::setting::Setting;
use crate::config::shown::{list, quoted_path};
use crate::config::table::{
    KEYS_FILE, MASTER_KEYS, TLS_CERT, TLS_KEY, Table, USUAL, as_written, at, example, kept, line,
};
use crate::config::written::{Form, Written};

pub(super) const SERVER: Table = Table {
    name: "server",
    about: "",
    layout: USUAL,
    first: &[
        "listen",
        "base_path",
        "workers",
        "driver",
        "cors_origins",
        "server_timing",
        "spin",
    ],
    settings: &[
        Setting::new(
            "",
            "",
            &[],
            kept!(
                port,
                Form::Scalar,
                |written: &Written| port(written.text()).map(Some),
                |_: &Config| None
            ),
        )
        .variables(&["PORT"]),
        Setting::new(
            "listen",
            "",
            line!(
                "[\"0.0.0.0:8080\", \"[::]:8080\"]",
                "; also \"unix:/run/sluicegate/gate.sock\"\n\
                 (who may connect there is what the umask says); without any gateway key\n\
                 the default is loopback only"
            ),
            kept!(
                listen,
                Form::List,
                |written: &Written| match (LISTEN.read)(written)? {
                    none if none.is_empty() => Err("expected at least one address".to_owned()),
                    addresses => Ok(Some((addresses, written.clone()))),
                },
                |config: &Config| Some(list(&config.server.listen))
            ),
        )
        .variables(&["SLUICEGATE_LISTEN"]),
        Setting::new(
            "base_path",
            "\"/\"",
            line!("everything below this path"),
            at!(server.base_path, BASE_PATH),
        )
        .variables(&["BASE_PATH"]),
        Setting::new(
            "workers",
            "0",
            line!("threads; 0 is one per usable core"),
            at!(server.workers, WORKERS),
        )
        .variables(&["SLUICEGATE_WORKERS"]),
        Setting::new(
            "driver",
            "\"auto\"",
            line!("auto, io_uring or epoll"),
            at!(server.driver, DRIVER),
        )
        .words(|| vec!["auto", "io_uring", "epoll"])
        .variables(&["SLUICEGATE_DRIVER"]),
        Setting::new(
            "spin",
            "0",
            line!("\"50us\": poll this long after traffic before sleeping; costs CPU"),
            at!(server.spin, SPIN),
        ),
        Setting::new(
            "server_timing",
            "false",
            line!("responses say in Server-Timing what took how long"),
            at!(server.server_timing, SWITCH),
        ),
        Setting::new(
            "cors_origins",
            "[]",
            line!("pages that may use it, [\"https://app.example.com\"]"),
            at!(server.cors_origins, ORIGINS),
        )
        .variables(&["SLUICEGATE_CORS_ORIGINS"]),
        Setting::new(
            "proxy_protocol",
            "\"off\"",
            line!(
                "optional, required: balancers say whose connection\n\
                 they pass on"
            ),
            at!(server.proxy_protocol, PROXY_PROTOCOL),
        )
        .words(|| vec!["off", "optional", "required"])
        .variables(&["SLUICEGATE_PROXY_PROTOCOL"]),
        Setting::new(
            "trusted",
            "[]",
            line!("who is believed, [\"10.0.0.0/8\", \"::1\"]; Unix sockets are"),
            at!(server.trusted, NETWORKS),
        )
        .variables(&["SLUICEGATE_TRUSTED"]),
        Setting::new(
            "control",
            "",
            example!(
                "\"/run/sluicegate/control.sock\"",
                "a socket that\n\
                 `sluicegate providers` speaks to; for its own account and root only"
            ),
            at!(server.control, SOCKET),
        )
        .variables(&["SLUICEGATE_CONTROL"]),
        Setting::new(
            "landlock",
            "\"auto\"",
            line!(
                "threads reach the files that they need and no others,\n\
                 where the kernel can; true: or it does not start; false: not at all"
            ),
            at!(server.landlock, LANDLOCK),
        )
        .words(|| vec!["auto", "true", "false"])
        .variables(&["SLUICEGATE_LANDLOCK"]),
        Setting::new(
            "dumpable",
            "false",
            line!("core dumps, and debuggers of its own account"),
            at!(server.dumpable, SWITCH),
        )
        .variables(&["SLUICEGATE_DUMPABLE"]),
    ],
};

pub(super) const SERVER_TLS: Table = Table {
    name: "server.tls",
    about: "TLS 1.2 and 1.3 towards clients",
    layout: USUAL,
    first: &[],
    settings: &[
        Setting::new(
            "cert",
            "",
            example!("\"/etc/sluicegate/cert.pem\"", ""),
            kept!(tls_cert, PATH.form, PATH.read, |config: &Config| {
                config.server.tls.as_ref().map(|tls| quoted_path(&tls.cert))
            }),
        )
        .variables(&[TLS_CERT]),
        Setting::new(
            "key",
            "",
            example!("\"/etc/sluicegate/key.pem\"", ""),
            kept!(tls_key, PATH.form, PATH.read, |config: &Config| {
                config.server.tls.as_ref().map(|tls| quoted_path(&tls.key))
            }),
        )
        .variables(&[TLS_KEY]),
        Setting::new(
            "client_ca",
            "",
            example!(
                "\"/etc/sluicegate/ca.pem\"",
                "demands client certificates signed by these"
            ),
            kept!(client_ca, PATH.form, PATH.read, |config: &Config| {
                let tls = config.server.tls.as_ref()?;
                tls.client_ca.as_ref().map(quoted_path)
            }),
        ),
    ],
};

pub(super) const AUTH: Table = Table {
    name: "auth",
    about: "with neither of these the gateway is open to whoever reaches it",
    layout: USUAL,
    first: &[],
    settings: &[
        Setting::new(
            "master_key",
            "",
            &[],
            kept!(master_key, Form::Text, as_written, |config: &Config| {
                let key = config.auth.master_key.as_ref();
                key.map(|key| format!("\"{key}\""))
            }),
        )
        .variables(&MASTER_KEYS)
        .credential(),
        Setting::new(
            "master_key_file",
            "",
            example!(
                "\"/etc/sluicegate/key\"",
                "; or master_key = \"…\";\nat least 16 bytes, or it is warned of"
            ),
            kept!(master_key_file, Form::Text, as_written, |_: &Config| None),
        ),
        Setting::new(
            "master_key_disabled",
            "false",
            line!("true: nobody is let in with it, set or not"),
            at!(auth.master_key_disabled, SWITCH),
        )
        .variables(&["MASTER_KEY_DISABLED"]),
        Setting::new(
            "keys_file",
            "",
            example!("\"/etc/sluicegate/keys.toml\"", "managed keys"),
            at!(auth.keys_file, PATH),
        )
        .variables(&[KEYS_FILE]),
        Setting::new(
            "open",
            "false",
            line!(
                "true: that there is no key is meant so; it then listens on all addresses,\n\
                 and a reload may take the last key away"
            ),
            at!(auth.open, SWITCH),
        ),
        Setting::new(
            "wrong_key_delay",
            "0",
            line!("\"5s\": the eleventh wrong key of an address is answered later, up to this"),
            at!(auth.wrong_key_delay, WRONG_KEY_DELAY),
        ),
    ],
};

pub(super) const PASSTHROUGH: Table = Table {
    name: "passthrough",
    about: "",
    layout: USUAL,
    first: &[],
    settings: &[
        Setting::new(
            "enabled",
            "true",
            line!(""),
            at!(passthrough.enabled, SWITCH),
        )
        .variables(&["ENABLE_PASSTHROUGH_ROUTES"]),
        Setting::new(
            "v1_alias",
            "true",
            line!("/p/x/v1/… is /p/x/…"),
            at!(passthrough.v1_alias, SWITCH),
        )
        .variables(&["ALLOW_PASSTHROUGH_V1_ALIAS"]),
        Setting::new(
            "providers",
            "[\"openai\", \"anthropic\", \"openrouter\", \"zai\", \"vllm\", \"deepseek\"]",
            line!(
                ";\nalso known: kilo, sglang, llamacpp, llmd, edenai, jev, chutes, cohere, fireworks,\n\
                 meta, bailian, minimax, xiaomi, elevenlabs, kimicode, hetzner, audiocpp, azure"
            ),
            kept!(kinds, Form::List, as_written, |config: &Config| {
                Some(list(&config.passthrough.kinds))
            }),
        )
        .variables(&["ENABLED_PASSTHROUGH_PROVIDERS"]),
        Setting::new(
            "user_path_header",
            "\"X-GoModel-User-Path\"",
            line!("never passed on, nor is the default"),
            at!(passthrough.user_path_header, PRIVATE_HEADER),
        )
        .variables(&["USER_PATH_HEADER"]),
    ],
};
