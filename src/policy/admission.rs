//! One request head against one configuration: what becomes of it. Pure.
//!
//! The order of the checks is the contract's: framing, route, page, key and what it may, its rate, provider and
//! endpoint, size, and what hangs on how things stand: what is refused behind a key's rate has been counted by it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::http::framing::BodyLength;
use crate::http::head::RequestView;
use crate::http::target::{self, Target};
use crate::policy::auth::Asked;
use crate::policy::cors::{BrowserLines, foreign};
use crate::policy::error::{Fault, Scarce};
use crate::policy::forward::{Forward, Terms};
use crate::policy::gateway::Gateway;
use crate::policy::loops;
use crate::policy::operators;
use crate::policy::route::Route;
use crate::providers::Session;

/// A well-framed request, as far as it has come.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its head, and behind that what has come of its content.
    pub view: RequestView<'a>,
    /// As its framing says.
    pub length: BodyLength,
    /// How much content has come, without its framing.
    pub content: u64,
    /// It came without TLS over the loopback interface, to a listener that is on no other.
    pub is_near: bool,
    /// Where its client is; nothing for one of a Unix socket.
    pub from: Option<IpAddr>,
}

/// When a request is looked at, and how things stand then.
#[derive(Clone, Copy)]
pub struct Now {
    /// Tells seconds since 1970; asked for a key that expires.
    pub unix_seconds: fn() -> u64,
    /// Tells nanoseconds since some moment that is the same for all threads; asked where a rate needs them.
    pub monotonic_nanos: fn() -> u64,
    /// Its client was let in on terms that are no more.
    pub is_outdated: bool,
    /// Why there was no place for its connection, which may ask for the health only.
    pub crowded: Option<Scarce>,
    /// Requests under way.
    pub in_flight: usize,
}

/// Whose a request is, and what becomes of it.
pub struct Decision<'g> {
    /// The id of the gateway key, if one was found that is or was good.
    pub key: Option<&'g str>,
    /// Where it is counted by its key; 0 without a good one.
    pub key_slot: usize,
    /// The provider that it is for, once that is known.
    pub provider: Option<usize>,
    /// What the answer says to browsers, where they are spoken to.
    pub cors: Option<Arc<BrowserLines>>,
    /// What becomes of it, or the first check that it fails.
    pub outcome: Result<Admission<'g>, Fault>,
}

/// What becomes of a request.
pub enum Admission<'g> {
    /// It goes to a provider.
    Forward(Forward<'g>),
    /// `/health` and `/health/ready`
    Health,
    /// `/health/live`
    Live,
    /// The metrics endpoint.
    Metrics,
    /// What is under way; only where operators ask.
    Streams,
    /// The page that shows both; only where operators ask.
    Page,
    /// `OPTIONS *`
    Options,
    /// A browser asks whether a page may send its request: the field lines that allow it.
    Preflight(Vec<u8>),
}

/// Decides what becomes of a well-framed request.
pub fn admit<'g>(gateway: &'g Gateway, request: Request<'_>, now: Now) -> Decision<'g> {
    let cors = gateway.cors.as_ref();
    let cors = cors.map(|cors| cors.lines(request.view.section));
    let mut known = Known::default();
    let outcome = decide(gateway, request, now, cors.as_deref(), &mut known);
    let outcome = outcome.and_then(|admission| check_state(gateway, request, now, admission));
    let Known {
        key,
        key_slot,
        provider,
    } = known;
    Decision {
        key,
        key_slot,
        provider,
        cors,
        outcome,
    }
}

/// What has been found out of a request, whatever becomes of it.
#[derive(Default)]
struct Known<'g> {
    key: Option<&'g str>,
    key_slot: usize,
    provider: Option<usize>,
}

fn decide<'g>(
    gateway: &'g Gateway,
    request: Request<'_>,
    now: Now,
    cors: Option<&BrowserLines>,
    known: &mut Known<'g>,
) -> Result<Admission<'g>, Fault> {
    let view = request.view;
    check_method(view.method())?;
    check_way(view)?;
    let target: Target = target::parse(view.target())?;
    // Whatever the path leads to, the page shall be able to read it.
    if let Some(lines) = cors
        && let Some(lines) = lines.preflight(view)?
    {
        return Ok(Admission::Preflight(lines));
    }
    let passthrough = match gateway.table.route(view.method(), view.target(), target) {
        Route::Provider(passthrough) => passthrough,
        route => return answer(gateway, route, view),
    };
    check_page(gateway, request, cors)?;
    let grant = gateway.keys.check(view.section, now.unix_seconds);
    let grant = grant.map_err(|refused| {
        known.key = refused.id;
        refused.error
    })?;
    known.key = grant.id();
    known.key_slot = grant.slot();
    let asked = Asked {
        provider: passthrough.provider.of(view.target()),
        method: view.method(),
        endpoint: passthrough.endpoint.of(view.target()),
    };
    grant.permit(asked)?;
    let lease = grant.enter(now.monotonic_nanos)?;
    let upstream = gateway
        .table
        .resolve(view.target(), passthrough)
        .map_err(|error| Fault::from_route(error, gateway.table.provider_names()))?;
    let Some((provider, lines)) = gateway.provider(upstream.provider) else {
        return Err(Fault::NoSuchRoute);
    };
    known.provider = Some(upstream.provider);
    if !provider.serves(asked.method, asked.endpoint) {
        return Err(Fault::EndpointDenied);
    }
    if !gateway.content_limit().allows_announced(request.length) {
        return Err(Fault::BodyTooLarge);
    }
    let key = choose_key(gateway, upstream.provider, request, grant.id(), now)?;
    let terms = Terms {
        lines,
        key,
        grant: &grant,
        keys: &gateway.keys,
        is_judged: provider.has_rules() || grant.has_rules(),
        answers_page: cors.is_some_and(BrowserLines::is_listed),
    };
    let forward = Forward::new(view, request.length, upstream, terms, lease);
    Ok(Admission::Forward(forward))
}

/// The index of the provider's key that a request is sent with.
fn choose_key(
    gateway: &Gateway,
    provider: usize,
    request: Request<'_>,
    id: Option<&str>,
    now: Now,
) -> Result<u8, Fault> {
    let Some(keys) = gateway.choices.keys(provider) else {
        return Ok(0);
    };
    let settings = gateway.config.providers.get(provider);
    let fields = settings.map_or(&[][..], |settings| &settings.session_headers);
    let named = Session::named(fields, request.view.section);
    let session = Session::of(named, id, request.from);
    keys.choose(session, (now.monotonic_nanos)())
        .map_err(Fault::keys_exhausted)
}

/// What becomes of a request that is for no provider.
fn answer<'g>(
    gateway: &Gateway,
    route: Route,
    request: RequestView<'_>,
) -> Result<Admission<'g>, Fault> {
    match route {
        Route::Health => Ok(Admission::Health),
        Route::Live => Ok(Admission::Live),
        Route::Metrics if gateway.config.metrics.enabled => {
            gateway.metrics_key.check(request.section)?;
            Ok(Admission::Metrics)
        }
        Route::OptionsStar => Ok(Admission::Options),
        // Operators have a listener of their own.
        Route::Metrics | Route::Streams | Route::Page | Route::NotFound | Route::Provider(_) => {
            Err(Fault::NoSuchRoute)
        }
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
fn check_way(request: RequestView<'_>) -> Result<(), Fault> {
    match loops::has_come_round(request.section) {
        true => Err(Fault::LoopDetected),
        false => Ok(()),
    }
}

/// Where no key is asked for, the page that sends a request says who may.
fn check_page(
    gateway: &Gateway,
    request: Request<'_>,
    cors: Option<&BrowserLines>,
) -> Result<(), Fault> {
    if !gateway.keys.is_open() || cors.is_some_and(BrowserLines::is_listed) {
        return Ok(());
    }
    let view = request.view;
    if foreign::is_foreign(view.section) {
        return Err(Fault::OriginNotAllowed);
    }
    let origins = &gateway.config.server.cors_origins;
    // An absolute target makes nothing of `Host`, and no browser sends one.
    let counts = request.is_near && view.target().starts_with(b"/");
    match counts && foreign::is_rebound(view.section, origins) {
        true => Err(Fault::HostNotAllowed),
        false => Ok(()),
    }
}

/// What hangs on how things stand, not on the request alone. Health and the like are answered however crowded it is.
fn check_state<'g>(
    gateway: &Gateway,
    request: Request<'_>,
    now: Now,
    admission: Admission<'g>,
) -> Result<Admission<'g>, Fault> {
    if now.is_outdated {
        return Err(Fault::Outdated);
    }
    if let Admission::Forward(forward) = &admission {
        if !gateway.content_limit().allows(request.content) {
            return Err(Fault::BodyTooLarge);
        }
        check_room(gateway, now)?;
        forward.check_trailers(request.view, request.length)?;
    }
    Ok(admission)
}

/// Whether there is a place for one more request to a provider.
fn check_room(gateway: &Gateway, now: Now) -> Result<(), Fault> {
    let most = gateway.config.limits.in_flight;
    match now.crowded {
        Some(scarce) => Err(Fault::Overloaded(scarce)),
        None if most.is_some_and(|most| now.in_flight >= most.get()) => {
            Err(Fault::Overloaded(Scarce::InFlight))
        }
        None => Ok(()),
    }
}

/// Decides what becomes of a request on a listener of `metrics.listen`: health, metrics, what is under way, a page.
#[must_use]
pub(crate) fn admit_operator<'g>(
    gateway: &Gateway,
    request: Request<'_>,
    now: Now,
) -> Decision<'g> {
    let outcome = decide_operator(gateway, request);
    let outcome = outcome.and_then(|admission| check_state(gateway, request, now, admission));
    Decision {
        key: None,
        key_slot: 0,
        provider: None,
        cors: None,
        outcome,
    }
}

fn decide_operator<'g>(gateway: &Gateway, request: Request<'_>) -> Result<Admission<'g>, Fault> {
    let view = request.view;
    let target = target::parse(view.target())?;
    let admission = match gateway.table.route(view.method(), view.target(), target) {
        Route::Health => return Ok(Admission::Health),
        Route::Live => return Ok(Admission::Live),
        Route::Metrics => Admission::Metrics,
        Route::Streams => Admission::Streams,
        Route::Page => Admission::Page,
        Route::OptionsStar | Route::NotFound | Route::Provider(_) => {
            return Err(Fault::NoSuchRoute);
        }
    };
    check_operator(gateway, request, &admission)?;
    Ok(admission)
}

/// Whoever shows the key may look. Where there is none, the page says who has a browser ask; what it shows is not in it
/// yet, so that a link may lead to it.
fn check_operator(
    gateway: &Gateway,
    request: Request<'_>,
    admission: &Admission<'_>,
) -> Result<(), Fault> {
    let section = request.view.section;
    if gateway.metrics_key.is_asked_for() {
        return Ok(gateway.metrics_key.check(section)?);
    }
    if !matches!(admission, Admission::Page) {
        operators::check_origin(section)?;
    }
    let counts = request.is_near && request.view.target().starts_with(b"/");
    let origins = &gateway.config.server.cors_origins;
    Ok(operators::check_host(section, counts, origins)?)
}
