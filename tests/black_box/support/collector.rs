//! A collector that the test plays: reads what arrives by the generated messages of OTLP.

use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use rustls::ServerConfig;

use super::gateway::Setup;
use super::message::Message;
use super::upstream::Upstream;
use super::wire::Wire;

/// See the module's documentation.
pub(crate) struct Collector(pub(crate) Upstream);

impl Collector {
    pub(crate) fn listen() -> Self {
        Self(Upstream::listen())
    }

    pub(crate) fn listen_tls(tls: Arc<ServerConfig>) -> Self {
        Self(Upstream::listen_tls(tls))
    }

    /// Where somebody has listened before.
    pub(crate) fn listen_at(addr: SocketAddr) -> Self {
        Self(Upstream::listen_at(addr))
    }

    /// A table `[otlp]` that leads here, with these lines.
    pub(crate) fn table(&self, lines: &str) -> String {
        format!("[otlp]\nendpoint = \"{}\"\n{lines}\n", self.0.url())
    }

    /// Leads spans here, and no metrics.
    pub(crate) fn traced(&self, setup: Setup) -> Setup {
        setup.toml(&self.table("metrics = false"))
    }

    /// The next message, and how to answer it.
    #[track_caller]
    pub(crate) fn take(&self) -> (Wire, Message) {
        let mut wire = self.0.accept();
        let message = wire.request();
        assert_eq!(
            message.value("content-type"),
            Some("application/x-protobuf")
        );
        (wire, message)
    }

    /// The next message, taken.
    #[track_caller]
    pub(crate) fn taken(&self) -> Message {
        let (mut wire, message) = self.take();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        message
    }

    /// So many spans, as many messages as they come in.
    #[track_caller]
    pub(crate) fn spans(&self, count: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        while spans.len() < count {
            spans.extend(spans_of(&self.taken()));
        }
        assert_eq!(spans.len(), count, "{spans:?}");
        spans
    }
}

/// The spans of a message.
#[track_caller]
pub(crate) fn spans_of(message: &Message) -> Vec<Span> {
    assert!(
        message.head.target().ends_with("/v1/traces"),
        "{}",
        message.head.target()
    );
    let read = ExportTraceServiceRequest::decode(&message.body[..]).unwrap();
    let scopes = read.resource_spans.into_iter();
    let scopes = scopes.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// What is said of the process that sent it.
pub(crate) fn resource_of(message: &Message) -> Vec<KeyValue> {
    let mut read = ExportTraceServiceRequest::decode(&message.body[..]).unwrap();
    read.resource_spans.remove(0).resource.unwrap().attributes
}

/// The metrics of a message.
#[track_caller]
pub(crate) fn metrics_of(message: &Message) -> Vec<Metric> {
    assert_eq!(message.head.target(), "/v1/metrics");
    let read = ExportMetricsServiceRequest::decode(&message.body[..]).unwrap();
    let scopes = read.resource_metrics.into_iter();
    let scopes = scopes.flat_map(|resource| resource.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

/// An attribute as text; empty where it is not there.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|it| it.key == name);
    match found.and_then(|it| it.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        None => String::new(),
        other => panic!("{other:?}"),
    }
}

/// Whether it is the side that clients see.
pub(crate) fn is_server(span: &Span) -> bool {
    span.kind == SpanKind::Server as i32
}
