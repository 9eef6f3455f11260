//! What a client's connection consists of besides its stream: kept bytes, the record of its request, where it is
//! counted, and answers of the gateway's own.

pub(crate) mod access;
pub(crate) mod carry;
pub(crate) mod local_answer;
pub(crate) mod quotes;
pub(crate) mod recipient;
pub(crate) mod records;
pub(crate) mod scrape;
pub(crate) mod server_timing;
pub(crate) mod under_way;
pub(crate) mod visit;
