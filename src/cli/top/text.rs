//! Numbers and tables as people read them. Pure.

use crate::base::columns::cut;

/// A column of a table.
pub(super) struct Column {
    pub(super) head: &'static str,
    /// Words are set to the left, numbers to the right.
    pub(super) left: bool,
    /// Where there is no room for all, columns of the highest rank go first.
    pub(super) rank: u8,
}

impl Column {
    /// For numbers.
    pub(super) const fn number(head: &'static str, rank: u8) -> Self {
        Self {
            head,
            left: false,
            rank,
        }
    }

    /// For words.
    pub(super) const fn words(head: &'static str, rank: u8) -> Self {
        Self {
            head,
            left: true,
            rank,
        }
    }
}

/// Between two columns.
const GAP: &str = "  ";

/// A heading and the rows below it, each at most `width` wide.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>], width: usize) -> Vec<String> {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            let widest = cells.map(|cell| cell.chars().count()).max();
            widest.unwrap_or_default().max(column.head.len())
        })
        .collect();
    let ranks = || columns.iter().map(|column| column.rank);
    let needed = |rank: u8| -> usize {
        let shown = widths.iter().zip(ranks()).filter(|(_, r)| *r <= rank);
        shown.map(|(width, _)| width + GAP.len()).sum::<usize>()
    };
    let highest = ranks().max().unwrap_or_default();
    let rank = (0..=highest)
        .rev()
        .find(|rank| needed(*rank) <= width.saturating_add(GAP.len()));
    let rank = rank.unwrap_or_default();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let shown = cells
            .zip(columns)
            .zip(&widths)
            .filter(|((_, column), _)| column.rank <= rank);
        let cells = shown.map(|((cell, column), width)| match column.left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<_>>().join(GAP);
        cut(line.trim_end(), width)
    };
    let head = line(&mut columns.iter().map(|column| column.head));
    let rows = rows
        .iter()
        .map(|row| line(&mut row.iter().map(String::as_str)));
    std::iter::once(head).chain(rows).collect()
}

/// Stands for what is not known.
pub(super) const UNKNOWN: &str = "-";

/// Three digits or so: `0`, `0.2`, `12`, `12.3k`.
pub(super) fn number(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T"])
}

/// In powers of 1024.
pub(super) fn bytes(number: f64) -> String {
    match number < 1023.5 {
        true => format!("{number:.0}"),
        false => scaled(number, 1024.0, &["", "K", "M", "G", "T"]),
    }
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = "";
    for next in units {
        unit = next;
        if number < step - 0.5 {
            break;
        }
        number /= step;
    }
    let digits = match number {
        _ if number < 0.005 => 0,
        _ if number < 0.995 && unit.is_empty() => 2,
        _ if number < 99.5 && !unit.is_empty() => 1,
        _ if number < 9.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$}{unit}")
}

/// `8µs`, `1.2ms`, `340ms`, `4.5s`, `2m03s`, `1h05m`, `3d04h`.
pub(super) fn micros(micros: f64) -> String {
    let seconds = micros / 1e6;
    match micros {
        _ if micros < 9.95 => format!("{micros:.1}µs"),
        _ if micros < 999.5 => format!("{micros:.0}µs"),
        _ if micros < 9_950.0 => format!("{:.1}ms", micros / 1e3),
        _ if micros < 999_500.0 => format!("{:.0}ms", micros / 1e3),
        _ if seconds < 9.95 => format!("{seconds:.1}s"),
        _ if seconds < 59.5 => format!("{seconds:.0}s"),
        _ if seconds < 3_599.5 => pair(seconds, 60.0, "m", "s"),
        _ if seconds < 86_399.5 => pair(seconds / 60.0, 60.0, "h", "m"),
        _ => pair(seconds / 3_600.0, 24.0, "d", "h"),
    }
}

fn pair(small: f64, each: f64, large_unit: &str, small_unit: &str) -> String {
    let small = small.round();
    let (large, rest) = ((small / each).floor(), small % each);
    format!("{large}{large_unit}{rest:02}{small_unit}")
}

/// One that may be unknown.
pub(super) fn maybe<T>(known: Option<T>, shown: impl FnOnce(T) -> String) -> String {
    known.map_or_else(|| UNKNOWN.to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_short() {
        for (given, wanted) in [
            (0.0, "0"),
            (0.004, "0"),
            (0.25, "0.25"),
            (1.0, "1.0"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.0, "999"),
            (999.6, "1.0k"),
            (12_345.0, "12.3k"),
            (123_456.0, "123k"),
            (2e6, "2.0M"),
        ] {
            assert_eq!(number(given), wanted, "{given}");
        }
        assert_eq!(bytes(2.2), "2");
        assert_eq!(bytes(1023.0), "1023");
        assert_eq!(bytes(1536.0), "1.5K");
        assert_eq!(bytes(34.0 * 1024.0 * 1024.0), "34.0M");
    }

    #[test]
    fn times_are_short() {
        for (given, wanted) in [
            (0.0, "0.0µs"),
            (8.2, "8.2µs"),
            (9.96, "10µs"),
            (999.6, "1.0ms"),
            (340_000.0, "340ms"),
            (4.5e6, "4.5s"),
            (59.6e6, "1m00s"),
            (123e6, "2m03s"),
            (3_900e6, "1h05m"),
            (90_000e6, "1d01h"),
        ] {
            assert_eq!(micros(given), wanted, "{given}");
        }
    }

    const COLUMNS: [Column; 4] = [
        Column::words("name", 0),
        Column::number("first", 1),
        Column::number("n", 2),
        Column::words("path", 1),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![
            row(["a", "1", "22", "/x"]),
            row(["abcdef", "12", "3", "/long/path"]),
        ]
    }

    #[test]
    fn columns_fit_or_go() {
        let wide = table(&COLUMNS, &rows(), 80);
        assert_eq!(
            wide,
            [
                "name    first   n  path",
                "a           1  22  /x",
                "abcdef     12   3  /long/path"
            ]
        );
        let narrow = table(&COLUMNS, &rows(), 27);
        assert_eq!(narrow[2], "abcdef     12  /long/path");
        assert_eq!(table(&COLUMNS, &rows(), 20), ["name", "a", "abcdef"]);
        assert_eq!(table(&COLUMNS, &rows(), 4), ["name", "a", "abc…"]);
        assert_eq!(table(&COLUMNS, &rows(), usize::MAX), wide);
        assert_eq!(table(&COLUMNS, &[], 80), ["name  first  n  path"]);
    }

    proptest! {
        #[test]
        fn no_line_is_too_wide(width in 0..200_usize, number in 0.0..1e30_f64) {
            let row = vec![super::number(number), micros(number), bytes(number), "/".repeat(90)];
            for line in table(&COLUMNS, &[row], width) {
                prop_assert!(line.chars().count() <= width);
            }
        }
    }
}
