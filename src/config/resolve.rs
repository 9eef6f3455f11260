//! From sources to a [`Config`]: defaults first, then file, then environment, setting by setting; then what only
//! several of them together say.

use std::io;
use std::path::PathBuf;

use super::access;
use super::egress::{self, Egress, ProxyChoice};
use super::error::ConfigError;
use super::file::{self, File};
use super::gomodel;
use super::kind::{self, ProviderKind, UnknownKind};
use super::listeners::{self, Listen};
use super::model::{Config, LogFormat, ServerTls};
use super::near::near;
use super::operators;
use super::provider::{self, Tables};
use super::setting::Setting;
use super::source::{self, Env, Sources};
use super::strays;
use super::table::{Draft, LISTEN, TLS_CERT, TLS_KEY};
use super::tables::TABLES;
use super::trust::Trust;
use super::written::{Section, Written};

/// Reads and resolves a configuration.
///
/// # Errors
/// The first value that cannot be used.
pub fn load(sources: &Sources<'_>) -> Result<Config, ConfigError> {
    let env = Env::new(sources)?;
    let names = strays::Names::new();
    let config = resolve(sources, &env, &names);
    strays::warn(&env, &names);
    // First: whatever else is wrong may only follow from it.
    env.was_readable()?;
    Ok(Config {
        warnings: env.warnings(),
        ..config?
    })
}

fn resolve(
    sources: &Sources<'_>,
    env: &Env<'_>,
    names: &strays::Names,
) -> Result<Config, ConfigError> {
    let (path, mut file) = read_file(sources, env)?;
    let mut draft = Draft::default();
    read_settings(&file, env, &mut draft)?;
    draft.config.passthrough.kinds = kinds(env, draft.kinds.as_ref());
    let egress = egress(sources, env, &draft)?;
    draft.config.trust = egress.trust.clone();
    draft.config.proxy_trust = egress.proxy_trust.clone();
    draft.config.otlp.trust = match &draft.otlp_ca_file {
        Some(written) => Trust::from_file(sources.read_pem, written)?,
        None => egress.trust.clone(),
    };
    let named = sources.file.is_some() || env.is_of_environment("SLUICEGATE_CONFIG");
    let is_found = |path: &PathBuf| !named && path.as_os_str() != SYSTEM_FILE;
    let tables = Tables {
        from: &file.from,
        is_stray: path.as_ref().is_some_and(is_found),
        providers: std::mem::take(&mut file.providers),
        egress,
        shared: &draft.config.places,
    };
    let enabled = &draft.config.passthrough.kinds;
    let is_chosen = draft.config.places.get("passthrough.providers").is_some();
    gomodel::warn(env, names, is_chosen.then_some(enabled));
    draft.config.providers = provider::resolve(sources, env, tables, enabled)?;
    access::auth(env, &file, &mut draft)?;
    operators::metrics_key(env, &file, &mut draft)?;
    draft.config.server.tls = tls(env, &file, &mut draft)?;
    access::listen(env, &file, &mut draft);
    access::announced(env, &draft.config)?;
    draft.config.listen_conflict = listen_conflict(&file, &draft.config);
    draft.config.tcp.keepalive = Some(draft.keepalive).filter(|asked| !asked.idle.is_zero());
    draft.config.log.format = draft.log_format.unwrap_or(match sources.terminal {
        true => LogFormat::Text,
        false => LogFormat::Json,
    });
    draft.config.file = path;
    Ok(draft.config)
}

/// Every setting of the gateway itself. A bad value in the file is an error also where the environment has another.
fn read_settings(file: &File, env: &Env<'_>, draft: &mut Draft) -> Result<(), ConfigError> {
    let nothing = Section::default();
    for table in &TABLES {
        let section = file.tables.get(table.name).unwrap_or(&nothing);
        for setting in table.settings {
            if let Some(default) = default(table.name, setting)? {
                setting.set(draft, &default)?;
            }
            let in_file = setting.set_from_file(draft, section)?;
            let over_it = setting.set_from_env(draft, env, None)?;
            let key = format!("{}.{}", table.name, setting.key);
            draft.config.places.note(&key, over_it.or(in_file));
        }
    }
    Ok(())
}

/// A default, read as if a file said it.
fn default<D, C>(table: &str, setting: &Setting<D, C>) -> Result<Option<Written>, ConfigError> {
    if setting.default.is_empty() {
        return Ok(None);
    }
    let (from, key) = ("default".to_owned(), format!("{table}.{}", setting.key));
    let value = file::value(setting.default, setting.slot.form);
    let value = value.map_err(|error| ConfigError::new(&from, &key, error.message()))?;
    Ok(Some(Written {
        value,
        from,
        key,
        is_expanded: false,
    }))
}

/// Where a file is looked for last.
const SYSTEM_FILE: &str = "/etc/sluicegate/sluicegate.toml";

/// The first file of the search order; one that is named has to be there.
fn read_file(sources: &Sources<'_>, env: &Env<'_>) -> Result<(Option<PathBuf>, File), ConfigError> {
    let named = sources
        .file
        .clone()
        .or_else(|| env.get("SLUICEGATE_CONFIG").map(PathBuf::from));
    let candidates = match &named {
        Some(path) => vec![path.clone()],
        None => vec!["sluicegate.toml".into(), SYSTEM_FILE.into()],
    };
    for path in candidates {
        let from = path.display().to_string();
        match (sources.read)(&path) {
            Ok(bytes) => {
                let content = source::text(bytes, &from)?;
                let file = file::parse(&content, &from, |key, name| env.expand(key, name))?;
                return Ok((Some(path), file));
            }
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ConfigError::new(
                    &from,
                    "",
                    format!("cannot read it: {error}"),
                ));
            }
        }
    }
    let from = "configuration".to_owned();
    let file = File {
        from,
        ..File::default()
    };
    Ok((None, file))
}

/// Which addresses stand in each other's way, and who says so.
fn listen_conflict(file: &File, config: &Config) -> Option<ConfigError> {
    let control = config.server.control.as_ref();
    let mut all = config.server.listen.iter().chain(&config.metrics.listen);
    let is_control = |at: &Listen| matches!(at, Listen::Unix(path) if Some(path) == control);
    if let Some(address) = all.find(|at| is_control(at)) {
        let message = format!("{address} is listened on for others; expected another path");
        return Some(config.places.refused("server.control", &file.from, message));
    }
    let (for_metrics, message) =
        listeners::conflict(&config.server.listen, &config.metrics.listen)?;
    let key = match for_metrics {
        true => "metrics.listen",
        false => LISTEN,
    };
    Some(config.places.refused(key, &file.from, message))
}

fn tls(env: &Env<'_>, file: &File, draft: &mut Draft) -> Result<Option<ServerTls>, ConfigError> {
    let client_ca = draft.client_ca.take();
    let place = |variable: &str, keys: &[&str]| {
        let set = env.located(variable).map(|(_, from)| from);
        let section = file.tables.get("server.tls");
        let written = keys.iter().find_map(|key| section?.get(key));
        set.unwrap_or_else(|| written.map_or(&file.from, |written| &written.from).clone())
    };
    match (draft.tls_cert.take(), draft.tls_key.take()) {
        (Some(cert), Some(key)) => Ok(Some(ServerTls {
            cert,
            key,
            client_ca,
        })),
        (None, None) if client_ca.is_none() => Ok(None),
        (Some(_), None) => Err(ConfigError::new(
            &place(TLS_CERT, &["cert"]),
            &format!("{TLS_KEY} (server.tls.key)"),
            "expected a PEM file, since a certificate is set",
        )),
        _ => Err(ConfigError::new(
            &place(TLS_KEY, &["key", "client_ca"]),
            &format!("{TLS_CERT} (server.tls.cert)"),
            "expected a PEM file, since a key or client_ca is set",
        )),
    }
}

/// What holds for every provider that has no other.
fn egress(sources: &Sources<'_>, env: &Env<'_>, draft: &Draft) -> Result<Egress, ConfigError> {
    let proxy = draft.proxy.as_ref().map(|written| {
        ProxyChoice::parse(written.text()).map_err(|expected| written.refused(expected))
    });
    let (cert, key) = (draft.client_cert.as_ref(), draft.client_key.as_ref());
    let identity = egress::identity(sources.read_pem, cert, key)?;
    let trust = match &draft.ca_file {
        Some(written) => Trust::from_file(sources.read_pem, written)?,
        None => Trust::from_environment(env),
    };
    let proxy_trust = match &draft.proxy_ca_file {
        Some(written) => Trust::from_file(sources.read_pem, written)?,
        None => trust.clone(),
    };
    Ok(Egress {
        proxy: proxy.transpose()?.unwrap_or_default(),
        identity,
        trust,
        proxy_trust,
    })
}

/// The types that are exposed; of others it is said that there is no route to them.
fn kinds(env: &Env<'_>, named: Option<&Written>) -> Vec<ProviderKind> {
    let Some(named) = named else {
        return Vec::new();
    };
    let (kinds, unknown) = known_kinds(named.list());
    if let Some(said) = unknown {
        env.warn(named.refused(said));
    }
    kinds
}

/// Those of the listed types that are known, and what is to be said of the others. A list may be another program's, who
/// knows more of them.
fn known_kinds(named: &[String]) -> (Vec<ProviderKind>, Option<String>) {
    let known = named.iter().filter_map(|name| name.parse().ok());
    let unknown = { named.iter().zip(1..) }.filter_map(|(name, number)| {
        let expected = name.parse::<ProviderKind>().err()?;
        // What does not look like a type's name may be a secret.
        let is_name = name.len() <= 16
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b"-_".contains(&b));
        let shown = match is_name && !name.is_empty() {
            true => (*name).to_owned(),
            false => format!("entry {number}"),
        };
        Some((shown, expected))
    });
    let (shown, expected): (Vec<String>, Vec<UnknownKind>) = unknown.unzip();
    let said = expected.first().map(|expected| {
        let near = shown.iter().find_map(|name| near(name, kind::words()));
        let hint = near.map(|known| format!("; did you mean {known}?"));
        let shown = shown.join(", ");
        let hint = hint.unwrap_or_default();
        format!("{shown}: {expected}; there is no route to it{hint}")
    });
    (known.collect(), said)
}
