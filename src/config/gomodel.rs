//! GoModel's variables that have no effect here: one line names those that are set, so that none of them is passed over
//! in silence.

use super::error::ConfigError;
use super::kind::ProviderKind;
use super::provider;
use super::source::Env;
use super::strays::Names;

/// Names the variables of GoModel's that are set and mean nothing here.
///
/// Those of types that are not `enabled` are told of one by one where nobody has chosen these.
///
/// Other programs have some of these, too; they are named only where the others show that the environment is GoModel's.
pub(super) fn warn(env: &Env<'_>, strays: &Names, enabled: Option<&[ProviderKind]>) {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    let mut is_gomodels = false;
    // Whatever there is more to be said of is said one by one.
    let is_silent = |name: &&str| strays.told(env, name).is_none() && !env.is_put_in(name);
    for name in env.keys().filter(is_silent) {
        is_gomodels |= name.starts_with(PREFIX);
        match () {
            () if is_own(name) => own.push(name),
            () if is_shared(name, enabled) => shared.push(name),
            () => {}
        }
    }
    is_gomodels |= !own.is_empty();
    own.extend(shared.into_iter().filter(|_| is_gomodels));
    if !own.is_empty() {
        own.sort_unstable();
        let message = format!(
            "GoModel's variables without effect here: {}; docs/migrating.md says what there is instead",
            own.join(", ")
        );
        env.warn(ConfigError::new("environment", "", message));
    }
}

const PREFIX: &str = "GOMODEL_";

/// Whether only GoModel has this variable.
fn is_own(name: &str) -> bool {
    let is_unread = |name: &str| {
        name.strip_prefix(PREFIX)
            .is_some_and(|rest| !OF_OURS.contains(&rest))
    };
    is_unread(name)
        || OWN.contains(&name)
        || OWN_BEGINNINGS.iter().any(|start| name.starts_with(start))
        || OWN_ENDINGS.iter().any(|end| is_of_provider(name, end))
}

/// Whether other programs may have it.
fn is_shared(name: &str, enabled: Option<&[ProviderKind]>) -> bool {
    SHARED.contains(&name)
        || SHARED_BEGINNINGS
            .iter()
            .any(|start| name.starts_with(start))
        || SHARED_ENDINGS.iter().any(|end| is_of_provider(name, end))
        || enabled.is_some_and(|enabled| provider::is_unexposed(name, enabled))
        || is_of_other_type(name)
}

/// Whether it is for a provider of a type that is known here, and ends so.
fn is_of_provider(name: &str, end: &str) -> bool {
    let prefix = name.strip_suffix(end);
    prefix.is_some_and(|prefix| {
        provider::kind_of_prefix(prefix).is_some() || behind_other_type(prefix).is_some()
    })
}

/// Whether it is for a provider of a type that GoModel knows and that has no route here.
fn is_of_other_type(name: &str) -> bool {
    let rest = behind_other_type(name);
    rest.is_some_and(|rest| OF_OTHER_TYPES.iter().any(|word| rest.contains(word)))
}

/// What follows the name of such a type; its instances may have further words.
fn behind_other_type(name: &str) -> Option<&str> {
    OTHER_TYPES.iter().find_map(|kind| {
        let rest = name.strip_prefix(kind)?;
        (rest.is_empty() || rest.starts_with('_')).then_some(rest)
    })
}

/// Those of its own that are read here, without its prefix.
const OF_OURS: [&str; 2] = ["MASTER_KEY", "MASTER_KEY_FILE"];

const OWN: &[&str] = &[
    "ADMIN_ENDPOINTS_ENABLED",
    "ADMIN_UI_ENABLED",
    "ANTHROPIC_DEFAULT_MAX_TOKENS",
    "AUTH_VERIFY_ENABLED",
    "BUDGETS_ENABLED",
    "CACHE_REFRESH_INTERVAL",
    "CONFIGURED_PROVIDER_MODELS_MODE",
    "CONFIG_STRICT",
    "DEEPSEEK_JSON_SCHEMA_MODE",
    "ENABLE_GUARDRAILS_FOR_BATCH_PROCESSING",
    "ENFORCE_RETURNING_USAGE_DATA",
    "FALLBACK_MANUAL_RULES_PATH",
    "FEATURE_FALLBACK_MODE",
    "GUARDRAILS_ENABLED",
    "KEEP_ONLY_ALIASES_AT_MODELS_ENDPOINT",
    "MODELS_ENABLED_BY_DEFAULT",
    "MODEL_LIST_URL",
    "MODEL_OVERRIDES_ENABLED",
    "OTEL_ENABLED",
    "PPROF_ENABLED",
    "PROVIDER_PROMPT_CACHE_PLANNER_ENABLED",
    "PROVIDER_RECHECK_INTERVAL",
    "REALTIME_ENABLED",
    "STREAM_STALL_TIMEOUT",
    "SWAGGER_ENABLED",
    "UNQUALIFIED_MODEL_IDS_AT_MODELS_ENDPOINT",
    "USE_GOOGLE_GEMINI_NATIVE_API",
    "VIRTUAL_MODELS",
    "WORKFLOW_REFRESH_INTERVAL",
];

const OWN_BEGINNINGS: &[&str] = &[
    "DASHBOARD_LIVE_LOGS_",
    "OPENCODE_GO_",
    "RATE_LIMITS_",
    "REDIS_KEY_",
    "REDIS_TTL_",
    "RESPONSE_CACHE_",
    "SEMANTIC_CACHE_",
    "SERVER_CLIENT_IP_",
    "SERVER_TRUSTED_",
    "SESSION_AUTO_",
    "SESSION_BUILTIN_",
    "SESSION_KEEPING_",
    "SET_BUDGET_",
    "SET_PROVIDER_RATE_LIMIT_",
    "SET_RATE_LIMIT_",
    "TAGGING_HEADER_",
];

/// Behind the name of a provider.
const OWN_ENDINGS: &[&str] = &[
    "_FAIRNESS_FROM_USER_PATH",
    "_INFERENCE_OBJECTIVE",
    "_MODELS",
    "_MODEL_FILTER_EXCLUDE",
    "_MODEL_FILTER_INCLUDE",
    "_MODEL_FILTER_MAX_PRICE_PER_MTOK",
    "_SESSION_STICKY_KEYS",
];

const SHARED: &[&str] = &[
    "AWS_BEARER_TOKEN_BEDROCK",
    "MONGODB_DATABASE",
    "MONGODB_URL",
    "PID_FILE",
    "POSTGRES_MAX_CONNS",
    "POSTGRES_URL",
    "REDIS_URL",
    "SQLITE_PATH",
    "STORAGE_TYPE",
    "USERS",
];

const SHARED_BEGINNINGS: &[&str] = &[
    "CIRCUIT_BREAKER_",
    "FAILOVER_",
    "HTTP_TLS_",
    "LOGGING_",
    "MCP_",
    "MEDIA_STORAGE_",
    "OTEL_",
    "PLUGINS_",
    "RETRY_",
    "SESSION_HEADER_",
    "USAGE_",
];

const SHARED_ENDINGS: &[&str] = &["_API_MODE", "_AUTH_TYPE", "_BACKEND"];

/// What variables for providers begin with whose types GoModel knows and that have no route here.
const OTHER_TYPES: [&str; 8] = [
    "BEDROCK", "CHATGPT", "GEMINI", "GROQ", "OLLAMA", "ORACLE", "VERTEX", "XAI",
];

const OF_OTHER_TYPES: [&str; 8] = [
    "API_KEY",
    "BASE_URL",
    "PROXY_URL",
    "API_MODE",
    "PROJECT",
    "LOCATION",
    "SERVICE_ACCOUNT",
    "GCP_SCOPE",
];
