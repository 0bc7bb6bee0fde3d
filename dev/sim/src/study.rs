//! What can be counted without a call: how even tables are, what moves in them, what rules see and budgets allow.
//!
//! Each study asks the library itself, and beside it a peer's algorithm where there is one. It has a page of the results like a
//! scenario, and says by itself where a result is not as it must be.

mod hashing;
mod outliers;
mod retries;
mod subsets;

use serde_json::{Value, json};

use crate::report::{Chart, Report, Table};

/// A study, by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Study {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The program text that it is made from, to tell a page that is older.
    pub(crate) source: &'static str,
    about: &'static str,
    published: &'static str,
    run: fn() -> Findings,
}

/// What came of one.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    tables: Vec<Table>,
    charts: Vec<Chart>,
    /// What is not as it must be.
    misses: Vec<String>,
}

/// All there are.
pub(crate) const ALL: [Study; 4] = [hashing::STUDY, subsets::STUDY, outliers::STUDY, retries::STUDY];

// === impl Study ===

impl Study {
    /// Does the counting: the report, and what is not as it must be.
    pub(crate) fn report(&self) -> (Report, Vec<String>) {
        let Findings { tables, charts, misses } = (self.run)();
        let json = tables
            .iter()
            .map(|table| json!({ "title": table.title, "head": table.head, "rows": table.rows }));
        let report = Report {
            title: self.title.to_owned(),
            about: self.about.trim().to_owned(),
            published: self.published.trim().to_owned(),
            json: Value::Array(json.collect()),
            tables,
            charts,
        };
        (report, misses)
    }
}

// === impl Findings ===

impl Findings {
    fn expect(&mut self, well: bool, wrong: impl FnOnce() -> String) {
        if !well {
            self.misses.push(wrong());
        }
    }
}

/// A table from its head and its rows.
fn table(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table { title: title.to_owned(), head: head.iter().map(|word| (*word).to_owned()).collect(), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_as_it_must_be() {
        // The tables of a thousand nodes take a while without optimisation; the others do not.
        for study in ALL.iter().filter(|study| study.name != "hashing") {
            assert_eq!(study.report().1, [""; 0], "{}", study.name);
        }
    }
}
