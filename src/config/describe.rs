//! What `sluicegate check` prints: everything in force, as a configuration file would say it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::model::Config;
use super::places::Places;
use super::provider::instance::{Instance, Provider};
use super::provider::instances;
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
            let of = Part {
                table: table.name,
                inner: &inner,
                places: &self.places,
            };
            of.describe(&mut out, table.settings, self);
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
        let of_proxy = provider.first.proxy.as_ref().map(|proxy| &proxy.trust);
        let is_said = |key: &str| match key {
            "ca_file" => provider.first.trust == self.trust,
            "proxy_ca_file" => of_proxy == Some(&self.proxy_trust),
            _ => false,
        };
        let settings = table::SETTINGS.iter().filter(|it| !is_said(it.key));
        let of = Part {
            table: &format!("providers.{}", provider.name),
            inner: "",
            places: &provider.places,
        };
        of.describe(out, settings, provider);
        for (name, value) in &provider.defaults {
            let line = format!("# sent unless the client does: {name}: {value}");
            of.line(out, &line, default_setting(name));
        }
        if let Some(entry) = &provider.entry {
            let _ = writeln!(
                out,
                "# added to the client's {}: {}",
                entry.field, entry.value
            );
        }
        for (name, _) in &provider.headers {
            // A configured header may be a credential.
            let line = format!("headers.{name:?} = \"[redacted]\"");
            of.line(out, &line, "headers");
        }
        let many = provider.instances().filter_map(Instance::name_of_many);
        for name in many.collect::<BTreeSet<_>>() {
            let _ = writeln!(
                out,
                "# an instance for each address of {name}, asked for at the start and every {:?}",
                self.address_age
            );
        }
        if !provider.others.is_empty() && !provider.has_plain_instances() {
            provider
                .instances()
                .for_each(|instance| describe_instance(out, provider, instance));
        }
    }
}

/// A table of the list; where it was written is said of its provider's.
fn describe_instance(out: &mut String, provider: &Provider, instance: &Instance) {
    let _ = writeln!(out, "\n[[providers.{:?}.instance]]", provider.name);
    let is_said = |key: &str| key == "ca_file" && instance.trust == provider.first.trust;
    for setting in instances::SETTINGS {
        if let Some(value) = (setting.slot.show)(instance).filter(|_| !is_said(setting.key)) {
            let _ = writeln!(out, "{} = {value}", setting.key);
        }
    }
    for (name, _) in &instance.headers {
        let _ = writeln!(out, "headers.{name:?} = \"[redacted]\"");
    }
}

/// A table, or a part of one.
struct Part<'p> {
    table: &'p str,
    /// What its keys begin with under the header.
    inner: &'p str,
    places: &'p Places,
}

impl Part<'_> {
    fn describe<'s, D: 'static, C: 'static>(
        &self,
        out: &mut String,
        settings: impl IntoIterator<Item = &'s Setting<D, C>>,
        in_force: &C,
    ) {
        for setting in settings {
            if let Some(value) = (setting.slot.show)(in_force) {
                let line = format!("{}{} = {value}", self.inner, setting.key);
                self.line(out, &line, setting.key);
            }
        }
    }

    /// A line, and where what it says of this key is written, unless that is a default.
    fn line(&self, out: &mut String, line: &str, key: &str) {
        let place = self.places.remark(&format!("{}.{key}", self.table));
        let _ = match place {
            Some(place) => writeln!(out, "{line:<COLUMN$}   # {place}"),
            None => writeln!(out, "{line}"),
        };
    }
}

/// What is said of places begins three blanks behind so many columns, or behind a longer line.
const COLUMN: usize = 37;

/// The setting that this default field comes from, where it comes from one.
fn default_setting(name: &str) -> &'static str {
    match name {
        "HTTP-Referer" => "site_url",
        "X-OpenRouter-Title" => "app_name",
        _ => "",
    }
}
