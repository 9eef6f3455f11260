//! The client's side of whatever is under way on its connection.
//!
//! [`side`] is what exchanges know of it: its stream, [`carry`], the bytes that have come too early, [`access`], the
//! record of its request ([`record`], [`records`]), and answers of the gateway's own ([`answering`]). [`waiting`] has the
//! turns that requests wait for.

pub(crate) mod access;
pub(crate) mod answering;
pub(crate) mod carry;
pub(crate) mod local_answer;
pub(crate) mod recipient;
pub(crate) mod record;
pub(crate) mod records;
pub(crate) mod scrape;
pub(crate) mod server_timing;
pub(crate) mod shared;
pub(crate) mod side;
pub(crate) mod survey;
pub(crate) mod visit;
pub(crate) mod waiting;
