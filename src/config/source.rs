//! Where values come from: the environment, `.env`, files named by either.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::{ConfigError, Secret};

/// Everything outside that a configuration is made of.
pub struct Sources<'a> {
    /// The process's environment.
    pub env: BTreeMap<String, OsString>,
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
    /// Names of the environment's variables whose values are not UTF-8.
    unreadable: BTreeSet<String>,
    /// The first of them that was asked for, which makes it one of ours.
    missed: RefCell<Option<String>>,
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
        let mut unreadable = BTreeSet::new();
        for (key, value) in &sources.env {
            if value.is_empty() {
                continue;
            }
            let Some(value) = value.to_str() else {
                values.remove(key);
                unreadable.insert(key.clone());
                continue;
            };
            values.insert(
                key.clone(),
                Origin {
                    value: value.to_owned(),
                    from: ENVIRONMENT,
                },
            );
        }
        values.retain(|_, origin| !origin.value.is_empty());
        Ok(Self {
            values,
            unreadable,
            missed: RefCell::default(),
            read: sources.read,
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.find(key).map(|origin| &*origin.value)
    }

    /// Every variable is looked up here, so that none of ours is passed over for not being text.
    fn find(&self, key: &str) -> Option<&Origin> {
        if self.unreadable.contains(key) {
            self.missed.borrow_mut().get_or_insert_with(|| key.into());
            return None;
        }
        self.values.get(key)
    }

    /// Whether all that was asked for so far could be read.
    pub(super) fn was_readable(&self) -> Result<(), ConfigError> {
        match &*self.missed.borrow() {
            Some(key) => Err(ConfigError::new(ENVIRONMENT, key, "expected UTF-8 text")),
            None => Ok(()),
        }
    }

    /// All variables' names.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let readable = self.values.keys();
        readable.chain(&self.unreadable).map(String::as_str)
    }

    /// A value read by `parse`.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(origin) = self.find(key) else {
            return Ok(None);
        };
        parse(origin.value.trim())
            .map(Some)
            .map_err(|expected| ConfigError::new(origin.from, key, expected))
    }

    /// Whether the secret `key` or its file is set, and where; the environment wins.
    fn secret_from(&self, key: &str) -> Option<&'static str> {
        let by_file = format!("{key}_FILE");
        let set = [key, &by_file].map(|key| self.find(key).map(|origin| origin.from));
        let set = set.into_iter().flatten();
        set.min_by_key(|from| *from != ENVIRONMENT)
    }

    /// A secret that has two names; in one source it may have only one value.
    pub(super) fn secret_of_either(
        &self,
        [first, second]: [&str; 2],
    ) -> Result<Option<Secret>, ConfigError> {
        let from = match (self.secret_from(first), self.secret_from(second)) {
            (Some(one), Some(other)) if one == other => one,
            // The environment wins over `.env`, whichever of the names is in which.
            (Some(ENVIRONMENT), _) => return self.secret(first),
            (_, Some(ENVIRONMENT)) | (None, _) => return self.secret(second),
            (Some(_), _) => return self.secret(first),
        };
        let (one, other) = (self.secret(first)?, self.secret(second)?);
        if one != other {
            let message = format!("{first} is set too and differs; expected only one of them");
            return Err(ConfigError::new(from, second, message));
        }
        Ok(one)
    }

    /// The secret in `key`, or in the file that `key_FILE` names.
    pub(super) fn secret(&self, key: &str) -> Result<Option<Secret>, ConfigError> {
        let by_file = format!("{key}_FILE");
        let mut value = self.find(key);
        let mut file = self.find(&by_file);
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
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn what_is_asked_for_has_to_be_text() {
        let env = [("A", &b"a\xff"[..]), ("B", b"b"), ("C", b"")];
        let owned = |(key, value): (&str, &[u8])| (key.into(), OsString::from_vec(value.into()));
        let sources = Sources {
            env: env.into_iter().map(owned).collect(),
            read: &|_| Ok(b"A=other\nC=c".into()),
            file: None,
            terminal: false,
        };
        let env = Env::new(&sources).unwrap();
        assert_eq!(env.keys().collect::<Vec<_>>(), ["B", "C", "A"]);
        assert_eq!((env.get("B"), env.get("C")), (Some("b"), Some("c")));
        env.was_readable().unwrap();
        assert!(env.secret("A").unwrap().is_none());
        let error = env.was_readable().unwrap_err().to_string();
        assert_eq!(error, "environment: A: expected UTF-8 text");
    }

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
