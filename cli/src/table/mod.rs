//! Docker's tables: columns of text, and `--format`.

mod format;

pub(crate) use format::{Column, Format, Listing};

use std::ops::RangeInclusive;

/// Aligns `rows` as Go's tabwriter does for Docker (minimal width 10, padding 3): every cell but a row's last is padded.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    const LEAST: usize = 10;
    const PADDING: usize = 3;
    spaced(rows, LEAST, PADDING)
}

/// Aligns `rows` in columns of at least `least` characters with `padding` blanks between them.
pub(crate) fn spaced(rows: &[Vec<String>], least: usize, padding: usize) -> String {
    within(rows, least..=usize::MAX, padding)
}

/// Aligns `rows` in columns whose width is within `widths`: a cell that is longer sticks out, and widens nothing else.
pub(crate) fn within(rows: &[Vec<String>], widths: RangeInclusive<usize>, padding: usize) -> String {
    let (least, most) = widths.into_inner();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let inner = rows.iter().filter(|row| row.len() > column + 1).map(|row| row[column].chars().count());
        let longest = inner.filter(|length| *length <= most).max();
        longest.map_or(0, |longest| (longest + padding).max(least))
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < row.len() {
                let missing = widths[column].saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', missing.max(padding)));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_docker_s() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [
            row(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]),
            row(&["debian", "12", "ed94c19508b9", "29 minutes ago", "173MB"]),
            row(&["busybox", "latest", "41674f48864b", "29 minutes ago", "1.98MB"]),
        ];
        assert_eq!(
            aligned(&rows),
            "REPOSITORY   TAG       IMAGE ID       CREATED          SIZE\n\
             debian       12        ed94c19508b9   29 minutes ago   173MB\n\
             busybox      latest    41674f48864b   29 minutes ago   1.98MB\n"
        );
    }
}
