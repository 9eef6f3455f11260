//! A connection for an exchange that found none in the pool.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::http::exchange::After;
use crate::net::client::side::ClientSide;
use crate::net::core::deadline::TICK;
use crate::net::upstream::connect::Connected;
use crate::net::upstream::failure::{ConnectError, replaced};
use crate::net::upstream::pool::Upstream;
use crate::net::upstream::warm;
use crate::policy::error::{Fault, Scarce};
use crate::policy::gateway::Gateway;

use super::ends::not_within;
use super::relay::{Leg, Relay};

impl Relay {
    /// Connects and sends what waits for it, watching the client meanwhile.
    pub(super) async fn establish(&mut self, connection: &mut ClientSide) -> Result<(), After> {
        let worker = connection.worker.clone();
        let gateway = self.gateway.clone();
        let Some((provider, instance)) = gateway.at(self.site) else {
            return Err(After::Drop);
        };
        connection.deadline.set(gateway.config.timeouts.connect);
        let limit = gateway.config.limits.upstream_connections;
        let (connected, seat) = loop {
            // After a reload the same number may mean another provider, and this one may be elsewhere or gone.
            let in_force = worker.core.gateway();
            let Some(place) = in_force.place_of(&gateway, self.site) else {
                return Err(self.give_up(connection, &replaced(&provider.name)));
            };
            let Some(seat) = worker.upstreams.pool.seat(place, limit) else {
                let fault = Fault::Overloaded(Scarce::UpstreamConnections);
                return Err(self.give_up(connection, &fault));
            };
            // Boxed, for it is large and every exchange would carry room for it.
            let connected = Box::pin(self.connected(connection, &in_force, place)).await?;
            if worker.core.gateway().index_of(&in_force, place).is_none() {
                // A reload meanwhile: whatever came of this attempt, another one is made on today's terms.
                continue;
            }
            match connected {
                Ok(connected) => break (connected, seat),
                Err(fault) => {
                    if fault == Fault::UpstreamConnectTimeout {
                        let time = gateway.config.timeouts.connect;
                        let (host, port) = (&instance.base.host, instance.base.port);
                        let what = || format!("no connection to {host}:{port}");
                        let silent = || not_within(&what(), "connect", Some(time));
                        connection.access.because(silent);
                    }
                    if fault == Fault::Overloaded(Scarce::System) {
                        worker.upstreams.pool.shed();
                    }
                    return Err(self.give_up(connection, &fault));
                }
            }
        };
        if gateway.config.metrics.are_wanted() {
            let slot = gateway.slots.of(self.provider);
            connected.count(worker.core.counters().provider(slot));
        }
        connected.tell(&worker.core.log, &provider.name);
        connection.access.connected(connected.took);
        let mut stream = connected.stream;
        if let Leg::Unsent(request) = &self.leg
            && stream.send(request).is_err()
        {
            return Err(self.give_up(connection, &Fault::UpstreamReset));
        }
        let whole = self.exchange.upload().is_done();
        connection.access.request_sent(whole);
        let mut upstream =
            Upstream::fresh(stream, self.site, seat, gateway.slots.habit(self.provider));
        upstream.address = connected.address;
        upstream.first_use();
        self.leg = Leg::Sent {
            upstream,
            replay: None,
        };
        Ok(())
    }

    /// The connection to the site with this number in the gateway that is in force, or why there is none.
    async fn connected(
        &self,
        connection: &mut ClientSide,
        in_force: &Gateway,
        place: usize,
    ) -> Result<Result<Connected, Fault>, After> {
        let worker = connection.worker.clone();
        let Some((provider, _)) = in_force.at(place) else {
            return Err(After::Drop);
        };
        let mut connect = pin!(warm::awaited(
            &worker.upstreams,
            place,
            self.gateway.slots.habit(self.provider)
        ));
        let mut is_late = false;
        // A connect that is dropped has sent no request; what the client sends stays with the kernel.
        poll_fn(|cx| {
            if let Poll::Ready(connected) = connect.as_mut().poll(cx) {
                let fault = |error: ConnectError| error.fault(&provider.name);
                return Poll::Ready(Ok(connected.map_err(fault)));
            }
            if connection.poll_left(cx).is_ready() {
                return Poll::Ready(Err(After::Drop));
            }
            let mut over = connection.deadline.poll(cx);
            if over.is_ready() && !std::mem::replace(&mut is_late, true) {
                // Noticed late, perhaps, by a process that was stopped: what has come in time is found by then.
                connection.deadline.set(TICK);
                over = connection.deadline.poll(cx);
            }
            over.map(|()| Ok(Err(Fault::UpstreamConnectTimeout)))
        })
        .await
    }
}
