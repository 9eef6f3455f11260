//! A connection for an exchange that found none in the pool.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::config::Provider;
use crate::error::{Fault, Scarce};
use crate::net::connect::{ConnectError, Connected};
use crate::net::connection::{After, Connection};
use crate::net::deadline::TICK;
use crate::net::pool::Upstream;
use crate::net::socket::is_scarce;
use crate::net::{tls, warm};

use super::Exchange;

impl Exchange {
    /// Connects and sends what waits for it, watching the client meanwhile.
    pub(super) async fn establish(&mut self, connection: &mut Connection) -> Result<(), After> {
        let worker = connection.worker.clone();
        let gateway = self.gateway.clone();
        let Some((provider, _)) = gateway.provider(self.provider) else {
            return Err(After::Drop);
        };
        connection.deadline.set(gateway.config.timeouts.connect);
        // After a reload the same number may mean another provider, and this one may be gone.
        let current = worker.gateway().index_of(&gateway, self.provider);
        let limit = gateway.config.limits.upstream_connections;
        let Some(seat) = worker.pool.seat(current.unwrap_or(self.provider), limit) else {
            let fault = Fault::Overloaded(Scarce::UpstreamConnections);
            return Err(self.give_up(connection, &fault));
        };
        // Boxed, for it is large and every exchange would carry room for it.
        let connected = Box::pin(self.connected(connection, provider)).await;
        let connected = match connected? {
            Ok(connected) => connected,
            Err(fault) => {
                if fault == Fault::Overloaded(Scarce::System) {
                    worker.pool.shed();
                }
                return Err(self.give_up(connection, &fault));
            }
        };
        if gateway.config.metrics.are_wanted() {
            let slot = gateway.slots.of(self.provider);
            connected.count(worker.counters().provider(slot));
        }
        connection.access.connected(connected.took);
        let mut stream = connected.stream;
        if stream.send(&std::mem::take(&mut self.unsent)).is_err() {
            return Err(self.give_up(connection, &Fault::UpstreamReset));
        }
        connection.access.request_sent(self.up.cursor.is_done());
        let mut upstream = Upstream::fresh(
            stream,
            self.provider,
            seat,
            gateway.slots.habit(self.provider),
        );
        upstream.address = connected.address;
        upstream.first_use();
        self.upstream = Some(upstream);
        Ok(())
    }

    /// The connection, or why there is none.
    async fn connected(
        &self,
        connection: &mut Connection,
        provider: &Provider,
    ) -> Result<Result<Connected, Fault>, After> {
        let worker = connection.worker.clone();
        let habit = self.gateway.slots.habit(self.provider);
        let mut connect = pin!(warm::awaited(&worker, provider, habit));
        let mut is_late = false;
        // A connect that is dropped has sent no request; what the client sends stays with the kernel.
        poll_fn(|cx| {
            if let Poll::Ready(connected) = connect.as_mut().poll(cx) {
                let fault = |error| fault(&provider.name, error);
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

fn fault(provider: &str, error: ConnectError) -> Fault {
    match error {
        ConnectError::Connect(error) if is_scarce(&error) => Fault::Overloaded(Scarce::System),
        ConnectError::Resolve(error) => Fault::upstream_resolve(provider, &error),
        ConnectError::Connect(error) => Fault::upstream_connect(provider, &error),
        ConnectError::Tls(error) => Fault::upstream_tls(provider, &error, tls::may_pass(&error)),
        ConnectError::Proxy(error) => Fault::upstream_proxy(provider, &error, error.may_pass()),
    }
}
