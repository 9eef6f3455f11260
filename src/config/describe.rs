//! What `sluicegate check` prints: everything in force, as a configuration file would say it.

use std::fmt::{Display, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::config::ProviderKind;
use crate::config::rules::Rules;

use super::{Config, Credential, Driver, Landlock, LogFile, Provider, Proxy, Trust, tcp};

impl Config {
    /// Everything in force, secrets redacted.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut out = String::new();
        let file = self
            .file
            .as_ref()
            .map_or("none".into(), |file| file.display().to_string());
        let _ = writeln!(out, "# configuration file: {file}\n");
        self.describe_server(&mut out);
        self.describe_limits(&mut out);
        for provider in &self.providers {
            describe_provider(&mut out, provider, &self.trust);
        }
        out
    }

    fn describe_confinement(&self, out: &mut String) {
        let landlock = match self.server.landlock {
            Landlock::Auto => "\"auto\" # where the kernel has it",
            Landlock::On => "true",
            Landlock::Off => "false",
        };
        let dumpable = self.server.dumpable;
        let _ = writeln!(out, "landlock = {landlock}\ndumpable = {dumpable}");
    }

    fn describe_server(&self, out: &mut String) {
        let listen = list(&self.server.listen);
        let driver = match self.server.driver {
            Driver::Auto => "auto",
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        };
        let base_path = if self.server.base_path.is_empty() {
            "/"
        } else {
            &self.server.base_path
        };
        let _ = writeln!(
            out,
            "[server]\nlisten = {listen}\nbase_path = {base_path:?}"
        );
        let _ = match self.server.workers {
            Some(count) => writeln!(out, "workers = {count}"),
            None => writeln!(out, "workers = 0 # one per usable core"),
        };
        let spin = seconds(self.server.spin);
        let timing = self.server.server_timing;
        let origins = list(&self.server.cors_origins);
        let _ = writeln!(
            out,
            "driver = {driver:?}\nspin = {spin}\nserver_timing = {timing}\ncors_origins = {origins}"
        );
        self.describe_confinement(out);
        if let Some(tls) = &self.server.tls {
            let (cert, key) = (quoted_path(&tls.cert), quoted_path(&tls.key));
            let _ = writeln!(out, "tls.cert = {cert}\ntls.key = {key}");
            optional(
                out,
                "tls.client_ca",
                tls.client_ca.as_ref().map(quoted_path),
            );
        }
        self.describe_auth(out);
        let kinds: Vec<String> = self
            .passthrough
            .kinds
            .iter()
            .map(|kind| format!("{:?}", kind.as_str()))
            .collect();
        let _ = writeln!(
            out,
            "\n[passthrough]\nenabled = {}\nv1_alias = {}\nproviders = [{}]",
            self.passthrough.enabled,
            self.passthrough.v1_alias,
            kinds.join(", ")
        );
    }

    fn describe_auth(&self, out: &mut String) {
        let open = if self.auth.is_open() {
            " # none: this gateway is open"
        } else {
            ""
        };
        let _ = writeln!(out, "\n[auth]{open}");
        optional(
            out,
            "master_key",
            self.auth
                .master_key
                .as_ref()
                .map(|key| format!("\"{key}\"")),
        );
        optional(
            out,
            "keys_file",
            self.auth.keys_file.as_ref().map(quoted_path),
        );
        let _ = writeln!(out, "open = {}", self.auth.open);
        let delay = self.auth.wrong_key_delay;
        let delay = (!delay.is_zero()).then(|| seconds(delay));
        optional(out, "wrong_key_delay", delay);
    }

    fn describe_observation(&self, out: &mut String) {
        let (metrics, log) = (&self.metrics, &self.log);
        let _ = writeln!(
            out,
            "\n[metrics]\nenabled = {}\nendpoint = {}\nlisten = {}",
            metrics.enabled,
            quoted(&metrics.endpoint),
            list(&metrics.listen)
        );
        let file = match &log.file {
            LogFile::Stderr => quoted("stderr"),
            LogFile::Stdout => quoted("stdout"),
            LogFile::Path(path) => quoted_path(path),
        };
        let _ = writeln!(
            out,
            "\n[log]\nformat = {:?}\nlevel = \"{}\"\naccess = {}\nfile = {file}",
            log.format.as_str(),
            log.level,
            log.access
        );
    }

    fn describe_limits(&self, out: &mut String) {
        let _ = writeln!(out, "\n[limits]");
        optional(out, "body", self.limits.body);
        optional(out, "connections", self.limits.connections);
        optional(
            out,
            "connections_per_address",
            self.limits.connections_per_address,
        );
        optional(
            out,
            "handshakes_per_address",
            self.limits.handshakes_per_address,
        );
        optional(out, "in_flight", self.limits.in_flight);
        optional(
            out,
            "upstream_connections",
            self.limits.upstream_connections,
        );
        let t = &self.timeouts;
        let _ = writeln!(out, "\n[timeouts]");
        for (key, time) in [
            ("request", t.request.unwrap_or_default()),
            ("response_header", t.response_header),
            ("connect", t.connect),
            ("request_header", t.request_header),
            ("idle_client", t.idle_client),
            ("body_idle", t.body_idle),
            ("tunnel_idle", t.tunnel_idle),
            ("drain_delay", t.drain_delay),
            ("drain", t.drain),
        ] {
            let _ = writeln!(out, "{key} = {}", seconds(time));
        }
        self.describe_observation(out);
        tcp::describe(&self.tcp, out);
        let age = seconds(self.address_age);
        let _ = writeln!(out, "\n[upstream]\naddress_age = {age}");
        match &self.trust {
            Trust::System => {}
            Trust::File(file) => optional(out, "ca_file", Some(quoted_path(&file.path))),
            Trust::Environment(variables) => {
                let file = variables.file.as_ref().map(quoted_path);
                optional(out, "# trusted: SSL_CERT_FILE", file);
                for folder in &variables.folders {
                    let _ = writeln!(out, "# also trusted: SSL_CERT_DIR={}", quoted_path(folder));
                }
            }
        }
    }
}

fn list(items: &[impl Display]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

fn describe_provider(out: &mut String, provider: &Provider, usual: &Trust) {
    let (credential, key) = match &provider.credential {
        Credential::Bearer(key) => ("bearer", Some(key)),
        Credential::XApiKey(key) => ("x-api-key", Some(key)),
        Credential::None => ("none", None),
        Credential::Client => ("client", None),
    };
    let _ = writeln!(
        out,
        "\n[providers.{:?}]\ntype = {:?}\nbase_url = {}\ncredential = {credential:?}",
        provider.name,
        provider.kind.as_str(),
        quoted(&provider.base.to_string())
    );
    optional(out, "api_key", key.map(|key| format!("\"{key}\"")));
    let proxy = provider.proxy.as_ref().map(Proxy::to_string);
    optional(out, "proxy", proxy.as_deref().map(quoted));
    if let Some(identity) = &provider.identity {
        let (cert, key) = (quoted_path(&identity.cert), quoted_path(&identity.key));
        let _ = writeln!(out, "client_cert = {cert}\nclient_key = {key}");
    }
    if let Trust::File(file) = &provider.trust
        && provider.trust != *usual
    {
        optional(out, "ca_file", Some(quoted_path(&file.path)));
    }
    let idle = seconds(provider.idle_upstream);
    let _ = writeln!(out, "idle_upstream = {idle}\nwarm = {}", provider.warm);
    optional(out, "allow", provider.allow.as_ref());
    if provider.deny != Rules::default() || provider.kind == ProviderKind::Vllm {
        let _ = writeln!(out, "deny = {}", provider.deny);
    }
    for (name, value) in &provider.defaults {
        let _ = writeln!(out, "# sent unless the client does: {name}: {value}");
    }
    for (name, _) in &provider.headers {
        // A configured header may be a credential.
        let _ = writeln!(out, "headers.{name:?} = \"[redacted]\"");
    }
}

fn optional(out: &mut String, key: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        let _ = writeln!(out, "{key} = {value}");
    }
}

fn quoted_path(path: impl AsRef<Path>) -> String {
    quoted(&path.as_ref().to_string_lossy())
}

/// A basic string of TOML, which has other escapes than Rust.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn seconds(time: Duration) -> String {
    match (time.subsec_millis(), time.subsec_micros() % 1000) {
        (0, 0) => time.as_secs().to_string(),
        (_, 0) => format!("\"{}ms\"", time.as_millis()),
        _ => format!("\"{}us\"", time.as_micros()),
    }
}
