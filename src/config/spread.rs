//! A configuration with an instance for each address of the names that stand for many (`resolve = "all"`).
//!
//! What was configured stays beside it: names are looked up again and again, and each answer makes another one of it.

use std::net::IpAddr;
use std::sync::Arc;

use super::model::Config;
use super::provider::instance::{Instance, Provider};
use super::provider::shares::seats;
use crate::providers::group::INSTANCES_MAX;

/// A name with more addresses than there can be instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surplus {
    /// The provider's name.
    pub(crate) provider: String,
    /// The host's.
    pub(crate) name: String,
    /// How many addresses it has.
    pub(crate) addresses: usize,
    /// How many of them are instances, the first in order.
    pub(crate) used: usize,
}

impl Config {
    /// The names that stand for many instances; one may come again.
    pub(crate) fn names_of_many(&self) -> impl Iterator<Item = &str> {
        let instances = self.providers.iter().flat_map(Provider::instances);
        instances.filter_map(Instance::name_of_many)
    }

    /// This one, where no name stands for many, else one with an instance for each of the addresses that are `known` of
    /// it, in their order; a name of which none is known stands for one instance, wherever that is. All have a place of
    /// those that there can be, and share what is left in the order in which they are configured.
    #[must_use]
    pub(crate) fn spread(
        self: &Arc<Self>,
        known: impl Fn(&str) -> Vec<IpAddr>,
    ) -> (Arc<Self>, Vec<Surplus>) {
        let mut surplus = Vec::new();
        if self.names_of_many().next().is_none() {
            return (self.clone(), surplus);
        }
        let mut spread = Self::clone(self);
        for provider in &mut spread.providers {
            let mut members = members(provider, &known, &mut surplus).into_iter();
            if let Some(first) = members.next() {
                provider.first = first;
                provider.others = members.collect();
            }
            let seats = seats(provider.instances());
            if let Some(limits) = &mut provider.limits {
                limits.seats = seats;
            }
        }
        (Arc::new(spread), surplus)
    }
}

/// The instances that a provider's stand for.
fn members(
    provider: &Provider,
    known: impl Fn(&str) -> Vec<IpAddr>,
    surplus: &mut Vec<Surplus>,
) -> Vec<Instance> {
    let mut left = INSTANCES_MAX.saturating_sub(provider.instances().count());
    let mut members = Vec::new();
    for instance in provider.instances() {
        let addresses = instance.name_of_many().map(&known).unwrap_or_default();
        let used = addresses.len().min(left + 1);
        left -= used.saturating_sub(1);
        if used < addresses.len() {
            surplus.push(Surplus {
                provider: provider.name.clone(),
                name: instance.base.host.to_string(),
                addresses: addresses.len(),
                used,
            });
        }
        if addresses.is_empty() {
            members.push(instance.clone());
        }
        let at = |address| Instance {
            address: Some(address),
            ..instance.clone()
        };
        members.extend(addresses.into_iter().take(used).map(at));
    }
    members
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::config::property::load_from;

    fn addresses(count: usize) -> Vec<IpAddr> {
        let each = 0..u32::try_from(count).unwrap();
        each.map(|n| Ipv4Addr::from_bits(n).into()).collect()
    }

    /// A configuration whose instances' names say how many addresses they have; 0 stands for one that is no such name.
    fn configured(counts: &[usize]) -> Arc<Config> {
        let table = |(index, count): (usize, &usize)| match count {
            0 => format!("[[providers.vllm.instance]]\nbase_url = 'http://10.0.0.{index}/v1'\n"),
            _ => format!(
                "[[providers.vllm.instance]]\nbase_url = 'http://n{count}.{index}.example/v1'\n\
                 resolve = 'all'\nweight = {}\n",
                index + 1
            ),
        };
        let tables: String = counts.iter().enumerate().map(table).collect();
        Arc::new(load_from(&[], "", &format!("[providers.vllm]\n{tables}")).unwrap())
    }

    fn known(name: &str) -> Vec<IpAddr> {
        let count = name.split(['n', '.']).nth(1).unwrap();
        addresses(count.parse().unwrap())
    }

    fn labels(config: &Config) -> Vec<String> {
        let instances = config.providers[0].instances();
        instances.map(Instance::label).collect()
    }

    #[test]
    fn each_address_is_an_instance_that_says_whose_it_is() {
        let config = configured(&[0, 2, 3]);
        let (spread, surplus) = config.spread(known);
        assert_eq!(
            labels(&spread),
            [
                "1",
                "2-0.0.0.0",
                "2-0.0.0.1",
                "3-0.0.0.0",
                "3-0.0.0.1",
                "3-0.0.0.2"
            ]
        );
        assert_eq!(surplus, []);
        let weights = spread.providers[0].instances().map(|it| it.weight);
        assert_eq!(weights.collect::<Vec<_>>(), [1, 2, 2, 3, 3, 3]);
        assert_eq!(labels(&config), ["1", "2", "3"]);
    }

    #[test]
    fn a_name_that_nobody_knows_stands_for_itself() {
        let config = configured(&[2]);
        let (spread, _) = config.spread(|_| Vec::new());
        let first = &spread.providers[0].first;
        assert_eq!(
            (labels(&spread), first.address),
            (vec!["1".to_owned()], None)
        );
        assert!(first.reached_by_name().is_some() && spread.providers[0].is_group());
    }

    #[test]
    fn where_there_is_no_such_name_nothing_is_made_anew() {
        let config = configured(&[0, 0]);
        let (spread, _) = config.spread(known);
        assert!(Arc::ptr_eq(&config, &spread));
    }

    #[test]
    fn what_is_too_much_is_said_and_takes_no_others_place() {
        let (spread, surplus) = configured(&[100, 5, 0, 7]).spread(known);
        let of = |name: &str, addresses, used| Surplus {
            provider: "vllm".to_owned(),
            name: name.to_owned(),
            addresses,
            used,
        };
        let expected = [
            of("n100.0.example", 100, 61),
            of("n5.1.example", 5, 1),
            of("n7.3.example", 7, 1),
        ];
        assert_eq!(surplus, expected);
        assert_eq!(labels(&spread).len(), INSTANCES_MAX);
    }

    proptest! {
        #[test]
        fn all_have_a_place_and_what_is_not_used_is_said(counts in prop::collection::vec(0..80_usize, 1..20)) {
            let config = configured(&counts);
            let (spread, surplus) = config.spread(known);
            let instances = spread.providers[0].instances();
            let numbers: Vec<usize> = instances.map(|it| it.number.into()).collect();
            prop_assert!(numbers.is_sorted() && numbers.len() <= INSTANCES_MAX);
            let unused: usize = surplus.iter().map(|it| it.addresses - it.used).sum();
            let all: usize = counts.iter().map(|count| (*count).max(1)).sum();
            prop_assert_eq!(numbers.len() + unused, all);
            prop_assert!(unused == 0 || numbers.len() == INSTANCES_MAX);
            prop_assert!((1..=counts.len()).all(|number| numbers.contains(&number)));
        }
    }
}
