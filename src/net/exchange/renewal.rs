//! A name whose addresses are instances may have moved where none of them was reached. Nothing has been sent, so a request
//! waits until the name was asked for anew, which its failure has brought about, and goes where the name leads now.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::http::exchange::After;
use crate::net::client::side::ClientSide;
use crate::net::core::deadline::{TICK, since_boot};
use crate::policy::error::Fault;

use super::relay::Relay;

/// How long it waits: a question is asked within a second of the one before, once that is answered.
const RENEWAL_MAX: Duration = Duration::from_secs(2);

impl Relay {
    /// Has it go to another address of the name of the one that was not reached, as `fault` says; whether there is one now.
    /// The client's connection is watched meanwhile.
    ///
    /// # Errors
    /// How the connection goes on where the client has left.
    ///
    /// # Cancel safety
    /// Nothing is lost: no operation is under way.
    pub(super) async fn renews(
        &mut self,
        connection: &mut ClientSide,
        fault: &Fault,
    ) -> Result<bool, After> {
        if self.elsewhere || !self.finds_another(connection, fault).await? {
            return Ok(false);
        }
        self.elsewhere = true;
        connection.access.tried();
        Ok(true)
    }

    async fn finds_another(
        &self,
        connection: &mut ClientSide,
        fault: &Fault,
    ) -> Result<bool, After> {
        let at = self.gateway.at(self.site()).map(|(_, instance)| instance);
        let name = at.filter(|at| at.address.is_some());
        let Some(name) = name.and_then(|at| at.name_of_many()) else {
            return Ok(false);
        };
        if !matches!(fault, Fault::Unreached(_)) {
            return Ok(false);
        }
        let (gateway, site) = (&self.gateway, self.site());
        let began = since_boot();
        let time = RENEWAL_MAX.min(gateway.config.timeouts.connect);
        loop {
            let in_force = connection.core().gateway();
            let answers = in_force.choices.answers_of(name);
            // Looked at first: what such an answer says has come into force before.
            let is_asked = answers.is_none_or(|answers| answers.in_force() > began);
            if in_force.has_another_for(gateway, site) {
                return Ok(true);
            }
            // Nobody asks any more once the process is to end.
            let drain = &connection.core().drain;
            let is_ending = !drain.is_healthy() || drain.is_draining();
            // Checked, not waited for: a deadline that cannot be set beyond its ceiling is over at once, and for ever.
            let is_late =
                connection.deadline.is_past_limit() || since_boot().saturating_sub(began) >= time;
            if is_asked || is_ending || is_late {
                return Ok(false);
            }
            connection.deadline.set(TICK);
            let left = poll_fn(|cx| {
                if connection.poll_left(cx).is_ready() {
                    return Poll::Ready(true);
                }
                connection.deadline.poll(cx).map(|()| false)
            });
            if left.await {
                return Err(After::Drop);
            }
        }
    }
}
