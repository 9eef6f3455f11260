//! Where the values in force of a provider were written, where that is not simply its table or its variable.

use super::Builder;
use super::instance::Provider;
use super::keys::KEY_SETTINGS;
use crate::config::egress::environment_proxy;
use crate::config::places::{Place, Places};

impl Builder<'_> {
    /// Where all of it is written, beyond what its table and its variables say themselves.
    pub(super) fn places(&self, mut places: Places, provider: &Provider) -> Places {
        let shown = match provider.keys().nth(1) {
            Some(_) => "api_keys",
            None => "api_key",
        };
        let written = KEY_SETTINGS.map(|key| places.take(&self.key(key)));
        let written = written.into_iter().flatten().next();
        places.note(&self.key(shown), written);
        places.note(&self.key(shown), self.key_variable());
        if provider.first.proxy.is_some() && places.get(&self.key("proxy")).is_none() {
            let shared = self.shared.get("upstream.proxy").cloned();
            let place = shared.or_else(|| {
                let key = environment_proxy(self.env, &provider.first.base)?.to_owned();
                let (_, from) = self.env.located(&key)?;
                Some(Place { from, key })
            });
            places.note(&self.key("proxy"), place);
        }
        for key in ["client_cert", "client_key", "ca_file", "proxy_ca_file"] {
            if places.get(&self.key(key)).is_none() {
                let shared = self.shared.get(&format!("upstream.{key}"));
                places.note(&self.key(key), shared.cloned());
            }
        }
        places
    }

    /// The variable that its key, or the first of them, is in, or the file of it; the environment's wins.
    fn key_variable(&self) -> Option<Place> {
        let prefix = self.prefix?;
        let first = format!("{prefix}_API_KEY");
        let names = [first].into_iter().chain(self.numbered_keys());
        let mut set = names.filter_map(|key| {
            let named = [key.clone(), format!("{key}_FILE")].into_iter();
            let set = named.filter_map(|key| {
                let (_, from) = self.env.located(&key)?;
                Some(Place { from, key })
            });
            set.min_by_key(|place| !self.env.is_of_environment(&place.key))
        });
        set.next()
    }
}
