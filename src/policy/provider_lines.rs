//! What the gateway itself gives the requests to one provider: field lines (`Host`, credential, configured ones and
//! defaults), an entry of a list, a parameter of the query; and which of the client's lines it takes away. Made with
//! the configuration.

use memchr::memmem;
use zeroize::Zeroizing;

use crate::config::{Credential, Instance, KeyField, ListEntry, Provider, ProviderKind, Secret};
use crate::http::head::{FieldSet, Section, list};

/// Most default lines a provider can have.
pub(crate) const DEFAULTS_MAX: usize = 4;

/// The field lines that a provider's requests get, written out once.
pub struct ProviderLines {
    /// `Host`, the credential and configured fields: always sent. For each instance one with each key, or one without.
    /// Overwritten when they are given back.
    always: Box<[Zeroizing<Vec<u8>>]>,
    /// How many keys there are, or one for none.
    keys: usize,
    /// Sent unless the client sends the field itself.
    defaults: Vec<DefaultLine>,
    /// Names whose client lines are dropped, beyond those that every request loses: those in `always`, and one that is
    /// the gateway's own by its settings.
    dropped: Vec<Box<[u8]>>,
    /// What the names of further such lines begin with.
    withheld: &'static [&'static [u8]],
    /// What a list of the client's has to have in it.
    entry: Option<ListEntry>,
    version: Option<Version>,
    /// The client's own credential goes on (`credential = "client"`).
    pub keeps_credential: bool,
}

/// Where a request goes and with what: indices of an instance and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) instance: u8,
    pub(crate) key: u8,
}

struct DefaultLine {
    name: Box<[u8]>,
    line: Box<[u8]>,
}

/// A parameter for queries that lack it, as the first one and as a further one.
struct Version {
    first: Box<[u8]>,
    further: Box<[u8]>,
}

impl Version {
    fn new(version: &str) -> Self {
        let parameter = |sign: char| format!("{sign}{VERSION}={version}").into_bytes().into();
        Self {
            first: parameter('?'),
            further: parameter('&'),
        }
    }
}

const VERSION: &str = "api-version";

/// By these the router of llm-d is told what to do with a request; they are its operators' (llm-d's and the Gateway
/// API's inference extension).
const OF_LLMD: &[&[u8]] = &[
    b"x-llm-d-",
    b"x-gateway-inference-",
    b"x-gateway-model-name-rewrite",
    b"x-gateway-destination-endpoint",
    b"x-slo-",
];

impl ProviderLines {
    /// Those of this provider; `own_name` is a field that is no provider's business.
    #[must_use]
    pub(crate) fn new(provider: &Provider, own_name: Option<&str>) -> Self {
        let keys: Vec<Option<(KeyField, &Secret)>> = match &provider.credential {
            Credential::Key(field, keys) => keys.iter().map(|key| Some((*field, key))).collect(),
            Credential::None | Credential::Client => vec![None],
        };
        let always = provider.instances().flat_map(|instance| {
            let with = |key: &Option<_>| always(provider, instance, *key);
            keys.iter().map(with)
        });
        let always = always.collect();
        let defaults = provider.defaults.iter().map(|(name, value)| {
            let mut line = Vec::new();
            push(&mut line, name.as_bytes(), value.as_bytes());
            DefaultLine {
                name: name.as_bytes().into(),
                line: line.into(),
            }
        });
        Self {
            always,
            keys: keys.len(),
            defaults: defaults.collect(),
            dropped: { provider.instances().flat_map(|instance| &instance.headers) }
                .chain(&provider.headers)
                .map(|(name, _)| &**name)
                .chain(own_name)
                .map(|name| name.as_bytes().into())
                .collect(),
            withheld: match provider.kind {
                ProviderKind::Llmd => OF_LLMD,
                _ => &[],
            },
            entry: provider.entry,
            version: provider.api_version.as_deref().map(Version::new),
            keeps_credential: matches!(provider.credential, Credential::Client),
        }
    }

    /// The lines that every request gets that goes to the instance of this index, with the key of that.
    #[must_use]
    pub fn always(&self, instance: u8, key: u8) -> &[u8] {
        let [instance, key] = [instance, key].map(usize::from);
        let always = self.always.get(instance * self.keys + key);
        debug_assert!(
            always.is_some(),
            "both are chosen among those that there are"
        );
        always.map_or(&[], |always| always)
    }

    /// Puts the lines of another instance or key in the place of those in a rewritten request; whether they were there.
    #[must_use]
    pub(crate) fn readdress(&self, request: &mut Vec<u8>, from: Address, to: Address) -> bool {
        let old = self.always(from.instance, from.key);
        let new = self.always(to.instance, to.key);
        // At the start of a line: they begin with `Host`, and no line of the client's has that name.
        let found = memmem::find_iter(request, old).find(|at| {
            let before = at.checked_sub(2).and_then(|start| request.get(start..*at));
            before == Some(b"\r\n")
        });
        if let Some(at) = found {
            request.splice(at..at + old.len(), new.iter().copied());
        }
        found.is_some()
    }

    /// Adds the field lines whose place configured ones take, and those that are not for this provider.
    pub fn remove_dropped(&self, section: Section<'_>, removed: &mut FieldSet) {
        for name in &self.dropped {
            for (index, _) in section.spelt(name) {
                removed.insert(index);
            }
        }
        if self.withheld.is_empty() {
            return;
        }
        for (index, field) in section.fields.iter().enumerate() {
            let name = field.name_of(section.buf);
            let begins = |start: &&[u8]| {
                let begin = name.get(..start.len());
                begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start))
            };
            // The provider's own are configured.
            if self.withheld.iter().any(begins) {
                removed.insert(index);
            }
        }
    }

    /// Writes the list anew that has to have an entry and lacks it, with all that the client says in it; its own lines
    /// are removed then. Nothing is written where the entry is there.
    pub fn complete_list(&self, section: Section<'_>, removed: &mut FieldSet, out: &mut Vec<u8>) {
        let Some(entry) = &self.entry else {
            return;
        };
        let mut name = entry.field.as_bytes();
        let mut lines = FieldSet::default();
        let mut values = Vec::new();
        for (index, field) in section.spelt(name) {
            if removed.contains(index) {
                continue;
            }
            let value = section.value(field);
            if list(value).any(|listed| listed == entry.value.as_bytes()) {
                return;
            }
            name = field.name_of(section.buf);
            lines.insert(index);
            values.extend(Some(value).filter(|value| !value.is_empty()));
        }
        for index in lines.descending() {
            removed.insert(index);
        }
        values.push(entry.value.as_bytes());
        push(out, name, &values.join(&b","[..]));
    }

    /// What goes behind a target with this query.
    #[must_use]
    pub fn version_behind(&self, query: Option<&[u8]>) -> &[u8] {
        let Some(version) = &self.version else {
            return b"";
        };
        let is_version = |parameter: &[u8]| {
            let name = parameter.split(|byte| *byte == b'=').next();
            name == Some(VERSION.as_bytes())
        };
        match query {
            None => &version.first,
            Some(query) if query.split(|byte| *byte == b'&').any(is_version) => b"",
            Some(_) => &version.further,
        }
    }

    /// The default lines whose fields are not among those of `section` that go on.
    #[must_use]
    pub fn missing(
        &self,
        section: Section<'_>,
        removed: &FieldSet,
    ) -> [Option<&[u8]>; DEFAULTS_MAX] {
        let mut missing = [None; DEFAULTS_MAX];
        for (slot, default) in missing.iter_mut().zip(&self.defaults) {
            let mut sent = section.spelt(&default.name);
            let sent = sent.any(|(index, _)| !removed.contains(index));
            *slot = (!sent).then_some(&*default.line);
        }
        missing
    }
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_parts(out, name, &[value]);
}

fn push_parts(out: &mut Vec<u8>, name: &[u8], value: &[&[u8]]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    for part in value {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// The lines that are always sent there, with this key.
fn always(
    provider: &Provider,
    instance: &Instance,
    key: Option<(KeyField, &Secret)>,
) -> Zeroizing<Vec<u8>> {
    let is_own = |name: &str| {
        let mut own = instance.headers.iter();
        own.any(|(own, _)| own.eq_ignore_ascii_case(name))
    };
    let shared = { provider.headers.iter() }.filter(|(name, _)| !is_own(name));
    let headers: Vec<_> = shared.chain(&instance.headers).collect();
    // Never moved while it grows, which would leave the key behind.
    let mut always = Zeroizing::new(Vec::with_capacity(always_bytes(instance, &headers, key)));
    push(&mut always, b"Host", instance.base.authority.as_bytes());
    if let Some((field, key)) = key {
        let value = [field.scheme().as_bytes(), key.expose()];
        push_parts(&mut always, field.name().as_bytes(), &value);
    }
    for (name, value) in headers {
        push(&mut always, name.as_bytes(), value.as_bytes());
    }
    always
}

/// At least as many as these lines take.
fn always_bytes(
    instance: &Instance,
    headers: &[&(String, String)],
    key: Option<(KeyField, &Secret)>,
) -> usize {
    let line = |name: &str, value: usize| name.len() + value + ": \r\n".len();
    let credential = key.map_or(0, |(field, key)| {
        line(field.name(), field.scheme().len() + key.expose().len())
    });
    let headers = headers.iter();
    let headers: usize = headers.map(|(name, value)| line(name, value.len())).sum();
    line("Host", instance.base.authority.len()) + credential + headers
}
