//! Aligned columns.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Paint, printable};

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under headings.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

/// Columns stand this far apart.
const GAP: &str = "  ";

// === impl Table ===

impl Table {
    /// A table with these headings.
    pub(crate) fn new(columns: impl IntoIterator<Item = (&'static str, Align)>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row; it has a cell for each column.
    pub(crate) fn row(&mut self, cells: &[String]) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells.iter().map(|cell| shown(cell)).collect());
    }

    /// Its lines, headings first.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (heading, _))| {
                self.rows.iter().map(|row| width(&row[at])).chain([width(heading)]).max().unwrap_or(0)
            })
            .collect();
        let line = |cells: Vec<&str>| {
            let mut line = String::new();
            for (at, cell) in cells.into_iter().enumerate() {
                if at > 0 {
                    line.push_str(GAP);
                }
                let padding = " ".repeat(widths[at].saturating_sub(width(cell)));
                match self.columns[at].1 {
                    Align::Left => line.extend([cell, &padding]),
                    Align::Right => line.extend([&padding, cell]),
                }
            }
            line.trim_end().to_owned()
        };
        let headings = line(self.columns.iter().map(|(heading, _)| *heading).collect());
        let rows = self.rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
        std::iter::once(paint.bold(headings)).chain(rows).collect()
    }
}

/// How many terminal cells a text takes.
fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of `text` that fits into `cells`, with an ellipsis if something was cut.
pub(crate) fn fit(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut room = cells.saturating_sub(1);
    let mut cut: String = text
        .chars()
        .take_while(|c| {
            let wide = c.width().unwrap_or(0);
            let fits = wide <= room;
            room = room.saturating_sub(wide);
            fits
        })
        .collect();
    if cells > 0 {
        cut.push('…');
    }
    cut
}

/// A cell is one line and never empty, so that every row has the same number of words for `awk`.
fn shown(cell: &str) -> String {
    if cell.is_empty() { "-".to_owned() } else { printable(cell, false).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_with_text() {
        let mut table = Table::new([("NAME", Align::Left), ("NODES", Align::Right), ("NOTE", Align::Left)]);
        table.row(&["greeter".into(), "3".into(), "".into()]);
        table.row(&["日本".into(), "12".into(), "a\x1b[31mb".into()]);
        assert_eq!(
            table.lines(Paint::OFF),
            ["NAME     NODES  NOTE", "greeter      3  -", "日本        12  a\\u{1b}[31mb"]
        );
    }

    #[test]
    fn text_is_cut_to_the_cells_there_are() {
        assert_eq!(fit("greeter", 7), "greeter");
        assert_eq!(fit("greeter", 4), "gre…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("x", 0), "");
    }
}
