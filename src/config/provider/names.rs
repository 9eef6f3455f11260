//! Names of instances and of their variables: which of them belong to which type.

use std::collections::BTreeMap;

use super::table::SETTINGS;
use crate::base::number;
use crate::config::kind::ProviderKind;
use crate::config::source::Env;

/// Every instance that a variable is for, and what its variables begin with: `OPENAI_EAST_API_KEY` → `openai-east`
/// with the prefix `OPENAI_EAST`.
pub(super) fn instances(env: &Env<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for prefix in env.keys().filter_map(prefix) {
        if kind_of_prefix(prefix).is_some() {
            let name = prefix.to_ascii_lowercase().replace('_', "-");
            found.insert(name, prefix.to_owned());
        }
    }
    found
}

/// What a variable of an instance begins with.
fn prefix(variable: &str) -> Option<&str> {
    let of_setting = suffixes().find_map(|suffix| variable.strip_suffix(suffix));
    of_setting.or_else(|| numbered(variable).map(|(prefix, _)| prefix))
}

/// What the variables of an instance end in; of two that end alike the longer first.
pub(in crate::config) fn suffixes() -> impl Iterator<Item = &'static str> {
    let suffixes = SETTINGS.iter().rev().map(|setting| setting.suffix);
    suffixes.filter(|suffix| !suffix.is_empty())
}

/// A variable for one of several keys, or for its file: `OPENAI_API_KEY_2` → `OPENAI` and 2.
pub(in crate::config) fn numbered(variable: &str) -> Option<(&str, u64)> {
    let variable = variable.strip_suffix("_FILE").unwrap_or(variable);
    let (before, digits) = variable.rsplit_once('_')?;
    // Written otherwise it would be another variable.
    let number = number::decimal(digits).filter(|_| !digits.starts_with('0'))?;
    Some((before.strip_suffix("_API_KEY")?, number))
}

/// The type that a variable's prefix begins with: all of it, or up to an underscore.
pub(in crate::config) fn kind_of_prefix(prefix: &str) -> Option<ProviderKind> {
    let is_of =
        |kind: &&ProviderKind| is_instance(prefix, &kind.as_str().to_ascii_uppercase(), '_');
    ProviderKind::ALL.iter().find(is_of).copied()
}

/// The type that an instance's name begins with: all of it, or up to a hyphen.
pub(super) fn kind_of_name(name: &str) -> Option<ProviderKind> {
    let is_of = |kind: &&ProviderKind| is_instance(name, kind.as_str(), '-');
    ProviderKind::ALL.iter().find(is_of).copied()
}

fn is_instance(text: &str, kind: &str, separator: char) -> bool {
    let Some(rest) = text.strip_prefix(kind) else {
        return false;
    };
    rest.is_empty()
        || rest
            .strip_prefix(separator)
            .is_some_and(|suffix| !suffix.is_empty())
}

/// Whether a variable has no effect, since the type that it is for is not among those that are `enabled`, or has no such
/// setting.
pub(in crate::config) fn is_unexposed(variable: &str, enabled: &[ProviderKind]) -> bool {
    let kind = prefix(variable).and_then(kind_of_prefix);
    let has = |kind: ProviderKind| {
        let settings = SETTINGS.iter().filter(|setting| !setting.suffix.is_empty());
        let mut own = settings.filter(|setting| variable.ends_with(setting.suffix));
        own.all(|setting| setting.only_for.is_none_or(|only| only == kind))
    };
    kind.is_some_and(|kind| !enabled.contains(&kind) || !has(kind))
}
