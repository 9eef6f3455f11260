//! Who is let in: gateway keys, and where a gateway without any listens. Pure.
//!
//! A key that is lost by mistake must not open the gateway. So one that is set and empty is refused, and where there
//! is none and nobody has said where to listen, it listens for this machine only.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::error::ConfigError;
use super::file::File;
use super::listeners::Listen;
use super::model::{Auth, Config, ProxyProtocol, ServerTls};
use super::places::Place;
use super::secret::Secret;
use super::source::Env;
use super::table::{Draft, KEYS_FILE, LISTEN, MASTER_KEYS, PORT};
use super::written::Written;

const MASTER_KEY_DISABLED: &str = "MASTER_KEY_DISABLED";

/// A shorter key is warned of: whoever can ask often enough can guess it.
pub(super) const KEY_BYTES: usize = 16;

impl Auth {
    /// Whether nobody is asked for a key.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.master_key.is_none() && self.keys_file.is_none()
    }
}

impl Config {
    /// Whether these settings may come after `before`: not where the last that kept anybody out is gone, keys or the
    /// client certificates that were demanded.
    ///
    /// # Errors
    /// Why not.
    pub fn may_follow(&self, before: &Self) -> Result<(), &'static str> {
        match before.keeps_out() && !self.keeps_out() && !self.auth.open {
            true => Err(
                "this would let everybody in, with neither a gateway key nor server.tls.client_ca, \
                 which only auth.open = true allows",
            ),
            false => Ok(()),
        }
    }

    fn keeps_out(&self) -> bool {
        !self.auth.is_open() || demands_certificates(self.server.tls.as_ref())
    }
}

/// The draft's gateway keys, once all settings are read into it.
pub(super) fn auth(env: &Env<'_>, file: &File, draft: &mut Draft) -> Result<(), ConfigError> {
    let master_key = env.secret_of_either(MASTER_KEYS)?;
    let (key, key_file) = (draft.master_key.as_ref(), draft.master_key_file.as_ref());
    let written = written_key(env, key, key_file)?;
    env.is_not_empty(KEYS_FILE)?;
    let auth = &mut draft.config.auth;
    auth.master_key = master_key.or(written);
    if auth.master_key_disabled {
        auth.master_key = None;
        if auth.keys_file.is_none() {
            let set = env.located(MASTER_KEY_DISABLED);
            let in_file = || file.place("auth", "master_key_disabled").to_owned();
            let from = set.map_or_else(in_file, |(_, from)| from);
            let key = format!("{MASTER_KEY_DISABLED} (auth.master_key_disabled)");
            let message = format!("nobody has a key then; expected {KEYS_FILE} beside it");
            return Err(ConfigError::new(&from, &key, message));
        }
    }
    let length = auth.master_key.as_ref().map(|key| key.expose().len());
    let place = length.map(|_| place_of_key(env, file, &MASTER_KEYS, ["auth", "master_key"]));
    draft.config.places.note("auth.master_key", place.clone());
    if let Some(place) = place.filter(|_| length < Some(KEY_BYTES)) {
        env.warn(ConfigError::new(&place.from, &place.key, can_be_guessed()));
    }
    if draft.config.auth.open && !draft.config.auth.is_open() {
        let message =
            "a key is asked for nevertheless, since there are keys; expected it only without any";
        let from = file.place("auth", "open");
        env.warn(ConfigError::new(from, "auth.open", message));
    }
    Ok(())
}

/// What is said of a key that is too short.
pub(super) fn can_be_guessed() -> String {
    format!(
        "the key can be guessed; expected at least {KEY_BYTES} bytes, \
         as `openssl rand -hex 32` makes them"
    )
}

/// The file's key, or that in the file which it names. Read also where the environment has a key: a bad value is an error
/// in any case.
pub(super) fn written_key(
    env: &Env<'_>,
    key: Option<&Written>,
    key_file: Option<&Written>,
) -> Result<Option<Secret>, ConfigError> {
    match (key, key_file) {
        (Some(key), Some(_)) => {
            let name = key.key.rsplit('.').next().unwrap_or_default();
            Err(key.refused(format!("expected only one of {name} and {name}_file")))
        }
        (Some(key), None) if key.text().is_empty() => {
            Err(key.refused("it is empty; expected a key; leave it out for none"))
        }
        (Some(key), None) => {
            env.doubt(&key.from, &key.key, key.text());
            let secret = Secret::new(key.text()).map(Some);
            secret.map_err(|expected| key.refused(expected))
        }
        (None, Some(path)) => env.secret_file_of(path).map(Some),
        (None, None) => Ok(None),
    }
}

/// Where a key that counts is written: in one of these variables or in the file that it names, or in this setting or in
/// that with `_file` behind it.
pub(super) fn place_of_key(
    env: &Env<'_>,
    file: &File,
    variables: &[&str],
    [table, key]: [&str; 2],
) -> Place {
    let names = { variables.iter() }.map(|name| [(*name).to_owned(), format!("{name}_FILE")]);
    let set = names.flatten().filter_map(|key| {
        let (_, from) = env.located(&key)?;
        Some(Place { from, key })
    });
    let first = set.min_by_key(|place| !env.is_of_environment(&place.key));
    first.unwrap_or_else(|| {
        let by_file = format!("{key}_file");
        let section = file.tables.get(table);
        let is_written = |key: &&str| section.is_some_and(|section| section.get(key).is_some());
        let key = [&*by_file, key].into_iter().find(is_written).unwrap_or(key);
        Place {
            from: file.place(table, key).to_owned(),
            key: format!("{table}.{key}"),
        }
    })
}

/// Where clients are listened for, once the gateway keys are known.
pub(super) fn listen(env: &Env<'_>, file: &File, draft: &mut Draft) {
    let config = &draft.config;
    let unguarded = config.auth.is_open()
        && !config.auth.open
        && !demands_certificates(config.server.tls.as_ref());
    let of_port = draft.config.places.take(PORT);
    let (listen, chosen) = match (draft.listen.take(), draft.port) {
        (Some((named, written)), port) if port.is_none() || written.key != LISTEN => (named, true),
        (written, port) => {
            // A port says nothing of addresses; those whose port it replaces may.
            let chosen =
                written.is_some_and(|(written, _)| written.iter().any(Listen::is_reachable));
            let of_everyone = chosen || !unguarded;
            draft.config.places.note(LISTEN, of_port);
            (addresses(port.unwrap_or(8080), of_everyone), chosen)
        }
    };
    draft.config.server.listen = listen;
    if unguarded {
        env.warn(warning_of_openness(&file.from, chosen));
    }
}

/// Whether what balancers say of clients can be told from what others say of themselves, once it is known where is
/// listened.
pub(super) fn announced(env: &Env<'_>, config: &Config) -> Result<(), ConfigError> {
    let server = &config.server;
    let has_addresses = { server.listen.iter() }.any(|listen| matches!(listen, Listen::Tcp(_)));
    let (key, message) = match server.proxy_protocol {
        ProxyProtocol::Off if !server.trusted.is_empty() => (
            "server.trusted",
            "it has no effect without server.proxy_protocol; expected \"optional\" or \"required\" there",
        ),
        ProxyProtocol::Optional | ProxyProtocol::Required
            if server.trusted.is_empty() && has_addresses =>
        {
            (
                "server.proxy_protocol",
                "whoever connects could say to be anybody; expected the addresses of the balancers in \
                 server.trusted, such as [\"10.0.0.0/8\"]",
            )
        }
        _ => return Ok(()),
    };
    let Some(place) = config.places.get(key) else {
        return Ok(());
    };
    let said = ConfigError::new(&place.from, &place.key, message);
    match server.proxy_protocol {
        ProxyProtocol::Off => {
            env.warn(said);
            Ok(())
        }
        ProxyProtocol::Optional | ProxyProtocol::Required => Err(said),
    }
}

fn warning_of_openness(from: &str, chosen: bool) -> ConfigError {
    let change = match chosen {
        true => "auth.open = true says that this is meant",
        false => {
            "so it listens on loopback only, unless server.listen, SLUICEGATE_LISTEN, \
             auth.open = true or a service manager's sockets say otherwise"
        }
    };
    let open = "no gateway key is configured: anyone who reaches this gateway uses its providers";
    ConfigError::new(from, "auth", format!("{open}; {change}"))
}

/// Nobody gets in without one then, key or not.
fn demands_certificates(tls: Option<&ServerTls>) -> bool {
    tls.is_some_and(|tls| tls.client_ca.is_some())
}

fn addresses(port: u16, of_everyone: bool) -> Vec<Listen> {
    let hosts: [IpAddr; 2] = match of_everyone {
        true => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        false => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
    };
    let listen = hosts.map(|host| Listen::Tcp(SocketAddr::new(host, port)));
    listen.to_vec()
}
