//! What providers have answered.

use super::framing::{self, Content, Framing, response_framing};
use super::message::{self, Found, Head, Sender, status};
use super::record::{End, Side};
use super::requests::Request;

/// What a provider has answered to one request.
#[derive(Debug)]
pub struct Answer {
    pub interim: Vec<Head>,
    pub last: Last,
}

/// A final response.
#[derive(Debug)]
pub enum Last {
    Clear(Clear),
    /// Nothing yet.
    Nothing,
    /// Not a whole head yet; it may be bad already.
    Part,
    /// Has to be refused.
    Invalid,
    Unsure,
}

#[derive(Debug)]
pub struct Clear {
    pub head: Head,
    pub framing: Framing,
    pub content: Content,
}

impl Answer {
    pub fn unsure() -> Self {
        Self {
            interim: Vec::new(),
            last: Last::Unsure,
        }
    }

    pub fn is_unsure(&self) -> bool {
        matches!(self.last, Last::Unsure)
    }
}

impl Clear {
    /// What follows has no end of its own, so that any end will do.
    pub fn is_tunnel(&self) -> bool {
        self.head.start.split(' ').nth(1) == Some("101")
    }
}

/// What a provider has answered from `from` on, and where the next answer would begin.
pub fn answer(side: &Side, from: usize, request: &Request) -> (Answer, Option<usize>) {
    let mut at = from;
    let mut interim = Vec::new();
    let last = loop {
        let head = match message::head(&side.sent[at..], Sender::Provider) {
            Found::Whole(head) => head,
            Found::Part if side.sent.len() == at => break Last::Nothing,
            Found::Part => break Last::Part,
            Found::Unsure => break Last::Unsure,
        };
        let Some((code, http10)) = status(&head) else {
            break Last::Unsure;
        };
        let len = head.len;
        if (100..200).contains(&code) && code != 101 && interim.len() < 16 {
            at += len;
            interim.push(head);
            continue;
        }
        // Only a websocket is ever asked for.
        let switches = head.list("upgrade").iter().any(|to| to == "websocket");
        if code == 101 && !(request.upgrade && switches) {
            break Last::Invalid;
        }
        let clear = response_framing(&head, code, http10, request);
        let Some(framing) = clear.filter(|_| code >= 200 || code == 101) else {
            break Last::Unsure;
        };
        at += len;
        let mut content = framing::content(&side.sent[at..], framing, Sender::Provider);
        if framing == Framing::Close && code != 101 {
            match side.left {
                Some(End::Fin) => content.state = Found::Whole(()),
                Some(End::FinOrReset) => content.state = Found::Unsure,
                Some(End::Reset) | None => {}
            }
        }
        at += content.raw.len();
        break Last::Clear(Clear {
            head,
            framing,
            content,
        });
    };
    let whole =
        matches!(&last, Last::Clear(clear) if matches!(clear.content.state, Found::Whole(())));
    (Answer { interim, last }, whole.then_some(at))
}
