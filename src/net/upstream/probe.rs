//! Instances are asked whether they are well, beside the requests that they get: by the first worker, on connections of
//! their own, which carry no credential.

use std::future::{Future as _, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::base::VERSION;
use crate::base::bytes::within;
use crate::config::{HealthProbe, Instance};
use crate::http::head::{Fields, parse_response};
use crate::net::core::deadline::{TICK, Tick};
use crate::net::sockets::socket::Received;
use crate::net::transport::stream::Stream;
use crate::policy::gateway::Gateway;
use crate::providers::micros;
use crate::system::time::monotonic_nanos;

use super::connect::connect;
use super::report;
use super::upstreams::Upstreams;

/// How long an answer may take, where the next question is not due before.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer's head that are looked at.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Has the clock go on where there is somebody to ask, though nothing else is to be done. With each configuration.
pub(crate) fn start(upstreams: &Upstreams) {
    let clock = upstreams.core.clock.clone();
    monoio::spawn(async move { clock.sleep(TICK).await });
}

/// Asks whoever is due; whether somebody will be. Runs at every tick.
pub(crate) fn look(upstreams: &Rc<Upstreams>, now: Tick) -> bool {
    let core = &upstreams.core;
    if !core.load.is_first() {
        return false;
    }
    let gateway = core.gateway();
    let mut any = false;
    for site in 0..gateway.site_count() {
        let Some((provider, _)) = gateway.at(site) else {
            continue;
        };
        let Some(probe) = provider.health.as_ref().filter(|_| provider.is_group()) else {
            continue;
        };
        any = true;
        if upstreams.probes.begin(site, now, probe.interval) {
            monoio::spawn(ask(upstreams.clone(), gateway.clone(), site));
        }
    }
    any
}

/// Asks once, and tells the group.
async fn ask(upstreams: Rc<Upstreams>, gateway: Rc<Gateway>, site: usize) {
    if let Some((provider, instance)) = gateway.at(site)
        && let Some(probe) = &provider.health
        // Another configuration may have come before this task's first turn.
        && Rc::ptr_eq(&upstreams.core.gateway(), &gateway)
    {
        let status = answer(&upstreams, instance, probe, site).await;
        let good = matches!(status, Ok(Some(status)) if probe.is_good(status));
        let number = gateway.provider_at(site).unwrap_or(usize::MAX);
        let index = site.saturating_sub(gateway.site_of(number, 0));
        if let Some(group) = gateway.choices.group(number) {
            let change = group.probed(index, good, micros(monotonic_nanos()));
            report::tell(&upstreams.core, &gateway, (number, index), change);
        }
    }
    upstreams.probes.ended(site);
}

/// The status of what an instance answers in time.
async fn answer(
    upstreams: &Upstreams,
    instance: &Instance,
    probe: &HealthProbe,
    site: usize,
) -> io::Result<Option<u16>> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: sluicegate/{VERSION}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        probe.path, instance.base.authority
    );
    let deadline = upstreams.core.clock.register();
    deadline.set(probe.interval.min(PATIENCE));
    let mut asking = Box::pin(async {
        let connected = connect(upstreams, site).await;
        let mut stream = connected
            .map_err(|_| io::ErrorKind::ConnectionRefused)?
            .stream;
        stream.send(request.as_bytes())?;
        poll_fn(|cx| stream.poll_flush(cx)).await?;
        status(upstreams, &mut stream).await
    });
    poll_fn(|cx| match asking.as_mut().poll(cx) {
        Poll::Ready(status) => Poll::Ready(status.map(Some)),
        Poll::Pending => deadline.poll(cx).map(|()| Ok(None)),
    })
    .await
}

/// Reads the head of the final answer.
async fn status(upstreams: &Upstreams, stream: &mut Stream) -> io::Result<u16> {
    let core = &upstreams.core;
    let mut head = Vec::new();
    loop {
        poll_fn(|cx| stream.poll_readable(cx)).await;
        {
            let scratch = &mut *core.scratch.borrow_mut();
            let (room, cipher) = scratch.room(HEAD_BYTES_MAX);
            match stream.recv(room, cipher)? {
                Received::Data(n) => head.extend_from_slice(within(room, ..n)),
                Received::Pending => continue,
                Received::Eof => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let mut fields = Fields::new();
        while let Some(found) = parse_response(&head, &mut fields)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?
        {
            if found.status >= 200 {
                return Ok(found.status);
            }
            head.drain(..found.len);
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // However fast it talks, others have their turn.
        core.turns.next().await;
    }
}
