//! The field lines that the gateway itself gives the requests to one provider: `Host`, credential, configured ones and
//! defaults. Made with the configuration.

use zeroize::Zeroizing;

use crate::config::{Credential, Provider};
use crate::http::head::{FieldSet, Section};

/// Most default lines a provider can have.
pub(crate) const DEFAULTS_MAX: usize = 4;

/// The field lines that a provider's requests get, written out once.
pub struct ProviderLines {
    /// `Host`, the credential and configured fields: always sent. Overwritten when it is given back.
    always: Zeroizing<Vec<u8>>,
    /// Sent unless the client sends the field itself.
    defaults: Vec<DefaultLine>,
    /// Names in `always` whose client lines are dropped, beyond those that every request loses.
    replaced: Vec<Box<[u8]>>,
    /// The client's own credential goes on (`credential = "client"`).
    pub keeps_credential: bool,
}

struct DefaultLine {
    name: Box<[u8]>,
    line: Box<[u8]>,
}

impl ProviderLines {
    /// Those of this provider.
    #[must_use]
    pub(crate) fn new(provider: &Provider) -> Self {
        // Never moved while it grows, which would leave the key behind.
        let mut always = Zeroizing::new(Vec::with_capacity(always_bytes(provider)));
        push(&mut always, b"Host", provider.base.authority.as_bytes());
        match &provider.credential {
            Credential::Bearer(key) => {
                push_parts(&mut always, b"Authorization", &[b"Bearer ", key.expose()]);
            }
            Credential::XApiKey(key) => push(&mut always, b"x-api-key", key.expose()),
            Credential::None | Credential::Client => {}
        }
        for (name, value) in &provider.headers {
            push(&mut always, name.as_bytes(), value.as_bytes());
        }
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
            defaults: defaults.collect(),
            replaced: provider
                .headers
                .iter()
                .map(|(name, _)| name.as_bytes().into())
                .collect(),
            keeps_credential: matches!(provider.credential, Credential::Client),
        }
    }

    /// The lines that every request gets.
    #[must_use]
    pub fn always(&self) -> &[u8] {
        &self.always
    }

    /// Adds the field lines whose place configured ones take.
    pub fn remove_replaced(&self, section: Section<'_>, removed: &mut FieldSet) {
        for name in &self.replaced {
            for (index, _) in section.spelt(name) {
                removed.insert(index);
            }
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

/// At least as many as the lines that are always sent take.
fn always_bytes(provider: &Provider) -> usize {
    let line = |name: &str, value: usize| name.len() + value + ": \r\n".len();
    let credential = match &provider.credential {
        Credential::Bearer(key) => line("Authorization", "Bearer ".len() + key.expose().len()),
        Credential::XApiKey(key) => line("x-api-key", key.expose().len()),
        Credential::None | Credential::Client => 0,
    };
    let headers = provider.headers.iter();
    let headers: usize = headers.map(|(name, value)| line(name, value.len())).sum();
    line("Host", provider.base.authority.len()) + credential + headers
}
