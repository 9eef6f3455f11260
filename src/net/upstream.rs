//! Connections to providers: names, addresses, proxies, TLS, and the pool where they wait for requests.
//!
//! [`connect`] makes one: [`search`] tries the addresses that [`resolve`] has ([`addresses`] says which are good for
//! what), [`proxy`] asks for a tunnel, [`failure`] says why there is none. [`pool`] keeps them between exchanges,
//! [`warm`] makes some ahead; [`upkeep`] is what all that asks for at every tick; [`probe`] asks
//! instances whether they are well, and [`report`] tells of them. They share [`upstreams`].

pub(crate) mod addresses;
pub(crate) mod connect;
pub(crate) mod failure;
pub(crate) mod pool;
pub(crate) mod probe;
pub(crate) mod probes;
pub(crate) mod proxy;
pub(crate) mod report;
pub(crate) mod resolve;
pub(crate) mod search;
pub(crate) mod upkeep;
pub(crate) mod upstreams;
pub(crate) mod warm;
pub(crate) mod warmth;
