//! What the keeper closes in a turn, and what a request does, where many idle connections end at once.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;

use super::*;
use crate::net::core::deadline::{SUSPENDED, TICK};
use crate::net::sockets::driver;
use crate::net::sockets::reactor::Reactor;
use crate::net::sockets::socket::Socket;
use crate::observe::habits::Habits;

/// More than one turn's share.
const MANY: usize = 200;

struct Stage {
    pool: Rc<Pool>,
    turns: Rc<Turns>,
    scratch: Rc<RefCell<Scratch>>,
    retired: Rc<Cell<usize>>,
}

fn on_both(play: impl AsyncFn(Stage)) {
    driver::on_both(async || {
        let pool = Rc::new(Pool::new(Clock::new()));
        let (turns, reactor) = (Turns::new(), Reactor::current().unwrap());
        let scratch = Rc::default();
        monoio::spawn(turns.clone().run(reactor));
        let retired: Rc<Cell<usize>> = Rc::default();
        let counts = retired.clone();
        let retires = move || counts.set(counts.get() + 1);
        let keeper = pool.clone();
        monoio::spawn(keeper.keep(Rc::clone(&scratch), turns.clone(), retires));
        turns.next().await;
        let stage = Stage {
            pool,
            turns,
            scratch,
            retired,
        };
        play(stage).await;
    });
}

impl Stage {
    /// Idle connections to each of two providers; the result is the providers' ends.
    fn fill(&self, limit: Duration) -> Vec<UnixStream> {
        let habit = Habits::default().of(0);
        let connect = |index: usize| {
            let (theirs, ours) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let stream = Stream::plain(Socket::from_fd(ours.into()).unwrap());
            let seat = self.pool.seat(index % 2, None).unwrap();
            let mut upstream = Upstream::fresh(stream, index % 2, seat, habit.clone());
            upstream.address = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let scratch = &mut *self.scratch.borrow_mut();
            self.pool.put(upstream, limit, scratch);
            theirs
        };
        let theirs = (0..MANY).map(connect).collect();
        assert_eq!(self.idle_count(), MANY);
        theirs
    }

    fn idle_count(&self) -> usize {
        self.pool.idle_count(0) + self.pool.idle_count(1)
    }

    /// Until none is idle any more; in each turn a few are closed.
    async fn empty(&self) {
        let share = Budget::LOOKS;
        let mut before = self.idle_count();
        while before > 0 {
            self.turns.next().await;
            let now = self.idle_count();
            // This task may be run before the keeper or behind it.
            assert!(before - now <= 2 * share, "{before} {now}");
            before = now;
        }
    }
}

#[test]
fn many_that_end_or_speak_at_once_are_closed_in_turns() {
    on_both(async |stage| {
        let theirs = stage.fill(Duration::from_secs(60));
        let mut quiet = Vec::new();
        for (index, mut theirs) in theirs.into_iter().enumerate() {
            if index % 3 == 0 {
                theirs.write_all(b"x").unwrap();
                quiet.push(theirs);
            }
        }
        stage.empty().await;
    });
}

#[test]
fn many_that_expire_at_once_are_closed_in_turns() {
    on_both(async |stage| {
        let _theirs = stage.fill(Duration::ZERO);
        SUSPENDED.set(SUSPENDED.get() + 2 * TICK);
        // Which looks at the time.
        let _deadline = stage.pool.clock.register();
        assert!(stage.pool.expire(stage.pool.clock.now()));
        stage.empty().await;
        assert_eq!(stage.retired.get(), MANY);
        assert!(!stage.pool.expire(stage.pool.clock.now()));
    });
}

#[test]
fn many_that_lead_where_a_name_was_are_closed_in_turns() {
    on_both(async |stage| {
        let _theirs = stage.fill(Duration::from_secs(60));
        let left = |site| (site, IpAddr::V4(Ipv4Addr::LOCALHOST));
        stage.pool.leave(vec![left(0), left(1)]);
        assert_eq!(stage.idle_count(), MANY);
        assert!(
            stage
                .pool
                .take(0, &mut stage.scratch.borrow_mut())
                .is_none()
        );
        stage.empty().await;
    });
}

/// Whoever needs a connection does not look at all of them first.
#[test]
fn a_request_closes_a_few_that_have_ended() {
    on_both(async |stage| {
        drop(stage.fill(Duration::from_secs(60)));
        let scratch = &mut *stage.scratch.borrow_mut();
        assert!(stage.pool.take(0, scratch).is_none());
        assert_eq!(stage.idle_count(), MANY - Budget::LOOKS);
    });
}

/// Whatever kept the other end knows nothing of it any more, and nobody told this one.
#[test]
fn a_connection_ages_while_the_machine_is_suspended() {
    on_both(async |stage| {
        let _theirs = stage.fill(Duration::from_secs(60));
        let scratch = &mut *stage.scratch.borrow_mut();
        assert!(stage.pool.take(0, scratch).is_some());
        SUSPENDED.set(SUSPENDED.get() + Duration::from_secs(61));
        assert!(stage.pool.take(0, scratch).is_none());
    });
}

#[test]
fn the_keeper_goes_round() {
    let place = |site, at| Place { site, at };
    let found = |lens: &[usize], mut place: Place| {
        let (habit, pool) = (Habits::default().of(0), Pool::new(Clock::new()));
        let upstream = || {
            let stream = UnixStream::pair().unwrap().0;
            let stream = Stream::plain(Socket::from_fd(stream.into()).unwrap());
            Upstream::fresh(stream, 0, pool.seat(0, None).unwrap(), habit.clone())
        };
        let stack = |&len: &usize| (0..len).map(|_| upstream()).collect();
        let mut idle: Vec<Stack> = lens.iter().map(stack).collect();
        let at = place.find(&mut idle).map(|(_, at)| at);
        at.map(|at| (place.site, at))
    };
    on_both(async |_| {
        for (lens, from, expected) in [
            (&[2, 1][..], place(0, 0), Some((0, 0))),
            (&[2, 1], place(0, 1), Some((0, 1))),
            (&[2, 1], place(0, 2), Some((1, 0))),
            (&[2, 1], place(1, 1), Some((0, 0))),
            // What was there is no more.
            (&[2, 0], place(1, 7), Some((0, 0))),
            (&[1], place(5, 0), Some((0, 0))),
            (&[1], place(0, 1), Some((0, 0))),
            (&[0, 0], place(1, 1), None),
            (&[], place(0, 0), None),
        ] {
            assert_eq!(found(lens, from), expected, "{lens:?}");
        }
    });
}
