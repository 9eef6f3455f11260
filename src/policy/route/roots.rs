//! Which endpoints lie where: below the base URL, beside it, or below a version of their own. By the type of provider;
//! model servers have two roots, and their base URL is the one that ends in `/v1`.

use crate::config::ProviderKind;

/// What a model server serves where.
pub(super) struct Roots {
    /// Below the base URL, and what is below it.
    pub(super) base: &'static [&'static str],
    /// At the root only, so that a client's `v1/` before it is a mistake.
    pub(super) root: &'static [&'static str],
}

impl Roots {
    /// Those of a type; none where everything lies below the base URL.
    pub(super) const fn of(kind: ProviderKind) -> Option<&'static Self> {
        match kind {
            ProviderKind::Vllm | ProviderKind::Llmd => Some(&VLLM),
            ProviderKind::Sglang => Some(&SGLANG),
            ProviderKind::LlamaCpp => Some(&LLAMA_CPP),
            ProviderKind::AudioCpp => Some(&AUDIO_CPP),
            _ => None,
        }
    }

    /// Whether `endpoint`, from which a `v1` may have been dropped, is served beside `/v1`.
    pub(super) fn is_at_root(&self, endpoint: &[u8], wrote_v1: bool) -> bool {
        let is_below = |name: &&str| strip_segments(endpoint, name).is_some();
        match wrote_v1 {
            true => self.root.iter().any(is_below),
            false => !self.base.iter().any(is_below),
        }
    }
}

/// Whether a leading `v1` is a part of the provider's own paths, beside others: no alias.
pub(super) const fn has_versions(kind: ProviderKind) -> bool {
    matches!(kind, ProviderKind::Cohere | ProviderKind::ElevenLabs)
}

/// What follows `name` and its slash where `name` is made of whole segments at the start of `path`.
pub(super) fn strip_segments<'p>(path: &'p [u8], name: &str) -> Option<&'p [u8]> {
    match path.strip_prefix(name.as_bytes())? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

const VLLM: Roots = Roots {
    base: &[
        "models",
        "chat/completions",
        "responses",
        "completions",
        "embeddings",
        "messages",
        "audio",
        "files",
        "batches",
    ],
    root: &[
        "tokenize",
        "detokenize",
        "pooling",
        "classify",
        "score",
        "rerank",
        "health",
        "metrics",
        "version",
        "ping",
        "invocations",
    ],
};

const SGLANG: Roots = Roots {
    base: &[
        "models",
        "chat/completions",
        "responses",
        "completions",
        "embeddings",
        "messages",
        "rerank",
        "tokenize",
        "audio",
        "files",
        "batches",
    ],
    root: &[
        "generate",
        "encode",
        "health",
        "health_generate",
        "metrics",
        "model_info",
        "get_model_info",
        "ping",
        "invocations",
    ],
};

const LLAMA_CPP: Roots = Roots {
    base: &[
        "models",
        "chat/completions",
        "responses",
        "completions",
        "embeddings",
        "messages",
    ],
    root: &[
        "completion",
        "embedding",
        "infill",
        "tokenize",
        "detokenize",
        "apply-template",
        "props",
        "slots",
        "lora-adapters",
        "metrics",
    ],
};

const AUDIO_CPP: Roots = Roots {
    base: &["audio", "models", "tasks", "ui"],
    root: &["health"],
};
