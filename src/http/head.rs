//! Request and response heads as spans over the caller's buffer (RFC 9112, sections 2 to 5).
//!
//! httparse does the tokenising; every strictness beyond it is here: CRLF only, no bare CR or LF,
//! no obs-fold, no blank before a colon, the limits on bytes and fields, one `Host`.
//! Nothing is copied and nothing is allocated once `fields` has its capacity.
//!
//! From the ground up: [`names`] and [`parts`] are what a head consists of, [`grammar`] the rules for them, `seen` the
//! lines that were read before, `fields` the lines of one head, `scan` finds where it ends, `read` reads it, `blanks`
//! mends one, `view` hands it on.

mod blanks;
mod fields;
pub(super) mod grammar;
mod names;
mod parts;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
mod read;
mod scan;
mod seen;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use blanks::close_up;
pub(crate) use fields::FieldSet;
pub use fields::Fields;
pub(crate) use grammar::{is_token, list, list_has};
pub(in crate::http) use names::Folded;
pub(crate) use names::{Name, NameSet, Value, name};
#[cfg(any(test, fuzzing))]
pub(crate) use parts::TARGET_BYTES_MAX;
#[cfg(any(test, fuzzing))]
use parts::{EMPTY_LINES_MAX, REQUEST_FIELDS_MAX};
pub(crate) use parts::{
    Field, HEAD_BYTES_MAX, HEAD_USUAL, METHOD_BYTES_MAX, RequestHead, ResponseHead, Span, Version,
};
pub use parts::{HeadError, RESPONSE_FIELDS_MAX, Side};
pub(crate) use read::response;
pub use read::{parse_request, parse_response, request};
pub use scan::HeadScan;
pub use view::{HeadView, Section};
pub(crate) use view::{RequestView, ResponseView};
