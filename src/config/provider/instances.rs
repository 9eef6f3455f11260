//! The instances of a provider: one base URL, several, or a table for each.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::Builder;
use super::fields;
use super::instance::{Credential, Instance, Resolve};
use super::shares::{concurrency, resolve, resolve_words, shown_resolve};
use super::table::{Draft, as_written, header_map};
use crate::config::error::ConfigError;
use crate::config::kind::ProviderKind;
use crate::config::setting::{Setting, Slot};
use crate::config::shown::{quoted, quoted_path};
use crate::config::trust::Trust;
use crate::config::url::{BaseUrl, Host, base};
use crate::config::written::{Form, Section, Written};
use crate::providers::group::{INSTANCES_MAX, WEIGHT_MAX};

/// What is read of one table of the list.
#[derive(Default)]
pub(in crate::config) struct Part {
    base: Option<BaseUrl>,
    weight: Option<u16>,
    concurrency: Option<NonZeroU32>,
    resolve: Option<Resolve>,
    ca_file: Option<Written>,
    headers: BTreeMap<String, String>,
}

/// A field of [`Part`].
macro_rules! at {
    ($field:ident, $form:expr, $read:expr, $show:expr) => {
        Slot {
            form: $form,
            set: |part: &mut Part, written| {
                part.$field = $read(written)?;
                Ok(())
            },
            show: $show,
        }
    };
}

fn weight(written: &Written) -> Result<Option<u16>, String> {
    let weight = written.text().parse().ok();
    let weight = weight.filter(|weight| *weight <= WEIGHT_MAX && !written.text().starts_with('+'));
    weight
        .map(Some)
        .ok_or_else(|| format!("expected a number from 0 to {WEIGHT_MAX}"))
}

/// In the order of `check`.
pub(in crate::config) const SETTINGS: &[Setting<Part, Instance>] = &[
    Setting::new(
        "base_url",
        "",
        &[],
        at!(
            base,
            Form::Text,
            |written: &Written| Ok::<_, String>(Some(base(written.text())?)),
            |instance: &Instance| Some(quoted(&instance.base.to_string()))
        ),
    ),
    Setting::new(
        "weight",
        "1",
        &[],
        at!(weight, Form::Scalar, weight, |instance: &Instance| Some(
            instance.weight.to_string()
        )),
    ),
    Setting::new(
        "concurrency",
        "",
        &[],
        at!(
            concurrency,
            Form::Scalar,
            concurrency,
            |instance: &Instance| instance.concurrency.map(|limit| limit.to_string())
        ),
    ),
    Setting::new(
        "resolve",
        "\"one\"",
        &[],
        at!(resolve, Form::Text, resolve, |instance: &Instance| {
            shown_resolve(instance.resolve)
        }),
    )
    .words(resolve_words),
    Setting::new(
        "ca_file",
        "",
        &[],
        at!(
            ca_file,
            Form::Text,
            as_written,
            |instance: &Instance| match &instance.trust {
                Trust::File(file) => Some(quoted_path(&file.path)),
                Trust::System | Trust::Environment(_) => None,
            }
        ),
    ),
    Setting::new(
        "headers",
        "",
        &[],
        at!(headers, Form::Map, header_map, |_: &Instance| None),
    )
    .secret(),
];

/// The first one, and the others.
pub(super) type Instances = (Instance, Vec<Instance>);

impl Builder<'_> {
    /// All of them; `None` where only a key says that there is a provider, and nobody where.
    pub(super) fn instances(
        &self,
        draft: &mut Draft,
        kind: ProviderKind,
        credential: &Credential,
    ) -> Result<Option<Instances>, ConfigError> {
        // A variable wins over all that the table says of places.
        let by_variable = draft.base.is_some() && self.is_in_variable("_BASE_URL");
        if !by_variable {
            let parts = self
                .section
                .parts
                .first()
                .map(|part| ("instance", &*part.from));
            let bases = self
                .section
                .get("base_urls")
                .map(|it| ("base_urls", &*it.from));
            let single = self
                .section
                .get("base_url")
                .map(|it| ("base_url", &*it.from));
            let mut said = [single, bases, parts].into_iter().flatten();
            if let (Some((one, from)), Some((other, _))) = (said.next(), said.next()) {
                let message = format!("expected only one of {one} and {other}");
                return Err(ConfigError::new(from, &self.key(one), message));
            }
            if !self.section.parts.is_empty() {
                return self.of_parts(draft, credential).map(Some);
            }
            if let Some(bases) = draft.bases.take() {
                return self.of_bases(draft, bases, kind).map(Some);
            }
        }
        let Some(base) = self.base(draft.base.take(), kind)? else {
            return Ok(None);
        };
        let first = self.fit(self.instance(draft, base, draft.resolve)?)?;
        Ok(Some((first, Vec::new())))
    }

    fn of_bases(
        &self,
        draft: &mut Draft,
        bases: Vec<BaseUrl>,
        kind: ProviderKind,
    ) -> Result<Instances, ConfigError> {
        let mut instances = Vec::new();
        for base in bases {
            if let Some(base) = self.base(Some(base), kind)? {
                instances.push(self.fit(self.instance(draft, base, draft.resolve)?)?);
            }
        }
        self.together(
            instances,
            |_| self.section.place("base_urls").to_owned(),
            "base_urls",
        )
    }

    fn of_parts(&self, draft: &Draft, credential: &Credential) -> Result<Instances, ConfigError> {
        let mut instances = Vec::new();
        for section in &self.section.parts {
            instances.push(self.of_part(draft, section, credential)?);
        }
        let from = |index: usize| {
            let part = self.section.parts.get(index);
            part.map_or_else(String::new, |part| part.from.clone())
        };
        self.together(instances, from, "instance")
    }

    fn of_part(
        &self,
        draft: &Draft,
        section: &Section,
        credential: &Credential,
    ) -> Result<Instance, ConfigError> {
        let mut part = Part::default();
        for setting in SETTINGS {
            setting.set_from_file(&mut part, section)?;
        }
        let of = |key: &str| self.key(&format!("instance.{key}"));
        let Some(base) = part.base.take() else {
            let mut message = "expected a base URL such as http://10.0.0.7:8000/v1".to_owned();
            if part.concurrency.is_some() {
                message += "; where there are no instances, concurrency belongs in ";
                message += &format!("[providers.{}]", self.name);
            }
            return Err(ConfigError::new(&section.from, &of("base_url"), message));
        };
        let headers = fields::headers(&part.headers, credential).and_then(fields::of_instance);
        let headers = headers.map_err(|(key, expected)| {
            ConfigError::new(section.place("headers"), &of(&key), expected)
        })?;
        let resolve = part.resolve.or(draft.resolve);
        let mut instance = self.instance(draft, base, resolve)?;
        if let Some(message) = unfit(&instance) {
            return Err(match section.get("resolve") {
                Some(_) => ConfigError::new(section.place("resolve"), &of("resolve"), message),
                None => self.error("resolve", message),
            });
        }
        if let Some(written) = &part.ca_file {
            instance.trust = match instance.base.tls {
                true => Trust::from_file(self.sources.read_pem, written)?,
                false => return Err(written.refused(super::CA_FILE_EXPECTED)),
            };
        }
        instance.weight = part.weight.unwrap_or(1);
        instance.concurrency = part.concurrency;
        instance.headers = headers;
        Ok(instance)
    }

    /// An instance that can be what the provider's table says of its name.
    fn fit(&self, instance: Instance) -> Result<Instance, ConfigError> {
        match unfit(&instance) {
            Some(message) => Err(self.error("resolve", message)),
            None => Ok(instance),
        }
    }

    /// An instance at this place, reached as the provider's table says.
    fn instance(
        &self,
        draft: &Draft,
        base: BaseUrl,
        resolve: Option<Resolve>,
    ) -> Result<Instance, ConfigError> {
        Ok(Instance {
            number: 1,
            address: None,
            resolve: resolve.unwrap_or_default(),
            proxy: self.proxy(draft, &base)?,
            identity: self.identity(draft, &base)?,
            trust: self.trust(draft, &base)?,
            weight: 1,
            concurrency: None,
            headers: Vec::new(),
            base,
        })
    }

    /// Whether they can stand for one another.
    fn together(
        &self,
        mut instances: Vec<Instance>,
        from: impl Fn(usize) -> String,
        key: &str,
    ) -> Result<Instances, ConfigError> {
        let refused =
            |index: usize, message: String| ConfigError::new(&from(index), &self.key(key), message);
        if instances.is_empty() {
            return Err(refused(
                0,
                "expected at least one base URL; leave it out for the usual one".to_owned(),
            ));
        }
        if instances.len() > INSTANCES_MAX {
            return Err(refused(
                INSTANCES_MAX,
                format!("expected at most {INSTANCES_MAX} instances"),
            ));
        }
        for (index, instance) in instances.iter().enumerate().skip(1) {
            let mut before = instances.iter().take(index);
            if before.any(|other| other.base == instance.base) {
                return Err(refused(
                    index,
                    format!("expected each base URL once; found {} again", instance.base),
                ));
            }
            let path = instances.first().map_or("", |first| &*first.base.path);
            if instance.base.path != path {
                let message = format!(
                    "expected the same path in all base URLs; found {} beside {path}",
                    instance.base
                );
                return Err(refused(index, message));
            }
        }
        if instances.iter().all(|instance| instance.weight == 0) {
            return Err(refused(
                0,
                "expected a weight above 0 for at least one instance".to_owned(),
            ));
        }
        for (instance, number) in instances.iter_mut().zip(1..) {
            instance.number = number;
        }
        let first = instances.remove(0);
        Ok((first, instances))
    }
}

/// Why its name cannot stand for many servers, where it is to.
fn unfit(instance: &Instance) -> Option<String> {
    let Instance { base, proxy, .. } = instance;
    match (instance.resolve, &base.host, proxy) {
        (Resolve::One, ..) | (Resolve::All, Host::Name(_), None) => None,
        (Resolve::All, Host::Ip(_) | Host::Unix(_), _) => Some(format!(
            "expected a host name in the base URL beside resolve = \"all\"; found {base}"
        )),
        (Resolve::All, Host::Name(_), Some(_)) => Some(format!(
            "expected proxy = \"none\" beside resolve = \"all\", since a proxy finds addresses itself; {base} is reached \
             through one"
        )),
    }
}
