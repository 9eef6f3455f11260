//! The turn of a request whose provider takes so many at once: before anything of it is sent, before 100-continue is asked
//! for and before more of its content is received.

use std::future::poll_fn;
use std::task::Poll;

use crate::http::exchange::After;
use crate::net::client::side::ClientSide;
use crate::net::client::waiting::Turn;
use crate::policy::error::Fault;
use crate::policy::forward::Forward;
use crate::policy::gateway::Gateway;
use crate::system::time::Moment;

use super::relay::Relay;

impl Relay {
    /// Its turn, or a place in the queue for it; nothing where there is no limit.
    pub(super) fn ask_for_turn(
        connection: &ClientSide,
        gateway: &Gateway,
        forward: &Forward<'_>,
    ) -> Result<Option<Turn>, Fault> {
        let Some(queue) = gateway.choices.queue(forward.provider) else {
            return Ok(None);
        };
        let asked = Turn::ask(queue, &connection.worker.waiting, forward.turn_of.0);
        let full = |retry_after| Fault::Queued {
            late: false,
            retry_after,
        };
        asked.map(Some).map_err(full)
    }

    /// Whether its turn is still to come.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.turn.as_deref(), Some(Turn::Stands(_)))
    }

    /// Waits for its turn, then uses an idle connection if there is one.
    ///
    /// # Errors
    /// How the connection goes on where there is none in time, or the client has left.
    ///
    /// # Cancel safety
    /// Dropped, the place in the queue is given up with the exchange.
    pub(super) async fn wait_for_turn(&mut self, connection: &mut ClientSide) -> Result<(), After> {
        let began = Moment::now();
        let Some(Turn::Stands(stand)) = self.turn.as_deref_mut() else {
            return Ok(());
        };
        connection.deadline.set(stand.time_left());
        let waited = poll_fn(|cx| {
            if let Poll::Ready(turn) = stand.poll(cx) {
                return Poll::Ready(turn.map_err(|retry_after| Some((false, retry_after))));
            }
            if connection.poll_left(cx).is_ready() {
                return Poll::Ready(Err(None));
            }
            // What is too late for this one is so for the others as well: there is nothing better to say than the usual.
            connection.deadline.poll(cx).map(|()| Err(Some((true, 1))))
        });
        let waited = waited.await;
        connection.access.queued(Moment::now().since(began));
        match waited {
            Ok(held) => {
                self.turn = Some(Box::new(Turn::Held(held)));
                self.choose_again(connection);
                self.reuse(connection);
                Ok(())
            }
            Err(None) => Err(After::Drop),
            Err(Some((late, retry_after))) => {
                self.turn = None;
                Err(self.give_up(connection, &Fault::Queued { late, retry_after }))
            }
        }
    }
}
