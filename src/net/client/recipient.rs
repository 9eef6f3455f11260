//! What an answer, of the gateway's own or of a provider, has to be for the client that is to receive it.

use std::sync::Arc;

use crate::http::expect;
use crate::http::framing::{self, BodyLength};
use crate::http::head::{Name, RequestView, Section, Version};
use crate::net::core::ids::{Ids, RequestId};
use crate::policy::cors::BrowserLines;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    /// Goes into the answer.
    pub id: RequestId,
    /// A HEAD request: the answer has no content.
    pub head_only: bool,
    /// The client speaks HTTP/1.0.
    pub http10: bool,
    /// The client lets the connection stay open (RFC 9112, section 9.3).
    pub persists: bool,
    /// The client may wait for a 100.
    pub expects_continue: bool,
    /// What the answer says to browsers, where they are spoken to.
    pub cors: Option<Arc<BrowserLines>>,
}

impl Recipient {
    /// What this request says of it.
    #[must_use]
    pub(crate) fn new(request: RequestView<'_>, length: BodyLength, id: RequestId) -> Self {
        let version = request.head.version;
        Self {
            id,
            head_only: request.method() == b"HEAD",
            http10: version == Version::Http10,
            persists: framing::persists(version, request.section),
            expects_continue: expect::waits(request, length),
            cors: None,
        }
    }

    /// Of a request that nobody could read.
    #[must_use]
    pub(crate) fn unknown(id: RequestId) -> Self {
        Self {
            id,
            head_only: false,
            http10: false,
            persists: false,
            expects_continue: false,
            cors: None,
        }
    }

    /// The field lines for a browser, where there are any.
    #[must_use]
    pub(crate) fn cors(&self) -> &[u8] {
        self.cors.as_ref().map_or(&[], |lines| lines.answer())
    }
}

/// The client's own id where it may be echoed, else a new one.
#[must_use]
pub(crate) fn request_id(ids: &Ids, section: Section<'_>) -> RequestId {
    let sent = section.values(Name::XRequestId).next();
    sent.and_then(RequestId::theirs)
        .unwrap_or_else(|| ids.next())
}
