//! A connection for an exchange that found none in the pool.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
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
    /// Connects and sends what waits for it, watching the client meanwhile; where an instance is not reached, the next
    /// one gets it, which may be one that its name stands for now.
    pub(super) async fn establish(&mut self, connection: &mut ClientSide) -> Result<(), After> {
        loop {
            let fault = match self.attempt(connection).await? {
                Ok(()) => {
                    self.forget_unsaid();
                    return Ok(());
                }
                Err(fault) => fault,
            };
            // Boxed, and the fault in it: others need not have room for it.
            if !Box::pin(self.tries_again(connection, fault)).await? {
                return Ok(());
            }
        }
    }

    /// Whether there is another attempt to be made behind this fault; none where the request is with an upstream, or has
    /// its answer.
    async fn tries_again(
        &mut self,
        connection: &mut ClientSide,
        fault: Fault,
    ) -> Result<bool, After> {
        if !self.moves_on(connection, &fault) {
            if self.says_after_all(connection)? {
                return Ok(false);
            }
            if self.renews(connection, &fault).await? {
                return Ok(true);
            }
            self.explain(connection, &fault);
            return Err(self.give_up(connection, &fault));
        }
        if self.is_waiting() {
            self.wait_for_turn(connection).await?;
        }
        let is_sent = matches!(self.leg, Leg::Sent { .. });
        if is_sent {
            self.forget_unsaid();
        }
        Ok(!is_sent)
    }

    /// Tells the log what a time-out's name does not say.
    fn explain(&self, connection: &mut ClientSide, fault: &Fault) {
        let Some((_, instance)) = self.gateway.at(self.site()) else {
            return;
        };
        if *fault == Fault::UpstreamConnectTimeout {
            let time = self.gateway.config.timeouts.connect;
            let (host, port) = (&instance.base.host, instance.base.port);
            let what = || format!("no connection to {host}:{port}");
            connection
                .access
                .because(|| not_within(&what(), "connect", Some(time)));
        }
    }

    /// Connects to where it goes and sends what waits; or says why there is no connection.
    async fn attempt(&mut self, connection: &mut ClientSide) -> Result<Result<(), Fault>, After> {
        let worker = connection.worker.clone();
        let gateway = self.gateway.clone();
        let Some((provider, _)) = gateway.at(self.site()) else {
            return Err(After::Drop);
        };
        connection.deadline.set(gateway.config.timeouts.connect);
        let limit = gateway.config.limits.upstream_connections;
        let (connected, seat, is_strange) = loop {
            // After a reload the same number may mean another provider, and this one may be elsewhere or gone.
            let in_force = worker.core.gateway();
            let Some(place) = self.place_in(connection, &in_force) else {
                return Ok(Err(replaced(&provider.name)));
            };
            let Some(seat) = worker.upstreams.pool.seat(place, limit) else {
                return Ok(Err(Fault::Overloaded(Scarce::UpstreamConnections)));
            };
            let connected = self.connecting(connection, &in_force, place).await?;
            if worker.core.gateway().index_of(&in_force, place).is_none() {
                // A reload meanwhile: whatever came of this attempt, another one is made on today's terms.
                continue;
            }
            match connected {
                Ok(connected) => {
                    let is_strange = in_force.index_of(&gateway, self.site()) != Some(place);
                    break (connected, seat, is_strange);
                }
                Err(fault) => {
                    if fault == Fault::Overloaded(Scarce::System) {
                        worker.upstreams.pool.shed();
                    }
                    return Ok(Err(fault));
                }
            }
        };
        if gateway.config.is_counted() {
            let slot = gateway.slots.of(self.provider);
            connected.count(worker.core.counters().provider(slot));
        }
        connected.tell(&worker.core.log, &provider.name);
        connection.access.connected(connected.took);
        let mut stream = connected.stream;
        if let Leg::Unsent(request) = &self.leg
            && stream.send(request).is_err()
        {
            // A plain send that fails has sent nothing; under TLS a first record may be out.
            return match stream.is_tls() {
                false => Ok(Err(Fault::UpstreamReset)),
                true => Err(self.give_up(connection, &Fault::UpstreamReset)),
            };
        }
        let whole = self.exchange.upload().is_done();
        connection.access.request_sent(whole);
        let mut upstream = Upstream::fresh(
            stream,
            self.site(),
            seat,
            gateway.slots.habit(self.provider),
        );
        upstream.address = connected.address;
        upstream.is_strange = is_strange;
        upstream.first_use();
        self.leg = Leg::Sent {
            upstream,
            replay: None,
        };
        Ok(Ok(()))
    }

    /// The number that its site has there; where an address has left its name, or it goes elsewhere, that of another one of
    /// the name.
    fn place_in(&self, connection: &mut ClientSide, in_force: &Gateway) -> Option<usize> {
        let site = self.site();
        let place = in_force.place_of(&self.gateway, site);
        if place.is_some() && !self.elsewhere {
            return place;
        }
        let random = connection.core().ids.random();
        let place = in_force.stand_in_of(&self.gateway, site, random)?;
        let provider = in_force.provider_at(place)?;
        let index = place.saturating_sub(in_force.site_of(provider, 0));
        let index = u8::try_from(index);
        debug_assert!(index.is_ok(), "there are no more than 64");
        let index = index.unwrap_or_default();
        connection.access.at_instance(in_force, provider, index);
        Some(place)
    }

    /// [`Self::connected`] in a box, for it is large and every exchange would carry room for it. It is made there: behind an
    /// allocation it would be copied.
    fn connecting<'a>(
        &'a self,
        connection: &'a mut ClientSide,
        in_force: &'a Gateway,
        place: usize,
    ) -> Pin<Box<impl Future<Output = Result<Result<Connected, Fault>, After>> + use<'a>>> {
        let room = Box::new_uninit();
        Box::into_pin(Box::write(
            room,
            self.connected(connection, in_force, place),
        ))
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
