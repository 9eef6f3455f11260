//! Where a request goes: gateway endpoints, provider, v1 alias; which of a model server's two roots, `roots` says.
//!
//! Pure functions of method, target and a [`Table`] built once from the configuration. There are
//! two steps because the key is checked between them: [`Table::route`] knows a route from a 404,
//! [`Table::resolve`] finds the provider and what is asked of it. Everything is compared on raw
//! bytes and nothing is copied: the upstream target is a prefix and spans of the client's target.

mod roots;

use memchr::memchr;

use self::roots::{Roots, has_versions, strip_segments};
use crate::config::ProviderKind;
use crate::http::head::Span;
use crate::http::target::Target;

/// What routing needs to know of one enabled provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    name: Box<str>,
    kind: ProviderKind,
    /// Without a slash at its end; may be empty.
    base_path: Box<str>,
}

impl RouteEntry {
    /// `name` is the instance name in paths, `base_path` the path of the base URL, with or
    /// without a slash at its end.
    #[must_use]
    pub fn new(name: &str, kind: ProviderKind, base_path: &str) -> Self {
        Self {
            name: name.into(),
            kind,
            base_path: base_path.trim_end_matches('/').into(),
        }
    }

    /// The base path, without its final `/v1` where a model server's root is wanted.
    fn prefix(&self, endpoint: &[u8], wrote_v1: bool) -> &[u8] {
        let base_path = &*self.base_path;
        match Roots::of(self.kind) {
            Some(roots) if roots.is_at_root(endpoint, wrote_v1) => base_path
                .strip_suffix("/v1")
                .unwrap_or(base_path)
                .as_bytes(),
            _ => base_path.as_bytes(),
        }
    }
}

/// The switches of the configuration that routing depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings<'a> {
    /// The mount prefix; `/` and nothing mean that there is none.
    pub base_path: &'a str,
    /// Whether `/p/` is served at all.
    pub passthrough: bool,
    /// Whether a leading `v1` segment of an endpoint is dropped.
    pub v1_alias: bool,
    /// The path of the metrics below the mount prefix, if they are served.
    pub metrics_endpoint: Option<&'a str>,
}

/// Every route of the gateway; immutable.
#[derive(Clone, Debug)]
pub struct Table {
    /// Without a slash at its end; may be empty.
    base_path: Box<str>,
    passthrough: bool,
    v1_alias: bool,
    metrics_endpoint: Option<Box<str>>,
    entries: Box<[RouteEntry]>,
    provider_names: Box<str>,
}

/// What a request is for, as far as its path alone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET` or `HEAD` of `/health` or `/health/ready`.
    Health,
    /// `GET` or `HEAD` of `/health/live`.
    Live,
    /// `GET` or `HEAD` of the metrics endpoint.
    Metrics,
    /// `GET` or `HEAD` of `/streams`, which only operators may.
    Streams,
    /// `GET` or `HEAD` of `/`, of the host or below the mount prefix, which only operators may.
    Page,
    /// `OPTIONS *`
    OptionsStar,
    /// Something below `/p/`; not yet looked at any closer.
    Provider(Passthrough),
    /// No such route.
    NotFound,
}

/// The parts of `/p/{provider}/{endpoint}?{query}` as spans of the request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passthrough {
    /// May be empty or unknown.
    pub provider: Span,
    /// As the client wrote it, without the slash before it; may be empty.
    pub endpoint: Span,
    /// Without its `?`.
    pub query: Option<Span>,
}

/// Where a request goes: the upstream target is `prefix`, `/`, `endpoint` and, where there is a
/// query, `?` and `query`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream<'t> {
    /// Index into the entries that the table was made from.
    pub provider: usize,
    /// Path of the base URL without a slash at its end; may be empty.
    pub prefix: &'t [u8],
    /// Span of the request target, the v1 alias dropped; not empty.
    pub endpoint: Span,
    /// Span of the request target, without its `?`.
    pub query: Option<Span>,
}

/// Why a path below `/p/` leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// Nothing between `/p/` and the next slash.
    EmptyProvider,
    /// No enabled provider has this name; [`Table::provider_names`] lists those that exist.
    UnknownProvider,
    /// Nothing after the provider, or only the aliased `v1`.
    EmptyEndpoint,
    /// The endpoint begins with `v1`, and the configuration disables the alias.
    AliasDisabled,
}

impl Table {
    /// `entries` are the enabled providers, in the order in which messages list them.
    #[must_use]
    pub fn new(settings: Settings<'_>, entries: Vec<RouteEntry>) -> Self {
        let names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
        Self {
            base_path: settings.base_path.trim_end_matches('/').into(),
            passthrough: settings.passthrough,
            v1_alias: settings.v1_alias,
            metrics_endpoint: settings.metrics_endpoint.map(Into::into),
            provider_names: names.join(", ").into(),
            entries: entries.into(),
        }
    }

    /// The names of the enabled providers, for people to read.
    #[must_use]
    pub fn provider_names(&self) -> &str {
        &self.provider_names
    }

    /// Which route a request takes; `target` was parsed from `target_bytes`.
    #[must_use]
    pub fn route(&self, method: &[u8], target_bytes: &[u8], target: Target) -> Route {
        if method == b"OPTIONS" && is_asterisk(target) {
            return Route::OptionsStar;
        }
        let Target::Path { path, query } = target else {
            return Route::NotFound;
        };
        let path_bytes = path.of(target_bytes);
        let reads = method == b"GET" || method == b"HEAD";
        let Some(below) = path_bytes.strip_prefix(self.base_path.as_bytes()) else {
            return match reads && path_bytes == b"/" {
                true => Route::Page,
                false => Route::NotFound,
            };
        };
        if let Some(named) = below.strip_prefix(b"/p/") {
            if self.passthrough {
                return Route::Provider(Passthrough::new(named, path.end, query));
            }
            return Route::NotFound;
        }
        match below {
            _ if !reads => Route::NotFound,
            b"/health" | b"/health/ready" => Route::Health,
            b"/health/live" => Route::Live,
            _ if self.is_metrics(below) => Route::Metrics,
            b"/streams" => Route::Streams,
            b"/" => Route::Page,
            _ => Route::NotFound,
        }
    }

    fn is_metrics(&self, below: &[u8]) -> bool {
        self.metrics_endpoint
            .as_ref()
            .is_some_and(|endpoint| endpoint.as_bytes() == below)
    }

    /// Where a passthrough request goes; `passthrough` was routed from `target_bytes`.
    ///
    /// # Errors
    /// The first of: provider, alias, endpoint.
    pub fn resolve(
        &self,
        target_bytes: &[u8],
        passthrough: Passthrough,
    ) -> Result<Upstream<'_>, RouteError> {
        let (provider, entry) = self.find(passthrough.provider.of(target_bytes))?;
        let mut endpoint = passthrough.endpoint;
        let aliased = match has_versions(entry.kind) {
            true => None,
            false => strip_segments(endpoint.of(target_bytes), "v1"),
        };
        if let Some(rest) = aliased {
            if !self.v1_alias {
                return Err(RouteError::AliasDisabled);
            }
            endpoint = tail(rest, endpoint.end);
        }
        let bytes = endpoint.of(target_bytes);
        if bytes.is_empty() {
            return Err(RouteError::EmptyEndpoint);
        }
        let prefix = entry.prefix(bytes, aliased.is_some());
        Ok(Upstream {
            provider,
            prefix,
            endpoint,
            query: passthrough.query,
        })
    }

    /// There are a handful of providers, so looking at each is faster than hashing.
    fn find(&self, name: &[u8]) -> Result<(usize, &RouteEntry), RouteError> {
        if name.is_empty() {
            return Err(RouteError::EmptyProvider);
        }
        let mut entries = self.entries.iter().enumerate();
        entries
            .find(|(_, entry)| entry.name.as_bytes() == name)
            .ok_or(RouteError::UnknownProvider)
    }
}

impl Passthrough {
    /// `named` is what follows `/p/` in a path that ends at offset `end`.
    fn new(named: &[u8], end: u32, query: Option<Span>) -> Self {
        let slash = memchr(b'/', named).unwrap_or(named.len());
        let (_, rest) = named.split_at(slash);
        let provider = Span {
            start: tail(named, end).start,
            end: tail(rest, end).start,
        };
        let endpoint = tail(rest.strip_prefix(b"/").unwrap_or(rest), end);
        Self {
            provider,
            endpoint,
            query,
        }
    }
}

/// An absolute-form without path and query is what `*` looks like on the way to a proxy
/// (RFC 9112, section 3.2.4).
fn is_asterisk(target: Target) -> bool {
    match target {
        Target::Asterisk => true,
        Target::Path { path, query } => path.start == path.end && query.is_none(),
    }
}

/// The span of `bytes`, which end at offset `end`.
fn tail(bytes: &[u8], end: u32) -> Span {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Span {
        start: end.saturating_sub(len),
        end,
    }
}

/// What must hold for every input, whoever makes it: table, property test or fuzzer.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property {
    use super::{Roots, Route, Table, Upstream, has_versions};
    use crate::http::target::{self, Target};

    /// Compares the table's answer with [`by_segments`] and parses the upstream target again.
    ///
    /// # Panics
    /// When the property does not hold.
    pub fn holds(table: &Table, method: &[u8], target: &[u8]) {
        let Ok(parsed) = target::parse(target) else {
            return;
        };
        let found = outcome(table, method, target, parsed);
        assert_eq!(
            found,
            by_segments(table, method, target, parsed),
            "{}",
            target.escape_ascii()
        );
        let Route::Provider(passthrough) = table.route(method, target, parsed) else {
            return;
        };
        let Ok(upstream) = table.resolve(target, passthrough) else {
            return;
        };
        let written = upstream_target(upstream, target);
        assert!(
            target::parse(&written).is_ok(),
            "{}",
            written.escape_ascii()
        );
        // What the client wrote is the end of what the provider gets.
        let endpoint_on = target
            .get(upstream.endpoint.start as usize..)
            .unwrap_or_default();
        assert!(!endpoint_on.is_empty() && written.ends_with(endpoint_on));
    }

    /// What becomes of a request, as text.
    #[must_use]
    pub fn outcome(table: &Table, method: &[u8], target: &[u8], parsed: Target) -> String {
        match table.route(method, target, parsed) {
            Route::Provider(passthrough) => match table.resolve(target, passthrough) {
                Ok(upstream) => {
                    let written = upstream_target(upstream, target);
                    format!("{} {}", upstream.provider, written.escape_ascii())
                }
                Err(fault) => format!("{fault:?}"),
            },
            route => format!("{route:?}"),
        }
    }

    fn upstream_target(upstream: Upstream<'_>, target: &[u8]) -> Vec<u8> {
        let path = [upstream.prefix, b"/", upstream.endpoint.of(target)].concat();
        match upstream.query {
            Some(query) => [&path, &b"?"[..], query.of(target)].concat(),
            None => path,
        }
    }

    /// The rules once more, slowly, on lists of segments.
    fn by_segments(table: &Table, method: &[u8], target: &[u8], parsed: Target) -> String {
        let Target::Path { path, query } = parsed else {
            return if method == b"OPTIONS" {
                "OptionsStar"
            } else {
                "NotFound"
            }
            .into();
        };
        let written = path.of(target).escape_ascii().to_string();
        if method == b"OPTIONS" && written.is_empty() && query.is_none() {
            return "OptionsStar".into();
        }
        let segments: Vec<&str> = written.split('/').collect();
        let mount: Vec<&str> = table.base_path.split('/').collect();
        let reads = method == b"GET" || method == b"HEAD";
        match segments.strip_prefix(&*mount) {
            Some(["health"] | ["health", "ready"]) if reads => "Health".into(),
            Some(["health", "live"]) if reads => "Live".into(),
            Some(["p", provider, endpoint @ ..]) if table.passthrough => {
                let query = query.map(|query| format!("?{}", query.of(target).escape_ascii()));
                let endpoint = below_provider(table, provider, endpoint);
                endpoint.map_or_else(Into::into, |found| found + &query.unwrap_or_default())
            }
            Some(below) if reads => match &table.metrics_endpoint {
                Some(endpoint)
                    if !below.is_empty() && format!("/{}", below.join("/")) == **endpoint =>
                {
                    "Metrics".into()
                }
                _ if below == ["streams"] => "Streams".into(),
                _ if below == [""] => "Page".into(),
                _ => "NotFound".into(),
            },
            None if reads && segments == ["", ""] => "Page".into(),
            _ => "NotFound".into(),
        }
    }

    fn below_provider(
        table: &Table,
        provider: &str,
        endpoint: &[&str],
    ) -> Result<String, &'static str> {
        if provider.is_empty() {
            return Err("EmptyProvider");
        }
        let index = table
            .entries
            .iter()
            .position(|entry| &*entry.name == provider);
        let index = index.ok_or("UnknownProvider")?;
        let entry = table.entries.get(index).ok_or("UnknownProvider")?;
        let (wrote_v1, endpoint) = match endpoint {
            all if has_versions(entry.kind) => (false, all),
            ["v1", ..] if !table.v1_alias => return Err("AliasDisabled"),
            ["v1", rest @ ..] => (true, rest),
            all => (false, all),
        };
        if endpoint.concat().is_empty() && endpoint.len() < 2 {
            return Err("EmptyEndpoint");
        }
        let listed = |names: &[&str]| {
            names
                .iter()
                .any(|name| endpoint.starts_with(&name.split('/').collect::<Vec<_>>()))
        };
        let is_rooted = Roots::of(entry.kind).is_some_and(|roots| match wrote_v1 {
            true => listed(roots.root),
            false => !listed(roots.base),
        });
        let mut prefix: Vec<&str> = entry.base_path.split('/').collect();
        if is_rooted && prefix.ends_with(&["v1"]) {
            prefix.pop();
        }
        Ok(format!(
            "{index} {}/{}",
            prefix.join("/"),
            endpoint.join("/")
        ))
    }
}

#[cfg(test)]
mod tests;
