//! What each side has to have received, worked out from what both have sent: a file for each rule of the contract.
//!
//! Where the messages are not clearly valid the model is unsure and checks less; it never guesses. It knows
//! nothing of how the bytes were moved.

mod answers;
mod credentials;
mod cuts;
mod fields;
mod framing;
mod message;
mod own_errors;
mod persistence;
mod requests;
mod responses;
mod routing;
mod visits;

use super::record::{self, Record};

/// Panics when a side has not received what it should have.
pub fn check(record: &Record) {
    credentials::stay_apart(record);
    let (requests, tail) = requests::requests(&record.client.sent);
    let Some(visits) = visits::visits(record, &requests, &tail) else {
        return;
    };
    responses::responses(record, &requests, &tail, &visits);
}
