//! The record of the request under way on a connection, and the log line it becomes.

use std::time::Instant;

use crate::gateway::Gateway;
use crate::http::head::RequestHead;
use crate::log::Value;
use crate::observe::{self, Counters, Ending};

use super::ids::RequestId;
use super::worker::Worker;

/// One request's figures; what only the log needs is kept only when there is a log.
#[derive(Default)]
pub struct Access {
    /// Of the answer; 0 while there is none.
    pub status: u16,
    /// Bytes of content from the client, as framed.
    pub received: u64,
    /// Bytes of content to the client, as framed.
    pub sent: u64,
    line: Option<Box<Line>>,
}

struct Line {
    began: Instant,
    id: RequestId,
    method: String,
    path: String,
    provider: Option<usize>,
    key: Option<String>,
}

impl Access {
    /// Begins a record. Method and path are copied, never the query.
    #[must_use]
    pub fn begin(gateway: &Gateway, head: &RequestHead, buf: &[u8], id: &RequestId) -> Self {
        let log = &gateway.config.log;
        let line = (log.access && log.level >= crate::config::Level::Info).then(|| {
            let target = head.target.of(buf);
            let path = target
                .split(|byte| *byte == b'?')
                .next()
                .unwrap_or_default();
            Box::new(Line {
                began: Instant::now(),
                id: id.clone(),
                method: String::from_utf8_lossy(head.method.of(buf)).into_owned(),
                path: String::from_utf8_lossy(path).into_owned(),
                provider: None,
                key: None,
            })
        });
        Self {
            line,
            ..Self::default()
        }
    }

    /// It goes to this provider.
    pub fn routed(&mut self, provider: usize) {
        if let Some(line) = &mut self.line {
            line.provider = Some(provider);
        }
    }

    /// It came with the gateway key of this id.
    pub fn by(&mut self, key: Option<&str>) {
        if let Some(line) = &mut self.line {
            line.key = key.map(str::to_owned);
        }
    }

    /// Counts the request and writes its line.
    pub fn end(&mut self, worker: &Worker, ending: Ending) {
        self.count(worker.counters(), ending);
        let Some(line) = self.line.take() else { return };
        let gateway = worker.gateway();
        let provider = line
            .provider
            .and_then(|index| gateway.config.providers.get(index));
        let provider = provider.map_or("", |provider| &provider.name);
        let id = String::from_utf8_lossy(line.id.as_bytes()).into_owned();
        let micros = u64::try_from(line.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        worker.log().info(
            "request",
            &[
                ("request_id", Value::Text(&id)),
                ("method", Value::Text(&line.method)),
                ("path", Value::Text(&line.path)),
                ("provider", Value::Text(&provider)),
                ("key", Value::Text(&line.key.unwrap_or_default())),
                ("status", Value::Number(self.status.into())),
                ("bytes_in", Value::Number(self.received)),
                ("bytes_out", Value::Number(self.sent)),
                ("duration_us", Value::Number(micros)),
                ("end", Value::Text(&ending.as_str())),
            ],
        );
    }

    fn count(&self, counters: &Counters, ending: Ending) {
        counters.answered(self.status);
        observe::add(&counters.request_bytes, self.received);
        observe::add(&counters.response_bytes, self.sent);
        match ending {
            Ending::Complete => {}
            Ending::Truncated => observe::add(&counters.truncations, 1),
            Ending::ClientGone => observe::add(&counters.clients_gone, 1),
        }
    }
}
