//! Spans and metrics for a collector, over OTLP/HTTP in its binary form; off unless an endpoint is configured.
//!
//! The log's thread hands on the records of traced requests ([`crate::log::Tap`]). A thread of this room makes spans of
//! them ([`span`]) and sends them ([`exporter`], [`post`]), with the metrics that `/metrics` says as text ([`metric`]). The
//! messages are in [`message`], what comes of an answer in [`pace`].

mod exporter;
mod message;
mod metric;
mod pace;
mod post;
mod resource;
mod span;

pub(crate) use exporter::{Exporter, Settings};
