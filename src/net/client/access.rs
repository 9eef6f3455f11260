//! The record of the request under way on a connection, where there is one, and what it is told.
//!
//! Where neither metrics nor an access log nor spans nor `server.server_timing` are wanted there is no record, and no clock is
//! read for one.

use std::time::Duration;

use super::record::Record;
use super::records::SharedRecord;
use super::shared::Shared;
use crate::http::head::{Field, Name, RequestView, Section, Version};
use crate::http::target;
use crate::log::Quote;
use crate::net::core::ids::RequestId;
use crate::net::sockets::peer::Peer;
use crate::observe::times::Connecting;
use crate::observe::traceparent::{Context, STATE_BYTES_MAX, put_state};
use crate::observe::{self, Ending, Method, Phase, Times};
use crate::policy::error::Fault;
use crate::policy::gateway::Gateway;
use crate::system::time::Moment;

/// The record, where there is one.
#[derive(Default)]
pub(crate) struct Access(Option<SharedRecord>);

impl Access {
    /// Begins a record, if one is wanted, of a request whose head had been there since `ready`.
    #[must_use]
    pub(crate) fn begin(
        worker: &Shared,
        gateway: &Gateway,
        ready: Option<Moment>,
        tls: bool,
    ) -> Self {
        let config = &gateway.config;
        let (counted, logged) = (config.is_counted(), config.log.has_requests());
        let traced = config.otlp.has_spans();
        let wanted = config.takes_times() && !worker.core.is_operator();
        Self(wanted.then(|| {
            worker
                .records
                .begin(worker.core.load.is_listed(), |record| {
                    record.begin(ready);
                    (record.counted, record.logged) = (counted, logged);
                    (record.traced, record.tls) = (traced, tls);
                })
        }))
    }

    /// The request's head is known. Method, path and ids are copied, never query, fragment or authority.
    pub(crate) fn head(&mut self, request: RequestView<'_>, id: &RequestId) {
        let Some(record) = &mut self.0 else {
            return;
        };
        let record = &mut *record.borrow_mut();
        let method = request.method();
        record.figures.method = Method::of(method);
        // A list of requests under way shows the path where it is known; for that alone it costs too much.
        if !record.is_quoted() {
            return;
        }
        if record.traced {
            trace(record, request);
        }
        let quotes = &mut record.quotes;
        quotes.put(Quote::RequestId, id.as_bytes());
        quotes.put(Quote::Method, method);
        quotes.put(Quote::Path, target::shown(request.target()));
        let lines = request.fields.iter();
        for field in lines.filter(|field| field.name == Name::Other) {
            if let Some(quote) = Quote::of_request(field.name_of(request.buf)) {
                quotes.put(quote, request.value(field));
            }
        }
    }

    /// It came with the gateway key of this id, and is counted in this slot by it.
    pub(crate) fn by(&mut self, key: Option<&str>, slot: usize) {
        let Some(id) = key else { return };
        self.note(|record| {
            record.key_slot = slot;
            if record.is_quoted() || record.place.is_some() {
                record.quotes.put(Quote::KeyId, id.as_bytes());
            }
        });
    }

    /// Content came from the client, as framed.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.note(|record| record.figures.received += bytes as u64);
    }

    /// Content went to the client, as framed.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.note(|record| record.figures.sent += bytes as u64);
    }

    /// The answer has this status.
    pub(crate) fn answered(&mut self, status: u16) {
        self.note(|record| record.figures.status = status);
    }

    /// Why it ends as it does.
    pub(crate) fn ends(&mut self, ending: Ending) {
        self.note(|record| record.ending = Some(ending));
    }

    /// The response's head is known.
    pub(crate) fn response(&mut self, status: u16, section: Section<'_>) {
        let is_id = |field: &&Field| {
            field.name == Name::XRequestId
                || (field.name == Name::Other && field.is_named(b"request-id", section.buf))
        };
        self.note(|record| {
            record.figures.status = status;
            if record.is_quoted()
                && let Some(field) = section.fields.iter().find(is_id)
            {
                let id = section.value(field);
                record.quotes.put(Quote::UpstreamRequestId, id);
            }
        });
    }

    /// It goes to the provider that is counted in this slot.
    pub(crate) fn routed(&mut self, slot: usize) {
        self.note(|record| (record.slot, record.provider) = (slot, slot));
    }

    /// It goes with the provider's key of this index, one of several.
    pub(crate) fn with_key(&mut self, key: u8) {
        self.note(|record| record.way.key_n = key.saturating_add(1));
    }

    /// It goes to the instance of this index, one of several of this provider.
    pub(crate) fn at_instance(&mut self, gateway: &Gateway, provider: usize, instance: u8) {
        self.note(|record| {
            let of = gateway.config.providers.get(provider);
            if let Some(instance) = of.map(|of| of.instance(instance.into())) {
                record.way.instance = instance.number;
                record.at_address(instance.address);
            }
        });
    }

    /// An instance was not reached, and it goes to another.
    pub(crate) fn tried(&mut self) {
        self.note(|record| record.way.moved = record.way.moved.saturating_add(1));
    }

    /// It has stood in a queue for so long.
    pub(crate) fn queued(&mut self, time: Duration) {
        self.note(|record| record.times.queued(time));
    }

    /// It was for the provider that is counted in this slot, and goes nowhere.
    pub(crate) fn was_for(&mut self, slot: usize) {
        self.note(|record| record.provider = slot);
    }

    /// It is left out of the access log, and has no span.
    pub(crate) fn is_no_news(&mut self) {
        self.note(|record| (record.logged, record.traced) = (false, false));
    }

    /// A connection was made for it.
    pub(crate) fn connected(&mut self, connecting: Connecting) {
        self.note(|record| record.times.connected(connecting));
    }

    /// It was sent, or its first part, and is `whole` or not.
    pub(crate) fn request_sent(&mut self, whole: bool) {
        self.note(|record| {
            let now = record.age_sent();
            record.times.sent(now);
            record.uploading = !whole;
        });
    }

    /// More of its content was sent, up to its end or not.
    pub(crate) fn uploaded(&mut self, whole: bool) {
        self.note(|record| {
            let now = record.age_sent();
            record.times.uploaded(now);
            record.uploading = !whole;
        });
    }

    /// It is sent once more.
    pub(crate) fn retried(&mut self) {
        self.note(|record| record.way.retries = record.way.retries.saturating_add(1));
    }

    /// A part of a response head has arrived, and had been there since `ready`.
    pub(crate) fn head_arrived(&mut self, ready: Option<Moment>) {
        self.note(|record| record.head_arrived(ready));
    }

    /// The response's head was sent on, or a piece of its content.
    pub(crate) fn passed_on(&mut self, content: bool) {
        self.note(|record| {
            let now = record.age_sent();
            record.times.passed_on(now, content);
        });
    }

    /// The client has left in this phase, or before the request was sent.
    pub(crate) fn left(&mut self, phase: Phase) {
        self.note(|record| {
            record.figures.phase = match record.times.request_overhead() {
                Some(_) => phase,
                None => Phase::Connect,
            };
        });
    }

    /// It was answered with an error of the gateway's own.
    pub(crate) fn failed(&mut self, fault: &Fault) {
        self.answered(fault.status());
        self.ends(Ending::Error);
        self.note(|record| record.error = Some(fault.code()));
        self.because(|| fault.reason());
    }

    /// Whether there will be a line of it.
    #[must_use]
    pub(crate) fn is_logged(&self) -> bool {
        self.0.as_ref().is_some_and(|record| record.borrow().logged)
    }

    /// There was no request: the connection came to nothing before that.
    pub(crate) fn closed(&mut self, code: &'static str, reason: &str) {
        self.ends(Ending::Error);
        self.note(|record| {
            (record.counted, record.traced) = (false, false);
            record.error = Some(code);
        });
        self.because(|| reason);
    }

    /// Why it ends as it does, in the words of the log; the first reason counts.
    pub(crate) fn because<T: AsRef<str>>(&mut self, reason: impl FnOnce() -> T) {
        self.note(|record| {
            if record.is_quoted() {
                let reason = reason();
                record.quotes.put(Quote::Detail, reason.as_ref().as_bytes());
            }
        });
    }

    /// The client has not taken all of its answer yet: the request's end is still to come.
    pub(crate) fn lingers(&mut self) {
        self.note(|record| record.lingers = true);
    }

    /// What `line` makes of what is known of its times, and of how long ago it began.
    pub(crate) fn timed<T>(&self, line: impl FnOnce(&Times, Duration) -> T) -> Option<T> {
        let record = self.0.as_ref()?.borrow();
        Some(line(&record.times, record.age()))
    }

    fn note(&mut self, event: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.0 {
            event(&mut record.borrow_mut());
        }
    }

    /// Counts the request and writes its line. `usual` is how it ends as far as the connection knows; where
    /// the client did not take the answer's end, the answer is not `delivered`.
    pub(crate) fn end(&mut self, worker: &Shared, peer: Peer, usual: Ending, delivered: bool) {
        let Some(shared) = self.0.take() else { return };
        let mut record = shared.borrow_mut();
        let ending = match record.ending.unwrap_or(usual) {
            Ending::Complete if !delivered => Ending::Undelivered,
            ending => ending,
        };
        if record.counted {
            let counters = worker.core.counters();
            if let Some(code) = record.error {
                counters.error(code);
                if record.provider > 0 {
                    counters.provider(record.provider).error(code);
                }
            }
            counters.by_key(record.key_slot);
            let provider = counters.provider(record.slot);
            observe::add(&provider.retries, record.way.retries.into());
            provider.finished(&record.figures, ending, &record.times);
        }
        if record.is_quoted() {
            let lane = &mut worker.lane.borrow_mut();
            record.log(lane, &worker.core.gateway().slots, peer, ending);
        }
        drop(record);
        worker.records.end(shared);
    }
}

/// The trace that it belongs to, where it names one; without a span where nobody keeps that.
fn trace(record: &mut Record, request: RequestView<'_>) {
    record.http10 = request.head.version == Version::Http10;
    let named = |name: &'static [u8]| {
        let lines = request.fields.iter();
        let lines = lines.filter(|field| field.name == Name::Other);
        let lines = lines.filter(|field| field.is_named(name, request.buf));
        lines.map(|field| request.value(field))
    };
    let Some(context) = Context::of(named(b"traceparent")) else {
        return;
    };
    record.traced = context.is_sampled();
    if !record.traced {
        return;
    }
    let mut quote = Vec::with_capacity(Context::BYTES + STATE_BYTES_MAX);
    quote.extend_from_slice(&context.bytes());
    put_state(named(b"tracestate"), &mut quote);
    record.quotes.put(Quote::Trace, &quote);
}
