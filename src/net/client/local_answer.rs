//! Answers that need no provider: health, metrics, `OPTIONS *`, preflights.

use std::io::Write as _;

use crate::base::date::imf_fixdate;
use crate::policy::admission::Admission;
use crate::policy::error::Persistence;

use super::recipient::Recipient;

const JSON: Option<&str> = Some("application/json");
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A whole response.
pub(crate) struct LocalAnswer<'a> {
    /// The status code.
    pub status: u16,
    /// The phrase behind it.
    pub reason: &'static str,
    /// `None` without content.
    pub content_type: Option<&'a str>,
    /// The content.
    pub body: &'a [u8],
    /// Field lines that only this answer has; else those for a browser.
    pub lines: Option<&'a [u8]>,
}

impl<'a> LocalAnswer<'a> {
    /// The answer to what needs no provider; what does never comes here.
    #[must_use]
    pub(crate) fn to(what: &'a Admission<'_>, healthy: bool, metrics: &'a str) -> Self {
        let (status, reason, content_type, body): (_, _, _, &[u8]) = match what {
            Admission::Health if !healthy => {
                let body = b"{\"status\":\"draining\"}";
                (503, "Service Unavailable", JSON, body)
            }
            Admission::Health | Admission::Live => (200, "OK", JSON, b"{\"status\":\"ok\"}"),
            Admission::Metrics => (200, "OK", Some(EXPOSITION), metrics.as_bytes()),
            Admission::Preflight(_)
            | Admission::Options
            | Admission::Streams
            | Admission::Page
            | Admission::Forward(_) => (204, "No Content", None, b""),
        };
        let lines = match what {
            Admission::Preflight(lines) => Some(&**lines),
            _ => None,
        };
        Self {
            status,
            reason,
            content_type,
            body,
            lines,
        }
    }

    /// Status line, fields and, unless a HEAD asked, the content. `now` is in seconds since 1970.
    #[must_use]
    pub(crate) fn write(
        &self,
        recipient: &Recipient,
        persistence: &Persistence,
        now: u64,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.body.len());
        // A vector takes everything.
        let _ = write!(out, "HTTP/1.1 {} {}\r\nDate: ", self.status, self.reason);
        out.extend_from_slice(imf_fixdate(now).as_bytes());
        if let Some(content_type) = self.content_type {
            let length = self.body.len();
            let fields = format!("\r\nContent-Type: {content_type}\r\nContent-Length: {length}");
            out.extend_from_slice(fields.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.lines.unwrap_or(recipient.cors()));
        out.extend_from_slice(recipient.id.line().as_bytes());
        persistence.write(&mut out);
        out.extend_from_slice(b"\r\n");
        if !recipient.head_only {
            out.extend_from_slice(self.body);
        }
        out
    }
}
