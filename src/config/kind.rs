//! The types of providers. What differs between them elsewhere asks for the type.

use std::fmt;
use std::str::FromStr;

/// The provider types, which differ in credential, defaults and paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenAI, and whatever is compatible with it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// OpenRouter.
    OpenRouter,
    /// Z.ai.
    Zai,
    /// A vLLM server, which serves some endpoints beside its base URL.
    Vllm,
    /// DeepSeek.
    DeepSeek,
}

impl ProviderKind {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::OpenAi,
        Self::Anthropic,
        Self::OpenRouter,
        Self::Zai,
        Self::Vllm,
        Self::DeepSeek,
    ];

    /// Its name in configuration files and, for the unsuffixed instance, in paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::OpenRouter => "openrouter",
            Self::Zai => "zai",
            Self::Vllm => "vllm",
            Self::DeepSeek => "deepseek",
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProviderKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or(UnknownKind)
    }
}

/// A word that is none of [`ProviderKind::ALL`]; its message lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownKind;

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown provider type, {}", expected())
    }
}

impl std::error::Error for UnknownKind {}

/// Their names.
pub(super) fn words() -> Vec<&'static str> {
    ProviderKind::ALL.map(ProviderKind::as_str).to_vec()
}

/// What is expected where a type is.
pub(crate) fn expected() -> String {
    let known = ProviderKind::ALL.map(ProviderKind::as_str).join(", ");
    format!("expected one of {known}")
}
