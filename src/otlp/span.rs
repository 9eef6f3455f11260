//! Spans of a request, made of its record: one of the side that clients see and, where it went to a provider, one below it
//! of that side. Names and attributes are those of OpenTelemetry's conventions for HTTP, what these have no name for begins
//! with `sluicegate.`, and both say what the access log says. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{BaseUrl, Host};
use crate::log::{Quote, Record, Traced, Way};
use crate::observe::Ending;
use crate::observe::traceparent::{Context, RANDOM, SAMPLED};

use super::message::{
    Code, Event, KeyValue, Kind, Resource, ResourceSpans, Scope, ScopeSpans, Span, Status, Traces,
};

/// Where the instances of each provider are, by its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Providers(BTreeMap<String, Vec<BaseUrl>>);

impl Providers {
    /// These.
    pub(super) fn new(all: impl Iterator<Item = (String, Vec<BaseUrl>)>) -> Self {
        Self(all.collect())
    }

    /// Where a request went, or was to go at last.
    fn of(&self, provider: &str, way: Way) -> Option<&BaseUrl> {
        let index = usize::from(way.instance).saturating_sub(1);
        self.0.get(provider)?.get(index)
    }
}

/// Spans in a message.
#[must_use]
pub(super) fn traces(resource: &Resource, spans: Vec<Span>) -> Traces {
    Traces {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: vec![ScopeSpans {
                scope: Some(Scope::ours()),
                spans,
            }],
        }],
    }
}

/// Adds the spans of a request to `out`.
pub(super) fn put(traced: &Traced<'_>, providers: &Providers, out: &mut Vec<Span>) {
    let request = Request::of(traced);
    let server = request.server();
    if traced.record.marks().went_out {
        let client = request.client(&server, providers);
        out.extend([server, client]);
    } else {
        out.push(server);
    }
}

/// A request that has ended, with what both of its spans say.
struct Request<'a> {
    record: &'a Record<'a>,
    random: [u8; 32],
    ended: u64,
    duration: Duration,
    request_overhead: Option<Duration>,
    response_overhead: Option<Duration>,
    waited: Option<Duration>,
    queued: Option<Duration>,
    /// Those of the provider's side, with the names that the log has for them.
    of_provider: [(&'static str, Option<Duration>); 6],
    method: String,
}

impl<'a> Request<'a> {
    fn of(traced: &'a Traced<'a>) -> Self {
        let record = &traced.record;
        let [
            duration,
            request_overhead,
            response_overhead,
            waited,
            queued,
            connect,
            tls,
            head,
            first_byte,
            longest_gap,
            stream,
        ] = record.times();
        Self {
            record,
            random: traced.random,
            ended: traced.ended,
            duration: duration.unwrap_or_default(),
            request_overhead,
            response_overhead,
            waited,
            queued,
            of_provider: [
                ("sluicegate.connect_us", connect),
                ("sluicegate.tls_us", tls),
                ("sluicegate.head_us", head),
                ("sluicegate.first_byte_us", first_byte),
                ("sluicegate.longest_gap_us", longest_gap),
                ("sluicegate.stream_us", stream),
            ],
            method: text(record, Quote::Method),
        }
    }

    /// The trace that it belongs to, and the state that came with that.
    fn context(&self) -> (Option<Context>, String) {
        match Context::read(self.record.quote(Quote::Trace)) {
            Some((context, state)) => {
                let state = String::from_utf8_lossy(state).into_owned();
                (Some(context), state)
            }
            None => (None, String::new()),
        }
    }

    fn server(&self) -> Span {
        let (context, state) = self.context();
        let [a, b, c, ..] = self.random.as_chunks::<8>().0 else {
            return Span::default();
        };
        let trace = context.map_or_else(|| [*a, *b].concat(), |context| context.trace.to_vec());
        let flags = context.map_or(SAMPLED | RANDOM, |context| context.flags);
        let remote = context.map_or(KNOWN, |_| KNOWN | REMOTE);
        let provider = text(self.record, Quote::Provider);
        let route = (!provider.is_empty()).then(|| format!("/p/{provider}"));
        let error = self.error_of_server();
        Span {
            trace_id: trace,
            span_id: nonzero(*c).to_vec(),
            trace_state: state,
            parent_span_id: context.map_or_else(Vec::new, |context| context.span.to_vec()),
            name: self.name(route.as_deref()),
            kind: Kind::Server.into(),
            start_time_unix_nano: self.ended.saturating_sub(nanos(self.duration)),
            end_time_unix_nano: self.ended,
            attributes: self.server_attributes(route, error.as_ref()),
            events: self.cut().into_iter().collect(),
            status: self.status(error.filter(|error| error.is_failure)),
            flags: u32::from(flags) | remote,
        }
    }

    fn client(&self, server: &Span, providers: &Providers) -> Span {
        let [.., last] = self.random.as_chunks::<8>().0 else {
            return Span::default();
        };
        let provider = text(self.record, Quote::Provider);
        let connecting = { self.of_provider.iter().take(2) }
            .filter_map(|(_, time)| *time)
            .sum::<Duration>();
        let before = self.request_overhead.unwrap_or_default() + self.queued.unwrap_or_default();
        let before = before.saturating_sub(connecting).min(self.duration);
        let error = self.error_of_client();
        let place = providers.of(&provider, self.record.way());
        Span {
            trace_id: server.trace_id.clone(),
            span_id: nonzero(*last).to_vec(),
            trace_state: server.trace_state.clone(),
            parent_span_id: server.span_id.clone(),
            name: self.name(Some(&format!("/p/{provider}"))),
            kind: Kind::Client.into(),
            start_time_unix_nano: server.start_time_unix_nano + nanos(before),
            end_time_unix_nano: self.ended,
            attributes: self.client_attributes(error.as_ref(), place),
            events: Vec::new(),
            status: self.status(error),
            flags: server.flags & 0xff | KNOWN,
        }
    }

    /// The method, where it is one of the known ones, and what there are few of.
    fn name(&self, route: Option<&str>) -> String {
        let method = match METHODS.contains(&&*self.method) {
            true => &*self.method,
            false => "HTTP",
        };
        match route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        }
    }

    fn method(&self, out: &mut Vec<KeyValue>) {
        if METHODS.contains(&&*self.method) {
            return out.push(KeyValue::text("http.request.method", &*self.method));
        }
        out.push(KeyValue::text("http.request.method", "_OTHER"));
        if !self.method.is_empty() {
            out.push(KeyValue::text(
                "http.request.method_original",
                &*self.method,
            ));
        }
    }

    fn server_attributes(&self, route: Option<String>, error: Option<&Failed>) -> Vec<KeyValue> {
        let (record, mut out) = (self.record, Vec::new());
        let marks = record.marks();
        self.method(&mut out);
        let scheme = if marks.tls { "https" } else { "http" };
        out.push(KeyValue::text("url.scheme", scheme));
        let path = text(record, Quote::Path);
        if path.starts_with('/') {
            out.push(KeyValue::text("url.path", path));
        }
        out.extend(route.map(|route| KeyValue::text("http.route", route)));
        if !self.method.is_empty() {
            let version = if marks.http10 { "1.0" } else { "1.1" };
            out.push(KeyValue::text("network.protocol.version", version));
        }
        if let Some(client) = record.client() {
            out.extend(address("client", client));
        }
        if record.status() > 0 {
            out.push(KeyValue::number(
                "http.response.status_code",
                record.status().into(),
            ));
        }
        out.extend(error.map(|error| KeyValue::text("error.type", &*error.kind)));
        for (name, quote) in [
            ("sluicegate.request_id", Quote::RequestId),
            ("sluicegate.key", Quote::KeyId),
            ("sluicegate.provider", Quote::Provider),
            ("sluicegate.error", Quote::Error),
            ("sluicegate.detail", Quote::Detail),
        ] {
            put_quote(record, name, quote, &mut out);
        }
        if let Some(ending) = record.ending() {
            out.push(KeyValue::text("sluicegate.end", ending.as_str()));
        }
        out.push(KeyValue::number("sluicegate.bytes_in", record.received()));
        out.push(KeyValue::number("sluicegate.bytes_out", record.sent()));
        let added = [self.request_overhead, self.response_overhead];
        let added = added.into_iter().flatten().reduce(|sum, time| sum + time);
        for (name, time) in [
            ("sluicegate.added_us", added),
            ("sluicegate.request_overhead_us", self.request_overhead),
            ("sluicegate.response_overhead_us", self.response_overhead),
            ("sluicegate.waited_us", self.waited),
            ("sluicegate.queued_us", self.queued),
        ] {
            put_time(name, time, &mut out);
        }
        out
    }

    fn client_attributes(&self, error: Option<&Failed>, place: Option<&BaseUrl>) -> Vec<KeyValue> {
        let (record, mut out) = (self.record, Vec::new());
        self.method(&mut out);
        if let Some(base) = place {
            let scheme = if base.tls { "https" } else { "http" };
            out.push(KeyValue::text("url.scheme", scheme));
            let host = match &base.host {
                Host::Unix(path) => path.display().to_string(),
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name.clone(),
            };
            out.push(KeyValue::text("server.address", host));
            if base.port > 0 {
                out.push(KeyValue::number("server.port", base.port.into()));
            }
        }
        put_quote(record, "network.peer.address", Quote::Address, &mut out);
        if let Some(status) = self.status_of_provider() {
            out.push(KeyValue::number("http.response.status_code", status.into()));
        }
        out.extend(error.map(|error| KeyValue::text("error.type", &*error.kind)));
        let way = record.way();
        let attempts = u64::from(way.moved) + 1;
        for (name, figure) in [
            ("http.request.resend_count", way.retries.into()),
            ("sluicegate.instance", way.instance.into()),
            ("sluicegate.key_n", way.key_n.into()),
            (
                "sluicegate.attempts",
                if attempts > 1 { attempts } else { 0 },
            ),
        ] {
            if figure > 0 {
                out.push(KeyValue::number(name, figure));
            }
        }
        put_quote(record, "sluicegate.provider", Quote::Provider, &mut out);
        let id = Quote::UpstreamRequestId;
        put_quote(record, "sluicegate.upstream_request_id", id, &mut out);
        for (name, time) in self.of_provider {
            put_time(name, time, &mut out);
        }
        out
    }

    /// What the provider answered, where it did.
    fn status_of_provider(&self) -> Option<u16> {
        let is_ours = !self.record.quote(Quote::Error).is_empty();
        Some(self.record.status()).filter(|status| *status > 0 && !is_ours)
    }

    fn error_of_server(&self) -> Option<Failed> {
        let record = self.record;
        let status = record.status();
        let code = text(record, Quote::Error);
        let is_broken = record.ending().is_some_and(Ending::is_broken);
        let is_failure = status >= 500 || is_broken;
        match record.ending() {
            _ if !code.is_empty() => Some(Failed::of(code, is_failure)),
            Some(ending) if is_broken => Some(Failed::of(ending.as_str().to_owned(), true)),
            _ if status >= 500 => Some(Failed::of(status.to_string(), true)),
            _ => None,
        }
    }

    /// A client that leaves is no failure of the provider's.
    fn error_of_client(&self) -> Option<Failed> {
        let record = self.record;
        let code = text(record, Quote::Error);
        let broken = { record.ending() }
            .filter(|ending| ending.is_broken() && *ending != Ending::Undelivered)
            .filter(|ending| *ending != Ending::RequestInvalid);
        match (self.status_of_provider(), broken) {
            _ if code.starts_with("upstream_") => Some(Failed::of(code, true)),
            (_, Some(ending)) => Some(Failed::of(ending.as_str().to_owned(), true)),
            (Some(status), None) if status >= 400 => Some(Failed::of(status.to_string(), true)),
            _ => None,
        }
    }

    fn status(&self, error: Option<Failed>) -> Option<Status> {
        error.map(|_| Status {
            message: text(self.record, Quote::Detail),
            code: Code::Error.into(),
        })
    }

    /// That the answer broke off, or that the client left.
    fn cut(&self) -> Option<Event> {
        let record = self.record;
        let ending = record.ending()?;
        if !ending.is_broken() && ending != Ending::ClientGone {
            return None;
        }
        let mut attributes = vec![KeyValue::text("sluicegate.end", ending.as_str())];
        if let Some(phase) = record.phase().filter(|_| ending == Ending::ClientGone) {
            attributes.push(KeyValue::text("sluicegate.phase", phase.as_str()));
        }
        put_quote(record, "sluicegate.detail", Quote::Detail, &mut attributes);
        Some(Event {
            time_unix_nano: self.ended,
            name: "cut".to_owned(),
            attributes,
        })
    }
}

/// What went wrong, as a class.
struct Failed {
    kind: String,
    /// The span's status says so.
    is_failure: bool,
}

impl Failed {
    fn of(kind: String, is_failure: bool) -> Self {
        Self { kind, is_failure }
    }
}

/// Of a span's flags: whether the parent is another process's is known, and it is.
const KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// Those that the conventions know.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
];

fn text(record: &Record<'_>, quote: Quote) -> String {
    String::from_utf8_lossy(record.quote(quote)).into_owned()
}

fn put_quote(record: &Record<'_>, name: &str, quote: Quote, out: &mut Vec<KeyValue>) {
    let value = text(record, quote);
    if !value.is_empty() {
        out.push(KeyValue::text(name, value));
    }
}

fn put_time(name: &str, time: Option<Duration>, out: &mut Vec<KeyValue>) {
    out.extend(time.map(|time| KeyValue::number(name, nanos(time) / 1000)));
}

fn address(whose: &str, address: SocketAddr) -> [KeyValue; 2] {
    [
        KeyValue::text(&format!("{whose}.address"), address.ip().to_string()),
        KeyValue::number(&format!("{whose}.port"), address.port().into()),
    ]
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// An id of zeros alone would be none.
fn nonzero(id: [u8; 8]) -> [u8; 8] {
    match id {
        [0, 0, 0, 0, 0, 0, 0, 0] => [0, 0, 0, 0, 0, 0, 0, 1],
        id => id,
    }
}

#[cfg(test)]
mod tests;
