//! What a setting is. The tables of all of them, in `tables` and `provider::table`, are what the file, the variables,
//! `sluicegate check`, its reference, the manual page and every error are made of.

use super::error::ConfigError;
use super::kind::ProviderKind;
use super::near::hint;
use super::places::Place;
use super::source::Env;
use super::written::{Form, Section, Written};

/// One setting. A value is read into a `Draft`, where it may be checked against others, and shown of what is `InForce`.
pub(super) struct Setting<Draft: 'static, InForce: 'static> {
    /// Its name in its table; empty for a variable that stands for no key alone.
    pub(super) key: &'static str,
    /// Variables that win over the file.
    pub(super) variables: &'static [&'static str],
    /// What its variable ends in behind a provider's name; empty where it has none.
    pub(super) suffix: &'static str,
    /// Variables hold only where the file says nothing.
    pub(super) is_file_first: bool,
    /// Nobody may see its value.
    pub(super) is_secret: bool,
    /// Its variables are read elsewhere, for they may also name a file with the value.
    pub(super) is_credential: bool,
    /// The only type of providers that has it.
    pub(super) only_for: Option<ProviderKind>,
    /// Words that it takes, so that one of them can be suggested.
    pub(super) words: fn() -> Vec<&'static str>,
    /// What holds where nobody says anything, as the file would say it; empty where it depends on others.
    pub(super) default: &'static str,
    /// What the reference shows of it.
    pub(super) lines: &'static [Line],
    pub(super) slot: Slot<Draft, InForce>,
}

/// A line of the reference: `# key = value    # VARIABLE: about`. All of them are commented out.
pub(super) struct Line {
    /// The table of the example, where there are several; else empty.
    pub(super) block: &'static str,
    /// The value is none that holds where nobody says anything.
    pub(super) is_example: bool,
    pub(super) value: &'static str,
    /// Further lines go on behind it.
    pub(super) about: &'static str,
}

/// How a value is read and shown.
pub(super) struct Slot<Draft: 'static, InForce: 'static> {
    pub(super) form: Form,
    /// Reads a value into its place, or says what was expected.
    pub(super) set: fn(&mut Draft, &Written) -> Result<(), String>,
    /// What `check` shows; `None` is no line.
    pub(super) show: fn(&InForce) -> Option<String>,
}

/// A kind of values.
pub(super) struct Kind<T: 'static> {
    pub(super) form: Form,
    pub(super) read: fn(&Written) -> Result<T, String>,
    pub(super) show: fn(&T) -> Option<String>,
}

impl<Draft, InForce> Setting<Draft, InForce> {
    /// With the line of the reference that says so.
    pub(super) const fn new(
        key: &'static str,
        default: &'static str,
        lines: &'static [Line],
        slot: Slot<Draft, InForce>,
    ) -> Self {
        Self {
            key,
            variables: &[],
            suffix: "",
            is_file_first: false,
            is_secret: false,
            is_credential: false,
            only_for: None,
            words: Vec::new,
            default,
            lines,
            slot,
        }
    }

    pub(super) const fn variables(mut self, names: &'static [&'static str]) -> Self {
        self.variables = names;
        self
    }

    pub(super) const fn suffix(mut self, suffix: &'static str) -> Self {
        self.suffix = suffix;
        self
    }

    pub(super) const fn file_first(mut self) -> Self {
        self.is_file_first = true;
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    pub(super) const fn credential(mut self) -> Self {
        self.is_credential = true;
        self.secret()
    }

    pub(super) const fn only_for(mut self, kind: ProviderKind) -> Self {
        self.only_for = Some(kind);
        self
    }

    pub(super) const fn words(mut self, words: fn() -> Vec<&'static str>) -> Self {
        self.words = words;
        self
    }

    /// Reads a value into its place.
    pub(super) fn set(&self, draft: &mut Draft, written: &Written) -> Result<(), ConfigError> {
        (self.slot.set)(draft, written).map_err(|expected| {
            if self.is_secret {
                return written.refused(expected);
            }
            let hint = hint(written.text(), (self.words)(), '"');
            written.refused(format!("{expected}{}{hint}", written.found()))
        })
    }

    /// Reads what the file says, and says where that is.
    pub(super) fn set_from_file(
        &self,
        draft: &mut Draft,
        section: &Section,
    ) -> Result<Option<Place>, ConfigError> {
        let Some(written) = section.get(self.key) else {
            return Ok(None);
        };
        self.set(draft, written)?;
        Ok(Some(written.place()))
    }

    /// Reads its variables, and that of a provider with this prefix, and says which of them counts. Credentials, which
    /// may also stand in files that variables name, are read elsewhere.
    pub(super) fn set_from_env(
        &self,
        draft: &mut Draft,
        env: &Env<'_>,
        prefix: Option<&str>,
    ) -> Result<Option<Place>, ConfigError> {
        if self.is_credential {
            return Ok(None);
        }
        let own = prefix.filter(|_| !self.suffix.is_empty());
        let own = own.map(|prefix| format!("{prefix}{}", self.suffix));
        let names = self.variables.iter().map(|name| (*name).to_owned());
        let mut place = None;
        for key in names.chain(own) {
            if let Some(written) = env.written(&key, self.slot.form) {
                self.set(draft, &written)?;
                place = Some(written.place());
            }
        }
        Ok(place)
    }
}
