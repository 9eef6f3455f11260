//! Providers' keys: out of variables, files that they name, or the table. Of several one is used so far.

use std::collections::BTreeSet;

use super::Instance;
use super::names::numbered;
use super::table::Draft;
use crate::config::error::ConfigError;
use crate::config::secret::Secret;

impl Instance<'_> {
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

    /// The key of the environment or `.env`: the one without a number, else the first.
    fn key_of_variables(&self) -> Result<Option<Secret>, ConfigError> {
        let Some(prefix) = self.prefix else {
            return Ok(None);
        };
        let first = format!("{prefix}_API_KEY");
        let (mut used, mut others) = (None, Vec::new());
        for variable in [first].into_iter().chain(self.numbered_keys()) {
            match (self.env.secret(&variable)?, &used) {
                (Some(key), None) => used = Some((key, variable)),
                (Some(key), Some((other, _))) if key != *other => others.push(variable),
                _ => {}
            }
        }
        if let (Some((_, used)), Some(other)) = (&used, others.first()) {
            let names = [other.clone(), format!("{other}_FILE")];
            let from = { names.iter() }.find_map(|name| Some(self.env.located(name)?.1));
            let mut message =
                format!("not used: a provider has one key so far, here that of {used}");
            if let [_, more @ ..] = &*others
                && !more.is_empty()
            {
                message = format!("{message}; so are not {}", more.join(", "));
            }
            let from = from.unwrap_or_default();
            self.env.warn(ConfigError::new(&from, other, message));
        }
        Ok(used.map(|(key, _)| key))
    }

    /// The key that counts.
    pub(super) fn api_key(&self, draft: &Draft) -> Result<Option<Secret>, ConfigError> {
        if let Some(key) = self.key_of_variables()? {
            return Ok(Some(key));
        }
        match (&draft.api_key, &draft.api_key_file) {
            (Some(key), Some(_)) => {
                Err(key.refused("expected only one of api_key and api_key_file"))
            }
            (Some(key), None) if key.text().is_empty() => Ok(None),
            (Some(key), None) => {
                self.env.doubt(&key.from, &key.key, key.text());
                let secret = Secret::new(key.text()).map(Some);
                secret.map_err(|expected| key.refused(expected))
            }
            (None, Some(file)) => self.env.secret_file_of(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}
