//! What shall happen to a request, decided on its head and one configuration. Pure.
//!
//! [`admission`] asks the others in order: who it is ([`auth`], [`visitors`]), whether a page may send it ([`cors`]),
//! where it goes ([`route`]), whether it has been here before ([`loops`]). [`gateway`] is a configuration made ready
//! for that, [`error`] the table of what is said when it goes nowhere.

pub mod admission;
pub mod auth;
pub mod cors;
pub mod error;
pub mod gateway;
#[cfg(test)]
mod linear;
pub mod loops;
pub mod route;
pub mod visitors;
