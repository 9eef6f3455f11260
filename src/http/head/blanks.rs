//! Blanks between the names and the colons of a response's fields (RFC 9112, section 5.1): a proxy has to take them
//! out. They are rare, so a head is read strictly first, and changed and read once more when that fails. Trailers are
//! closed up by the framing cursor.

use super::grammar::is_token_byte;
use super::parts::Side;
use super::scan::HeadScan;
use crate::base::bytes::within;
use crate::base::steps;

/// Takes the blanks between names and colons out of the response head at the front of `buf`, in place: what stands
/// before them moves right, the head's end and all behind it stay. Returns where the head now begins; `None` where
/// it is not whole or has no such blank. Nothing else is judged.
#[must_use]
pub(crate) fn close_up(buf: &mut [u8]) -> Option<usize> {
    let len = HeadScan::default().find_end(buf, Side::Response).ok()??;
    let head = buf.get_mut(..len)?;
    let (mut read, mut written) = (0, 0);
    while read < len {
        let line = head.get(read..)?;
        let line_len = memchr::memchr(b'\n', line).map_or(line.len(), |at| at + 1);
        let (name, blanks) = blanks_at(line.get(..line_len)?);
        steps::count(line_len);
        head.copy_within(read..read + name, written);
        head.copy_within(read + name + blanks..read + line_len, written + name);
        read += line_len;
        written += line_len - blanks;
    }
    let start = len - written;
    head.copy_within(..written, start);
    (start > 0).then_some(start)
}

/// The length of a line's name, and how many blanks stand between it and its colon. A status line has a slash
/// behind its first token.
fn blanks_at(line: &[u8]) -> (usize, usize) {
    let name = line.iter().take_while(|&&byte| is_token_byte(byte)).count();
    let rest = within(line, name..);
    let blanks = rest.iter().take_while(|byte| b" \t".contains(byte)).count();
    match rest.get(blanks) {
        Some(b':') if name > 0 => (name, blanks),
        _ => (name, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::close_up;

    fn closed_up(text: &str) -> Option<String> {
        let mut buf = text.as_bytes().to_vec();
        let start = close_up(&mut buf)?;
        Some(String::from_utf8(buf.split_off(start)).unwrap())
    }

    #[test]
    fn blanks_before_colons_go_and_nothing_else() {
        let rows = [
            ("A : b\r\n", "A: b\r\n"),
            ("A \t :b\r\nC:\td \r\nE\t:\r\n", "A:b\r\nC:\td \r\nE:\r\n"),
            ("A: b : c\r\nD : e : f\r\n", "A: b : c\r\nD: e : f\r\n"),
            ("X Y : z\r\nA : b\r\n", "X Y : z\r\nA: b\r\n"),
            ("A \r\nB : c\r\n", "A \r\nB: c\r\n"),
        ];
        for (lines, expected) in rows {
            let whole = |lines| format!("HTTP/1.1 200 a : b\r\n{lines}\r\nA : behind");
            assert_eq!(closed_up(&whole(lines)), Some(whole(expected)), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_whole_or_has_no_such_blank_stays() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nA : b\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\nC : d",
            "HTTP/1.1 200 OK\r\nX Y: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n : c\r\n\r\n",
        ] {
            let mut buf = text.as_bytes().to_vec();
            assert_eq!(close_up(&mut buf), None, "{text:?}");
            assert_eq!(buf, text.as_bytes());
        }
    }
}
