//! Answers to operators that others have to be asked for first: the metrics, and what is under way.

use std::future::poll_fn;
use std::task::Poll;

use super::Connection;
use crate::http::exchange::After;
use crate::http::framing::Cursor;
use crate::net::client::local_answer::Answer;
use crate::net::client::recipient::Asker;
use crate::net::worker::unix_seconds;
use crate::observe::streams::{self, UnderWay};
use crate::policy::admission::Admission;

impl Connection {
    /// Waits for the metrics, unless the client leaves.
    ///
    /// # Cancel safety
    /// Dropped, the request goes unanswered.
    pub(super) async fn answer_metrics(&mut self, (asker, cursor): (Asker, Cursor)) -> After {
        let awaited = self.worker.scrape();
        let text = poll_fn(|cx| match awaited.poll(cx) {
            Poll::Ready(text) => Poll::Ready(Some(text)),
            Poll::Pending => self.poll_left(cx).map(|()| None),
        });
        match text.await {
            Some(text) => self.answer_locally(&Admission::Metrics, &asker, cursor, &text),
            None => After::Drop,
        }
    }

    /// What all workers have under way.
    ///
    /// # Cancel safety
    /// Dropped, the request goes unanswered.
    pub(super) async fn answer_streams(&mut self, (mut asker, cursor): (Asker, Cursor)) -> After {
        let after = self.after_local(&asker, cursor);
        asker.persists = !matches!(after, After::Close { .. });
        let worker = self.worker.clone();
        let gateway = worker.gateway();
        let text = |workers: &[UnderWay], silent| streams::json(workers, silent, &gateway.slots);
        let text = worker.asking.ask(&worker.clock, text).await;
        let answer = Answer {
            status: "200 OK",
            content_type: Some("application/json"),
            body: text.as_bytes(),
            lines: None,
        };
        let persistence = asker.persistence(gateway.config.timeouts.idle_client);
        let out = answer.write(&asker, &persistence, unix_seconds());
        let _ = self.client.send(&out);
        after
    }
}
