//! The types of providers, and what differs between them by a word or a number; what of their endpoints lies where is
//! in `policy/route/roots`. Everything else that differs asks for the type.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Makes [`ProviderKind`], the list of all types, and a function for each column.
macro_rules! kinds {
    ($(#[doc = $about:literal] $kind:ident $name:literal $base:literal $field:ident $key:ident $idle:literal)*) => {
        /// The provider types, which differ in credential, defaults and paths.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProviderKind {
            $(#[doc = $about] $kind,)*
        }

        impl ProviderKind {
            /// Every type, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name in configuration files and, for the unsuffixed instance, in paths.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// Where its providers usually are; empty where that has to be said.
            pub(super) const fn base_url(self) -> &'static str {
                match self { $(Self::$kind => $base,)* }
            }

            /// The field that its key is usually sent in.
            pub(super) const fn key_field(self) -> KeyField {
                match self { $(Self::$kind => KeyField::$field,)* }
            }

            /// Whether a provider needs a key to exist; else a base URL will do.
            pub(super) const fn needs_key(self) -> bool {
                matches!(match self { $(Self::$kind => Key::$key,)* }, Key::Needed)
            }

            /// How long an idle connection is kept where nobody says otherwise.
            pub(super) const fn idle(self) -> Duration {
                Duration::from_secs(match self { $(Self::$kind => $idle,)* })
            }
        }
    };
}

kinds! {
//  type        name          usual base URL                                        key in         key       idle
    /// OpenAI, and whatever is compatible with it.
    OpenAi      "openai"      "https://api.openai.com/v1"                           Authorization  Needed    60
    /// Anthropic.
    Anthropic   "anthropic"   "https://api.anthropic.com/v1"                        XApiKey        Needed    60
    /// OpenRouter.
    OpenRouter  "openrouter"  "https://openrouter.ai/api/v1"                        Authorization  Needed    60
    /// Z.ai.
    Zai         "zai"         "https://api.z.ai/api/paas/v4"                        Authorization  Needed    60
    /// A vLLM server, which serves some endpoints beside its base URL. uvicorn, in front of it, closes after 5 s.
    Vllm        "vllm"        "http://localhost:8000/v1"                            Authorization  Optional  4
    /// DeepSeek.
    DeepSeek    "deepseek"    "https://api.deepseek.com"                            Authorization  Needed    60
    /// Kilo.
    Kilo        "kilo"        "https://api.kilo.ai/api/gateway"                     Authorization  Needed    60
    /// An SGLang server; as for vLLM.
    Sglang      "sglang"      "http://localhost:30000/v1"                           Authorization  Optional  4
    /// A llama.cpp server; as for vLLM. Its usual port is the gateway's own.
    LlamaCpp    "llamacpp"    ""                                                    Authorization  Optional  4
    /// The router of llm-d in front of vLLM servers.
    Llmd        "llmd"        ""                                                    Authorization  Optional  60
    /// Eden AI.
    EdenAi      "edenai"      "https://api.edenai.run/v3"                           Authorization  Needed    60
    /// TypeSafe's Jev, and what speaks its dialect.
    Jev         "jev"         "https://api.typesafe.ai/v1"                          Authorization  Optional  60
    /// Chutes.
    Chutes      "chutes"      "https://llm.chutes.ai/v1"                            Authorization  Needed    60
    /// Cohere, whose paths have their version in them.
    Cohere      "cohere"      "https://api.cohere.com"                              Authorization  Needed    60
    /// Fireworks AI.
    Fireworks   "fireworks"   "https://api.fireworks.ai/inference/v1"               Authorization  Needed    60
    /// Meta.
    Meta        "meta"        "https://api.meta.ai/v1"                              Authorization  Needed    60
    /// Alibaba Cloud's Model Studio.
    Bailian     "bailian"     "https://dashscope.aliyuncs.com/compatible-mode/v1"   Authorization  Needed    60
    /// MiniMax.
    MiniMax     "minimax"     "https://api.minimax.io/v1"                           Authorization  Needed    60
    /// Xiaomi MiMo.
    Xiaomi      "xiaomi"      "https://api.xiaomimimo.com/v1"                       Authorization  Needed    60
    /// ElevenLabs; as Cohere.
    ElevenLabs  "elevenlabs"  "https://api.elevenlabs.io"                           XiApiKey       Needed    60
    /// Kimi Code.
    KimiCode    "kimicode"    "https://api.kimi.com/coding/v1"                      Authorization  Needed    60
    /// Hetzner.
    Hetzner     "hetzner"     "https://inference.hetzner.com/api/v1"                Authorization  Needed    60
    /// An audio.cpp server; as llama.cpp's.
    AudioCpp    "audiocpp"    ""                                                    Authorization  Optional  4
    /// Azure OpenAI, whose base URL has the name of the resource in it.
    Azure       "azure"       ""                                                    ApiKey         Needed    60
}

enum Key {
    Needed,
    Optional,
}

/// A field that a key is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyField {
    /// `Authorization: Bearer`
    Authorization,
    /// `x-api-key`
    XApiKey,
    /// `api-key`
    ApiKey,
    /// `xi-api-key`
    XiApiKey,
}

impl KeyField {
    /// Every field.
    pub(super) const ALL: [Self; 4] = [
        Self::Authorization,
        Self::XApiKey,
        Self::ApiKey,
        Self::XiApiKey,
    ];

    /// What it is called in settings.
    pub(super) const fn setting(self) -> &'static str {
        match self {
            Self::Authorization => "bearer",
            _ => self.name(),
        }
    }

    /// The field's name, as it is sent.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorization => "Authorization",
            Self::XApiKey => "x-api-key",
            Self::ApiKey => "api-key",
            Self::XiApiKey => "xi-api-key",
        }
    }

    /// What stands before the key in the value.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Authorization => "Bearer ",
            _ => "",
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
        let mut all = Self::ALL.iter().copied();
        all.find(|kind| kind.as_str() == name).ok_or(UnknownKind)
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
    ProviderKind::ALL.iter().map(|kind| kind.as_str()).collect()
}

/// What is expected where a type is.
pub(crate) fn expected() -> String {
    let known: Vec<&str> = ProviderKind::ALL.iter().map(|kind| kind.as_str()).collect();
    format!("expected one of {}", known.join(", "))
}
