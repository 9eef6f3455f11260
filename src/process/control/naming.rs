//! Which instance an operator means: `vllm/2`, by its number in log and metrics, `vllm/10.0.0.2:8000`, by its place, or
//! `vllm/2-10.0.0.7`, by one address of a name that stands for many. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::base::number;
use crate::config::{Config, Host, Instance, Provider};

/// How many there are named at most in a message.
const NAMED_MAX: usize = 20;

/// The indices of the provider that is meant and of its instance.
///
/// # Errors
/// What there is instead, for people.
pub(crate) fn find(config: &Config, name: &str) -> Result<(usize, usize), String> {
    let (of, which) = name.split_once('/').unwrap_or((name, ""));
    let mut providers = config.providers.iter().enumerate();
    let Some((index, provider)) = providers.find(|(_, provider)| provider.name == of) else {
        let names = config
            .providers
            .iter()
            .map(|provider| provider.name.clone());
        return Err(match config.providers.is_empty() {
            true => format!("there is no provider {of:?}, and no other one"),
            false => format!("there is no provider {of:?}; there are {}", some(names)),
        });
    };
    if !provider.is_group() {
        return Err(format!(
            "{of} has one instance, {}, and all its requests go there; one of several can be drained (base_urls)",
            provider.first.base
        ));
    }
    let meant: Vec<usize> = { provider.instances().enumerate() }
        .filter(|(_, at)| is_meant(which, at))
        .map(|(instance, _)| instance)
        .collect();
    match *meant {
        [instance] => Ok((index, instance)),
        [] if which.is_empty() => Err(format!(
            "which instance of {of}? There are {}",
            all(provider, None)
        )),
        [] => Err(format!(
            "there is no instance {which:?} of {of}; there are {}",
            all(provider, None)
        )),
        _ => Err(format!(
            "{name} can be {}; name it as it is named here",
            all(provider, Some(&meant))
        )),
    }
}

/// Whether the instance is called so: by its number, with its address or without, by its host or address and the port, or
/// by its whole URL.
fn is_meant(which: &str, instance: &Instance) -> bool {
    if let Some(number) = number::decimal(which) {
        return number == u64::from(instance.number);
    }
    let base = &instance.base;
    let at_address = |address: IpAddr| SocketAddr::new(address, base.port).to_string();
    if which == instance.label() || instance.address.map(at_address).as_deref() == Some(which) {
        return true;
    }
    let place = match &base.host {
        Host::Unix(path) => format!("unix:{}", path.display()),
        host => format!("{host}:{}", base.port),
    };
    let authority = match base.host {
        // All sockets have the same one.
        Host::Unix(_) => None,
        Host::Name(_) | Host::Ip(_) => Some(&base.authority),
    };
    let is = |known: &str| which.eq_ignore_ascii_case(known);
    is(&place) || authority.is_some_and(|authority| is(authority)) || which == base.to_string()
}

/// A provider's instances, or those of these indices.
fn all(provider: &Provider, only: Option<&[usize]>) -> String {
    let instances = provider.instances().enumerate();
    let shown = instances.filter(|(index, _)| only.is_none_or(|only| only.contains(index)));
    some(shown.map(|(_, at)| format!("{}/{} ({})", provider.name, at.label(), at.base)))
}

fn some(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    let named = { all.into_iter() }
        .take(NAMED_MAX)
        .collect::<Vec<_>>()
        .join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::config::property::load_from;

    fn loaded(toml: &str) -> Config {
        load_from(&[], "", toml).unwrap()
    }

    fn config() -> Config {
        loaded(
            "[providers.vllm]\n\
            base_urls = [\"http://10.0.0.1:8000/v1\", \"https://B.example/v1\", \"http://[::1]:9/v1\", \
            \"http+unix://%2Frun%2Fv.sock/v1\", \"https://10.0.0.1:8000/v1\"]\n\
            [providers.openai]\nbase_url = \"https://a.example/v1\"\napi_key = \"sk-0123456789abcdef\"\n",
        )
    }

    #[test]
    fn an_instance_is_named_by_its_number_or_its_place() {
        let config = config();
        let name = |index: usize| config.providers[index].name.clone();
        let vllm = (0..2).find(|index| name(*index) == "vllm").unwrap();
        for (which, index) in [
            ("1", 0),
            ("2", 1),
            ("5", 4),
            ("b.example", 1),
            ("B.Example:443", 1),
            ("[::1]:9", 2),
            ("unix:/run/v.sock", 3),
            ("http://10.0.0.1:8000/v1", 0),
            ("https://10.0.0.1:8000/v1", 4),
        ] {
            let found = find(&config, &format!("vllm/{which}"));
            assert_eq!(found, Ok((vllm, index)), "{which}");
        }
        for (wrong, said) in [
            ("", "there is no provider \"\"; there are "),
            ("nobody/1", "there is no provider \"nobody\"; there are "),
            (
                "vllm",
                "which instance of vllm? There are vllm/1 (http://10.0.0.1:8000/v1), vllm/2",
            ),
            ("vllm/", "which instance of vllm?"),
            (
                "vllm/0",
                "there is no instance \"0\" of vllm; there are vllm/1 (",
            ),
            ("vllm/6", "there is no instance \"6\""),
            ("vllm/+1", "there is no instance \"+1\""),
            ("vllm/localhost", "there is no instance \"localhost\""),
            ("vllm/10.0.0.1", "there is no instance \"10.0.0.1\""),
            (
                "vllm/10.0.0.1:8000",
                "vllm/10.0.0.1:8000 can be vllm/1 (http://10.0.0.1:8000/v1), vllm/5 (https://10.0.0.1:8000/v1)",
            ),
            ("openai", "openai has one instance, https://a.example/v1,"),
            ("openai/1", "openai has one instance, https://a.example/v1,"),
        ] {
            let message = find(&config, wrong).unwrap_err();
            assert!(message.starts_with(said), "{wrong}: {message}");
        }
    }

    #[test]
    fn an_address_of_a_name_is_named_with_it_or_by_it() {
        let toml = "[providers.vllm]\nbase_urls = [\"http://other/v1\", \"http://h:8000/v1\"]\nresolve = \"all\"\n";
        let addresses = ["10.0.0.7", "fd00::8"].map(|address| address.parse::<IpAddr>().unwrap());
        let known = |name: &str| match name {
            "h" => addresses.to_vec(),
            _ => Vec::new(),
        };
        let (spread, _) = Arc::new(loaded(toml)).spread(known);
        for (which, index) in [
            ("1", 0),
            ("2-10.0.0.7", 1),
            ("10.0.0.7:8000", 1),
            ("2-fd00::8", 2),
            ("[fd00::8]:8000", 2),
        ] {
            assert_eq!(
                find(&spread, &format!("vllm/{which}")),
                Ok((0, index)),
                "{which}"
            );
        }
        for which in ["2", "h:8000", "http://h:8000/v1"] {
            let message = find(&spread, &format!("vllm/{which}")).unwrap_err();
            let both =
                "can be vllm/2-10.0.0.7 (http://h:8000/v1), vllm/2-fd00::8 (http://h:8000/v1)";
            assert!(message.contains(both), "{which}: {message}");
        }
    }

    #[test]
    fn a_message_has_an_end() {
        let many = some((0..30).map(|number| number.to_string()));
        assert!(many.ends_with("18, 19 and 10 more"), "{many}");
    }

    proptest! {
        #[test]
        fn any_name_may_come(name in "(vllm|openai)?/?\\PC{0,20}") {
            let config = config();
            if let Ok((provider, instance)) = find(&config, &name) {
                prop_assert!(instance < config.providers[provider].instances().count());
            }
        }
    }
}
