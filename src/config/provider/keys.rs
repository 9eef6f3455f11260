//! Providers' keys: out of variables, files that they name, or the table.

use std::collections::BTreeSet;
use std::path::Path;

use zeroize::Zeroizing;

use super::Builder;
use super::instance::ApiKeys;
use super::names::numbered;
use super::table::Draft;
use crate::config::error::ConfigError;
use crate::config::secret::Secret;
use crate::config::source::text;
use crate::config::written::Written;
use crate::providers::KEYS_MAX;

impl Builder<'_> {
    /// The variables for one of several keys that are set, they or those for their files, in order.
    pub(super) fn numbered_keys(&self) -> impl Iterator<Item = String> + use<> {
        let prefix = self.prefix.map(String::as_str).unwrap_or_default();
        let numbers = { self.env.keys().filter_map(numbered) }.filter(|(of, _)| *of == prefix);
        let numbers: BTreeSet<u64> = numbers.map(|(_, number)| number).collect();
        let first = format!("{prefix}_API_KEY");
        numbers
            .into_iter()
            .map(move |number| format!("{first}_{number}"))
    }

    /// The keys of the environment or `.env`: the one without a number, then the others by their numbers.
    fn keys_of_variables(&self) -> Result<Gathered, ConfigError> {
        let mut keys = Gathered::default();
        let Some(prefix) = self.prefix else {
            return Ok(keys);
        };
        let first = format!("{prefix}_API_KEY");
        for variable in [first].into_iter().chain(self.numbered_keys()) {
            let Some(key) = self.env.secret(&variable)? else {
                continue;
            };
            keys.add(key).map_err(|expected| {
                let names = [variable.clone(), format!("{variable}_FILE")];
                let from = names
                    .iter()
                    .find_map(|name| Some(self.env.located(name)?.1));
                ConfigError::new(&from.unwrap_or_default(), &variable, expected)
            })?;
        }
        Ok(keys)
    }

    /// The keys that count; none is no credential.
    pub(super) fn api_keys(&self, draft: &Draft) -> Result<Option<ApiKeys>, ConfigError> {
        let keys = self.keys_of_variables()?;
        if !keys.0.is_empty() {
            return Ok(keys.into());
        }
        let written = [
            &draft.api_key,
            &draft.api_key_file,
            &draft.api_keys,
            &draft.api_keys_file,
        ];
        let mut written = { KEY_SETTINGS.iter().zip(written) }
            .filter_map(|(key, written)| Some((key, written.as_ref()?)));
        if let (Some((one, first)), Some((other, _))) = (written.next(), written.next()) {
            return Err(first.refused(format!("expected only one of {one} and {other}")));
        }
        let mut keys = Gathered::default();
        if let Some(key) = &draft.api_key
            && !key.text().is_empty()
        {
            keys.add(self.key_in(key, key.text())?)
                .map_err(|error| key.refused(error))?;
        }
        if let Some(file) = &draft.api_key_file {
            let key = self.env.secret_file_of(file)?;
            keys.add(key).map_err(|error| file.refused(error))?;
        }
        if let Some(list) = &draft.api_keys {
            if list.list().is_empty() {
                return Err(list.refused("expected at least one key; leave it out for none"));
            }
            for key in list.list() {
                keys.add(self.key_in(list, key)?)
                    .map_err(|error| list.refused(error))?;
            }
        }
        if let Some(file) = &draft.api_keys_file {
            self.keys_of_file(file, &mut keys)?;
        }
        Ok(keys.into())
    }

    fn key_in(&self, written: &Written, key: &str) -> Result<Secret, ConfigError> {
        self.env.doubt(&written.from, &written.key, key);
        Secret::new(key).map_err(|expected| written.refused(expected))
    }

    /// One key a line; blank lines and those that begin with `#` are none.
    fn keys_of_file(&self, file: &Written, keys: &mut Gathered) -> Result<(), ConfigError> {
        let expected = "a file with one key a line";
        if file.text().is_empty() {
            return Err(file.refused("expected the path of a file; leave it out for none"));
        }
        let read = (self.sources.read)(Path::new(file.text()));
        let bytes = read.map_err(|error| file.unreadable(&error, expected))?;
        let content = Zeroizing::new(text(bytes, file.text())?);
        for (number, line) in (1..).zip(content.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{} line {number}", file.text());
            self.env.doubt(&place, &file.key, line);
            let added = Secret::new(line)
                .map_err(str::to_owned)
                .and_then(|key| keys.add(key));
            added.map_err(|expected| ConfigError::new(&place, &file.key, expected))?;
        }
        match keys.0.is_empty() {
            true => Err(file.refused(format!(
                "{}: no key in it; expected {expected}",
                file.text()
            ))),
            false => Ok(()),
        }
    }
}

/// Where the table may have its keys.
pub(super) const KEY_SETTINGS: [&str; 4] = ["api_key", "api_key_file", "api_keys", "api_keys_file"];

/// Keys as they are found, each once.
#[derive(Default)]
struct Gathered(Vec<Secret>);

impl Gathered {
    fn add(&mut self, key: Secret) -> Result<(), String> {
        if self.0.contains(&key) {
            return Ok(());
        }
        if self.0.len() == KEYS_MAX {
            return Err(format!("expected at most {KEYS_MAX} keys of a provider"));
        }
        self.0.push(key);
        Ok(())
    }
}

impl From<Gathered> for Option<ApiKeys> {
    fn from(keys: Gathered) -> Self {
        let mut keys = keys.0.into_iter();
        let first = keys.next()?;
        Some(ApiKeys {
            first,
            others: keys.collect(),
        })
    }
}
