//! The configuration that a worker goes by.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

use crate::config::Config;
use crate::net::transport::tls_config::TlsConfigs;
use crate::observe::{Expiry, Slots};
use crate::policy::auth::Keys;
use crate::policy::gateway::Gateway;
use crate::providers::Choices;

/// One configuration as workers get it.
#[derive(Clone)]
pub(crate) struct WorkerConfig {
    /// What was configured.
    pub config: Arc<Config>,
    /// Gateway keys, the same for all workers.
    pub keys: Arc<Keys>,
    /// Certificates and roots.
    pub tls: TlsConfigs,
    /// What is known of providers' keys, the same for all workers.
    pub choices: Arc<Choices>,
    /// Where providers are counted.
    pub slots: Slots,
    /// Most client connections per worker.
    pub connections: usize,
}

impl WorkerConfig {
    /// What decides on requests by it.
    #[must_use]
    pub(crate) fn gateway(&self) -> Rc<Gateway> {
        let mut gateway = Gateway::new(self.config.clone(), self.keys.clone());
        gateway.choices = self.choices.clone();
        gateway.slots = self.slots.clone();
        gateway.terms = self.tls.terms();
        Rc::new(gateway)
    }
}

/// See the module's documentation.
pub(crate) struct InForce {
    gateway: RefCell<Rc<Gateway>>,
    tls: RefCell<TlsConfigs>,
    /// How often those who had been let in would not have been any more.
    door: Cell<u16>,
}

impl InForce {
    /// The first configuration.
    #[must_use]
    pub(crate) fn new(config: &WorkerConfig) -> Self {
        Self {
            gateway: RefCell::new(config.gateway()),
            tls: RefCell::new(config.tls.clone()),
            door: Cell::new(0),
        }
    }

    /// What decides on requests.
    #[must_use]
    pub(crate) fn gateway(&self) -> Rc<Gateway> {
        self.gateway.borrow().clone()
    }

    /// TLS towards the site with this number; `None` where it speaks none.
    #[must_use]
    pub(crate) fn client_tls(&self, site: usize) -> Option<Arc<ClientConfig>> {
        self.tls.borrow().client(site)
    }

    /// TLS towards its proxy; `None` where that speaks none.
    #[must_use]
    pub(crate) fn proxy_tls(&self, site: usize) -> Option<Arc<ClientConfig>> {
        self.tls.borrow().proxy(site)
    }

    /// TLS towards clients, if it is configured.
    #[must_use]
    pub(crate) fn server_tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.borrow().server()
    }

    /// When our own certificates end.
    #[must_use]
    pub(crate) fn expiries(&self) -> Arc<[Expiry]> {
        self.tls.borrow().expiries()
    }

    /// Changes when clients that were let in so far would have to show something else now.
    #[must_use]
    pub(crate) fn door(&self) -> u16 {
        self.door.get()
    }

    /// Clients that were let in so far have to show something else now.
    pub(crate) fn change_door(&self) {
        self.door.set(self.door.get().wrapping_add(1));
    }

    /// Requests under way go on with the configuration that they began with. Whether whoever was let in so far would be
    /// let in by this one.
    pub(crate) fn replace(&self, gateway: Rc<Gateway>, tls: TlsConfigs) -> bool {
        *self.gateway.borrow_mut() = gateway;
        let old = self.tls.replace(tls);
        self.tls.borrow().door().admits_those_of(&old.door())
    }

    /// Other gateway keys; the configuration stays.
    pub(crate) fn replace_keys(&self, keys: Arc<Keys>) {
        let old = self.gateway();
        let mut gateway = Gateway::new(old.config.clone(), keys);
        gateway.choices = old.choices.clone();
        gateway.slots = old.slots.clone();
        gateway.terms = old.terms.clone();
        *self.gateway.borrow_mut() = Rc::new(gateway);
    }
}
