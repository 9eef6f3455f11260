//! What is chosen on the provider's side: the key that a request is sent with, the instance that it is sent to, and when.
//!
//! Pure: state, a session and the time go in, an index comes out. [`session`] says what a request belongs to, [`hash`]
//! makes numbers of it, [`cooling`] reads what an answer says of limits, [`keyring`] chooses among the keys of one
//! provider, and [`choices`] has all of them. [`group`] chooses an instance and keeps what is known of its health.
//! [`queue`] lets so many requests at once through and gives the others fair turns. [`roster`] keeps the addresses of a name
//! that stands for many instances.

mod choices;
mod cooling;
pub(crate) mod group;
mod hash;
mod keyring;
pub(crate) mod queue;
pub(crate) mod roster;
mod session;

pub(crate) use choices::{Choices, Offer, micros};
pub(crate) use cooling::time as cooling_time;
pub(crate) use keyring::{Change, Exhausted, KEYS_MAX, Keyring, Standing, Verdict};
pub(crate) use session::{FIELDS_MAX, Session, USUAL_FIELDS};
