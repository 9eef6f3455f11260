//! The turn of a request whose provider takes so many at once: before anything of it is sent, before 100-continue is asked
//! for and before more of its content is received.

use std::future::poll_fn;
use std::task::Poll;

use crate::http::exchange::After;
use crate::net::client::side::ClientSide;
use crate::net::client::waiting::Turn;
use crate::policy::error::Fault;
use crate::system::time::Moment;

use super::relay::Relay;

impl Relay {
    /// Whether its turn is still to come.
    pub(super) fn is_waiting(&self) -> bool {
        { &self.choice }
            .as_ref()
            .is_some_and(|choice| choice.is_waiting())
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
        let turn = self.choice.as_mut().and_then(|choice| choice.turn.as_mut());
        let Some(Turn::Stands(stand)) = turn else {
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
            let late = connection.deadline.poll(cx);
            late.map(|()| Err(Some((true, stand.give_up()))))
        });
        let waited = waited.await;
        connection.access.queued(Moment::now().since(began));
        match waited {
            Ok(held) => {
                self.set_turn(Some(Turn::Held(held)));
                if let Err(fault) = self.choose_now(connection) {
                    self.set_turn(None);
                    return Err(self.give_up(connection, &fault));
                }
                self.reuse(connection);
                Ok(())
            }
            Err(None) => Err(After::Drop),
            Err(Some((late, retry_after))) => {
                self.set_turn(None);
                Err(self.give_up(connection, &Fault::Queued { late, retry_after }))
            }
        }
    }

    fn set_turn(&mut self, turn: Option<Turn>) {
        if let Some(choice) = &mut self.choice {
            choice.turn = turn;
        }
    }
}
