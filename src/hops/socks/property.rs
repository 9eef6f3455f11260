//! What holds for everything that a proxy may answer, shared by the property tests and a fuzz target.

use std::net::IpAddr;

use super::{ANSWER_BYTES_MAX, Negotiation, Next, SocksError, Target, login};

/// Where all of these negotiations are to lead.
const ASKED: &[u8] = &[5, 1, 0, 1, 192, 0, 2, 1, 1, 187];
const USER: &[u8] = &[1, 1, b'u', 1, b'p'];

/// Asserts that what a proxy answers is taken as a naive reader takes it, and not a byte more.
pub fn holds(answers: &[u8], logs_in: bool) {
    let user = login(b"u", b"p");
    assert_eq!(user.as_ref().map(|user| &***user), Some(USER));
    let user = user.as_ref().filter(|_| logs_in).map(|user| &***user);
    let negotiation = Negotiation::new(Target::Ip(IpAddr::from([192, 0, 2, 1])), 443, user);
    let Ok(mut negotiation) = negotiation else {
        unreachable!("an address is no long name");
    };
    let (mut rest, mut sent) = (answers, negotiation.greeting().to_vec());
    let end = loop {
        let wanted = negotiation.wanted();
        assert!((1..=ANSWER_BYTES_MAX).contains(&wanted));
        let Some((answer, behind)) = rest.split_at_checked(wanted) else {
            break Ok(false);
        };
        rest = behind;
        match negotiation.advance(answer) {
            Ok(Next::Receive) => {}
            Ok(Next::Send(bytes)) => sent.extend_from_slice(bytes),
            Ok(Next::Open) => break Ok(true),
            Err(error) => break Err(error),
        }
    };
    let (expected, taken, said) = model(answers, logs_in);
    assert_eq!(end, expected, "{answers:?}");
    assert_eq!(sent, said);
    if end == Ok(true) {
        assert_eq!(answers.len() - rest.len(), taken);
    }
}

type End = Result<bool, SocksError>;

/// The end, how much was taken for an open connection, and all that is said.
fn model(answers: &[u8], logs_in: bool) -> (End, usize, Vec<u8>) {
    let mut said = match logs_in {
        true => vec![5, 2, 0, 2],
        false => vec![5, 1, 0],
    };
    let mut at = 2;
    match *answers {
        [] | [_] => return (Ok(false), 0, said),
        [5, 0, ..] => said.extend(ASKED),
        [5, 2, ..] if logs_in => {
            said.extend(USER);
            match *answers {
                [_, _, 1, 0, ..] => said.extend(ASKED),
                [_, _, 1, _, ..] => return (Err(SocksError::Login), 0, said),
                [_, _, _, _, ..] => return (Err(SocksError::Version), 0, said),
                _ => return (Ok(false), 0, said),
            }
            at = 4;
        }
        [5, 255, ..] => return (Err(SocksError::NoneFits(logs_in)), 0, said),
        [5, ..] => return (Err(SocksError::NotOffered), 0, said),
        _ => return (Err(SocksError::Version), 0, said),
    }
    let reply = answers.get(at..).unwrap_or_default();
    let len = match *reply {
        [] | [_] => return (Ok(false), 0, said),
        [5, 0] | [5, 0, _] => return (Ok(false), 0, said),
        [5, 0, 0, 1, ..] => 10,
        [5, 0, 0, 4, ..] => 22,
        [5, 0, 0, 3] => return (Ok(false), 0, said),
        [5, 0, 0, 3, len, ..] => 7 + usize::from(len),
        [5, 0, ..] => return (Err(SocksError::Malformed), 0, said),
        [5, code, ..] => return (Err(SocksError::Refused(code)), 0, said),
        _ => return (Err(SocksError::Version), 0, said),
    };
    (Ok(reply.len() >= len), at + len, said)
}
