//! What `sluicegate check` prints: everything in force, as a configuration file would say it.

use std::fmt::Write as _;

use super::model::Config;
use super::provider::instance::Provider;
use super::provider::table;
use super::setting::Setting;
use super::shown::quoted_path;
use super::tables::TABLES;
use super::trust::Trust;

impl Config {
    /// Everything in force, secrets redacted.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut out = String::new();
        let file = self
            .file
            .as_ref()
            .map_or("none".into(), |file| file.display().to_string());
        let _ = writeln!(out, "# configuration file: {file}");
        for table in &TABLES {
            let (name, inner) = match table.name.split_once('.') {
                Some((_, inner)) => (None, format!("{inner}.")),
                None => (Some(table.name), String::new()),
            };
            if let Some(name) = name {
                let _ = writeln!(out, "\n[{name}]{}", self.remark(name));
            }
            describe(&mut out, &inner, table.settings, self);
        }
        self.describe_roots(&mut out);
        for provider in &self.providers {
            self.describe_provider(&mut out, provider);
        }
        out
    }

    /// What is said behind a table's header.
    fn remark(&self, table: &str) -> &'static str {
        match table == "auth" && self.auth.is_open() {
            true => " # none: this gateway is open",
            false => "",
        }
    }

    /// Roots that are no setting of ours.
    fn describe_roots(&self, out: &mut String) {
        let Trust::Environment(variables) = &self.trust else {
            return;
        };
        if let Some(file) = &variables.file {
            let _ = writeln!(out, "# trusted: SSL_CERT_FILE = {}", quoted_path(file));
        }
        for folder in &variables.folders {
            let _ = writeln!(out, "# also trusted: SSL_CERT_DIR={}", quoted_path(folder));
        }
    }

    fn describe_provider(&self, out: &mut String, provider: &Provider) {
        let _ = writeln!(out, "\n[providers.{:?}]", provider.name);
        // Roots that hold for all are said once.
        let is_said = |key: &str| key == "ca_file" && provider.trust == self.trust;
        let settings = table::SETTINGS.iter().filter(|it| !is_said(it.key));
        describe(out, "", settings, provider);
        for (name, value) in &provider.defaults {
            let _ = writeln!(out, "# sent unless the client does: {name}: {value}");
        }
        for (name, _) in &provider.headers {
            // A configured header may be a credential.
            let _ = writeln!(out, "headers.{name:?} = \"[redacted]\"");
        }
    }
}

fn describe<'s, D: 'static, C: 'static>(
    out: &mut String,
    inner: &str,
    settings: impl IntoIterator<Item = &'s Setting<D, C>>,
    in_force: &C,
) {
    for setting in settings {
        if let Some(value) = (setting.slot.show)(in_force) {
            let _ = writeln!(out, "{inner}{} = {value}", setting.key);
        }
    }
}
