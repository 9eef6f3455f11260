//! Who is let in: gateway keys, and where a gateway without any listens. Pure.
//!
//! A key that is lost by mistake must not open the gateway. So one that is set and empty is refused, and where there
//! is none and nobody has said where to listen, it listens for this machine only.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::file::{AuthTable, ServerTable};
use super::resolve::{Resolver, listen_addresses};
use super::{Auth, Config, ConfigError, Listen, Secret, ServerTls, value};
use crate::base::number;

const MASTER_KEYS: [&str; 2] = ["GOMODEL_MASTER_KEY", "SLUICEGATE_MASTER_KEY"];

/// A shorter master key is warned of: whoever can ask often enough can guess it.
const MASTER_KEY_BYTES: usize = 16;

/// Clients have given up before an answer that is held back for longer.
const WRONG_KEY_DELAY_MAX: Duration = Duration::from_secs(60);

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

impl Resolver<'_> {
    pub(super) fn auth(&self, table: &AuthTable) -> Result<Auth, ConfigError> {
        let master_key = self.env.secret_of_either(MASTER_KEYS)?;
        let written = self.written_master_key(table)?;
        self.env.is_not_empty("SLUICEGATE_KEYS_FILE")?;
        let (from, key) = self.place_of_master_key(table);
        let delay = &table.wrong_key_delay;
        let delay = self.scalar("", "auth.wrong_key_delay", delay, wrong_key_delay)?;
        let auth = Auth {
            master_key: master_key.or(written),
            keys_file: self.path(
                "SLUICEGATE_KEYS_FILE",
                "auth.keys_file",
                table.keys_file.as_deref(),
            )?,
            open: self.switch("", "auth.open", &table.open, false)?,
            wrong_key_delay: delay.unwrap_or_default(),
        };
        let length = auth.master_key.as_ref().map(|key| key.expose().len());
        if length.is_some_and(|length| length < MASTER_KEY_BYTES) {
            let message = format!(
                "the key can be guessed; expected at least {MASTER_KEY_BYTES} bytes, \
                 as `openssl rand -hex 32` makes them"
            );
            self.env.warn(ConfigError::new(&from, &key, message));
        }
        if auth.open && !auth.is_open() {
            let message = "a key is asked for nevertheless, since there are keys; expected it only without any";
            self.env
                .warn(ConfigError::new(self.from, "auth.open", message));
        }
        Ok(auth)
    }

    /// Read also where the environment has a key: a bad value is an error in any case.
    fn written_master_key(&self, table: &AuthTable) -> Result<Option<Secret>, ConfigError> {
        let key = "auth.master_key";
        match (&table.master_key, &table.master_key_file) {
            (Some(_), Some(_)) => {
                let message = "expected only one of master_key and master_key_file";
                Err(ConfigError::new(self.from, key, message))
            }
            (Some(text), None) if text.is_empty() => {
                let message = "it is empty; expected a key; leave it out for none";
                Err(ConfigError::new(self.from, key, message))
            }
            (Some(text), None) => {
                self.env.doubt(self.from, key, text);
                let secret = Secret::new(text).map(Some);
                secret.map_err(|expected| ConfigError::new(self.from, key, expected))
            }
            (None, Some(path)) => {
                let key = "auth.master_key_file";
                self.env.secret_file(Path::new(path), key).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// Source and key of the master key that counts.
    fn place_of_master_key(&self, table: &AuthTable) -> (String, String) {
        let names = MASTER_KEYS.map(|name| [name.to_owned(), format!("{name}_FILE")]);
        let set = names.into_iter().flatten().find_map(|name| {
            let (_, from) = self.env.located(&name)?;
            Some((from, name))
        });
        set.unwrap_or_else(|| {
            let by_file = table.master_key_file.as_ref().map_or("", |_| "_file");
            (self.from.to_owned(), format!("auth.master_key{by_file}"))
        })
    }

    /// Where clients are listened for.
    pub(super) fn listen(
        &self,
        table: &ServerTable,
        auth: &Auth,
        tls: Option<&ServerTls>,
    ) -> Result<Vec<Listen>, ConfigError> {
        let written = table.listen.as_ref().map(|written| {
            listen_addresses(written.iter().map(String::as_str))
                .map_err(|expected| ConfigError::new(self.from, "server.listen", expected))
        });
        let many = |text: &str| listen_addresses(value::list(text));
        let named = self.env.parsed("SLUICEGATE_LISTEN", many)?;
        let port = |text: &str| {
            let port = number::decimal(text).and_then(|port| u16::try_from(port).ok());
            port.ok_or("expected a port from 0 to 65535")
        };
        let unguarded = auth.is_open() && !auth.open && !demands_certificates(tls);
        let (listen, chosen) = match (named, self.env.parsed("PORT", port)?, written.transpose()?) {
            (Some(named), _, _) => (named, true),
            (None, None, Some(written)) => (written, true),
            (None, port, written) => {
                // A port says nothing of addresses; those whose port it replaces may.
                let chosen = written.is_some_and(|written| written.iter().any(is_reachable));
                let of_everyone = chosen || !unguarded;
                (addresses(port.unwrap_or(8080), of_everyone), chosen)
            }
        };
        if unguarded {
            self.env.warn(self.warning_of_openness(chosen));
        }
        Ok(listen)
    }

    fn warning_of_openness(&self, chosen: bool) -> ConfigError {
        let change = match chosen {
            true => "auth.open = true says that this is meant",
            false => {
                "so it listens on loopback only, unless server.listen, SLUICEGATE_LISTEN, \
                 auth.open = true or a service manager's sockets say otherwise"
            }
        };
        let open =
            "no gateway key is configured: anyone who reaches this gateway uses its providers";
        ConfigError::new(self.from, "auth", format!("{open}; {change}"))
    }
}

/// Nobody gets in without one then, key or not.
fn demands_certificates(tls: Option<&ServerTls>) -> bool {
    tls.is_some_and(|tls| tls.client_ca.is_some())
}

/// Whether other machines reach it.
fn is_reachable(listen: &Listen) -> bool {
    matches!(listen, Listen::Tcp(address) if !address.ip().is_loopback())
}

fn addresses(port: u16, of_everyone: bool) -> Vec<Listen> {
    let hosts: [IpAddr; 2] = match of_everyone {
        true => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        false => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
    };
    let listen = hosts.map(|host| Listen::Tcp(SocketAddr::new(host, port)));
    listen.to_vec()
}

fn wrong_key_delay(text: &str) -> Result<Duration, &'static str> {
    let time = value::duration(text)?;
    if time > WRONG_KEY_DELAY_MAX {
        return Err("expected at most \"1m\", such as \"5s\"; 0 is none");
    }
    Ok(time)
}
