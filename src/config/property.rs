//! What holds for every input: it is read or refused without a panic, and neither shows a secret.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{Config, ConfigError, Sources, keys, load};

/// A secret that must never be shown.
pub const MARKER: &str = "Sk5Marker";

/// Variables and their values.
pub type Env<'a> = &'a [(&'a str, &'a str)];

/// Reads a configuration out of environment, `.env` and file; a file `secret` holds [`MARKER`].
///
/// # Errors
/// The first value that cannot be used.
pub fn load_from(env: Env<'_>, dotenv: &str, toml: &str) -> Result<Config, ConfigError> {
    let read = |path: &Path| match path.to_str() {
        Some(".env") => Ok(dotenv.as_bytes().to_vec()),
        Some("sluicegate.toml") => Ok(toml.as_bytes().to_vec()),
        Some("secret") => Ok(MARKER.as_bytes().to_vec()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.into());
    load(&Sources {
        env: env.iter().map(owned).collect::<BTreeMap<_, _>>(),
        flags: BTreeMap::new(),
        read: &read,
        read_pem: &read,
        file: None,
        terminal: false,
    })
}

/// What a person is shown of a configuration, or of why there is none.
#[must_use]
pub fn shown(env: Env<'_>, dotenv: &str, toml: &str) -> String {
    match load_from(env, dotenv, toml) {
        Ok(config) => config.describe(),
        Err(error) => format!("{error} {error:?}"),
    }
}

/// Reads arbitrary text as every kind of file. Secrets come from the environment only, so that whatever is
/// shown of the text itself is none.
pub fn holds(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (dotenv, toml) = text.split_once("\n---\n").unwrap_or(("", &text));
    let _ = keys::parse(&text, "keys.toml");
    // A reference may put a secret anywhere, and whoever writes it there wants it there.
    if text.contains(MARKER) || text.contains('$') {
        let _ = shown(&[], dotenv, toml);
        return;
    }
    let env = [
        ("GOMODEL_MASTER_KEY", MARKER),
        ("OPENAI_API_KEY", MARKER),
        ("ANTHROPIC_EAST_API_KEY", MARKER),
        ("VLLM_API_KEY_FILE", "secret"),
        ("HTTPS_PROXY", "http://u:Sk5Marker@proxy"),
    ];
    let shown = shown(&env, dotenv, toml);
    assert!(!shown.contains(MARKER), "{shown}");
}
