//! What shall happen to a request, decided on its head and one configuration. Pure.
//!
//! [`admission`] asks the others in order: who it is ([`auth`], [`visitors`]), whether a page may send it ([`cors`]),
//! where it goes ([`route`]), whether it has been here before ([`loops`]). [`gateway`] is a configuration made ready
//! for that, [`error`] the table of what is said when it goes nowhere.

pub(crate) mod admission;
pub(crate) mod auth;
pub(crate) mod cors;
pub(crate) mod error;
pub(crate) mod gateway;
#[cfg(test)]
mod linear;
pub(crate) mod loops;
pub(crate) mod route;
pub(crate) mod visitors;
