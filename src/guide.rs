//! The operator's handbook: nothing but documentation.

#[doc = include_str!("../docs/installing.md")]
pub mod installing {}

/// Every setting, as `sluicegate check --reference` prints it: a file to start from. All of it is commented out, with the
/// default or an example; the word in capitals behind it is the environment variable that wins over it.
///
/// ```toml
#[doc = include_str!("../contrib/sluicegate.toml")]
/// ```
pub mod settings {}

#[doc = include_str!("../docs/keys.md")]
pub mod keys {}

#[doc = include_str!("../docs/upstreams.md")]
pub mod upstreams {}

#[doc = include_str!("../docs/providers.md")]
pub mod providers {}

#[doc = include_str!("../docs/observing.md")]
pub mod observing {}

#[doc = include_str!("../docs/clients.md")]
pub mod clients {}

#[doc = include_str!("../docs/migrating.md")]
pub mod migrating {}

#[doc = include_str!("../docs/tuning.md")]
pub mod tuning {}
