//! What errors of the gateway's own say that are longer than a line of the table.

pub(super) const LOOP_DETECTED: &str = "this request has been through this gateway already; \
                             the base URL of the provider leads back to it";

pub(super) const METHOD_NOT_IMPLEMENTED: &str = "this method is not supported";

pub(super) const ORIGIN_NOT_ALLOWED: &str =
    "the page's origin is not among those of server.cors_origins";

pub(super) const HOST_NOT_ALLOWED: &str = "without a key this gateway is for this machine, and a page could have the name in \
                                Host lead here; use localhost or an address, or list https:// and the name \
                                in server.cors_origins";

pub(super) const QUEUE_FULL: &str = "the provider is busy, and too many requests wait for it";

pub(super) const QUEUE_TIMEOUT: &str =
    "the provider was busy for as long as a request may wait for it";

pub(super) const NO_INSTANCE: &str = "none of the provider's instances takes new requests now";

pub(super) const KEYS_EXHAUSTED: &str =
    "all of the provider's keys have reached their limits or were refused by it";

pub(super) const OUTDATED: &str = "the gateway's TLS settings have changed; connect again";

pub(super) const ENDPOINT_DENIED: &str = "this gateway does not pass on this method and endpoint; \
                               its configuration decides that with providers.NAME.allow and deny";

pub(super) const NO_CONNECTION_IN_TIME: &str = "no connection to the provider in time";

pub(super) const NO_ANSWER_IN_TIME: &str = "the provider did not answer in time";
