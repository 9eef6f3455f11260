//! Every setting of a provider. A new one is an entry here and the field that it is read into.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::control::denied;
use super::instance::{Credential, HealthProbe, Provider, Resolve};
use super::shares::{
    BALANCES, QueueBounds, balance, bases, concurrency, failover_on, health, numbers, queue,
    replay_bytes, resolve, resolve_words, session_headers, shown_keys, shown_resolve,
};
use crate::config::egress::ProxyChoice;
use crate::config::kind::{self, KeyField, ProviderKind};
use crate::config::kinds::{TIME, count};
use crate::config::places::Places;
use crate::config::proxy::Proxy;
use crate::config::rules::Rules;
use crate::config::setting::{Line, Setting, Slot};
use crate::config::shown::{list, quoted, quoted_path, seconds};
use crate::config::trust::Trust;
use crate::config::url::{BaseUrl, base};
use crate::config::value;
use crate::config::written::{Form, Value, Written};
use crate::providers::group::Balance;

/// A provider on its way: what was read of it so far.
#[derive(Default)]
pub(crate) struct Draft {
    pub(super) kind: Option<ProviderKind>,
    pub(super) base: Option<BaseUrl>,
    pub(super) bases: Option<Vec<BaseUrl>>,
    pub(super) resolve: Option<Resolve>,
    pub(super) balance: Option<Balance>,
    pub(super) concurrency: Option<NonZeroU32>,
    pub(super) queue: Option<QueueBounds>,
    pub(super) health: Option<HealthProbe>,
    pub(super) failover_on: Option<Vec<u16>>,
    pub(super) replay_bytes: Option<usize>,
    pub(super) credential: Option<CredentialChoice>,
    pub(super) api_key: Option<Written>,
    pub(super) api_key_file: Option<Written>,
    pub(super) api_keys: Option<Written>,
    pub(super) api_keys_file: Option<Written>,
    pub(super) session_headers: Option<Vec<String>>,
    pub(super) proxy: ProxyChoice,
    pub(super) proxy_ca_file: Option<Written>,
    pub(super) client_cert: Option<Written>,
    pub(super) client_key: Option<Written>,
    pub(super) ca_file: Option<Written>,
    pub(super) idle_upstream: Option<Duration>,
    pub(super) warm: Option<usize>,
    pub(super) allow: Option<Rules>,
    pub(super) deny: Option<Rules>,
    pub(super) site_url: Option<String>,
    pub(super) app_name: Option<String>,
    pub(super) api_version: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) places: Places,
}

/// What is to be sent as credential.
#[derive(Clone, Copy)]
pub(super) enum CredentialChoice {
    Key(KeyField),
    None,
    Client,
}

impl CredentialChoice {
    fn parse(written: &Written) -> Result<Option<Self>, String> {
        let field = |word| { KeyField::ALL.into_iter() }.find(|field| field.setting() == word);
        Ok(Some(match written.text() {
            "none" => Self::None,
            "client" => Self::Client,
            word => Self::Key(field(word).ok_or(CREDENTIAL_EXPECTED)?),
        }))
    }
}

const CREDENTIAL_EXPECTED: &str = "expected bearer, x-api-key, api-key, xi-api-key, none or client";

/// The tables of the example: their headers, and what is said of them.
pub(crate) const BLOCKS: [Block; 5] = [
    Block {
        name: ANTHROPIC,
        about: "",
        first: &["api_key"],
    },
    Block {
        name: OPENROUTER,
        about: "",
        first: &[],
    },
    Block {
        name: AZURE,
        about: "passthrough.providers has to have it",
        first: &[],
    },
    Block {
        name: LOCAL,
        about: "served at /p/local/…",
        first: &["type", "base_url", "credential", "proxy", "headers"],
    },
    Block {
        name: VLLM,
        about: "several keys, several servers",
        first: &[],
    },
];

/// A provider of the example.
pub(crate) struct Block {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Keys that stand first, in this order.
    pub(crate) first: &'static [&'static str],
}

const ANTHROPIC: &str = "providers.anthropic";
const OPENROUTER: &str = "providers.openrouter";
const AZURE: &str = "providers.azure";
const LOCAL: &str = "providers.local";
const VLLM: &str = "providers.vllm";

/// Most connections made ahead per provider and worker.
const WARM_MAX: usize = 64;

/// Whole tables of providers are examples, and are said to be.
const fn line(block: &'static str, value: &'static str, about: &'static str) -> Line {
    Line {
        block,
        is_example: false,
        value,
        about,
    }
}

/// A field of [`Draft`].
macro_rules! at {
    ($field:ident, $form:expr, $read:expr, $show:expr) => {
        Slot {
            form: $form,
            set: |draft: &mut Draft, written| {
                draft.$field = $read(written)?;
                Ok(())
            },
            show: $show,
        }
    };
}

pub(super) fn header_map(written: &Written) -> Result<BTreeMap<String, String>, String> {
    match &written.value {
        Value::Map(headers) => Ok(headers.clone()),
        Value::Text(_) | Value::List(_) => Ok(BTreeMap::new()),
    }
}

pub(super) fn as_written(written: &Written) -> Result<Option<Written>, String> {
    Ok(Some(written.clone()))
}

fn rules(written: &Written) -> Result<Option<Rules>, String> {
    Rules::parse(written.list()).map(Some)
}

/// What can stand in a query as it is.
fn query_value(written: &Written) -> Result<Option<String>, String> {
    let text = written.text();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(Some(text.to_owned())),
        false => Err("expected a version such as 2024-10-21".to_owned()),
    }
}

fn field(written: &Written) -> Result<Option<String>, String> {
    value::field(written.text())?;
    Ok(Some(written.text().to_owned()))
}

/// In the order of `check`.
pub(crate) const SETTINGS: &[Setting<Draft, Provider>] = &[
    Setting::new(
        "type",
        "",
        &[line(
            LOCAL,
            "\"openai\"",
            "openai, anthropic, vllm, … as passthrough.providers has them",
        )],
        at!(
            kind,
            Form::Text,
            |written: &Written| match written.text().parse() {
                Ok(kind) => Ok(Some(kind)),
                Err(_) => Err(kind::expected()),
            },
            |provider: &Provider| Some(quoted(provider.kind.as_str()))
        ),
    )
    .words(kind::words),
    Setting::new(
        "base_url",
        "",
        &[
            line(ANTHROPIC, "\"https://api.anthropic.com/v1\"", ""),
            line(
                AZURE,
                "\"https://RESOURCE.openai.azure.com/openai/deployments/DEPLOYMENT\"",
                "",
            ),
            line(
                LOCAL,
                "\"http://127.0.0.1:8000/v1\"",
                "or a Unix socket: \"http+unix://%2Frun%2Fvllm.sock/v1\"",
            ),
        ],
        at!(
            base,
            Form::Text,
            |written: &Written| Ok::<_, String>(Some(base(written.text())?)),
            |provider: &Provider| match provider.others.is_empty() {
                true => Some(quoted(&provider.first.base.to_string())),
                false => None,
            }
        ),
    )
    .suffix("_BASE_URL"),
    Setting::new(
        "base_urls",
        "",
        &[line(
            VLLM,
            "[\"http://10.0.0.7:8000/v1\", \"http://10.0.0.8:8000/v1\"]",
            "in place of base_url; or\ntables [[providers.vllm.instance]] with base_url, weight,\n\
             concurrency, ca_file, headers, resolve",
        )],
        at!(bases, Form::List, bases, |provider: &Provider| {
            let plain = !provider.others.is_empty() && provider.has_plain_instances();
            let bases = || provider.instances().map(|instance| &instance.base);
            plain.then(|| list(&bases().collect::<Vec<_>>()))
        }),
    ),
    Setting::new(
        "resolve",
        "\"one\"",
        &[line(
            VLLM,
            "\"one\"",
            "\"all\": a host name stands for a server at each of its addresses, which may change",
        )],
        at!(resolve, Form::Text, resolve, |provider: &Provider| {
            let is_shared = provider.others.is_empty() || provider.has_plain_instances();
            shown_resolve(provider.first.resolve).filter(|_| is_shared)
        }),
    )
    .words(resolve_words),
    Setting::new(
        "balance",
        "\"least_loaded\"",
        &[line(
            VLLM,
            "\"least_loaded\"",
            "\"session\": each session keeps to one; \"first\": the others are spare",
        )],
        at!(balance, Form::Text, balance, |provider: &Provider| {
            let word = BALANCES
                .iter()
                .find(|(_, balance)| *balance == provider.balance);
            word.filter(|_| provider.is_group())
                .map(|(word, _)| quoted(word))
        }),
    )
    .words(|| BALANCES.map(|(word, _)| word).into()),
    Setting::new(
        "health",
        "",
        &[line(
            VLLM,
            "{ path = \"/health\", interval = \"5s\" }",
            "ask each server; expect = 200, else any of 200 to 299",
        )],
        at!(health, Form::Pairs, health, |provider: &Provider| {
            let probe = provider.health.as_ref()?;
            let expect = probe.expect.map(|status| format!(", expect = {status}"));
            let (path, interval) = (quoted(&probe.path), seconds(probe.interval));
            let expect = expect.unwrap_or_default();
            Some(format!(
                "{{ path = {path}, interval = {interval}{expect} }}"
            ))
        }),
    ),
    Setting::new(
        "failover_on",
        "",
        &[line(
            VLLM,
            "[503, 529]",
            "answers behind which the request goes to another server, or with another key; or 429",
        )],
        at!(
            failover_on,
            Form::Scalars,
            failover_on,
            |provider: &Provider| {
                provider
                    .failover
                    .as_ref()
                    .map(|failover| numbers(&failover.on))
            }
        ),
    ),
    Setting::new(
        "replay_bytes",
        "",
        &[line(
            VLLM,
            "\"64K\"",
            "of a request are held for that, 256K at most; longer ones get the answer",
        )],
        at!(
            replay_bytes,
            Form::Scalar,
            replay_bytes,
            |provider: &Provider| {
                let failover = provider.failover.as_ref();
                failover.map(|failover| failover.bytes_max.to_string())
            }
        ),
    ),
    Setting::new(
        "concurrency",
        "",
        &[line(
            VLLM,
            "8",
            "requests under way at once, of all workers together; the others wait their turn;\neach instance can have its own",
        )],
        at!(
            concurrency,
            Form::Scalar,
            concurrency,
            |provider: &Provider| Some(provider.limits?.permits?.to_string())
        ),
    ),
    Setting::new(
        "queue",
        "",
        &[line(
            VLLM,
            "{ length = 100, wait = \"30s\" }",
            "how many wait, and how long; beyond it: 503",
        )],
        at!(queue, Form::Pairs, queue, |provider: &Provider| {
            let limits = provider.limits?;
            let wait = seconds(Duration::from_micros(limits.wait));
            Some(format!("{{ length = {}, wait = {wait} }}", limits.length))
        }),
    ),
    Setting::new(
        "credential",
        "",
        &[line(
            LOCAL,
            "\"none\"",
            "bearer, x-api-key, api-key, xi-api-key, none, or client: the client's own",
        )],
        at!(
            credential,
            Form::Text,
            CredentialChoice::parse,
            |provider: &Provider| {
                let shown = match &provider.credential {
                    Credential::Key(field, _) => field.setting(),
                    Credential::None => "none",
                    Credential::Client => "client",
                };
                Some(quoted(shown))
            }
        ),
    )
    .words(|| vec!["bearer", "x-api-key", "none", "client"]),
    Setting::new(
        "api_key",
        "",
        &[
            line(
                ANTHROPIC,
                "\"${ANTHROPIC_API_KEY}\"",
                "or api_key_file = \"…\"",
            ),
            line(OPENROUTER, "\"${OPENROUTER_API_KEY}\"", ""),
            line(AZURE, "\"${AZURE_API_KEY}\"", ""),
        ],
        at!(
            api_key,
            Form::Text,
            as_written,
            |provider: &Provider| match &provider.credential {
                Credential::Key(_, keys) if keys.others.is_empty() => {
                    Some(format!("\"{}\"", keys.first))
                }
                _ => None,
            }
        ),
    )
    .suffix("_API_KEY")
    .credential(),
    Setting::new(
        "api_key_file",
        "",
        &[],
        at!(api_key_file, Form::Text, as_written, |_: &Provider| None),
    )
    .suffix("_API_KEY_FILE")
    .credential(),
    Setting::new(
        "api_keys",
        "",
        &[line(
            VLLM,
            "[\"${KEY_A}\", \"${KEY_B}\"]",
            "in place of api_key; or api_keys_file = \"…\", one a line",
        )],
        at!(
            api_keys,
            Form::List,
            as_written,
            |provider: &Provider| match &provider.credential {
                Credential::Key(_, keys) if !keys.others.is_empty() => Some(shown_keys(keys)),
                _ => None,
            }
        ),
    )
    .credential(),
    Setting::new(
        "api_keys_file",
        "",
        &[],
        at!(api_keys_file, Form::Text, as_written, |_: &Provider| None),
    )
    .credential(),
    Setting::new(
        "session_headers",
        "",
        &[line(
            VLLM,
            "[\"x-claude-code-session-id\"]",
            "the first that a request has names its session;\ndefault: what today's clients send",
        )],
        at!(
            session_headers,
            Form::List,
            session_headers,
            |provider: &Provider| provider
                .knows_sessions()
                .then(|| list(&provider.session_headers))
        ),
    ),
    Setting::new(
        "proxy",
        "",
        &[line(
            LOCAL,
            "\"none\"",
            "or \"https://proxy\"; also ca_file, proxy_ca_file, client_cert, client_key",
        )],
        at!(
            proxy,
            Form::Text,
            |written: &Written| Ok::<_, String>(ProxyChoice::parse(written.text())?),
            |provider: &Provider| {
                let proxy = provider.first.proxy.as_ref().map(Proxy::to_string);
                proxy.as_deref().map(quoted)
            }
        ),
    )
    .suffix("_PROXY_URL")
    .secret(),
    Setting::new(
        "proxy_ca_file",
        "",
        &[],
        at!(
            proxy_ca_file,
            Form::Text,
            as_written,
            |provider: &Provider| match &provider.first.proxy.as_ref()?.trust {
                Trust::File(file) => Some(quoted_path(&file.path)),
                Trust::System | Trust::Environment(_) => None,
            }
        ),
    ),
    Setting::new(
        "client_cert",
        "",
        &[],
        at!(
            client_cert,
            Form::Text,
            as_written,
            |provider: &Provider| {
                let identity = provider.first.identity.as_ref();
                identity.map(|identity| quoted_path(&identity.cert))
            }
        ),
    ),
    Setting::new(
        "client_key",
        "",
        &[],
        at!(client_key, Form::Text, as_written, |provider: &Provider| {
            let identity = provider.first.identity.as_ref();
            identity.map(|identity| quoted_path(&identity.key))
        }),
    ),
    Setting::new(
        "ca_file",
        "",
        &[],
        at!(
            ca_file,
            Form::Text,
            as_written,
            |provider: &Provider| match &provider.first.trust {
                Trust::File(file) => Some(quoted_path(&file.path)),
                Trust::System | Trust::Environment(_) => None,
            }
        ),
    ),
    Setting::new(
        "idle_upstream",
        "",
        &[line(
            ANTHROPIC,
            "60",
            "an idle connection is closed after this; 4 for model servers",
        )],
        at!(
            idle_upstream,
            Form::Scalar,
            |written: &Written| (TIME.read)(written).map(Some),
            |provider: &Provider| Some(seconds(provider.idle_upstream))
        ),
    ),
    Setting::new(
        "warm",
        "",
        &[line(
            ANTHROPIC,
            "1",
            "connections made ahead, per worker; 1 by default with TLS",
        )],
        at!(
            warm,
            Form::Scalar,
            |written: &Written| match count(written.text()) {
                Some(count @ ..=WARM_MAX) => Ok(Some(count)),
                _ => Err("expected a number of connections, at most 64".to_owned()),
            },
            |provider: &Provider| Some(provider.warm.to_string())
        ),
    )
    .variables(&["SLUICEGATE_WARM"])
    .file_first(),
    Setting::new(
        "allow",
        "",
        &[line(
            LOCAL,
            "[\"POST /chat/*\", \"GET /models\"]",
            "the only endpoints passed on",
        )],
        at!(allow, Form::List, rules, |provider: &Provider| {
            provider.allow.as_ref().map(Rules::to_string)
        }),
    ),
    Setting::new(
        "deny",
        "",
        &[line(
            LOCAL,
            "[\"* /files*\"]",
            "never passed on; by default model servers' control endpoints",
        )],
        at!(deny, Form::List, rules, |provider: &Provider| {
            let is_set = !provider.deny.is_empty() || !denied(provider.kind).is_empty();
            is_set.then(|| provider.deny.to_string())
        }),
    ),
    Setting::new(
        "site_url",
        "",
        &[line(
            OPENROUTER,
            "\"https://example.com\"",
            "HTTP-Referer, unless the client sends one",
        )],
        at!(site_url, Form::Text, field, |_: &Provider| None),
    )
    .variables(&["OPENROUTER_SITE_URL"])
    .only_for(ProviderKind::OpenRouter),
    Setting::new(
        "app_name",
        "",
        &[line(
            OPENROUTER,
            "\"example\"",
            "X-OpenRouter-Title, likewise",
        )],
        at!(app_name, Form::Text, field, |_: &Provider| None),
    )
    .variables(&["OPENROUTER_APP_NAME"])
    .only_for(ProviderKind::OpenRouter),
    Setting::new(
        "api_version",
        "",
        &[line(
            AZURE,
            "\"2024-10-21\"",
            "api-version, unless the client's query has one",
        )],
        at!(
            api_version,
            Form::Text,
            query_value,
            |provider: &Provider| { provider.api_version.as_deref().map(quoted) }
        ),
    )
    .suffix("_API_VERSION")
    .only_for(ProviderKind::Azure),
    Setting::new(
        "headers",
        "",
        &[line(
            LOCAL,
            "{ X-Team = \"search\" }",
            "always sent, in place of the client's",
        )],
        at!(headers, Form::Map, header_map, |_: &Provider| None),
    )
    .secret(),
];
