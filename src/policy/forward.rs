//! A request that goes to a provider: what of its head goes on, what is put in its place, and how the outgoing head is
//! made of both. Decides nothing about whether it goes.

use crate::base::bytes::within;
use crate::http::expect;
use crate::http::framing::{BodyLength, Cursor, FramingError};
use crate::http::head::{
    Field, FieldSet, Fields, Name, NameSet, RequestHead, RequestView, Section, Span, Version, list,
};
use crate::http::rewrite::{self, NewTarget};
use crate::policy::auth::{Grant, Keys, Lease, Spellings, key_of_protocol};
use crate::policy::provider_lines::{DEFAULTS_MAX, ProviderLines};
use crate::policy::route::Upstream;

/// See the module's documentation. Spans count from the head's first byte.
pub struct Forward<'g> {
    /// Index of the provider.
    pub provider: usize,
    /// Index of the instance that it goes to.
    pub instance: u8,
    /// Index of the key that it is sent with.
    pub key: u8,
    /// Held until the exchange is over.
    pub lease: Option<Lease>,
    /// What the provider's requests get.
    lines: &'g ProviderLines,
    /// The path in front of the endpoint: one of the provider's roots.
    prefix: &'g [u8],
    /// Endpoint and query, as they were written.
    rest: Span,
    /// What the query gets in addition.
    suffix: &'g [u8],
    removed: FieldSet,
    /// Lists that are written anew: `Sec-WebSocket-Protocol` without the entry that carries a key, and one that lacks
    /// an entry; empty where nothing changes.
    lists: Vec<u8>,
    /// The request asks for a websocket.
    pub upgrade: bool,
    /// `Transfer-Encoding` was not written `chunked` to the letter.
    respell_coding: bool,
    /// Rules have judged its method and path: no trailer may put others in their place.
    pub is_judged: bool,
}

/// On what terms a request goes on.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a, 'g> {
    /// What the provider's requests get.
    pub lines: &'g ProviderLines,
    /// Index of the provider's key.
    pub key: u8,
    /// Whose it is.
    pub grant: &'a Grant<'g>,
    /// None of these goes on.
    pub keys: &'a Keys,
    /// Rules have judged its method and path.
    pub is_judged: bool,
    /// The gateway answers the page in the provider's stead.
    pub answers_page: bool,
}

impl<'g> Forward<'g> {
    /// What becomes of a request that goes there.
    pub(super) fn new(
        request: RequestView<'_>,
        length: BodyLength,
        to: Upstream<'g>,
        terms: Terms<'_, 'g>,
        lease: Option<Lease>,
    ) -> Self {
        let target = request.head.target;
        let upgrade = asks_for_websocket(request, length);
        let own = Spellings::of(terms.keys);
        let is_theirs = |index, field: &Field| {
            terms.lines.keeps_credential
                && !terms.grant.used(index)
                && !own.are_in(request.value(field))
        };
        let mut forward = Self {
            provider: to.provider,
            instance: 0,
            key: terms.key,
            lease,
            lines: terms.lines,
            prefix: to.prefix,
            rest: Span {
                start: target.start + to.endpoint.start,
                end: target.end,
            },
            suffix: terms
                .lines
                .version_behind(to.query.map(|query| query.of(request.target()))),
            removed: rewrite::request_removals(request.section, is_theirs),
            lists: Vec::new(),
            upgrade,
            respell_coding: false,
            is_judged: terms.is_judged,
        };
        forward.adjust(request, &own);
        // What the rules were asked for is what the provider is asked for.
        if terms.is_judged {
            forward.remove(request.section, NameSet::OVERRIDES);
        }
        // A provider that sees where a page comes from would apply rules of its own to what is answered for here.
        // For a websocket they still count: nothing is answered for it.
        if terms.answers_page && !upgrade {
            forward.remove(request.section, NameSet::PAGES);
        }
        forward
    }

    fn remove(&mut self, section: Section<'_>, names: NameSet) {
        for (index, _) in section.fields.among(names) {
            self.removed.insert(index);
        }
    }

    /// The removals that depend on provider and values.
    fn adjust(&mut self, request: RequestView<'_>, own: &Spellings<'_>) {
        for (index, field) in request.fields.known() {
            let value = request.value(field);
            match field.name {
                Name::TransferEncoding if value != b"chunked" => {
                    self.removed.insert(index);
                    self.respell_coding = true;
                }
                Name::SecWebsocketProtocol => self.strip_key(request, index, field, own),
                Name::Expect if expect::is_ignored(request.head.version, value) => {
                    self.removed.insert(index);
                }
                _ => {}
            }
        }
        self.lines
            .remove_dropped(request.section, &mut self.removed);
        self.lines
            .complete_list(request.section, &mut self.removed, &mut self.lists);
    }

    /// Takes every entry that carries a key out of the protocol list; the list goes with its last entry.
    fn strip_key(
        &mut self,
        request: RequestView<'_>,
        index: usize,
        field: &Field,
        own: &Spellings<'_>,
    ) {
        let value = request.value(field);
        let carries_key = |entry: &[u8]| key_of_protocol(entry).is_some() || own.are_in(entry);
        if !list(value).any(carries_key) {
            return;
        }
        self.removed.insert(index);
        let others: Vec<&[u8]> = list(value).filter(|entry| !carries_key(entry)).collect();
        if !others.is_empty() {
            self.lists.extend_from_slice(field.name_of(request.buf));
            self.lists.extend_from_slice(b": ");
            self.lists.extend_from_slice(&others.join(&b", "[..]));
            self.lists.extend_from_slice(b"\r\n");
        }
    }

    /// What has come of the content is looked at again, since nobody knew then of rules.
    ///
    /// # Errors
    /// A trailer would put another method or path in the place of those that were judged.
    pub(super) fn check_trailers(
        &self,
        request: RequestView<'_>,
        length: BodyLength,
    ) -> Result<(), FramingError> {
        if self.is_judged && length == BodyLength::Chunked {
            let content = within(request.buf, request.head.len..);
            Cursor::new(length).advance_judged(content)?;
        }
        Ok(())
    }

    /// Whether the request goes on with an id of the client's.
    #[must_use]
    pub fn has_id(&self, section: Section<'_>) -> bool {
        section.keeps(Name::XRequestId, &self.removed)
    }

    /// Rewrites the head that lies at `at` in `buf`; see [`rewrite::request`]. `own` are the complete lines of the
    /// gateway's own: `X-Request-ID`, or empty when the client sent its own, and the mark of
    /// [`loops`](crate::policy::loops).
    #[must_use]
    pub fn rewrite(
        &self,
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
        let always = self.lines.always(self.instance, self.key);
        let fixed = [always, id, mark, upgrade, coding, &self.lists];
        let mut added: [&[u8]; 6 + DEFAULTS_MAX] = [b""; 6 + DEFAULTS_MAX];
        // Copied, because what they are checked against is about to move.
        let section = Section::new(fields, buf.get(at..)?);
        let missing = self.lines.missing(section, &self.removed);
        for (slot, line) in added
            .iter_mut()
            .zip(fixed.into_iter().chain(missing.into_iter().flatten()))
        {
            *slot = line;
        }
        let target = NewTarget {
            prefix: self.prefix,
            rest: self.rest,
            suffix: self.suffix,
        };
        rewrite::request(buf, at, head, fields, &self.removed, target, &added)
    }
}

/// `Upgrade: websocket` on a GET of HTTP/1.1 without content; every other upgrade is only a hop-by-hop
/// field (RFC 9110, section 7.8).
fn asks_for_websocket(request: RequestView<'_>, length: BodyLength) -> bool {
    request.head.version == Version::Http11
        && request.method() == b"GET"
        && length == BodyLength::Empty
        && request.lists(Name::Upgrade, b"websocket")
        && request.lists(Name::Connection, b"upgrade")
}

// One that is larger is moved by a call, for each request.
const _: () = assert!(size_of::<Forward<'_>>() <= 128);
