//! What shall happen to a request, decided on its head and one configuration. Pure.
//!
//! From the ground up, each knowing those before it only: whether it has been here before ([`loops`]), whose connection it
//! came on ([`announced`]), who it is ([`auth`], [`visitors`]), where it goes ([`route`]), whether a page may send it
//! ([`cors`]), who may look at the metrics ([`operators`]); [`error`] is the table of what is said when it goes nowhere.
//! [`provider_lines`] are what a provider's requests get, [`gateway`] is a configuration made ready, [`forward`] what is
//! sent on, and [`admission`] asks them all in order.

pub(crate) mod admission;
pub(crate) mod announced;
pub(crate) mod auth;
pub(crate) mod cors;
pub(crate) mod error;
pub(crate) mod forward;
pub(crate) mod gateway;
#[cfg(test)]
mod linear;
pub(crate) mod loops;
pub(crate) mod operators;
pub(crate) mod provider_lines;
pub(crate) mod route;
pub(crate) mod visitors;
