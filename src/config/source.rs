//! Where values come from: the environment, `.env`, files named by either.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{ConfigError, Secret};

/// Everything outside that a configuration is made of.
pub struct Sources<'a> {
    /// The process's environment.
    pub env: BTreeMap<String, String>,
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// `--config`
    pub file: Option<PathBuf>,
    /// Log lines go to a person.
    pub terminal: bool,
}

/// Environment and `.env`, the former first; an empty value counts as none.
pub(super) struct Env<'a> {
    values: BTreeMap<String, Origin>,
    read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

struct Origin {
    value: String,
    from: &'static str,
}

const ENVIRONMENT: &str = "environment";
const DOTENV: &str = ".env";

impl<'a> Env<'a> {
    pub(super) fn new(sources: &Sources<'a>) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        match (sources.read)(Path::new(DOTENV)) {
            Ok(bytes) => {
                for (key, value) in dotenv(&text(bytes, DOTENV)?)? {
                    values.insert(
                        key,
                        Origin {
                            value,
                            from: DOTENV,
                        },
                    );
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ConfigError::new(DOTENV, "", error)),
        }
        for (key, value) in &sources.env {
            if !value.is_empty() {
                values.insert(
                    key.clone(),
                    Origin {
                        value: value.clone(),
                        from: ENVIRONMENT,
                    },
                );
            }
        }
        values.retain(|_, origin| !origin.value.is_empty());
        Ok(Self {
            values,
            read: sources.read,
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|origin| &*origin.value)
    }

    /// All variables' names.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A value read by `parse`.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(origin) = self.values.get(key) else {
            return Ok(None);
        };
        parse(origin.value.trim())
            .map(Some)
            .map_err(|expected| ConfigError::new(origin.from, key, expected))
    }

    /// The secret in `key`, or in the file that `key_FILE` names.
    pub(super) fn secret(&self, key: &str) -> Result<Option<Secret>, ConfigError> {
        let by_file = format!("{key}_FILE");
        let mut value = self.values.get(key);
        let mut file = self.values.get(&by_file);
        if let (Some(one), Some(other)) = (value, file)
            && one.from != other.from
        {
            // The environment wins over `.env` here too.
            value = value.filter(|origin| origin.from == ENVIRONMENT);
            file = file.filter(|origin| origin.from == ENVIRONMENT);
        }
        match (value, file) {
            (Some(origin), Some(_)) => {
                let message = format!("{by_file} is set too; expected only one of them");
                Err(ConfigError::new(origin.from, key, message))
            }
            (Some(origin), None) => Secret::new(origin.value.trim())
                .map(Some)
                .map_err(|expected| ConfigError::new(origin.from, key, expected)),
            (None, Some(origin)) => {
                secret_file(self.read, Path::new(&origin.value), &by_file).map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

/// Reads a secret from a file; blanks and line ends around it do not count.
pub(super) fn secret_file(
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    path: &Path,
    key: &str,
) -> Result<Secret, ConfigError> {
    let from = path.display().to_string();
    let bytes = read(path).map_err(|error| ConfigError::new(&from, key, error))?;
    let content = text(bytes, &from)?;
    Secret::new(content.trim()).map_err(|expected| ConfigError::new(&from, key, expected))
}

pub(super) fn text(bytes: Vec<u8>, from: &str) -> Result<String, ConfigError> {
    String::from_utf8(bytes).map_err(|_| ConfigError::new(from, "", "expected UTF-8 text"))
}

/// `KEY=value` lines; `export`, quotes and comments as shells have them, nothing expanded.
fn dotenv(content: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs = Vec::new();
    for (number, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let expected = || {
            ConfigError::new(
                &format!(".env line {}", number + 1),
                "",
                "expected KEY=value",
            )
        };
        let (key, value) = line.split_once('=').ok_or_else(expected)?;
        let key = key.trim();
        if key.is_empty()
            || !key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(expected());
        }
        pairs.push((key.to_owned(), unquoted(value).ok_or_else(expected)?));
    }
    Ok(pairs)
}

fn unquoted(value: &str) -> Option<String> {
    let trimmed = value.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = trimmed.strip_prefix(quote) {
            let (inner, behind) = rest.split_once(quote)?;
            let behind = behind.trim();
            return (behind.is_empty() || behind.starts_with('#')).then(|| inner.to_owned());
        }
    }
    // A comment begins behind a blank, also where there is nothing before it: `KEY= # not yet`.
    let pairs = value.bytes().zip(value.bytes().skip(1));
    let comment = { pairs }.position(|pair| matches!(pair, (b' ' | b'\t', b'#')));
    let bare = comment.map_or(value, |at| value.get(..at).unwrap_or_default());
    Some(bare.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotenv_lines() {
        let content = "# c\n\nA=1\nexport B = two words # c\nC=\"x # y\"\nD='z'\nE=\n";
        let pairs = dotenv(content).unwrap();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x # y"),
            ("D", "z"),
            ("E", ""),
        ];
        let expected = expected.map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(pairs, expected);
        for broken in ["novalue", "=x", "A B=1", "A=\"open"] {
            assert!(dotenv(broken).is_err(), "{broken}");
        }
    }
}
