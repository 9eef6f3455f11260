//! Parts of buffers whose ranges our own code has worked out.
//!
//! A range that does not fit is a mistake of ours. Tests and fuzzing stop there; a gateway that runs must not, and goes
//! on with nothing, which what comes behind refuses or treats as no bytes.

use std::slice::SliceIndex;

/// This part of `buf`.
#[track_caller]
#[must_use]
#[inline]
pub(crate) fn within<T, R>(buf: &[T], range: R) -> &[T]
where
    R: SliceIndex<[T], Output = [T]>,
{
    let part = buf.get(range);
    debug_assert!(part.is_some(), "out of {} bytes", buf.len());
    part.unwrap_or_default()
}

/// This part of `buf`, to be written.
#[track_caller]
#[must_use]
#[inline]
pub(crate) fn within_mut<T, R>(buf: &mut [T], range: R) -> &mut [T]
where
    R: SliceIndex<[T], Output = [T]>,
{
    let len = buf.len();
    let part = buf.get_mut(range);
    debug_assert!(part.is_some(), "out of {len} bytes");
    part.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_fits_is_that_part() {
        let mut buf = *b"0123";
        assert_eq!(within(&buf, 1..3), b"12");
        assert_eq!(within(&buf, 4..), b"");
        within_mut(&mut buf, ..1).fill(b'9');
        assert_eq!(&buf, b"9123");
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "out of 4 bytes")]
    fn one_that_does_not_is_found_by_tests() {
        let _ = within(b"0123", 3..5);
    }
}
