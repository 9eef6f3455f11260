//! `/streams` of the listener for metrics: asks every worker what it has under way, and puts the answers together.
//!
//! Whoever asks meanwhile gets the same answers, so that no worker is asked more than once at a time.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::net::core::deadline::Clock;
use crate::observe::streams::UnderWay;

/// Puts the question with this number to all workers, and says how many those are.
type Put = dyn Fn(u64) -> usize;

/// See the module's documentation.
pub(crate) struct Survey {
    put: Box<Put>,
    round: RefCell<Weak<Round>>,
    rounds: Cell<u64>,
}

/// One question to all.
struct Round {
    number: u64,
    /// How many workers were asked.
    asked: usize,
    answers: RefCell<Vec<UnderWay>>,
    wakers: RefCell<Vec<Waker>>,
}

impl Round {
    fn is_open(&self) -> bool {
        self.answers.borrow().len() < self.asked
    }
}

/// How long workers have to answer; one that is this late has worse troubles.
const PATIENCE: Duration = Duration::from_secs(1);

impl Survey {
    /// One whose questions are `put` to the workers; their answers come back through [`answered`](Self::answered).
    #[must_use]
    pub(crate) fn new(put: impl Fn(u64) -> usize + 'static) -> Self {
        Self {
            put: Box::new(put),
            round: RefCell::default(),
            rounds: Cell::default(),
        }
    }

    /// What `text` makes of the answers, and of how many workers did not answer in time.
    ///
    /// # Cancel safety
    /// Dropped, answers still to come are thrown away.
    pub(crate) async fn take<T>(
        &self,
        clock: &Rc<Clock>,
        text: impl FnOnce(&[UnderWay], usize) -> T,
    ) -> T {
        let round = self.round();
        let deadline = clock.register();
        deadline.set(PATIENCE);
        poll_fn(|cx| {
            if !round.is_open() {
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
        text(&answers, round.asked.saturating_sub(answers.len()))
    }

    /// The round under way, or a new one.
    fn round(&self) -> Rc<Round> {
        let under_way = self.round.borrow().upgrade();
        if let Some(round) = under_way.filter(|round| round.is_open()) {
            return round;
        }
        let number = self.rounds.get() + 1;
        self.rounds.set(number);
        let round = Rc::new(Round {
            number,
            asked: (self.put)(number),
            answers: RefCell::default(),
            wakers: RefCell::default(),
        });
        *self.round.borrow_mut() = Rc::downgrade(&round);
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
