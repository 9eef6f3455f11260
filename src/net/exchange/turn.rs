//! The turn of a request whose provider, or whose instances, take so many at once: before anything of it is sent, before
//! 100-continue is asked for and before more of its content is received. One that was not taken and goes elsewhere may have
//! to wait once more.

use std::future::poll_fn;
use std::task::Poll;

use crate::http::exchange::After;
use crate::net::client::side::ClientSide;
use crate::net::client::waiting::Held;
use crate::policy::error::Fault;
use crate::system::time::Moment;

use super::place::{Found, Place};
use super::relay::Relay;

impl Relay {
    /// Whether its turn is still to come, or room at an instance.
    pub(super) fn is_waiting(&self) -> bool {
        { &self.choice }
            .as_ref()
            .is_some_and(|choice| choice.is_waiting())
    }

    /// Waits for its turn and for room at an instance, then uses an idle connection if there is one.
    ///
    /// # Errors
    /// How the connection goes on where there is none in time, or the client has left.
    ///
    /// # Cancel safety
    /// Dropped, the place in the queue is given up with the exchange.
    pub(super) async fn wait_for_turn(&mut self, connection: &mut ClientSide) -> Result<(), After> {
        // Twice at most: a turn may find, behind a reload, that room has to be waited for as well.
        while self.is_waiting() {
            let taken = match self.wait(connection).await? {
                Ok(held) => self.takes_turn(connection, held),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = taken {
                if let Some(choice) = &mut self.choice {
                    choice.let_go();
                }
                return Err(self.give_up(connection, &fault));
            }
        }
        self.reuse(connection);
        Ok(())
    }

    /// Waits for what it stands for; or says why that is not to be had. A client that leaves ends it.
    async fn wait(&mut self, connection: &mut ClientSide) -> Result<Result<Held, Fault>, After> {
        let began = Moment::now();
        let awaited = { &mut self.choice }.as_mut();
        let Some(awaited) = awaited.and_then(|choice| choice.awaited.as_mut()) else {
            return Err(After::Drop);
        };
        let stand = &mut awaited.stand;
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
            Ok(held) => Ok(Ok(held)),
            Err(None) => Err(After::Drop),
            Err(Some((late, retry_after))) => Ok(Err(Fault::Queued { late, retry_after })),
        }
    }

    /// Goes where its turn lets it, or begins to wait for room there.
    ///
    /// # Errors
    /// It goes nowhere now.
    fn takes_turn(&mut self, connection: &mut ClientSide, mut held: Held) -> Result<(), Fault> {
        let Some(choice) = &mut self.choice else {
            return Ok(());
        };
        let Some(awaited) = choice.awaited.take() else {
            return Ok(());
        };
        let (session, tried) = (choice.session, awaited.tried);
        let place = held
            .take_seat()
            .map(|under_way| Found::Place(Place { under_way, tried }));
        if held.is_turn() {
            choice.turn = Some(held);
            self.choose_key(connection)?;
        }
        let found = match place {
            Some(place) => Some(place),
            None => Place::find(connection, &self.gateway, self.provider, (session, tried))?,
        };
        if let Some(found) = found {
            self.goes_where(connection, found);
        }
        Ok(())
    }
}
