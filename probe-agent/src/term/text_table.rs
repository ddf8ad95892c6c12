//! Tables of text that fit: where a terminal is narrow, wide cells are shortened in the middle,
//! and then the less important columns are left out. What is too long even then is cut: a line never wraps.

use std::fmt::Write;

use probe_flow::schema::Field;

use super::page::{width_of, width_of_char};

const GAP: usize = 1;

/// Where the text of a cell stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A column, the same for all rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// What stands above it.
    pub(crate) header: &'static str,
    /// What stands above it and the neighbours with the same word.
    pub(crate) group: &'static str,
    pub(crate) align: Align,
    /// Its cells may be shortened to so many characters.
    pub(crate) least: Option<usize>,
    /// The columns with the highest rank are left out first, and those of 0 never.
    pub(crate) rank: u8,
}

impl Column {
    /// A column of text.
    pub(crate) const fn text(header: &'static str) -> Self {
        Self {
            header,
            group: "",
            align: Align::Left,
            least: None,
            rank: 0,
        }
    }

    /// A column of numbers.
    pub(crate) const fn number(header: &'static str) -> Self {
        Self {
            align: Align::Right,
            ..Self::text(header)
        }
    }

    /// The column of a field that is shown as text.
    pub(crate) const fn of_text_field(field: &Field) -> Self {
        Self::text(field.heading)
    }

    /// The column of a count, in the group of those with its unit.
    pub(crate) const fn of_count(field: &Field) -> Self {
        Self::number(field.heading).in_group(field.unit)
    }

    pub(crate) const fn in_group(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    pub(crate) const fn shortened_to(self, least: usize) -> Self {
        Self {
            least: Some(least),
            ..self
        }
    }

    pub(crate) const fn left_out(self, rank: u8) -> Self {
        Self { rank, ..self }
    }
}

/// The widths of the columns of one table; `None` for those that are left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Layout {
    widths: Vec<Option<usize>>,
    /// No line has more columns of a terminal.
    most: usize,
}

/// Whether the rows fit as they are.
pub(crate) fn fits(columns: &[Column], rows: &[Vec<String>], width: usize) -> bool {
    let natural: Vec<_> = natural_widths(columns, rows)
        .into_iter()
        .map(Some)
        .collect();
    line_width(&natural) <= width
}

/// Widths with which every line has up to `width` characters, if that can be done.
pub(crate) fn lay_out(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Layout {
    let natural = natural_widths(columns, rows);
    let mut widths: Vec<_> = natural.iter().copied().map(Some).collect();
    let most = width.unwrap_or(usize::MAX);
    let Some(width) = width else {
        return Layout { widths, most };
    };
    loop {
        let over = shorten(columns, &natural, &mut widths, width);
        if over == 0 {
            return Layout { widths, most };
        }
        let shown = columns.iter().enumerate();
        let shown = shown.filter(|(position, _)| widths[*position].is_some());
        // Of equal ones the last.
        let least = shown.max_by_key(|(_, column)| column.rank);
        match least {
            Some((position, column)) if column.rank > 0 => widths[position] = None,
            _ => return Layout { widths, most },
        }
    }
}

fn natural_widths(all: &[Column], rows: &[Vec<String>]) -> Vec<usize> {
    let width = |(position, column): (usize, &Column)| {
        let cells = rows.iter().filter_map(|row| row.get(position));
        let widest = cells.map(|cell| width_of(cell)).max();
        widest.unwrap_or(0).max(width_of(column.header))
    };
    all.iter().enumerate().map(width).collect()
}

fn line_width(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten();
    let count = shown.clone().count();
    shown.sum::<usize>() + GAP * count.saturating_sub(1)
}

/// Takes characters from the widest of the columns that may be shortened, until the line fits or
/// all are at their least. Returns how much is still too much.
fn shorten(
    columns: &[Column],
    natural: &[usize],
    widths: &mut [Option<usize>],
    available: usize,
) -> usize {
    for (width, natural) in widths.iter_mut().zip(natural) {
        *width = width.map(|_| *natural);
    }
    let mut over = line_width(widths).saturating_sub(available);
    while over > 0 {
        let shortable = widths
            .iter_mut()
            .zip(columns)
            .filter_map(|(width, column)| {
                let width = width.as_mut()?;
                (*width > column.least?).then_some(width)
            });
        let Some(widest) = shortable.max_by_key(|width| **width) else {
            break;
        };
        *widest -= 1;
        over -= 1;
    }
    over
}

impl Layout {
    /// The line above the headers that names the groups, if there are any.
    pub(crate) fn group_line(&self, columns: &[Column]) -> Option<String> {
        let mut line = String::new();
        let mut position = 0;
        while position < columns.len() {
            let group = columns[position].group;
            let end = (position..columns.len())
                .find(|next| columns[*next].group != group)
                .unwrap_or(columns.len());
            let width = line_width(&self.widths[position..end]);
            if self.widths[position..end].iter().any(Option::is_some) {
                if !line.is_empty() {
                    line.push(' ');
                }
                // Writing to a string cannot fail.
                let _ = write!(line, "{group:>width$.width$}");
            }
            position = end;
        }
        let line = self.cut(&line);
        (!line.is_empty()).then_some(line)
    }

    /// The headers of all columns, as one line.
    pub(crate) fn header_line(&self, columns: &[Column]) -> String {
        let headers: Vec<_> = columns.iter().map(|it| it.header.to_owned()).collect();
        self.line(columns, &headers)
    }

    /// One row of cells, as one line.
    pub(crate) fn line(&self, columns: &[Column], row: &[String]) -> String {
        let mut line = String::new();
        let mut is_first = true;
        for ((cell, column), width) in row.iter().zip(columns).zip(&self.widths) {
            let Some(width) = *width else { continue };
            if !is_first {
                line.push(' ');
            }
            is_first = false;
            let cell = shortened(cell, width);
            let gap = " ".repeat(width.saturating_sub(width_of(&cell)));
            match column.align {
                Align::Left => line.extend([cell, gap]),
                Align::Right => line.extend([gap, cell]),
            }
        }
        self.cut(&line)
    }

    /// With a mark at the end: half a number must not look like one.
    fn cut(&self, line: &str) -> String {
        let line = line.trim_end();
        if width_of(line) <= self.most {
            return line.to_owned();
        }
        format!("{}…", start_of(line, self.most.saturating_sub(1)))
    }
}

/// At most `width` columns: the middle gives way to an ellipsis. Of an address with a port
/// (`[fd00::1]:443`) that is the middle of the address.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    // What stands behind the address stays.
    let tail = match text.rfind("]:") {
        Some(at) => width_of(&text[at..]),
        None => 0,
    };
    if width <= tail + 2 {
        return format!("{}…", start_of(text, width.saturating_sub(1)));
    }
    let kept = width - 1 - tail;
    let head = kept.div_ceil(2);
    let end = end_of(text, tail + kept - head);
    format!("{}…{end}", start_of(text, head))
}

/// As much of the start as fits into so many columns.
fn start_of(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, char)| {
        taken += width_of_char(*char);
        taken > width
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// As much of the end as fits into so many columns.
fn end_of(text: &str, width: usize) -> &str {
    let mut taken = 0;
    let before = text.char_indices().rev().find(|(_, char)| {
        taken += width_of_char(*char);
        taken > width
    });
    before.map_or(text, |(start, char)| &text[start + char.len_utf8()..])
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{Column, lay_out, shortened, width_of};

    const COLUMNS: [Column; 4] = [
        Column::text("name").shortened_to(6),
        Column::text("why").left_out(2).shortened_to(8),
        Column::number("rcvd").in_group("bytes"),
        Column::number("sent").in_group("bytes").left_out(1),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![
            row(["eth0", "a physical device", "12345", "1"]),
            row(["a-long-interface", "x", "1", "234567"]),
        ]
    }

    fn table(width: Option<usize>) -> Vec<String> {
        let layout = lay_out(&COLUMNS, &rows(), width);
        let head = [layout.group_line(&COLUMNS).expect("there are groups")];
        let header = [layout.header_line(&COLUMNS)];
        let rows = rows();
        let rows = rows.iter().map(|row| layout.line(&COLUMNS, row));
        head.into_iter().chain(header).chain(rows).collect()
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(
            table(None),
            [
                "                                           bytes",
                "name             why                rcvd   sent",
                "eth0             a physical device 12345      1",
                "a-long-interface x                     1 234567",
            ]
            .map(|line| line.replacen(
                "    ",
                "   ",
                usize::from(line.trim() == "bytes")
            ))
        );
    }

    #[test]
    fn narrow_tables_shorten_and_then_leave_out() {
        let lines = table(Some(30));
        assert_eq!(lines[2], "eth0     a ph…ice 12345      1");
        assert_eq!(lines[3], "a-lo…ace x            1 234567");
        let lines = table(Some(20));
        assert_eq!(lines[1], "name     rcvd   sent");
        assert_eq!(lines[3], "a-l…ace     1 234567");
        let lines = table(Some(12));
        assert_eq!(lines[3], "a-l…ce     1", "and the sent bytes went, too");
    }

    #[test]
    fn what_is_cut_is_marked() {
        let columns = [Column::text("name"), Column::number("port")];
        let rows = [["eth0", "5001"].map(str::to_owned).to_vec()];
        let layout = lay_out(&columns, &rows, Some(8));
        assert_eq!(layout.line(&columns, &rows[0]), "eth0 50…");
        let layout = lay_out(&columns, &rows, Some(9));
        assert_eq!(layout.line(&columns, &rows[0]), "eth0 5001");
    }

    #[test]
    fn ports_outlive_addresses() {
        let text = "[2001:db8:1234:5678:9abc:def0:1234:5678]:443";
        assert_eq!(shortened(text, 22), "[2001:db…234:5678]:443");
        assert_eq!(shortened("fd00::1", 7), "fd00::1");
        assert_eq!(shortened("abcdef", 3), "a…f");
    }

    #[test]
    fn wide_characters_keep_the_columns_aligned() {
        assert_eq!(shortened("網卡網卡", 5), "網…卡");
        assert_eq!(shortened("網卡網卡", 4), "網…");
        let row = |name: &str| [name, "x", "1", "2"].map(str::to_owned).to_vec();
        let rows = [row("網卡0"), row("eth0")];
        let layout = lay_out(&COLUMNS, &rows, Some(80));
        let lines = rows.each_ref().map(|row| layout.line(&COLUMNS, row));
        assert_eq!(lines, ["網卡0 x      1    2", "eth0  x      1    2"]);
    }

    proptest! {
        #[test]
        fn shortened_is_as_long_as_asked(text in any::<String>(), width in 1..60_usize) {
            let shown = width_of(&shortened(&text, width));
            let wanted = width_of(&text).min(width);
            // Half of a wide character is not shown.
            prop_assert!((wanted.saturating_sub(2)..=wanted).contains(&shown));
        }

        #[test]
        fn lines_fit_always(
            rows in vec(vec("[a-z0-9:.ä→網]{0,50}", 4), 0..5),
            width in 1..120_usize,
        ) {
            let layout = lay_out(&COLUMNS, &rows, Some(width));
            let head = layout.group_line(&COLUMNS).into_iter().chain([layout.header_line(&COLUMNS)]);
            let lines = rows.iter().map(|row| layout.line(&COLUMNS, row));
            for line in head.chain(lines) {
                prop_assert!(width_of(&line) <= width, "{}", line);
            }
        }
    }
}
