//! `sluicegate key`: makes, lists and ends managed keys.
//!
//! A new key goes to standard output, once, and is kept nowhere; what people are told goes to standard error.

mod listing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::base::{date, hex};
use crate::cli::key_file::{KeyFile, Missing, NewEntry};
use crate::cli::output::{self, tell};
use crate::config::keys::{self, KEY_PREFIX, Rate};
use crate::config::rules::Rules;
use crate::config::{Config, value};
use crate::policy::auth::sha256;
use crate::system::time::unix_seconds;

use listing::{find, instant};

/// `sluicegate key …`
#[derive(Args)]
pub(crate) struct KeyArguments {
    #[command(subcommand)]
    command: KeyCommand,
    /// Keys file; else the configured one ($SLUICEGATE_KEYS_FILE, auth.keys_file)
    #[arg(long, value_name = "FILE", global = true)]
    file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key: it is printed once, and only its digest is kept
    New(New),
    /// List all keys
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one key
    Show {
        /// Its id, or its name where no other key has that
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key worthless at once; its entry stays
    Revoke {
        /// Its id, or its name where no other key has that
        id: String,
    },
    /// Put a new key in the place of an old one, with the same id and limits; the old one is worthless at once
    Rotate {
        /// Its id, or its name where no other key has that
        id: String,
        /// From when on the new key is worthless: 30d, 12h or 2027-01-31T00:00:00Z
        #[arg(long, value_name = "TIME", value_parser = expiry)]
        expires: Option<u64>,
    },
}

#[derive(Args)]
struct New {
    /// Whom or what it is for
    #[arg(value_parser = label)]
    name: String,
    /// The only providers it is good for
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = provider)]
    providers: Vec<String>,
    /// From when on it is worthless: 30d, 12h or 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = expiry)]
    expires: Option<u64>,
    /// Requests per second, minute or hour: 10/s, 60/m, 1000/h; that many may come at once
    #[arg(long, value_name = "N/UNIT", value_parser = Rate::parse)]
    rate: Option<Rate>,
    /// Requests that may be under way at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    streams: Option<u32>,
    /// The only endpoints it is good for: a method or *, and a path behind the provider's name, which may end in
    /// *; can be repeated
    #[arg(long, value_name = "METHOD PATH", value_parser = rule)]
    allow: Vec<String>,
    /// Its public name in logs; else a random one
    #[arg(long, value_parser = public_id)]
    id: Option<String>,
}

/// Why a command failed.
enum Failure {
    /// Exit code 2.
    Configuration(String),
    /// Exit code 1.
    Other(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

/// Runs a command; `config` loads the configuration, where it is needed to find the keys file.
pub(crate) fn run(
    arguments: KeyArguments,
    config: impl FnOnce() -> Result<Config, String>,
) -> ExitCode {
    match perform(arguments, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(message)) => {
            tell(&format!(
                "{message}\nsluicegate: with --file FILE no configuration is needed"
            ));
            ExitCode::from(2)
        }
        Err(Failure::Other(message)) => {
            tell(&message);
            ExitCode::FAILURE
        }
    }
}

fn perform(
    arguments: KeyArguments,
    config: impl FnOnce() -> Result<Config, String>,
) -> Result<(), Failure> {
    let KeyArguments { command, file } = arguments;
    let path = match file {
        Some(path) => path,
        None => {
            let config = config().map_err(Failure::Configuration)?;
            warn_of_unknown_providers(&command, &config);
            let missing = "no keys file is configured; \
                           expected SLUICEGATE_KEYS_FILE, auth.keys_file or --file";
            let path = config.auth.keys_file;
            path.ok_or_else(|| Failure::Configuration(missing.into()))?
        }
    };
    match command {
        KeyCommand::New(new) => make(&path, new)?,
        KeyCommand::List { json } => listing::list(&path, json)?,
        KeyCommand::Show { id, json } => listing::show(&path, &id, json)?,
        KeyCommand::Revoke { id } => revoke(&path, &id)?,
        KeyCommand::Rotate { id, expires } => rotate(&path, &id, expires)?,
    }
    Ok(())
}

fn warn_of_unknown_providers(command: &KeyCommand, config: &Config) {
    let KeyCommand::New(new) = command else {
        return;
    };
    let is_known = |name: &String| config.providers.iter().any(|known| known.name == *name);
    for name in new.providers.iter().filter(|name| !is_known(name)) {
        tell(&format!("there is no provider {name} in the configuration"));
    }
}

/// Makes the first key of a new file, without limits; it is called `first`.
///
/// # Errors
/// Why the file cannot be written.
pub(crate) fn first(path: &Path) -> Result<String, String> {
    let (key, sha256) = new_key()?;
    let mut file = open(path, Missing::Create)?;
    file.append(NewEntry {
        id: "first".to_owned(),
        name: "first".to_owned(),
        sha256,
        ..NewEntry::default()
    })?;
    file.write()?;
    Ok(key)
}

fn make(path: &Path, new: New) -> Result<(), String> {
    let (key, sha256) = new_key()?;
    let id = match new.id {
        Some(id) => id,
        None => new_id()?,
    };
    let mut file = open(path, Missing::Create)?;
    let is_new = file.is_new();
    let expires = new.expires.map(instant);
    file.append(NewEntry {
        id: id.clone(),
        name: new.name.clone(),
        sha256,
        expires: expires.clone(),
        providers: new.providers,
        rate: new.rate.map(|rate| rate.to_string()),
        streams: new.streams,
        allow: new.allow,
    })?;
    file.write()?;
    hand_out(&key, &id)?;
    let until = expires.map_or(String::new(), |time| format!(" until {time}"));
    tell(&format!(
        "made key {id} ({}){until} in {}; it is shown only here",
        new.name,
        path.display()
    ));
    if is_new {
        tell("this file is new: only its owner can read it, and the gateway has to");
    }
    Ok(())
}

fn rotate(path: &Path, id: &str, expires: Option<u64>) -> Result<(), String> {
    let (key, sha256) = new_key()?;
    let mut file = open(path, Missing::Refuse)?;
    let entries = file.read()?;
    let entry = find(&entries, id, path)?;
    match listing::state(entry, unix_seconds()) {
        "revoked" => return Err(format!("key {} is revoked; make a new one", entry.id)),
        "expired" if expires.is_none() => {
            return Err(format!(
                "key {} has expired; give it a new --expires",
                entry.id
            ));
        }
        _ => {}
    }
    file.replace(&entry.id, &sha256, expires.map(instant).as_deref())?;
    file.write()?;
    hand_out(&key, &entry.id)?;
    tell(&format!(
        "made a new key for {} in {}; it is shown only here, and the old one is worthless",
        entry.id,
        path.display()
    ));
    Ok(())
}

fn revoke(path: &Path, id: &str) -> Result<(), String> {
    let mut file = open(path, Missing::Refuse)?;
    let entries = file.read()?;
    let entry = find(&entries, id, path)?;
    if entry.disabled {
        tell(&format!("key {} was revoked before", entry.id));
        return Ok(());
    }
    file.disable(&entry.id)?;
    file.write()?;
    tell(&format!("revoked key {} in {}", entry.id, path.display()));
    Ok(())
}

fn open(path: &Path, missing: Missing) -> Result<KeyFile, String> {
    KeyFile::open(path, missing, || {
        tell("waiting for another key command to end")
    })
}

/// A key and its digest.
fn new_key() -> Result<(String, String), String> {
    let key = format!("{KEY_PREFIX}{}", base62(random::<32>()?));
    let digest = hex::text(&sha256(key.as_bytes()));
    Ok((key, digest))
}

/// 59 random bits.
fn new_id() -> Result<String, String> {
    let digits = base62(random::<32>()?);
    Ok(format!("key-{}", digits.get(33..).unwrap_or_default()))
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system has no random numbers")?;
    Ok(bytes)
}

/// All 256 bits as 43 digits, leading zeros included: so every key is as long as any other.
fn base62(mut number: [u8; 32]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::with_capacity(43);
    for _ in 0..43 {
        let mut rest = 0_u16;
        for byte in &mut number {
            let part = rest << 8 | u16::from(*byte);
            *byte = u8::try_from(part / 62).unwrap_or_default();
            rest = part % 62;
        }
        digits.extend(DIGITS.get(usize::from(rest)));
    }
    digits.reverse();
    String::from_utf8(digits).unwrap_or_default()
}

/// The one time that a key is seen.
fn hand_out(key: &str, id: &str) -> Result<(), String> {
    output::write(format!("{key}\n").as_bytes())
        .map_err(|error| format!("{error}; nobody has seen the key: rotate or revoke {id}"))
}

/// Seconds since 1970 of `30d` from now, or of a time.
fn expiry(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "expected a time to come, such as 30d, 12h or 2027-01-31T00:00:00Z";
    let now = unix_seconds();
    // Bare digits would be seconds, and nobody means those.
    let time = match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => None,
        false => date::parse_rfc3339(text).or_else(|| {
            let time = value::duration(text).ok()?;
            now.checked_add(time.as_secs())
        }),
    };
    // Four digits are all that a year has there.
    time.filter(|time| (now + 1..YEAR_10000).contains(time))
        .ok_or(EXPECTED)
}

const YEAR_10000: u64 = 253_402_300_800;

fn label(text: &str) -> Result<String, &'static str> {
    let plain = !text.trim().is_empty() && !text.contains(char::is_control);
    let short = text.chars().count() <= 100;
    match plain && short && !text.contains(KEY_PREFIX) {
        true => Ok(text.to_owned()),
        false => Err("expected a name of at most 100 characters, without line ends"),
    }
}

fn provider(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "expected names of letters, digits, - _ and ., with commas between them";
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let good = !text.is_empty() && text.bytes().all(plain);
    good.then(|| text.to_owned()).ok_or(EXPECTED)
}

fn rule(text: &str) -> Result<String, String> {
    Rules::parse(&[text]).map(|_| text.trim().to_owned())
}

fn public_id(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "expected at most 64 letters, digits, - _ and ., not master and no key";
    keys::is_id(text).then(|| text.to_owned()).ok_or(EXPECTED)
}
