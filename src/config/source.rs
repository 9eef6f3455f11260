//! Where values come from: the environment, `.env`, files named by either.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::{
    self,
    ErrorKind::{IsADirectory, NotFound},
};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::dotenv;
use super::error::ConfigError;
use super::indirect::{self, FILE_BYTES_MAX, Reference};
use super::secret::Secret;
use super::value::is_quoted;
use super::written::{Form, Written};

/// Everything outside that a configuration is made of.
pub struct Sources<'a> {
    /// The process's environment.
    pub env: BTreeMap<String, OsString>,
    /// Flags of the command line by the variable that each of them wins over.
    pub flags: BTreeMap<String, String>,
    /// Reads a file, or a pipe to its end.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Reads a file with a certificate or its key; that of a pipe would be lost to the next reload.
    pub read_pem: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// `--config`
    pub file: Option<PathBuf>,
    /// Log lines go to a person.
    pub terminal: bool,
}

/// Environment and `.env`, the former first; an empty value counts as none, but for keys.
pub(super) struct Env<'a> {
    values: BTreeMap<String, Variable>,
    /// Those that are set and empty where they count.
    empty: BTreeMap<String, Place>,
    /// The first that was asked for, which makes it one of ours, and cannot be read.
    missed: RefCell<Option<ConfigError>>,
    /// Values that were asked for and are used, but can hardly be meant so; by their names.
    doubtful: RefCell<BTreeMap<String, ConfigError>>,
    /// Keys of the file in whose values the environment's variables were put in.
    expanded: RefCell<BTreeSet<String>>,
    /// Variables that the file puts in somewhere.
    put_in: RefCell<BTreeSet<String>>,
    read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    read_pem: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

struct Variable {
    /// Trimmed; or what was expected.
    value: Result<String, &'static str>,
    /// With what it refers to put in, once somebody has asked for it; `None` where it refers to nothing.
    resolved: OnceCell<Result<Option<String>, String>>,
    from: Place,
}

/// Where a variable was set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// By the flag that has its name.
    CommandLine,
    Environment,
    /// In this line.
    Dotenv(usize),
}

impl Place {
    fn is_environment(self) -> bool {
        self == Self::Environment
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::Dotenv(line) => write!(f, "{DOTENV} line {line}"),
        }
    }
}

impl Variable {
    fn new(value: &[u8], from: Place) -> Self {
        let value = std::str::from_utf8(value).map_err(|_| "expected UTF-8 text");
        Self::read(value.map(|value| value.trim().to_owned()), from)
    }

    fn read(value: Result<String, &'static str>, from: Place) -> Self {
        let resolved = OnceCell::new();
        Self {
            value,
            resolved,
            from,
        }
    }

    fn is_empty(&self) -> bool {
        self.value.as_ref().is_ok_and(String::is_empty)
    }
}

/// A variable that can be read.
#[derive(Clone, Copy)]
struct Found<'e> {
    value: &'e str,
    /// A file's content or another variable is in it, and may be a secret whatever it is for.
    is_resolved: bool,
    from: Place,
}

const DOTENV: &str = ".env";

/// What programs write in the place of a value that they do not have.
const NOTHINGS: [&str; 6] = ["unset", "null", "<nil>", "nil", "undefined", "(null)"];

impl<'a> Env<'a> {
    pub(super) fn new(sources: &Sources<'a>) -> Result<Self, ConfigError> {
        let (mut values, mut doubtful) = (BTreeMap::new(), BTreeMap::new());
        let content = dotenv_file(sources)?;
        if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
            let message = "expected UTF-8 text; this is UTF-16, and nothing of it is read";
            doubtful.insert(DOTENV.to_owned(), ConfigError::new(DOTENV, "", message));
        }
        let of_environment = |name: &str| Some(sources.env.get(name)?.as_encoded_bytes());
        for set in dotenv::parse(&content, of_environment) {
            let from = Place::Dotenv(set.line);
            let variable = match set.value {
                // Whatever is said of such a value could repeat the lines that a lost quote has made a part of it.
                Ok(value) if value.trim_ascii().contains(&b'\n') => {
                    let expected = "expected a value of one line; a quote may be missing";
                    Variable::read(Err(expected), from)
                }
                Ok(value) => Variable::new(&value, from),
                Err(expected) => Variable::read(Err(expected), from),
            };
            values.insert(set.key, variable);
        }
        let mut empty = BTreeMap::new();
        for (key, variable) in values.iter().filter(|(_, variable)| variable.is_empty()) {
            empty.insert(key.clone(), variable.from);
        }
        for (key, value) in &sources.env {
            let variable = Variable::new(value.as_encoded_bytes(), Place::Environment);
            if variable.is_empty() {
                empty.insert(key.clone(), variable.from);
            } else {
                empty.remove(key);
                values.insert(key.clone(), variable);
            }
        }
        // Of the two variables for addresses this one wins; where a flag is for the other, that does.
        if sources.flags.contains_key("PORT") {
            values.remove("SLUICEGATE_LISTEN");
        }
        for (key, value) in &sources.flags {
            let variable = Variable::new(value.as_bytes(), Place::CommandLine);
            values.insert(key.clone(), variable);
        }
        values.retain(|_, variable| !variable.is_empty());
        Ok(Self {
            values,
            empty,
            missed: RefCell::default(),
            doubtful: doubtful.into(),
            expanded: RefCell::default(),
            put_in: RefCell::default(),
            read: sources.read,
            read_pem: sources.read_pem,
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.find(key).map(|found| found.value)
    }

    /// A value that is put in at `key` of the file.
    pub(super) fn expand(&self, key: &str, name: &str) -> Option<&str> {
        self.put_in.borrow_mut().insert(name.to_owned());
        if self.is_of_environment(name) {
            self.expanded.borrow_mut().insert(key.to_owned());
        }
        self.get(name)
    }

    /// Whether the file puts this variable in somewhere.
    pub(super) fn is_put_in(&self, name: &str) -> bool {
        self.put_in.borrow().contains(name)
    }

    /// The first key of this table of the file, but for these, that has a value of the environment's put in.
    pub(super) fn expanded_below(&self, table: &str, but: &[&str]) -> Option<String> {
        let expanded = self.expanded.borrow();
        let below = |key: &&String| {
            let inner = key
                .strip_prefix(table)
                .and_then(|key| key.strip_prefix('.'));
            inner.is_some_and(|inner| !but.contains(&inner))
        };
        expanded.iter().find(below).cloned()
    }

    /// Whether a variable's value is the environment's, and not `.env`'s.
    pub(super) fn is_of_environment(&self, key: &str) -> bool {
        let variable = self.values.get(key);
        variable.is_some_and(|variable| variable.from.is_environment())
    }

    /// A value, and where it was set.
    pub(super) fn located(&self, key: &str) -> Option<(&str, String)> {
        let found = self.find(key)?;
        Some((found.value, found.from.to_string()))
    }

    /// A value, as a setting of this form has it.
    pub(super) fn written(&self, key: &str, form: Form) -> Option<Written> {
        let found = self.find(key)?;
        Some(Written {
            value: form.of_variable(found.value),
            from: found.from.to_string(),
            key: key.to_owned(),
            is_expanded: found.is_resolved,
        })
    }

    /// Every variable is looked up here, so that none of ours is passed over for not being readable.
    fn find(&self, key: &str) -> Option<Found<'_>> {
        let variable = self.values.get(key)?;
        let from = variable.from;
        let value = variable.value.as_deref().map_err(|expected| *expected);
        let found = value.and_then(|value| {
            let resolved = variable.resolved.get_or_init(|| self.resolve(value));
            match resolved {
                Ok(Some(resolved)) if resolved != value => Ok((&**resolved, true)),
                Ok(_) => Ok((value, false)),
                Err(expected) => Err(&**expected),
            }
        });
        match found {
            Ok((value, is_resolved)) => {
                self.doubt(&from.to_string(), key, value);
                if !is_resolved && value.contains("${") {
                    let message = "the ${…} in its value is taken as it is, for nothing puts \
                                   anything in there; expected ${env:NAME} or ${file:/path}";
                    self.warn(ConfigError::new(&from.to_string(), key, message));
                }
                Some(Found {
                    value,
                    is_resolved,
                    from,
                })
            }
            Err(expected) => {
                let error = || ConfigError::new(&from.to_string(), key, expected);
                self.missed.borrow_mut().get_or_insert_with(error);
                None
            }
        }
    }

    /// A value with what it refers to.
    fn resolve(&self, value: &str) -> Result<Option<String>, String> {
        let look_up = |reference: Reference<'_>| match reference {
            Reference::File(path) => self.content(path),
            Reference::Variable(name) => self.value_of(name),
        };
        let resolved = indirect::resolved(value, look_up)?;
        Ok(resolved.map(|resolved| resolved.trim().to_owned()))
    }

    /// What a reference to a file puts in: its content without the line end behind it.
    fn content(&self, path: &str) -> Result<String, String> {
        let said = |what: &dyn fmt::Display| format!("${{file:{path}}}: {what}");
        let bytes = (self.read_pem)(Path::new(path)).map_err(|error| said(&error))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(said(&"expected at most 1 MiB"));
        }
        let mut content = String::from_utf8(bytes).map_err(|_| said(&"expected UTF-8 text"))?;
        if content.ends_with('\n') {
            content.pop();
        }
        match content.trim() {
            "" => Err(said(&"it is empty")),
            _ => Ok(content),
        }
    }

    /// What a reference to a variable puts in, as it is.
    fn value_of(&self, name: &str) -> Result<String, String> {
        let variable = self.values.get(name).map(|variable| &variable.value);
        match variable {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(expected)) => Err(format!("the variable that it refers to: {expected}")),
            None => Err("expected the variable that it refers to to be set".to_owned()),
        }
    }

    /// Whether all that was asked for so far could be read.
    pub(super) fn was_readable(&self) -> Result<(), ConfigError> {
        match &*self.missed.borrow() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Remembers a value in quotes, which were meant for a shell, and one that says that there is none.
    pub(super) fn doubt(&self, from: &str, key: &str, value: &str) {
        if is_quoted(value) {
            let message = "the quotes around its value are taken as a part of it; docker's \
                           --env-file and lists in compose files keep them; expected none";
            self.warn(ConfigError::new(from, key, message));
        }
        if let Some(word) = NOTHINGS.into_iter().find(|word| *word == value) {
            let message = format!("its value is the word {word}; expected none, or a value");
            self.warn(ConfigError::new(from, key, message));
        }
    }

    /// What was used so far and can hardly be meant so.
    pub(super) fn warnings(&self) -> Vec<ConfigError> {
        self.doubtful.borrow().values().cloned().collect()
    }

    /// Remembers one more of them.
    pub(super) fn warn(&self, warning: ConfigError) {
        let mut doubtful = self.doubtful.borrow_mut();
        doubtful.insert(warning.key.clone(), warning);
    }

    /// All variables' names, those without a value included.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let empty = self.empty.keys();
        let empty = empty.filter(|key| !self.values.contains_key(*key));
        self.values.keys().chain(empty).map(String::as_str)
    }

    /// Where a variable is set, whatever its value is.
    pub(super) fn place(&self, key: &str) -> String {
        let set = self.values.get(key).map(|variable| variable.from);
        let from = set.or_else(|| self.empty.get(key).copied());
        from.map(|from| from.to_string()).unwrap_or_default()
    }

    /// Refuses a variable that is set and empty: whoever set it had more in mind than to do without.
    pub(super) fn is_not_empty(&self, key: &str) -> Result<(), ConfigError> {
        let message = "it is set and empty; expected a value, or no such variable";
        match self.empty.get(key) {
            Some(from) => Err(ConfigError::new(&from.to_string(), key, message)),
            None => Ok(()),
        }
    }

    /// A value read by `parse`.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(Found { value, from, .. }) = self.find(key) else {
            return Ok(None);
        };
        parse(value).map(Some).map_err(|expected| {
            let quotes = match is_quoted(value) {
                true => "; the quotes around the value are taken as a part of it",
                false => "",
            };
            ConfigError::new(&from.to_string(), key, format!("{expected}{quotes}"))
        })
    }

    /// Whether the secret `key` or its file is set, and where; the environment wins.
    fn secret_from(&self, key: &str) -> Option<Place> {
        let by_file = format!("{key}_FILE");
        let set = [key, &by_file].map(|key| self.find(key).map(|found| found.from));
        let set = set.into_iter().flatten();
        set.min_by_key(|from| !from.is_environment())
    }

    /// A secret that has two names; in one source it may have only one value.
    pub(super) fn secret_of_either(
        &self,
        [first, second]: [&str; 2],
    ) -> Result<Option<Secret>, ConfigError> {
        for key in [first, second] {
            self.is_no_empty_secret(key)?;
        }
        let from = match (self.secret_from(first), self.secret_from(second)) {
            (Some(one), Some(other)) if one.is_environment() == other.is_environment() => other,
            // The environment wins over `.env`, whichever of the names is in which.
            (Some(Place::Environment), _) => return self.secret(first),
            (_, Some(Place::Environment)) | (None, _) => return self.secret(second),
            (Some(_), _) => return self.secret(first),
        };
        let (one, other) = (self.secret(first)?, self.secret(second)?);
        if one != other {
            let message = format!("{first} is set too and differs; expected only one of them");
            return Err(ConfigError::new(&from.to_string(), second, message));
        }
        Ok(one)
    }

    fn is_no_empty_secret(&self, key: &str) -> Result<(), ConfigError> {
        self.is_not_empty(key)?;
        self.is_not_empty(&format!("{key}_FILE"))
    }

    /// The secret in `key`, or in the file that `key_FILE` names.
    pub(super) fn secret(&self, key: &str) -> Result<Option<Secret>, ConfigError> {
        self.is_no_empty_secret(key)?;
        let by_file = format!("{key}_FILE");
        let mut value = self.find(key);
        let mut file = self.find(&by_file);
        if let (Some(one), Some(other)) = (value, file)
            && one.from.is_environment() != other.from.is_environment()
        {
            // The environment wins over `.env` here too.
            value = value.filter(|found| found.from.is_environment());
            file = file.filter(|found| found.from.is_environment());
        }
        match (value, file) {
            (Some(found), Some(_)) => {
                let message = format!("{by_file} is set too; expected only one of them");
                Err(ConfigError::new(&found.from.to_string(), key, message))
            }
            (Some(found), None) => Secret::new(found.value)
                .map(Some)
                .map_err(|expected| ConfigError::new(&found.from.to_string(), key, expected)),
            (None, Some(found)) => {
                let secret = self.secret_file(Path::new(found.value), &by_file);
                let secret = secret.map_err(|error| {
                    let message = format!("{}: {}", found.value, error.message);
                    ConfigError::new(&found.from.to_string(), &by_file, message)
                });
                secret.map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    /// Reads a secret from a file; blanks and line ends around it do not count.
    fn secret_file(&self, path: &Path, key: &str) -> Result<Secret, ConfigError> {
        let from = path.display().to_string();
        let bytes = (self.read)(path).map_err(|error| {
            let message = format!("cannot read it: {error}; expected a file with the key alone");
            ConfigError::new(&from, key, message)
        })?;
        let content = Zeroizing::new(text(bytes, &from)?);
        self.doubt(&from, key, content.trim());
        Secret::new(content.trim()).map_err(|expected| ConfigError::new(&from, key, expected))
    }

    /// Reads a secret from a file that the configuration file names.
    pub(super) fn secret_file_of(&self, named: &Written) -> Result<Secret, ConfigError> {
        if named.text().is_empty() {
            return Err(named.refused("expected the path of a file; leave it out for none"));
        }
        let secret = self.secret_file(Path::new(named.text()), &named.key);
        secret.map_err(|error| named.refused(format!("{}: {}", named.text(), error.message)))
    }
}

/// What `.env` holds; nothing where there is none.
fn dotenv_file(sources: &Sources<'_>) -> Result<Vec<u8>, ConfigError> {
    match (sources.read)(Path::new(DOTENV)) {
        Ok(content) => Ok(content),
        // A virtual environment of Python's may have that name.
        Err(error) if matches!(error.kind(), NotFound | IsADirectory) => Ok(Vec::new()),
        Err(error) => Err(ConfigError::new(
            DOTENV,
            "",
            format!("cannot read it: {error}"),
        )),
    }
}

pub(super) fn text(bytes: Vec<u8>, from: &str) -> Result<String, ConfigError> {
    String::from_utf8(bytes).map_err(|_| ConfigError::new(from, "", "expected UTF-8 text"))
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
            flags: BTreeMap::new(),
            read: &|_| Ok(b"A=other\nC=c".into()),
            read_pem: &|_| Err(NotFound.into()),
            file: None,
            terminal: false,
        };
        let env = Env::new(&sources).unwrap();
        assert_eq!(env.keys().collect::<Vec<_>>(), ["A", "B", "C"]);
        assert_eq!((env.get("B"), env.get("C")), (Some("b"), Some("c")));
        env.was_readable().unwrap();
        assert!(env.secret("A").unwrap().is_none());
        let error = env.was_readable().unwrap_err().to_string();
        assert_eq!(error, "environment: A: expected UTF-8 text");
    }
}
