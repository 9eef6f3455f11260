//! Connections to providers: names, addresses, proxies, TLS, and the pool where they wait for requests.
//!
//! [`connect`] makes one: [`search`] tries the addresses that [`resolve`] has ([`addresses`] says which are good for
//! what), [`proxy`] asks for a tunnel. [`pool`] keeps them between exchanges, [`warm`] makes some ahead.

pub(crate) mod addresses;
pub(crate) mod connect;
pub(crate) mod pool;
pub(crate) mod proxy;
pub(crate) mod resolve;
pub(crate) mod search;
pub(crate) mod warm;
