//! A TCP connection to a host, tried at one address after the other.
//!
//! The next address is tried beside the last after [`STAGGER`], or at once on its failure (RFC 8305, section 5). Where
//! none answers the name is asked for anew, once, and what the new answer says is tried too: nothing has been sent yet,
//! and a name that has moved would otherwise cost a request. What was learned of the addresses is kept with the name.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::config::Ages;
use crate::config::{Host, Tcp};
use crate::log::Value;
use crate::net::upstream::addresses::{STAGGER, is_silent};
use crate::observe;

use super::failure::{ConnectError, Place};
use super::resolve::Found;
use super::upstreams::Upstreams;
use crate::net::core::deadline::{Clock, TICK};
use crate::net::sockets::socket::{Socket, is_scarce};

/// How long nobody answers until the name is asked for anew, meanwhile: when the kernel sends its second SYN.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub(crate) struct Search<'a> {
    upstreams: &'a Upstreams,
    host: &'a Host,
    port: u16,
    ages: Ages,
    tcp: Tcp,
    /// The answer to go by, once there is one.
    answer: Option<u32>,
    /// Addresses to be tried.
    left: VecDeque<IpAddr>,
    /// All that are or were among them.
    known: Vec<IpAddr>,
    attempts: Vec<Attempt>,
    /// Addresses that failed.
    failed: Vec<IpAddr>,
    /// The address of the last connection that was made, and when.
    reached: Option<(IpAddr, Instant)>,
    /// It is the one that was meant.
    found: bool,
    renewal: Renewal<'a>,
}

struct Attempt {
    socket: Socket,
    address: IpAddr,
    began: Instant,
}

/// Asking anew, which is done once.
enum Renewal<'a> {
    Possible,
    UnderWay(Pin<Box<dyn Future<Output = Option<Found>> + 'a>>),
    Over,
}

/// What ended a wait.
enum Event {
    Answered(usize, io::Result<()>),
    Renewed,
    Time,
}

impl<'a> Search<'a> {
    /// Nothing is done yet.
    #[must_use]
    pub(crate) fn new(upstreams: &'a Upstreams, host: &'a Host, port: u16) -> Self {
        let gateway = upstreams.core.gateway();
        Self {
            upstreams,
            host,
            port,
            ages: gateway.config.ages(),
            tcp: gateway.config.tcp,
            answer: None,
            left: VecDeque::new(),
            known: Vec::new(),
            attempts: Vec::new(),
            failed: Vec::new(),
            reached: None,
            found: false,
            renewal: match host {
                Host::Name(_) => Renewal::Possible,
                Host::Ip(_) | Host::Unix(_) => Renewal::Over,
            },
        }
    }

    /// A socket that is connected.
    ///
    /// # Errors
    /// The name's, or that of the address that failed last.
    ///
    /// # Cancel safety
    /// A dropped search closes its sockets. The next one asks for the name before it uses the answer.
    pub(crate) async fn socket(&mut self) -> Result<Socket, ConnectError> {
        match self.host {
            Host::Unix(path) => {
                let reached = reach_unix(&self.upstreams.core.clock, path).await;
                let place = || Some(Place::Path(path.clone()));
                return reached.map_err(|error| ConnectError::Connect(error, place()));
            }
            Host::Ip(ip) => self.add(vec![*ip]),
            Host::Name(name) if self.answer.is_none() => {
                let random = self.upstreams.core.ids.random();
                let found = self.upstreams.names.lookup(name, self.ages, None, random);
                let found = found.await.map_err(ConnectError::Resolve)?;
                self.answer = Some(found.answer);
                self.add(found.addresses);
            }
            Host::Name(_) => {}
        }
        let raced = self.race().await;
        raced.map_err(|error| {
            let last = self.failed.last();
            let place = last.map(|ip| Place::Address(SocketAddr::new(*ip, self.port)));
            ConnectError::Connect(error, place)
        })
    }

    /// The connection that was made is not one to whom it was meant for: asks anew where else that may be; whether
    /// there is an address that was not tried.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn goes_on(&mut self) -> bool {
        self.left.clear();
        self.attempts.clear();
        if let Some((address, _)) = self.reached.take()
            && self.known.len() > 1
        {
            self.shun(address);
        }
        self.renew().await
    }

    /// The connection that was made is one to whom it was meant for; the address that the name stood for.
    pub(crate) fn ends(mut self) -> Option<IpAddr> {
        self.found = true;
        let (address, _) = self.reached?;
        matches!(self.host, Host::Name(_)).then_some(address)
    }

    fn add(&mut self, addresses: Vec<IpAddr>) {
        for address in addresses {
            if !self.known.contains(&address) {
                self.known.push(address);
                self.left.push_back(address);
            }
        }
    }

    async fn race(&mut self) -> io::Result<Socket> {
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
        loop {
            if let Some(address) = self.left.pop_front()
                && let Err(error) = self.begin(address)
            {
                if is_scarce(&error) && self.attempts.is_empty() {
                    return Err(error);
                }
                failure = error;
                self.failed.push(address);
                continue;
            }
            if self.attempts.is_empty() {
                match self.renew().await {
                    true => continue,
                    false => return Err(failure),
                }
            }
            match self.event().await {
                Event::Answered(index, Ok(())) => return Ok(self.won(index)),
                Event::Answered(index, Err(error)) => {
                    failure = error;
                    let attempt = self.attempts.swap_remove(index);
                    self.tell(&attempt, &failure);
                    self.failed.push(attempt.address);
                }
                Event::Time if self.left.is_empty() => self.begin_renewal(),
                Event::Time | Event::Renewed => {}
            }
        }
    }

    /// Tells who looks for a fault of an address that failed.
    fn tell(&self, attempt: &Attempt, failure: &io::Error) {
        let address = SocketAddr::new(attempt.address, self.port);
        self.upstreams.core.log.debug(
            "an address failed",
            &[
                ("address", Value::Text(&address)),
                ("error", Value::Text(failure)),
            ],
        );
    }

    fn begin(&mut self, address: IpAddr) -> io::Result<()> {
        let socket = Socket::connect(SocketAddr::new(address, self.port), &self.tcp)?;
        self.attempts.push(Attempt {
            socket,
            address,
            began: Instant::now(),
        });
        Ok(())
    }

    /// Waits for whatever is next.
    async fn event(&mut self) -> Event {
        let time = self.upstreams.core.clock.register();
        match (&self.renewal, self.left.is_empty()) {
            (_, false) => time.set(STAGGER),
            (Renewal::Possible, true) => time.set(ASK_AFTER),
            // The caller has a deadline.
            (Renewal::UnderWay(_) | Renewal::Over, true) => time.clear(),
        }
        poll_fn(|cx| {
            for (index, attempt) in self.attempts.iter_mut().enumerate() {
                if attempt.socket.poll_writable(cx).is_ready() {
                    let result = attempt.socket.take_error();
                    return Poll::Ready(Event::Answered(index, result));
                }
            }
            if matches!(self.renewal, Renewal::UnderWay(_)) && self.poll_renewal(cx).is_ready() {
                return Poll::Ready(Event::Renewed);
            }
            time.poll(cx).map(|()| Event::Time)
        })
        .await
    }

    /// Keeps what this race has shown of the addresses.
    fn won(&mut self, index: usize) -> Socket {
        let winner = self.attempts.swap_remove(index);
        self.reached = Some((winner.address, Instant::now()));
        self.judge(Some(winner.began.elapsed()));
        if let Host::Name(name) = self.host {
            self.upstreams.names.trust(name, winner.address);
        }
        winner.socket
    }

    /// Shuns those that failed and those that are silent; see [`is_silent`].
    fn judge(&mut self, winner: Option<Duration>) {
        let mut shunned = std::mem::take(&mut self.failed);
        let attempts = std::mem::take(&mut self.attempts);
        let silent = { attempts.iter() }.filter(|it| is_silent(it.began.elapsed(), winner));
        shunned.extend(silent.map(|attempt| attempt.address));
        for address in shunned {
            self.shun(address);
        }
    }

    fn shun(&self, address: IpAddr) {
        if let Host::Name(name) = self.host
            && self.upstreams.names.shun(name, address)
        {
            observe::add(&self.upstreams.core.counters().addresses_shunned, 1);
        }
    }

    fn begin_renewal(&mut self) {
        let (Renewal::Possible, Host::Name(name)) = (&self.renewal, self.host) else {
            return;
        };
        let (upstreams, ages, beyond) = (self.upstreams, self.ages, self.answer);
        self.renewal = Renewal::UnderWay(Box::pin(async move {
            let random = upstreams.core.ids.random();
            let found = upstreams.names.lookup(name, ages, beyond, random);
            found.await.ok()
        }));
    }

    fn poll_renewal(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Renewal::UnderWay(found) = &mut self.renewal {
            let found = std::task::ready!(found.as_mut().poll(cx));
            self.renewal = Renewal::Over;
            if let Some(found) = found {
                self.answer = Some(found.answer);
                self.add(found.addresses);
            }
        }
        Poll::Ready(())
    }

    /// Whether a new answer names an address that was not tried.
    async fn renew(&mut self) -> bool {
        self.begin_renewal();
        poll_fn(|cx| self.poll_renewal(cx)).await;
        !self.left.is_empty()
    }
}

impl Drop for Search<'_> {
    /// Left without the connection that was meant: time was up, or all failed.
    fn drop(&mut self) {
        let Host::Name(name) = self.host else { return };
        if self.found {
            return;
        }
        if let Some(answer) = self.answer {
            self.upstreams.names.doubt(name, answer);
        }
        if self.known.len() < 2 {
            return;
        }
        // All that failed have failed alike.
        self.failed.clear();
        self.judge(None);
        if let Some((address, since)) = self.reached
            && since.elapsed() >= ASK_AFTER
        {
            self.shun(address);
        }
    }
}

/// Tries again for as long as the caller waits while the queue there is full: the kernel has no event for that.
async fn reach_unix(clock: &Rc<Clock>, path: &Path) -> io::Result<Socket> {
    loop {
        if let Some(socket) = Socket::connect_unix(path)? {
            return Ok(socket);
        }
        clock.sleep(TICK).await;
    }
}
