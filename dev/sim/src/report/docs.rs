//! The results page, `docs/results.md`: one section for each scenario, each to be made anew without the others.
//!
//! A section stands between two comments. The first one holds a fingerprint of what it was made from, so that a test can tell
//! a section that is older than its scenario.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use super::Report;
use crate::random::mix;

/// The page and the folder with its pictures.
pub(crate) struct Docs {
    page: PathBuf,
    pictures: PathBuf,
}

// === impl Docs ===

impl Docs {
    /// Those of this repository.
    pub(crate) fn new() -> Self {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        Self { page: docs.join("results.md"), pictures: docs.join("results") }
    }

    /// Puts a section in the place of the one that is there, or at the end.
    pub(crate) fn write(&self, name: &str, source: &str, report: &Report) -> io::Result<()> {
        fs::create_dir_all(&self.pictures)?;
        for (place, chart) in report.charts.iter().enumerate() {
            fs::write(self.pictures.join(picture(name, place)), chart.to_svg())?;
        }
        let mut page = fs::read_to_string(&self.page)?;
        let section = section(name, source, report);
        match place(&page, name) {
            Some((from, to)) => page.replace_range(from..to, &section),
            None => {
                page.truncate(page.trim_end().len());
                let _ = write!(page, "\n\n{section}\n");
            }
        }
        fs::write(&self.page, page)
    }

    /// Whether the page has a section that was made from this source.
    #[cfg(test)]
    pub(crate) fn is_fresh(&self, name: &str, source: &str) -> bool {
        fs::read_to_string(&self.page).is_ok_and(|page| page.contains(&begin(name, source)))
    }
}

fn section(name: &str, source: &str, report: &Report) -> String {
    let mut text = format!("{}\n## {}\n\n{}\n", begin(name, source), report.title, report.about);
    for table in &report.tables {
        let _ = write!(text, "\n{}", table.to_markdown());
    }
    for (place, chart) in report.charts.iter().enumerate() {
        let _ = write!(text, "\n![{}: {}](results/{})\n", report.title, chart.title, picture(name, place));
    }
    if !report.published.is_empty() {
        let _ = write!(text, "\n{}\n", report.published);
    }
    let _ = write!(text, "\n```sh\ncargo xtask sim {name}\n```\n\n<!-- end {name} -->");
    text
}

/// From the first byte of a section to behind its last.
fn place(page: &str, name: &str) -> Option<(usize, usize)> {
    let (begin, end) = (format!("<!-- begin {name} "), format!("<!-- end {name} -->"));
    let from = page.find(&begin)?;
    let to = from + page[from..].find(&end)? + end.len();
    Some((from, to))
}

fn begin(name: &str, source: &str) -> String {
    let fingerprint = source.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    format!("<!-- begin {name} {fingerprint:016x} -->")
}

fn picture(name: &str, place: usize) -> String {
    match place {
        0 => format!("{name}.svg"),
        _ => format!("{name}-{}.svg", place + 1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_section_takes_the_place_of_its_elder_and_of_no_other() {
        let report = |about: &str| Report {
            title: "T".into(),
            about: about.into(),
            published: String::new(),
            tables: Vec::new(),
            charts: Vec::new(),
            json: Value::Null,
        };
        let page = format!(
            "intro\n{}\nbetween\n{}\n",
            section("a", "1", &report("old")),
            section("a-b", "1", &report("other"))
        );
        let (from, to) = place(&page, "a").unwrap();
        assert!(page[from..to].contains("old") && !page[from..to].contains("between"));
        let (from, to) = place(&page, "a-b").unwrap();
        assert!(page[from..to].contains("other"));
        assert_eq!(place(&page, "b"), None);
    }
}
