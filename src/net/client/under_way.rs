//! `/streams` of the listener for metrics: asks every worker what it has under way, and puts the answers together.
//!
//! Whoever asks meanwhile gets the same answers, so that no worker is asked more than once at a time.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::net::accept::balance::Peers;
use crate::net::core::deadline::Clock;
use crate::net::sockets::mailbox::Mailbox;
use crate::net::worker::Message;
use crate::observe::streams::UnderWay;

/// Who is asked, and by whom.
pub(crate) struct Asking {
    workers: Peers,
    mine: Mailbox<Message>,
    round: RefCell<Weak<Round>>,
    rounds: Cell<u64>,
}

/// One question to all.
struct Round {
    number: u64,
    answers: RefCell<Vec<UnderWay>>,
    wakers: RefCell<Vec<Waker>>,
}

/// How long workers have to answer; one that is this late has worse troubles.
const PATIENCE: Duration = Duration::from_secs(1);

impl Asking {
    /// Of these workers; their answers come back through `mine`.
    #[must_use]
    pub(crate) fn new(workers: Peers, mine: Mailbox<Message>) -> Self {
        Self {
            workers,
            mine,
            round: RefCell::default(),
            rounds: Cell::default(),
        }
    }

    fn workers(&self) -> &[Mailbox<Message>] {
        self.workers.get().map_or(&[], Vec::as_slice)
    }

    /// What `text` makes of the answers, and of how many workers did not answer in time.
    ///
    /// # Cancel safety
    /// Dropped, answers still to come are thrown away.
    pub(crate) async fn ask<T>(
        &self,
        clock: &Rc<Clock>,
        text: impl FnOnce(&[UnderWay], usize) -> T,
    ) -> T {
        let round = self.round();
        let deadline = clock.register();
        deadline.set(PATIENCE);
        poll_fn(|cx| {
            if round.answers.borrow().len() >= self.workers().len() {
                return Poll::Ready(());
            }
            let mut wakers = round.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            deadline.poll(cx)
        })
        .await;
        let answers = round.answers.borrow();
        text(&answers, self.workers().len() - answers.len())
    }

    /// The round under way, or a new one.
    fn round(&self) -> Rc<Round> {
        let under_way = self.round.borrow().upgrade();
        let open = |round: &Rc<Round>| round.answers.borrow().len() < self.workers().len();
        if let Some(round) = under_way.filter(open) {
            return round;
        }
        let number = self.rounds.get() + 1;
        self.rounds.set(number);
        let round = Rc::new(Round {
            number,
            answers: RefCell::default(),
            wakers: RefCell::default(),
        });
        *self.round.borrow_mut() = Rc::downgrade(&round);
        for worker in self.workers() {
            worker.send(Message::Look(number, self.mine.clone()));
        }
        round
    }

    /// A worker has answered; an answer that nobody waits for any more is dropped.
    pub(crate) fn answered(&self, number: u64, answer: UnderWay) {
        let round = self.round.borrow().upgrade();
        let Some(round) = round.filter(|round| round.number == number) else {
            return;
        };
        round.answers.borrow_mut().push(answer);
        for waker in round.wakers.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}
