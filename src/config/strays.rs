//! Variables that look like ours and have no effect: a slip in a name, or another program's provider. They are warned
//! of, never refused, for an environment belongs to many programs.

use std::collections::BTreeSet;

use super::error::ConfigError;
use super::kind::ProviderKind;
use super::near::{is_slip, near};
use super::provider::{kind_of_prefix, numbered, suffixes};
use super::reference::variables;
use super::source::Env;

/// Warns of each of them.
pub(super) fn warn(env: &Env<'_>, names: &Names) {
    for name in env.keys() {
        if let Some(said) = names.told(env, name) {
            env.warn(ConfigError::new(&env.place(name), name, said));
        }
    }
}

/// The names that are looked up, but for those of providers.
pub(super) struct Names {
    known: BTreeSet<String>,
    /// Without those that only a program sets.
    by_people: Vec<String>,
}

impl Names {
    pub(super) fn new() -> Self {
        let named = variables().into_iter().map(|variable| variable.name);
        let mut by_people: Vec<String> = named.filter(|name| !name.starts_with(PROVIDER)).collect();
        let files = by_people
            .iter()
            .filter(|name| name.ends_with("_MASTER_KEY"));
        let files: Vec<String> = files.map(|name| format!("{name}_FILE")).collect();
        by_people.extend(files);
        by_people.push(format!("{OURS}_CONFIG"));
        let mut known: BTreeSet<String> = by_people.iter().cloned().collect();
        known.insert(format!("{OURS}_HANDOVER"));
        Self { known, by_people }
    }

    /// What is said of a variable, if anything.
    pub(super) fn told(&self, env: &Env<'_>, name: &str) -> Option<String> {
        let is_used = self.known.contains(name) || env.is_put_in(name);
        self.said_of(name).filter(|_| !is_used)
    }

    /// What is to be said of a name that is none of them.
    fn said_of(&self, name: &str) -> Option<String> {
        let by_people = || self.by_people.iter().map(String::as_str);
        if let Some(rest) = name
            .strip_prefix(OURS)
            .and_then(|rest| rest.strip_prefix('_'))
        {
            // Not all of ours begin so.
            let bare = self.known.contains(rest) || matches!(provider(rest), Of::Provider);
            let meant_one = match bare {
                true => Some(rest),
                false => near(name, by_people()),
            };
            let hint = meant_one.map(meant).unwrap_or_default();
            return Some(format!("there is no such variable; it has no effect{hint}"));
        }
        match provider(name) {
            Of::Provider => return None,
            Of::Nobody(said) => return Some(said),
            Of::Others => {}
        }
        // Other programs have variables of such names too, so that one slip is all there may be.
        let meant_one = match name.starts_with("GOMODEL") {
            true => near(name, by_people()),
            false => by_people()
                .filter(|known| known.contains('_'))
                .find(|known| is_slip(name, known)),
        };
        meant_one.map(no_effect)
    }
}

const OURS: &str = "SLUICEGATE";

/// What the variables of every provider begin with where they are listed.
const PROVIDER: &str = "PROVIDER";

/// Whose variable a name is.
enum Of {
    /// A provider's.
    Provider,
    /// It was meant for one, and this is to be said of it.
    Nobody(String),
    /// It has nothing to do with providers.
    Others,
}

fn provider(name: &str) -> Of {
    if numbered(name).is_some_and(|(prefix, _)| kind_of_prefix(prefix).is_some()) {
        return Of::Provider;
    }
    let split = |suffix: &'static str| Some((name.strip_suffix(suffix)?, suffix));
    if let Some((prefix, suffix)) = suffixes().find_map(split) {
        return match kind_of_prefix(prefix) {
            Some(_) => Of::Provider,
            None => of_unknown_type(prefix, suffix).map_or(Of::Others, Of::Nobody),
        };
    }
    slip_in_suffix(name).map_or(Of::Others, |known| Of::Nobody(no_effect(&known)))
}

/// The name that was meant where it begins with a type and ends with nearly what a provider's variable ends in.
fn slip_in_suffix(name: &str) -> Option<String> {
    let begins = |kind: &ProviderKind| {
        let kind = kind.as_str().to_ascii_uppercase();
        let rest = name.strip_prefix(&*kind);
        rest.is_some_and(|rest| rest.starts_with('_'))
    };
    let kind = ProviderKind::ALL.iter().copied().find(begins)?;
    // The longest end first.
    let ends = name.match_indices('_').map(|(at, _)| at);
    let mut ends = ends.skip_while(|at| *at < kind.as_str().len());
    ends.find_map(|at| {
        let (prefix, end) = name.split_at_checked(at)?;
        let suffix = suffixes().find(|suffix| is_slip(end, suffix))?;
        Some(format!("{prefix}{suffix}"))
    })
}

/// The prefix is no type's; perhaps it was meant to be one, or is another program's.
fn of_unknown_type(prefix: &str, suffix: &str) -> Option<String> {
    let types = ProviderKind::ALL.iter();
    let types: Vec<String> = types
        .map(|kind| kind.as_str().to_ascii_uppercase())
        .collect();
    let begin = prefix.split('_').next().unwrap_or_default();
    // Short names are near to each other.
    let long = types.iter().filter(|name| name.len() > 4);
    let slip = { long }.find(|name| is_slip(begin, name));
    if let Some(known) = slip {
        let rest = prefix.strip_prefix(begin).unwrap_or_default();
        return Some(no_effect(&format!("{known}{rest}{suffix}")));
    }
    let other = OTHERS.into_iter().find(|other| *other == begin)?;
    let name = other.to_ascii_lowercase();
    Some(format!(
        "there is no provider type {name}, so it has no effect; expected a table [providers.{name}] with \
         type = \"openai\", base_url and api_key = \"${{{prefix}_API_KEY}}\" for one that speaks as OpenAI does"
    ))
}

/// Names of LLM providers in variables of other programs.
const OTHERS: [&str; 26] = [
    "AZURE",
    "BAILIAN",
    "BEDROCK",
    "CEREBRAS",
    "CHUTES",
    "COHERE",
    "DASHSCOPE",
    "FIREWORKS",
    "GEMINI",
    "GROQ",
    "HUGGINGFACE",
    "KILO",
    "LLAMACPP",
    "MINIMAX",
    "MISTRAL",
    "MOONSHOT",
    "NVIDIA",
    "OLLAMA",
    "PERPLEXITY",
    "REPLICATE",
    "SAMBANOVA",
    "SGLANG",
    "TOGETHER",
    "VERTEX",
    "XAI",
    "XIAOMI",
];

fn no_effect(known: &str) -> String {
    format!("it has no effect{}", meant(known))
}

fn meant(known: &str) -> String {
    format!("; did you mean {known}?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_slip_and_of_other_providers_are_known_as_such() {
        let names = Names::new();
        for (name, said) in [
            ("OPENAI_APIKEY", "; did you mean OPENAI_API_KEY?"),
            ("OPENAI_API_KEYS", "; did you mean OPENAI_API_KEY?"),
            ("OPENAI_EAST_APIKEY", "; did you mean OPENAI_EAST_API_KEY?"),
            (
                "OPENAI_API_KEY_FILES",
                "; did you mean OPENAI_API_KEY_FILE?",
            ),
            ("ANTHROPIC_BASEURL", "; did you mean ANTHROPIC_BASE_URL?"),
            ("OPNAI_API_KEY", "; did you mean OPENAI_API_KEY?"),
            (
                "OPNAI_EAST_BASE_URL",
                "; did you mean OPENAI_EAST_BASE_URL?",
            ),
            ("SLUICEGATE_WORKRES", "; did you mean SLUICEGATE_WORKERS?"),
            (
                "SLUICEGATE_KEY_FILE",
                "; did you mean SLUICEGATE_KEYS_FILE?",
            ),
            ("SLUICEGATE_LOG_LEVEL", "; did you mean LOG_LEVEL?"),
            ("SLUICEGATE_PORT", "; did you mean PORT?"),
            (
                "SLUICEGATE_OPENAI_API_KEY",
                "; did you mean OPENAI_API_KEY?",
            ),
            (
                "SLUICEGATE_PURPOSE",
                "there is no such variable; it has no effect",
            ),
            ("GOMODEL_MASTERKEY", "; did you mean GOMODEL_MASTER_KEY?"),
            ("BODY_SIZE_LIMT", "; did you mean BODY_SIZE_LIMIT?"),
            ("GROQ_API_KEY", "there is no provider type groq"),
            ("XAI_EAST_API_KEY", "there is no provider type xai"),
        ] {
            let found = names.said_of(name).unwrap_or_default();
            assert!(found.contains(said), "{name}: {found}");
        }
    }

    #[test]
    fn variables_of_other_programs_are_nobodys_business() {
        let names = Names::new();
        for name in [
            "PATH",
            "PORTS",
            "OPENAI_ORG_ID",
            "OPENAI_API_BASE",
            "ANTHROPIC_AUTH_TOKEN",
            "ANTHROPIC_MODEL",
            "GITHUB_API_KEY",
            "OPENAI_EAST_API_KEY",
            "VLLM_BASE_URL",
            "VLLM_USE_V1",
            "LOG_DIR",
            "GOMODEL_CACHE",
            "SLUICEGATES_API_KEY",
            "XY_API_KEY",
        ] {
            assert_eq!(names.said_of(name), None, "{name}");
        }
    }
}
