//! The metrics' text, written on a thread of its own: with many providers it takes milliseconds, in which a
//! worker would move nothing.
//!
//! Those who ask while one is being written get the next one, all the same.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use crate::base::bytes::within;
use crate::log::Log;
use crate::net::core::deadline::since_boot;
use crate::observe::{Counters, Expiry, Family, Reloads, Scrape, Shares, Slots};
use crate::policy::auth::Keys;
use crate::providers::Choices;
use crate::system::process;
use crate::system::time::monotonic_nanos;

/// What a text is written from; what it is about comes with the question.
#[derive(Clone)]
pub(crate) struct Sources {
    /// Those of the workers that serve clients.
    pub counters: Arc<[Counters]>,
    /// How many of them do.
    pub workers: usize,
    /// Looks at this process.
    pub process: Arc<process::Window>,
    /// Knows how many of its lines were lost.
    pub log: Log,
    /// How the last reload went.
    pub reloads: Arc<Reloads>,
}

impl Sources {
    /// Writes it, here and now.
    #[must_use]
    pub(crate) fn text(&self, subjects: &Subjects) -> String {
        self.scrape(subjects).text()
    }

    /// What it says, as figures.
    #[must_use]
    pub(crate) fn figures(&self, subjects: &Subjects) -> Vec<Family> {
        self.scrape(subjects).figures()
    }

    fn scrape<'s>(&'s self, subjects: &'s Subjects) -> Scrape<'s> {
        Scrape {
            workers: within(&self.counters, ..self.workers),
            slots: &subjects.slots,
            keys: subjects.keys.slots(),
            reloads: &self.reloads,
            expiries: &subjects.expiries,
            shares: Shares {
                choices: &subjects.choices,
                now: monotonic_nanos(),
            },
            process: self.process.look(),
            exports: self.log.exports(),
            now: since_boot(),
            log_lines_lost: self.log.lost(),
            log_lines_shed: self.log.shed(),
        }
    }
}

/// What a text is about, as it is now.
pub(crate) struct Subjects {
    /// Names of the providers.
    pub slots: Slots,
    /// Names of the keys.
    pub keys: Arc<Keys>,
    /// What is known of providers' keys.
    pub choices: Arc<Choices>,
    /// When certificates end.
    pub expiries: Arc<[Expiry]>,
}

/// What the text is about, and where it goes.
struct Question {
    subjects: Subjects,
    post: Post,
}

type Post = Box<dyn FnOnce(Arc<str>) + Send>;

/// Who writes; clones ask the same thread, which starts when it is asked first.
#[derive(Clone)]
pub(crate) struct Scribe {
    sources: Sources,
    /// Empty where the thread could not be started.
    queue: Arc<OnceLock<Option<Sender<Question>>>>,
}

impl Scribe {
    /// One for the whole process.
    #[must_use]
    pub(crate) fn new(sources: Sources) -> Self {
        Self {
            sources,
            queue: Arc::default(),
        }
    }

    /// What it writes from.
    #[must_use]
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    fn ask(&self, question: Question) {
        let queue = self.queue.get_or_init(|| {
            let (queue, questions) = channel();
            let sources = self.sources.clone();
            let thread = std::thread::Builder::new().name("scrape".into());
            let started = thread.spawn(move || write(&sources, &questions));
            started.is_ok().then_some(queue)
        });
        match queue {
            // Its thread does not end while there are workers.
            Some(queue) => drop(queue.send(question)),
            None => (question.post)(self.sources.text(&question.subjects).into()),
        }
    }
}

fn write(sources: &Sources, questions: &Receiver<Question>) {
    while let Ok(question) = questions.recv() {
        let Question { mut subjects, post } = question;
        let mut posts = vec![post];
        while let Ok(another) = questions.try_recv() {
            subjects = another.subjects;
            posts.push(another.post);
        }
        let text: Arc<str> = sources.text(&subjects).into();
        for post in posts {
            post(text.clone());
        }
    }
}

/// Takes the text for this ticket back to its worker, from another thread.
pub(crate) type TakeBack = Arc<dyn Fn(u64, Arc<str>) + Send + Sync>;

/// The texts that a worker's connections wait for.
pub(crate) struct Scrapes {
    scribe: Scribe,
    take_back: TakeBack,
    waiting: RefCell<Vec<Waiting>>,
    asked: Cell<u64>,
}

struct Waiting {
    ticket: u64,
    text: Option<Arc<str>>,
    waker: Option<Waker>,
}

impl Scrapes {
    /// None yet. `take_back` leads to where [`arrived`](Self::arrived) is told of them.
    #[must_use]
    pub(crate) fn new(scribe: Scribe, take_back: TakeBack) -> Rc<Self> {
        Rc::new(Self {
            scribe,
            take_back,
            waiting: RefCell::default(),
            asked: Cell::default(),
        })
    }

    /// Asks for one.
    #[must_use]
    pub(crate) fn ask(self: &Rc<Self>, subjects: Subjects) -> PendingScrape {
        let ticket = self.asked.get();
        self.asked.set(ticket + 1);
        self.waiting.borrow_mut().push(Waiting {
            ticket,
            text: None,
            waker: None,
        });
        let take_back = self.take_back.clone();
        self.scribe.ask(Question {
            subjects,
            post: Box::new(move |text| take_back(ticket, text)),
        });
        PendingScrape {
            scrapes: self.clone(),
            ticket,
        }
    }

    /// A text has come.
    pub(crate) fn arrived(&self, ticket: u64, text: Arc<str>) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(entry) = waiting.iter_mut().find(|it| it.ticket == ticket) {
            entry.text = Some(text);
            if let Some(waker) = entry.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A text that was asked for; nobody waits for it any more when this is dropped.
pub(crate) struct PendingScrape {
    scrapes: Rc<Scrapes>,
    ticket: u64,
}

impl PendingScrape {
    /// Ready with the text.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Arc<str>> {
        let mut waiting = self.scrapes.waiting.borrow_mut();
        let Some(entry) = waiting.iter_mut().find(|it| it.ticket == self.ticket) else {
            return Poll::Pending;
        };
        entry.waker = Some(cx.waker().clone());
        match entry.text.take() {
            Some(text) => Poll::Ready(text),
            None => Poll::Pending,
        }
    }
}

impl Drop for PendingScrape {
    fn drop(&mut self) {
        let mut waiting = self.scrapes.waiting.borrow_mut();
        waiting.retain(|it| it.ticket != self.ticket);
    }
}
