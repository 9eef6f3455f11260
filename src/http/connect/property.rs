//! What holds for every answer of a proxy, shared by the property tests and a fuzz target.

use super::{ANSWER_BYTES_MAX, AnswerError, TunnelAnswer};

/// Asserts everything that must hold for `input`; `step` is the size of the pieces it is cut into.
pub fn holds(input: &[u8], step: usize) {
    let whole = TunnelAnswer::default().read(input);
    assert_eq!(in_pieces(input, step.max(1)), whole, "pieces of {step}");
    match whole {
        Ok(Some(len)) => opens(input, len),
        Ok(None) => assert!(input.len() < ANSWER_BYTES_MAX),
        Err(AnswerError::Refused(status)) => {
            assert!(status == 101 || !(100..300).contains(&status), "{status}");
        }
        Err(AnswerError::TooLong) => assert!(input.len() >= ANSWER_BYTES_MAX),
        Err(AnswerError::Malformed(_)) => {}
    }
}

/// Every head up to `len` is whole, the last one is a 2xx and no other is.
fn opens(input: &[u8], len: usize) {
    let (answer, behind) = input.split_at(len);
    assert!(len <= ANSWER_BYTES_MAX && answer.ends_with(b"\r\n\r\n"));
    // Less is never enough, and what comes behind makes no difference.
    let less = answer.get(..len - 1).unwrap_or_default();
    assert_eq!(TunnelAnswer::default().read(less), Ok(None));
    assert_eq!(TunnelAnswer::default().read(answer), Ok(Some(len)));
    let text = String::from_utf8_lossy(answer);
    let heads: Vec<&str> = text.split_terminator("\r\n\r\n").collect();
    for (index, head) in heads.iter().enumerate() {
        let class = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.chars().next());
        let expected = if index + 1 == heads.len() { '2' } else { '1' };
        assert_eq!(
            class,
            Some(expected),
            "{head:?} before {} bytes",
            behind.len()
        );
    }
}

fn in_pieces(input: &[u8], step: usize) -> Result<Option<usize>, AnswerError> {
    let mut answer = TunnelAnswer::default();
    for end in (step..input.len()).step_by(step) {
        match answer.read(input.get(..end).unwrap_or_default()) {
            Ok(None) => {}
            // What has come decides; more of it is not looked at.
            decided => return decided,
        }
    }
    answer.read(input)
}
