//! Tables of requests and where they go, and the table against its slow model.

use proptest::prelude::*;

use super::*;
use crate::http::target;

const SETTINGS: Settings<'static> = Settings {
    base_path: "/",
    passthrough: true,
    v1_alias: true,
    metrics_endpoint: None,
};

fn entries() -> Vec<RouteEntry> {
    vec![
        RouteEntry::new("openai", ProviderKind::OpenAi, "/v1"),
        RouteEntry::new("anthropic", ProviderKind::Anthropic, "/v1"),
        RouteEntry::new("openrouter", ProviderKind::OpenRouter, "/api/v1"),
        RouteEntry::new("zai", ProviderKind::Zai, "/api/paas/v4"),
        RouteEntry::new("vllm", ProviderKind::Vllm, "/v1"),
        RouteEntry::new("deepseek", ProviderKind::DeepSeek, "/"),
        RouteEntry::new("openai-east", ProviderKind::OpenAi, "/openai/v1/"),
        RouteEntry::new("vllm-sub", ProviderKind::Vllm, "/llm/v1"),
        RouteEntry::new("vllm-bare", ProviderKind::Vllm, ""),
        RouteEntry::new("sglang", ProviderKind::Sglang, "/v1"),
        RouteEntry::new("llamacpp", ProviderKind::LlamaCpp, "/v1"),
        RouteEntry::new("llmd", ProviderKind::Llmd, "/v1"),
        RouteEntry::new("audiocpp", ProviderKind::AudioCpp, "/v1"),
        RouteEntry::new("cohere", ProviderKind::Cohere, ""),
        RouteEntry::new("elevenlabs", ProviderKind::ElevenLabs, ""),
    ]
}

/// A row is `METHOD TARGET -> OUTCOME`.
#[track_caller]
fn check_all(settings: Settings<'_>, rows: &str) {
    for row in rows.lines().filter(|row| !row.trim().is_empty()) {
        let (request, expected) = row.split_once(" -> ").unwrap();
        check(settings, request.trim(), expected);
    }
}

#[track_caller]
fn check(settings: Settings<'_>, request: &str, expected: &str) {
    let table = Table::new(settings, entries());
    let (method, target) = request.split_once(' ').unwrap();
    let (method, target) = (method.as_bytes(), target.as_bytes());
    let parsed = target::parse(target).unwrap();
    assert_eq!(
        property::outcome(&table, method, target, parsed),
        expected,
        "{request}"
    );
    property::holds(&table, method, target);
}

#[test]
fn clients_arrive_where_they_should() {
    check_all(
        SETTINGS,
        "
        POST /p/anthropic/v1/messages?beta=true    -> 1 /v1/messages?beta=true
        POST /p/anthropic/messages/count_tokens    -> 1 /v1/messages/count_tokens
        HEAD /p/anthropic/api/hello                -> 1 /v1/api/hello
        POST /p/openai/v1/responses                -> 0 /v1/responses
        POST /p/openai/responses                   -> 0 /v1/responses
        GET /p/openai/v1/realtime?model=gpt        -> 0 /v1/realtime?model=gpt
        GET /p/openai/v1/files/file-1/content      -> 0 /v1/files/file-1/content
        GET /p/openrouter/v1/models/vendor%2Fmodel -> 2 /api/v1/models/vendor%2Fmodel
        POST /p/openrouter/v1/messages             -> 2 /api/v1/messages
        POST /p/zai/chat/completions               -> 3 /api/paas/v4/chat/completions
        POST /p/deepseek/v1/chat/completions       -> 5 /chat/completions
        POST /p/deepseek/anthropic/v1/messages     -> 5 /anthropic/v1/messages
        POST /p/vllm/v1/chat/completions           -> 4 /v1/chat/completions
        POST /p/vllm/tokenize                      -> 4 /tokenize
        GET /p/vllm/health                         -> 4 /health
        POST /p/vllm/v2/embed                      -> 4 /v2/embed
        POST /p/openai-east/v1/responses           -> 6 /openai/v1/responses
        ",
    );
}

#[test]
fn one_leading_v1_segment_is_an_alias() {
    check_all(
        SETTINGS,
        "
        POST /p/anthropic/v1/messages -> 1 /v1/messages
        POST /p/anthropic/messages    -> 1 /v1/messages
        GET /p/openai/v1beta/models   -> 0 /v1/v1beta/models
        GET /p/openai/v1x             -> 0 /v1/v1x
        GET /p/openai/V1/models       -> 0 /v1/V1/models
        GET /p/openai/%761/models     -> 0 /v1/%761/models
        GET /p/openai/v1%2Fmodels     -> 0 /v1/v1%2Fmodels
        GET /p/openai/v1/v1/models    -> 0 /v1/v1/models
        GET /p/openai//v1/models      -> 0 /v1//v1/models
        GET /p/openai/v1//models/     -> 0 /v1//models/
        GET /p/openai/v1//            -> 0 /v1//
        GET /p/openai//               -> 0 /v1//
        ",
    );
    let disabled = Settings {
        v1_alias: false,
        ..SETTINGS
    };
    check_all(
        disabled,
        "
        GET /p/openai/v1/models     -> AliasDisabled
        GET /p/openai/v1            -> AliasDisabled
        GET /p/openai/v1/           -> AliasDisabled
        GET /p/vllm/v1/tokenize     -> AliasDisabled
        GET /p/none/v1/models       -> UnknownProvider
        GET /p/openai/v1beta/models -> 0 /v1/v1beta/models
        GET /p/openai/models        -> 0 /v1/models
        ",
    );
}

#[test]
fn model_servers_have_two_roots() {
    check_all(
        SETTINGS,
        "
        POST /p/sglang/generate              -> 9 /generate
        POST /p/sglang/v1/generate           -> 9 /generate
        POST /p/sglang/v1/rerank             -> 9 /v1/rerank
        POST /p/sglang/rerank                -> 9 /v1/rerank
        POST /p/sglang/v1/messages           -> 9 /v1/messages
        GET /p/sglang/health_generate        -> 9 /health_generate
        POST /p/sglang/v1/score              -> 9 /v1/score
        POST /p/llamacpp/v1/chat/completions -> 10 /v1/chat/completions
        POST /p/llamacpp/embeddings          -> 10 /v1/embeddings
        POST /p/llamacpp/rerank              -> 10 /rerank
        POST /p/llamacpp/v1/rerank           -> 10 /v1/rerank
        GET /p/llamacpp/props                -> 10 /props
        POST /p/llamacpp/v1/infill           -> 10 /infill
        POST /p/llmd/completions             -> 11 /v1/completions
        POST /p/llmd/inference/v1/generate   -> 11 /inference/v1/generate
        GET /p/audiocpp/health               -> 12 /health
        GET /p/audiocpp/v1/health            -> 12 /health
        GET /p/audiocpp/audio/voices         -> 12 /v1/audio/voices
        POST /p/audiocpp/v1/tasks/a          -> 12 /v1/tasks/a
        ",
    );
}

#[test]
fn a_version_of_the_providers_own_is_no_alias() {
    let without = Settings {
        v1_alias: false,
        ..SETTINGS
    };
    for settings in [SETTINGS, without] {
        check_all(
            settings,
            "
            GET /p/elevenlabs/v1/voices  -> 14 /v1/voices
            GET /p/elevenlabs/v2/voices  -> 14 /v2/voices
            GET /p/elevenlabs/v1         -> 14 /v1
            GET /p/cohere/v1/models?a    -> 13 /v1/models?a
            POST /p/cohere/v2/chat       -> 13 /v2/chat
            GET /p/cohere/               -> EmptyEndpoint
            ",
        );
    }
}

#[test]
fn vllm_has_two_roots() {
    for name in Roots::of(ProviderKind::Vllm).unwrap().base {
        let rows = "
        GET /p/vllm/NAME      -> 4 /v1/NAME
        GET /p/vllm/v1/NAME/a -> 4 /v1/NAME/a
        GET /p/vllm/NAME/a?b  -> 4 /v1/NAME/a?b
        GET /p/vllm/NAMEx     -> 4 /NAMEx
        ";
        check_all(SETTINGS, &rows.replace("NAME", name));
    }
    for name in Roots::of(ProviderKind::Vllm).unwrap().root {
        let rows = "
        GET /p/vllm/NAME      -> 4 /NAME
        GET /p/vllm/v1/NAME?a -> 4 /NAME?a
        GET /p/vllm/v1/NAME/a -> 4 /NAME/a
        GET /p/vllm/v1/NAMEx  -> 4 /v1/NAMEx
        ";
        check_all(SETTINGS, &rows.replace("NAME", name));
    }
    check_all(
        SETTINGS,
        "
        POST /p/vllm/v1/load_lora_adapter -> 4 /v1/load_lora_adapter
        POST /p/vllm/load_lora_adapter    -> 4 /load_lora_adapter
        GET /p/vllm/chat                  -> 4 /chat
        GET /p/vllm/chat%2Fcompletions    -> 4 /chat%2Fcompletions
        GET /p/vllm//models               -> 4 //models
        GET /p/vllm/v1/v1/tokenize        -> 4 /v1/v1/tokenize
        GET /p/vllm-sub/models            -> 7 /llm/v1/models
        GET /p/vllm-sub/v1/tokenize       -> 7 /llm/tokenize
        GET /p/vllm-bare/models           -> 8 /models
        GET /p/vllm-bare/tokenize         -> 8 /tokenize
        GET /p/openai/tokenize            -> 0 /v1/tokenize
        ",
    );
}

#[test]
fn empty_and_unknown_parts_are_named() {
    check_all(
        SETTINGS,
        "
        GET /p/openai          -> EmptyEndpoint
        GET /p/openai/         -> EmptyEndpoint
        GET /p/openai/v1       -> EmptyEndpoint
        GET /p/openai/v1/      -> EmptyEndpoint
        GET /p/openai?x        -> EmptyEndpoint
        GET /p/openai/v1?x     -> EmptyEndpoint
        GET /p/vllm/v1/        -> EmptyEndpoint
        GET /p//x              -> EmptyProvider
        GET /p/                -> EmptyProvider
        GET /p/?x              -> EmptyProvider
        GET /p/none/x          -> UnknownProvider
        GET /p/none            -> UnknownProvider
        GET /p/OpenAI/x        -> UnknownProvider
        GET /p/open%61i/x      -> UnknownProvider
        GET /p/openai%2Fmodels -> UnknownProvider
        GET /p/openai-/x       -> UnknownProvider
        ",
    );
    let listed = entries().drain(..2).collect();
    assert_eq!(
        Table::new(SETTINGS, listed).provider_names(),
        "openai, anthropic"
    );
}

#[test]
fn bytes_of_endpoint_and_query_are_kept() {
    check_all(
        SETTINGS,
        "
        PATCH /p/openai/a%2fB;c+d/?x&x=&=;+%zz -> 0 /v1/a%2fB;c+d/?x&x=&=;+%zz
        X /p/openai/%252e%252e/a?              -> 0 /v1/%252e%252e/a?
        GET http://elsewhere/p/openai/models?a -> 0 /v1/models?a
        ",
    );
}

#[test]
fn gateway_routes_want_path_and_method() {
    let settings = Settings {
        metrics_endpoint: Some("/metrics"),
        ..SETTINGS
    };
    check_all(
        settings,
        "
        GET /health               -> Health
        HEAD /health?x            -> Health
        GET http://gateway/health -> Health
        POST /health              -> NotFound
        get /health               -> NotFound
        GET /health/              -> NotFound
        GET /health/ready         -> Health
        HEAD /health/ready?x      -> Health
        POST /health/ready        -> NotFound
        GET /health/ready/        -> NotFound
        GET /health/live          -> Live
        HEAD /health/live?x       -> Live
        GET /health/livez         -> NotFound
        GET /streams?x            -> Streams
        POST /streams             -> NotFound
        GET /healthy              -> NotFound
        GET /metrics              -> Metrics
        HEAD /metrics             -> Metrics
        POST /metrics             -> NotFound
        GET /metrics/             -> NotFound
        OPTIONS *                 -> OptionsStar
        OPTIONS http://gateway    -> OptionsStar
        OPTIONS http://gateway?   -> NotFound
        OPTIONS http://gateway/   -> NotFound
        OPTIONS /                 -> NotFound
        GET http://gateway        -> NotFound
        GET *                     -> NotFound
        GET /                     -> Page
        HEAD /?x                  -> Page
        GET http://gateway/       -> Page
        POST /                    -> NotFound
        GET /p                    -> NotFound
        GET /px/openai/models     -> NotFound
        GET //p/openai/models     -> NotFound
        GET /%70/openai/models    -> NotFound
        GET /v1/models            -> NotFound
        ",
    );
    check(SETTINGS, "GET /metrics", "NotFound");
    let mounted = Settings {
        base_path: "/g",
        metrics_endpoint: Some("/"),
        ..SETTINGS
    };
    check(mounted, "GET /", "Page");
    check(mounted, "GET /g/", "Metrics");
    check(mounted, "GET /g", "NotFound");
    let closed = Settings {
        passthrough: false,
        ..SETTINGS
    };
    check(closed, "GET /p/openai/models", "NotFound");
    check(closed, "GET /health", "Health");
}

#[test]
fn everything_lies_below_the_mount_prefix() {
    for base_path in ["/g", "/g/"] {
        let settings = Settings {
            base_path,
            metrics_endpoint: Some("/metrics"),
            ..SETTINGS
        };
        check_all(
            settings,
            "
            POST /g/p/anthropic/v1/messages -> 1 /v1/messages
            GET /g/health                   -> Health
            GET /g/health/ready             -> Health
            GET /g/health/live              -> Live
            GET /health/live                -> NotFound
            GET /g/metrics                  -> Metrics
            OPTIONS *                       -> OptionsStar
            OPTIONS http://gateway          -> OptionsStar
            GET /g/p/openai                 -> EmptyEndpoint
            GET /p/anthropic/v1/messages    -> NotFound
            GET /health                     -> NotFound
            GET /metrics                    -> NotFound
            GET /gp/openai/x                -> NotFound
            GET /gx/p/openai/x              -> NotFound
            GET /g                          -> NotFound
            GET /g/p                        -> NotFound
            ",
        );
    }
}

#[test]
fn kinds_are_read_as_they_are_written() {
    for kind in ProviderKind::ALL {
        assert_eq!(kind.to_string().parse().as_ref(), Ok(kind));
    }
    let message = "openAI".parse::<ProviderKind>().unwrap_err().to_string();
    assert!(message.contains("one of openai, anthropic, openrouter, zai, vllm, deepseek, kilo"));
}

fn any_settings() -> impl Strategy<Value = Settings<'static>> {
    let mount = prop::sample::select(vec!["", "/", "/g", "/g/h/"]);
    let metrics = prop::sample::select(vec![None, Some("/metrics"), Some("/a/b")]);
    (mount, any::<bool>(), prop::bool::weighted(0.9), metrics).prop_map(
        |(base_path, v1_alias, passthrough, metrics_endpoint)| Settings {
            base_path,
            passthrough,
            v1_alias,
            metrics_endpoint,
        },
    )
}

proptest! {
    #[test]
    fn targets_made_of_known_parts_agree_with_the_model(
        settings in any_settings(),
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "OPTIONS"]),
        start in prop::sample::select(vec!["", "http://host", "/g", "/p/", "/g/p/vllm/"]),
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "/", "/", "/p/", "/g", "/g/h", "openai", "vllm", "vllm-bare", "deepseek", "v1",
                "sglang", "llamacpp", "cohere", "ready", "live", "props",
                "/v1/", "models", "chat", "chat/completions", "tokenize", "health", "metrics",
                "a/b", "?", "%2F", "x",
            ]),
            0..10,
        ),
    ) {
        let table = Table::new(settings, entries());
        let target = format!("{start}{}", parts.concat());
        property::holds(&table, method.as_bytes(), target.as_bytes());
    }
}
