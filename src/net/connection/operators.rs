//! Answers to operators: the metrics and what is under way, which others have to be asked for first, and a page.

use std::future::poll_fn;
use std::task::Poll;

use crate::http::exchange::After;
use crate::http::framing::Cursor;
use crate::net::client::local_answer::LocalAnswer;
use crate::net::client::recipient::Recipient;
use crate::net::client::scrape::Subjects;
use crate::net::client::side::ClientSide;
use crate::observe::page;
use crate::observe::streams::{self, UnderWay};
use crate::policy::admission::Admission;

impl ClientSide {
    /// Waits for the metrics, unless the client leaves.
    ///
    /// # Cancel safety
    /// Dropped, the request goes unanswered.
    pub(super) async fn answer_metrics(
        &mut self,
        (recipient, cursor): (Recipient, Cursor),
    ) -> After {
        let in_force = &self.worker.core.in_force;
        let awaited = self.worker.scrapes.ask(Subjects {
            slots: in_force.gateway().slots.clone(),
            keys: in_force.gateway().keys.clone(),
            choices: in_force.gateway().choices.clone(),
            expiries: in_force.expiries(),
        });
        let text = poll_fn(|cx| match awaited.poll(cx) {
            Poll::Ready(text) => Poll::Ready(Some(text)),
            Poll::Pending => self.poll_left(cx).map(|()| None),
        });
        match text.await {
            Some(text) => self.answer_locally(&Admission::Metrics, &recipient, cursor, &text),
            None => After::Drop,
        }
    }

    /// What all workers have under way.
    ///
    /// # Cancel safety
    /// Dropped, the request goes unanswered.
    pub(super) async fn answer_streams(
        &mut self,
        (recipient, cursor): (Recipient, Cursor),
    ) -> After {
        let worker = self.worker.clone();
        let gateway = worker.core.gateway();
        let text = |workers: &[UnderWay], silent| streams::json(workers, silent, &gateway.slots);
        let text = worker.survey.take(&worker.core.clock, text).await;
        let answer = LocalAnswer {
            status: 200,
            reason: "OK",
            content_type: Some("application/json"),
            body: text.as_bytes(),
            lines: Some(page::UNSHARED.as_bytes()),
        };
        self.send_local(&answer, &recipient, cursor)
    }

    /// The page that shows both.
    pub(super) fn answer_page(&mut self, recipient: &Recipient, cursor: Cursor) -> After {
        let gateway = self.worker.core.gateway();
        let config = &gateway.config;
        let html = page::html(&config.server.base_path, &config.metrics.endpoint);
        let answer = LocalAnswer {
            status: 200,
            reason: "OK",
            content_type: Some("text/html; charset=utf-8"),
            body: html.as_bytes(),
            lines: Some(page::lines().as_bytes()),
        };
        self.send_local(&answer, recipient, cursor)
    }
}
