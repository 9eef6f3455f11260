//! One request head against one configuration: what it asks for, and all that is needed to send it on.
//! Pure. The order of the checks is the contract's: framing, route, page, key and what it may, its rate, provider and
//! endpoint, size: what is refused behind a key's rate has been counted by it.

use std::sync::Arc;

use crate::base::bytes::within;
use crate::http::framing::{BodyLength, Cursor};
use crate::http::head::{
    Field, FieldSet, Fields, Name, NameSet, RequestHead, Span, Version, list, list_has,
};
use crate::http::rewrite::{self, NewTarget};
use crate::http::target::{self, Target};
use crate::policy::auth::{Asked, Lease, Spellings, key_of_protocol};
use crate::policy::cors::{self, foreign};
use crate::policy::error::Fault;
use crate::policy::gateway::{Gateway, Lines};
use crate::policy::loops;
use crate::policy::route::Route;

/// A request head and the buffer that it begins.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Starts with the head's first byte.
    pub buf: &'a [u8],
    /// As it was parsed from `buf`.
    pub head: &'a RequestHead,
    /// Its field lines.
    pub fields: &'a Fields,
    /// As its framing says.
    pub length: BodyLength,
    /// It came without TLS over the loopback interface, to a listener that is on no other.
    pub is_near: bool,
}

/// When a request is looked at.
#[derive(Clone, Copy)]
pub struct Now {
    /// Tells seconds since 1970; asked for a key that expires.
    pub unix_seconds: fn() -> u64,
    /// Tells nanoseconds since some moment that is the same for all threads; asked where a rate needs them.
    pub monotonic_nanos: fn() -> u64,
}

/// Whose a request is, and what becomes of it.
pub struct Decision<'g> {
    /// The id of the gateway key, if one was found good.
    pub key: Option<&'g str>,
    /// What the answer says to browsers, where they are spoken to.
    pub cors: Option<Arc<cors::Lines>>,
    /// What becomes of it, or the first check that it fails.
    pub outcome: Result<Admission<'g>, Fault>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Admission<'g> {
    /// It goes to a provider.
    Forward(Forward<'g>),
    /// `/health`
    Health,
    /// The metrics endpoint.
    Metrics,
    /// What is under way; only where operators ask.
    Streams,
    /// `OPTIONS *`
    Options,
    /// A browser asks whether a page may send its request: the field lines that allow it.
    Preflight(Vec<u8>),
}

/// A request that goes to a provider. Spans count from the head's first byte.
#[derive(Debug)]
pub struct Forward<'g> {
    /// Index of the provider.
    pub provider: usize,
    /// Held until the exchange is over.
    pub lease: Option<Lease>,
    /// The path in front of the endpoint: one of the provider's roots.
    prefix: &'g [u8],
    /// Endpoint and query, as they were written.
    rest: Span,
    removed: FieldSet,
    /// `Sec-WebSocket-Protocol` without the entry that carries a key; empty where nothing changes.
    protocols: Vec<u8>,
    /// The request asks for a websocket.
    pub upgrade: bool,
    /// The client may wait for a 100 before it sends its content.
    pub expects_continue: bool,
    /// `Transfer-Encoding` was not written `chunked` to the letter.
    respell_coding: bool,
    /// Rules have judged its method and path: no trailer may put others in their place.
    pub is_judged: bool,
}

/// Decides what becomes of a well-framed request.
pub fn admit<'g>(gateway: &'g Gateway, request: Request<'_>, now: Now) -> Decision<'g> {
    let mut key = None;
    let cors = gateway.cors.as_ref();
    let cors = cors.map(|cors| cors.lines(request.fields, request.buf));
    let outcome = decide(gateway, request, now, cors.as_deref(), &mut key);
    Decision { key, cors, outcome }
}

fn decide<'g>(
    gateway: &'g Gateway,
    request: Request<'_>,
    now: Now,
    cors: Option<&cors::Lines>,
    key: &mut Option<&'g str>,
) -> Result<Admission<'g>, Fault> {
    let method = request.head.method.of(request.buf);
    check_method(method)?;
    check_way(request)?;
    let target_bytes = request.head.target.of(request.buf);
    let target: Target = target::parse(target_bytes)?;
    // Whatever the path leads to, the page shall be able to read it.
    if let Some(lines) = cors
        && let Some(lines) = lines.preflight(method, request.fields, request.buf)?
    {
        return Ok(Admission::Preflight(lines));
    }
    let passthrough = match gateway.table.route(method, target_bytes, target) {
        Route::Provider(passthrough) => passthrough,
        route => return answer(gateway, route),
    };
    check_page(gateway, request, cors)?;
    let grant = gateway
        .keys
        .check(request.fields, request.buf, now.unix_seconds)?;
    *key = grant.id();
    let endpoint = passthrough.endpoint.of(target_bytes);
    grant.permit(Asked {
        provider: passthrough.provider.of(target_bytes),
        method,
        endpoint,
    })?;
    let lease = grant.enter(now.monotonic_nanos)?;
    let upstream = gateway
        .table
        .resolve(target_bytes, passthrough)
        .map_err(|error| Fault::from_route(error, gateway.table.provider_names()))?;
    let Some((provider, lines)) = gateway.provider(upstream.provider) else {
        return Err(Fault::NoSuchRoute);
    };
    if !provider.serves(method, endpoint) {
        return Err(Fault::EndpointDenied);
    }
    check_size(request.length, gateway.config.limits.body)?;
    let start = request.head.target.start;
    let upgrade = asks_for_websocket(request);
    let own = Spellings::of(&gateway.keys);
    let mut forward = Forward {
        provider: upstream.provider,
        lease,
        prefix: upstream.prefix,
        rest: Span {
            start: start + upstream.endpoint.start,
            end: request.head.target.end,
        },
        removed: rewrite::request_removals(request.buf, request.fields, |index, field| {
            lines.keeps_credential && !grant.used(index) && !own.are_in(field.value.of(request.buf))
        }),
        protocols: Vec::new(),
        upgrade,
        expects_continue: expects_continue(request),
        respell_coding: false,
        is_judged: false,
    };
    forward.adjust(request, lines, &own);
    if provider.has_rules() || grant.has_rules() {
        forward.drop_overrides(request);
        forward.is_judged = true;
    }
    if !upgrade && cors.is_some_and(cors::Lines::is_listed) {
        forward.drop_origin(request);
    }
    Ok(Admission::Forward(forward))
}

/// What becomes of a request that is for no provider.
fn answer<'g>(gateway: &Gateway, route: Route) -> Result<Admission<'g>, Fault> {
    match route {
        Route::Health => Ok(Admission::Health),
        Route::Metrics if gateway.config.metrics.enabled => Ok(Admission::Metrics),
        Route::OptionsStar => Ok(Admission::Options),
        // Operators have a listener of their own.
        Route::Metrics | Route::Streams | Route::NotFound | Route::Provider(_) => {
            Err(Fault::NoSuchRoute)
        }
    }
}

/// Where no key is asked for, the page that sends a request says who may.
fn check_page(
    gateway: &Gateway,
    request: Request<'_>,
    cors: Option<&cors::Lines>,
) -> Result<(), Fault> {
    let Request {
        buf, fields, head, ..
    } = request;
    if !gateway.keys.is_open() || cors.is_some_and(cors::Lines::is_listed) {
        return Ok(());
    }
    if foreign::is_foreign(fields, buf) {
        return Err(Fault::OriginNotAllowed);
    }
    let origins = &gateway.config.server.cors_origins;
    // An absolute target makes nothing of `Host`, and no browser sends one.
    let counts = request.is_near && head.target.of(buf).starts_with(b"/");
    match counts && foreign::is_rebound(fields, buf, origins) {
        true => Err(Fault::HostNotAllowed),
        false => Ok(()),
    }
}

fn check_size(length: BodyLength, limit: Option<u64>) -> Result<(), Fault> {
    match (length, limit) {
        (BodyLength::Length(length), Some(limit)) if length > limit => Err(Fault::BodyTooLarge),
        _ => Ok(()),
    }
}

/// Decides what becomes of a request on a listener of `metrics.listen`: health, metrics, what is under way.
#[must_use]
pub(crate) fn admit_operator<'g>(gateway: &Gateway, request: Request<'_>) -> Decision<'g> {
    Decision {
        key: None,
        cors: None,
        outcome: decide_operator(gateway, request),
    }
}

fn decide_operator<'g>(gateway: &Gateway, request: Request<'_>) -> Result<Admission<'g>, Fault> {
    let target_bytes = request.head.target.of(request.buf);
    let target = target::parse(target_bytes)?;
    let method = request.head.method.of(request.buf);
    match gateway.table.route(method, target_bytes, target) {
        Route::Health => Ok(Admission::Health),
        Route::Metrics => Ok(Admission::Metrics),
        Route::Streams => Ok(Admission::Streams),
        Route::OptionsStar | Route::NotFound | Route::Provider(_) => Err(Fault::NoSuchRoute),
    }
}

impl Forward<'_> {
    /// The removals that depend on provider and values.
    fn adjust(&mut self, request: Request<'_>, lines: &Lines, own: &Spellings<'_>) {
        for (index, field) in request.fields.known() {
            match field.name {
                Name::TransferEncoding if field.value.of(request.buf) != b"chunked" => {
                    self.removed.insert(index);
                    self.respell_coding = true;
                }
                Name::SecWebsocketProtocol => self.strip_key(request, index, field, own),
                Name::Expect if !may_expect(request.head.version, field, request.buf) => {
                    self.removed.insert(index);
                }
                _ => {}
            }
        }
        lines.remove_replaced(request.fields, request.buf, &mut self.removed);
    }

    /// What the rules were asked for is what the provider is asked for.
    fn drop_overrides(&mut self, request: Request<'_>) {
        for (index, _) in request.fields.among(NameSet::OVERRIDES) {
            self.removed.insert(index);
        }
    }

    /// What has come of the content is looked at again, since nobody knew then of rules.
    ///
    /// # Errors
    /// A trailer would put another method or path in the place of those that were judged.
    pub fn check_trailers(&self, request: Request<'_>) -> Result<(), Fault> {
        if self.is_judged && request.length == BodyLength::Chunked {
            let content = within(request.buf, request.head.len..);
            Cursor::new(request.length).advance_judged(content)?;
        }
        Ok(())
    }

    /// A provider that sees where a page comes from would apply rules of its own to what is answered for here.
    /// For a websocket they still count: nothing is answered for it.
    fn drop_origin(&mut self, request: Request<'_>) {
        for (index, field) in request.fields.iter().enumerate() {
            if cors::is_origin(field, request.buf) {
                self.removed.insert(index);
            }
        }
    }

    /// Takes every entry that carries a key out of the protocol list; the list goes with its last entry.
    fn strip_key(
        &mut self,
        request: Request<'_>,
        index: usize,
        field: &Field,
        own: &Spellings<'_>,
    ) {
        let value = field.value.of(request.buf);
        let carries_key = |entry: &[u8]| key_of_protocol(entry).is_some() || own.are_in(entry);
        if !list(value).any(carries_key) {
            return;
        }
        self.removed.insert(index);
        let others: Vec<&[u8]> = list(value).filter(|entry| !carries_key(entry)).collect();
        if !others.is_empty() {
            self.protocols.extend_from_slice(field.name_of(request.buf));
            self.protocols.extend_from_slice(b": ");
            self.protocols.extend_from_slice(&others.join(&b", "[..]));
            self.protocols.extend_from_slice(b"\r\n");
        }
    }

    /// Whether a field with this name goes on.
    #[must_use]
    pub fn carries_on(&self, fields: &Fields, name: Name) -> bool {
        let mut fields = fields.known();
        fields.any(|(index, field)| field.name == name && !self.removed.contains(index))
    }

    /// Rewrites the head that lies at `at` in `buf`; see [`rewrite::request`]. `own` are the complete lines of the
    /// gateway's own: `X-Request-ID`, or empty when the client sent its own, and the mark of [`loops`].
    #[must_use]
    pub fn rewrite(
        &self,
        lines: &Lines,
        buf: &mut [u8],
        at: usize,
        head: &RequestHead,
        fields: &Fields,
        own: [&[u8]; 2],
    ) -> Option<usize> {
        let upgrade: &[u8] = if self.upgrade {
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        } else {
            b""
        };
        let coding: &[u8] = if self.respell_coding {
            b"Transfer-Encoding: chunked\r\n"
        } else {
            b""
        };
        let [id, mark] = own;
        let fixed = [lines.always(), id, mark, upgrade, coding, &self.protocols];
        let mut added: [&[u8]; 6 + DEFAULTS_MAX] = [b""; 6 + DEFAULTS_MAX];
        // Copied, because what they are checked against is about to move.
        let missing = lines.missing(fields, buf.get(at..)?, &self.removed);
        for (slot, line) in added
            .iter_mut()
            .zip(fixed.into_iter().chain(missing.into_iter().flatten()))
        {
            *slot = line;
        }
        let target = NewTarget {
            prefix: self.prefix,
            rest: self.rest,
        };
        rewrite::request(buf, at, head, fields, &self.removed, target, &added)
    }
}

/// Methods for nobody, whatever their case: some servers fold it.
fn check_method(method: &[u8]) -> Result<(), Fault> {
    let mut refused = [&b"CONNECT"[..], b"TRACE"].into_iter();
    match refused.any(|name| name.eq_ignore_ascii_case(method)) {
        true => Err(Fault::MethodNotImplemented),
        false => Ok(()),
    }
}

/// Whatever else would be said of a request that comes round would lead astray.
fn check_way(request: Request<'_>) -> Result<(), Fault> {
    match loops::has_come_round(request.fields, request.buf) {
        true => Err(Fault::LoopDetected),
        false => Ok(()),
    }
}

/// Most default lines a provider can have.
pub(crate) const DEFAULTS_MAX: usize = 4;

/// `Upgrade: websocket` on a GET of HTTP/1.1 without content; every other upgrade is only a hop-by-hop
/// field (RFC 9110, section 7.8).
fn asks_for_websocket(request: Request<'_>) -> bool {
    let named = |name: Name, token: &[u8]| {
        let mut lines = request.fields.named(name);
        lines.any(|field| list_has(field.value.of(request.buf), token))
    };
    request.head.version == Version::Http11
        && request.head.method.of(request.buf) == b"GET"
        && request.length == BodyLength::Empty
        && named(Name::Upgrade, b"websocket")
        && named(Name::Connection, b"upgrade")
}

/// Only with content: without any there is nothing to wait for (RFC 9110, section 10.1.1).
fn expects_continue(request: Request<'_>) -> bool {
    let Request { buf, head, .. } = request;
    request.length != BodyLength::Empty && asks_for_continue(head.version, request.fields, buf)
}

/// Whether the client may wait for a 100 (RFC 9110, section 10.1.1).
#[must_use]
pub(crate) fn asks_for_continue(version: Version, fields: &Fields, buf: &[u8]) -> bool {
    let mut expectations = fields.named(Name::Expect);
    expectations.any(|field| is_continue(field, buf) && may_expect(version, field, buf))
}

/// A 100-continue in HTTP/1.0 is to be ignored: that client knows no interim responses.
fn may_expect(version: Version, field: &Field, buf: &[u8]) -> bool {
    version == Version::Http11 || !is_continue(field, buf)
}

fn is_continue(field: &Field, buf: &[u8]) -> bool {
    field.value.of(buf).eq_ignore_ascii_case(b"100-continue")
}
