//! Limits on requests at once that this process shares with the one before it and the one behind it: what these say reaches
//! the queues, and what there is to say is said, by the main thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::net::client::waiting::worker_of;
use crate::net::worker::messages::Message;
use crate::process::handover::Packet;
use crate::process::handover::link::Link;
use crate::providers::queue::handed::{Handed, To};
use crate::providers::queue::handed_seats::HandedSeats;
use crate::providers::{Choices, micros};
use crate::system::time::monotonic_nanos;

use super::shared::queue;
use super::state::{Event, Server};

/// How often is looked what there is to say, while there is anybody to say it to.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Server {
    /// Nothing of any limit is this process's until the one before has said how much it has.
    pub(super) fn wait_for_limits(&mut self) {
        for (name, queue) in self.choices.limits() {
            let handed = Handed::new(u32::MAX);
            handed.apply(queue);
            self.shared.limits.insert(name, handed);
        }
        for (name, provider, seats) in self.choices.seats() {
            let mut handed = HandedSeats::new(seats);
            handed.are_away(u32::MAX);
            self.shared.seats.insert(name, (provider, handed));
        }
    }

    /// Goes by what the process before has `left`, and hears of it from now on, if that can be.
    pub(super) fn have_limits(&mut self, left: Vec<(u64, u32)>, older: Option<Link>) {
        let names = self.shared.limits.keys().copied();
        let none_away = names.map(|name| (name, Handed::default()));
        let mut limits: BTreeMap<u64, Handed> = none_away.collect();
        // Of a process that is not heard of it would never be known that it has ended.
        let older = older.filter(|link| !left.is_empty() && self.hear(To::Older, link));
        for (_, handed) in self.shared.seats.values_mut() {
            handed.are_away(0);
        }
        for (name, count) in left.into_iter().filter(|_| older.is_some()) {
            match self.shared.seats.get_mut(&name) {
                Some((_, handed)) => handed.are_away(count),
                None => drop(limits.insert(name, Handed::new(count))),
            }
        }
        self.shared.older = older;
        self.shared.limits = limits;
        for (name, queue) in self.choices.limits() {
            if let Some(handed) = self.shared.limits.get(&name) {
                handed.apply(queue);
            }
        }
        self.wake_all_queues();
    }

    /// Leaves all limits to the process behind, but for what is under way here, and tells it.
    pub(super) fn leave_limits(&mut self, mut younger: Link) {
        let has_any = self.choices.limits().next().is_some() || !self.shared.limits.is_empty();
        if !has_any || !self.hear(To::Younger, &younger) {
            return;
        }
        self.shared.exchange(&self.choices);
        for (name, _) in self.choices.limits() {
            self.shared.limits.entry(name).or_default();
        }
        for (name, provider, seats) in self.choices.seats() {
            let entry = self.shared.seats.entry(name);
            entry.or_insert_with(|| (provider, HandedSeats::new(seats)));
        }
        for (name, handed) in &mut self.shared.limits {
            let left = handed.leave(queue(&self.choices, *name));
            younger.say(Packet::Left(*name, left));
        }
        for (name, (_, handed)) in &mut self.shared.seats {
            younger.say(Packet::Left(*name, handed.leave()));
        }
        self.shared.younger = Some(younger);
    }

    fn hear(&self, from: To, link: &Link) -> bool {
        let events = self.events.clone();
        let heard = link.listen(move |packet| events.send(Event::Heard(from, packet)).is_ok());
        heard.is_ok()
    }

    /// Takes what another process says, or its end.
    pub(super) fn heard(&mut self, from: To, packet: Option<Packet>) {
        let names: Vec<u64> = match &packet {
            Some(Packet::Left(name, _) | Packet::Said(name, _)) => vec![*name],
            Some(_) => return,
            None => self.shared.limits.keys().copied().collect(),
        };
        self.seats_heard(from, packet.as_ref());
        let is_seats = |name: &u64| self.shared.seats.contains_key(name);
        let names: Vec<u64> = names.into_iter().filter(|name| !is_seats(name)).collect();
        for name in names {
            let queue = queue(&self.choices, name);
            let handed = self.shared.limits.entry(name).or_default();
            let passed = match (&packet, from) {
                (Some(Packet::Said(_, said)), To::Older) => handed.hear_older(*said, queue),
                (Some(Packet::Said(_, said)), To::Younger) => handed.hear_younger(*said, queue),
                (Some(Packet::Left(_, count)), To::Older) => {
                    *handed = Handed::new(*count);
                    queue.inspect(|queue| handed.apply(queue));
                    None
                }
                (Some(_), _) => None,
                (None, To::Older) => handed.older_ended(queue),
                (None, To::Younger) => {
                    handed.younger_ended(queue);
                    None
                }
            };
            if let Some(said) = passed {
                self.shared.say(name, said);
            }
        }
        match (&packet, from) {
            (None, To::Older) => self.shared.older = None,
            (None, To::Younger) => self.shared.younger = None,
            (Some(_), _) => {}
        }
        self.wake_all_queues();
        self.shared.exchange(&self.choices);
    }

    /// The same of limits of instances.
    fn seats_heard(&mut self, from: To, packet: Option<&Packet>) {
        let named = match packet {
            Some(Packet::Left(name, _) | Packet::Said(name, _)) => Some(*name),
            Some(_) => return,
            None => None,
        };
        let mut passed = Vec::new();
        let seats = self.shared.seats.iter_mut();
        for (name, (_, handed)) in seats.filter(|(name, _)| named.is_none_or(|it| it == **name)) {
            let said = match (packet, from) {
                (Some(Packet::Said(_, said)), To::Older) => handed.hear_older(*said),
                (Some(Packet::Said(_, said)), To::Younger) => {
                    handed.hear_younger(*said);
                    None
                }
                (Some(Packet::Left(_, count)), To::Older) => {
                    handed.are_away(*count);
                    None
                }
                (Some(_), _) => None,
                (None, To::Older) => handed.older_ended(),
                (None, To::Younger) => {
                    handed.younger_ended();
                    None
                }
            };
            passed.extend(said.map(|said| (*name, said)));
        }
        for (name, said) in passed {
            self.shared.say(name, said);
        }
    }

    /// Says what there is to say to other processes, if there are any.
    pub(super) fn exchange_limits(&mut self) {
        if self.shared.is_on() {
            self.shared.exchange(&self.choices);
        }
    }

    /// Has those limits of another configuration that are new know what is elsewhere.
    pub(super) fn share_limits(&mut self, next: &Choices) {
        // What is known of one that goes is not known of another that comes in its place.
        let stay: BTreeSet<u64> = next.seats().map(|(name, ..)| name).collect();
        self.shared.seats.retain(|name, _| stay.contains(name));
        for (name, queue) in next.limits() {
            let mut before = self.choices.limits();
            let is_new = !before.any(|(_, known)| Arc::ptr_eq(known, queue));
            if let Some(handed) = self.shared.limits.get(&name).filter(|_| is_new) {
                handed.apply(queue);
            }
        }
    }

    /// Whoever may go on is called.
    fn wake_all_queues(&self) {
        for (_, queue) in self.choices.limits() {
            while let Some(call) = queue.next(micros(monotonic_nanos())) {
                if let Some(worker) = self.workers.get(worker_of(call.caller)) {
                    worker.send(Message::Turn(call.caller));
                }
            }
        }
    }
}
