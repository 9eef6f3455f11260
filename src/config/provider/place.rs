//! Base URLs that come with the working directory while the key does not.
//!
//! Whoever starts the gateway in a folder that somebody else made (a repository that was checked out) reads that
//! one's `.env` and `sluicegate.toml`, and these may lead a key from the environment anywhere. That is as often meant
//! so as not, so it is said and not refused.

use super::instance::{Credential, Instance, Provider};
use super::keys::KEY_SETTINGS;
use super::{Builder, base};
use crate::config::error::ConfigError;

impl Builder<'_> {
    /// Warns where that is so of `provider`.
    pub(super) fn doubt_place(&self, provider: &Provider) {
        let usual = base(provider.kind.base_url());
        let is_usual = |instance: &Instance| usual.as_ref() == Ok(&instance.base);
        let Some(unusual) = provider.instances().find(|instance| !is_usual(instance)) else {
            return;
        };
        let Some((from, key)) = self.stray_place() else {
            return;
        };
        let Some(secret) = self.secret_from_elsewhere(provider) else {
            return;
        };
        let message = format!(
            "this file of the working directory leads {secret} to {}; if that is meant, set the base URL where \
             the key is set, or name the file with --config",
            unusual.base
        );
        self.env.warn(ConfigError::new(&from, &key, message));
    }

    /// File and key of the base URL that counts, if the working directory has it.
    fn stray_place(&self) -> Option<(String, String)> {
        let variable = self.prefix.map(|prefix| format!("{prefix}_BASE_URL"));
        if let Some(variable) = variable
            && let Some((_, from)) = self.env.located(&variable)
        {
            let of_environment = self.env.is_of_environment(&variable);
            return (!of_environment).then_some((from, variable));
        }
        let written = ["base_url", "base_urls"].into_iter();
        let mut written = written.filter(|key| self.section.get(key).is_some());
        let instance = (!self.section.parts.is_empty()).then_some("instance");
        let key = written.next().or(instance).filter(|_| self.is_stray)?;
        Some((self.path.to_owned(), self.key(key)))
    }

    /// What a request is sent and the working directory does not have; for people to read.
    fn secret_from_elsewhere(&self, provider: &Provider) -> Option<String> {
        let table_name = format!("providers.{}", self.name);
        // A host from the environment is no secret.
        let places = ["base_url", "base_urls", "instance.base_url"];
        let expanded = self.env.expanded_below(&table_name, &places);
        let expanded = expanded.map(|key| format!("what {key} has from the environment"));
        if !matches!(provider.credential, Credential::Key(..)) {
            return expanded;
        }
        let first = self.prefix.map(|prefix| format!("{prefix}_API_KEY"));
        let variables = first.into_iter().chain(self.numbered_keys());
        let variables = variables.flat_map(|name| [format!("{name}_FILE"), name].into_iter().rev());
        let mut set = variables.filter(|name| self.env.get(name).is_some());
        match set.next() {
            Some(name) if self.env.is_of_environment(&name) => Some(format!("the key in {name}")),
            Some(_) => expanded,
            None if self.is_stray => expanded,
            // It stands in a file that was named, or in the system's.
            None => KEY_SETTINGS
                .iter()
                .any(|key| self.section.get(key).is_some())
                .then(|| format!("the key of {}", self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::path::Path;

    use crate::config::property::Env;
    use crate::config::{ConfigError, Sources, load};

    const KEY: (&str, &str) = ("OPENAI_API_KEY", "sk-marker");

    /// What is warned of beside the missing gateway key; the file has this name, and is named where that is not one
    /// of those that are looked for.
    fn warnings(env: Env<'_>, dotenv: &str, name: &str, toml: &str) -> Vec<String> {
        let read = |path: &Path| match path.to_str() {
            Some(".env") => Ok(dotenv.into()),
            Some("/run/key") => Ok(b"sk-marker".to_vec()),
            Some(path) if path == name => Ok(toml.into()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), value.into());
        let looked_for = [
            "sluicegate.toml",
            "/etc/sluicegate/sluicegate.toml",
            "dotenv-names-it",
        ];
        let config = load(&Sources {
            env: env.iter().map(owned).collect::<BTreeMap<_, _>>(),
            flags: BTreeMap::new(),
            read: &read,
            read_pem: &read,
            file: (!looked_for.contains(&name)).then(|| name.into()),
            terminal: false,
        });
        let warnings = config.unwrap().warnings;
        let shown = warnings.iter().map(ConfigError::to_string);
        shown.filter(|line| !line.contains("gateway key")).collect()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn a_base_url_of_the_working_directory_for_a_key_from_elsewhere_is_warned_of() {
        let evil = "[providers.openai]\nbase_url = 'http://evil.example/v1'\n";
        let own = "[providers.mine]\ntype = 'openai'\nbase_url = 'http://evil.example'\n";
        let with = |more: &str| format!("{own}{more}\n");
        let by_dotenv = "OPENAI_BASE_URL=http://evil.example/v1\n";
        let by_file = ("OPENAI_API_KEY_FILE", "/run/key");
        let rows: &[(Env<'_>, &str, &str, &str, &[&str])] = &[
            (
                &[KEY],
                "",
                "sluicegate.toml",
                evil,
                &[
                    "sluicegate.toml: providers.openai.base_url",
                    "OPENAI_API_KEY",
                ],
            ),
            (
                &[by_file],
                "",
                "sluicegate.toml",
                evil,
                &["OPENAI_API_KEY_FILE"],
            ),
            (
                &[KEY],
                by_dotenv,
                "",
                "",
                &[".env line 1: OPENAI_BASE_URL", "OPENAI_API_KEY"],
            ),
            (&[by_file], by_dotenv, "", "", &["OPENAI_API_KEY_FILE"]),
            // What the file puts in from the environment leaves it as well.
            (
                &[KEY],
                "",
                "sluicegate.toml",
                &with("api_key = '${OPENAI_API_KEY}'"),
                &["providers.mine.api_key"],
            ),
            (
                &[("TOKEN", "sk-marker")],
                "",
                "sluicegate.toml",
                &with("credential = 'none'\nheaders = { X-Token = '${TOKEN}' }"),
                &["providers.mine.headers.X-Token"],
            ),
            // A file that was named has the key.
            (
                &[],
                by_dotenv,
                "named.toml",
                "[providers.openai]\napi_key = 'sk-marker'\n",
                &["named.toml"],
            ),
            (
                &[],
                by_dotenv,
                "named.toml",
                "[providers.openai]\napi_key_file = '/run/key'\n",
                &["named.toml"],
            ),
            // Who names the file is the working directory.
            (
                &[KEY],
                "SLUICEGATE_CONFIG=dotenv-names-it\n",
                "dotenv-names-it",
                evil,
                &["dotenv-names-it"],
            ),
        ];
        for (env, dotenv, name, toml, parts) in rows {
            let found = warnings(env, dotenv, name, toml);
            assert_eq!(found.len(), 1, "{env:?} {dotenv} {toml}: {found:?}");
            let text = found.concat();
            for part in parts.iter().chain(&["http://evil.example"]) {
                assert!(text.contains(part), "no {part} in {text}");
            }
            assert!(!text.contains("sk-marker"), "{text}");
        }
    }

    #[test]
    fn what_belongs_together_is_not() {
        let evil = "[providers.openai]\nbase_url = 'http://other.example/v1'\n";
        let usual = "[providers.openai]\nbase_url = 'https://api.openai.com/v1'\n";
        let key = "api_key = 'sk-marker'\n";
        let in_environment = ("OPENAI_BASE_URL", "http://other.example/v1");
        let rows: &[(Env<'_>, &str, &str, &str)] = &[
            (&[KEY], "", "sluicegate.toml", usual),
            (&[KEY], "", "named.toml", evil),
            (&[KEY], "", "/etc/sluicegate/sluicegate.toml", evil),
            (
                &[KEY, ("SLUICEGATE_CONFIG", "dotenv-names-it")],
                "",
                "dotenv-names-it",
                evil,
            ),
            (&[KEY, in_environment], "", "sluicegate.toml", evil),
            (
                &[KEY, in_environment],
                "OPENAI_BASE_URL=http://evil.example\n",
                "",
                "",
            ),
            (
                &[],
                "OPENAI_BASE_URL=http://other.example\nOPENAI_API_KEY=sk-marker\n",
                "",
                "",
            ),
            (&[], "OPENAI_API_KEY=sk-marker\n", "sluicegate.toml", evil),
            (&[], "", "sluicegate.toml", &format!("{evil}{key}")),
            (
                &[],
                "",
                "sluicegate.toml",
                &format!("{evil}credential = 'none'\n"),
            ),
            (
                &[KEY],
                "",
                "sluicegate.toml",
                &format!("{evil}credential = 'client'\n"),
            ),
            (
                &[("HOST_NAME", "other.example")],
                "",
                "sluicegate.toml",
                "[providers.vllm]\nbase_url = 'http://${HOST_NAME}:8000/v1'\n",
            ),
        ];
        for (env, dotenv, name, toml) in rows {
            let found = warnings(env, dotenv, name, toml);
            assert!(
                found.is_empty(),
                "{env:?} {dotenv} {name} {toml}: {found:?}"
            );
        }
    }
}
