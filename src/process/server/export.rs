//! Who sends spans and metrics: as the configuration in force says, and nobody where it says nothing.

use crate::log::Value;
use crate::net::client::scrape::Subjects;
use crate::otlp::Settings;

use super::state::Server;

impl Server {
    /// Goes by what is in force now.
    pub(super) fn export(&mut self) {
        let subjects = Subjects {
            slots: self.slots.clone(),
            keys: self.keys.clone(),
            choices: self.choices.clone(),
            expiries: self.tls.expiries(),
        };
        let settings = Settings::of(&self.config, self.tls.collector(), subjects);
        let sources = self.scribe.sources();
        if let Err(error) = self.exporter.go_by(settings, sources, &self.log) {
            let fields = [("error", Value::Text(&error))];
            self.log.error("no spans or metrics are sent", &fields);
        }
    }
}
