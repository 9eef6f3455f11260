//! Text between quotation marks that cannot end them, nor tell a terminal anything.

use std::io::Write as _;

/// As JSON has it (RFC 8259, section 7); controls beyond ASCII and bidirectional overrides too, for terminals.
pub(super) fn escape(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                put(out, '\\');
                put(out, c);
            }
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if c.is_control()
                || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => put(out, c),
        }
    }
}

/// Adds a character.
pub(super) fn put(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}
