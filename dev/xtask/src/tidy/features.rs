//! The features a crate has, and the tables that tell people of them, must say the same.

use std::collections::BTreeSet;

use super::{Finding, tree::Tree};
use crate::{Result, workspace::Workspace};

/// Each crate with features that people choose, and the files that hold a table of them.
const TABLES: &[(&str, &[&str])] = &[
    ("callsign-registry", &["crates/registry/src/lib.rs", "README.md"]),
    ("callsign", &["crates/callsign/src/lib.rs"]),
];

/// Compares each crate's features with each of its tables.
pub(super) fn check(tree: &Tree, workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, files) in TABLES {
        let features: BTreeSet<&str> = workspace
            .package(name)?
            .features
            .iter()
            .map(String::as_str)
            .filter(|name| *name != "default")
            .collect();
        for file in *files {
            findings.extend(compare(file, tree.text(file)?, &features));
        }
    }
    Ok(findings)
}

fn compare(file: &str, text: &str, features: &BTreeSet<&str>) -> Vec<Finding> {
    let Some(rows) = rows(text) else {
        return vec![Finding::failure(file, "no table with a first column headed `Feature` was found")];
    };
    let missing =
        features.difference(&rows).map(|name| format!("the feature `{name}` is missing from the table"));
    let extra = rows
        .difference(features)
        .map(|name| format!("the table names `{name}`, and there is no such feature"));
    missing.chain(extra).map(|problem| Finding::failure(file, problem)).collect()
}

/// The names in the first column of the Markdown table whose first heading is `Feature`, in a file or in doc comments.
fn rows(text: &str) -> Option<BTreeSet<&str>> {
    let uncommented = text.lines().map(|line| {
        let line = line.trim();
        line.strip_prefix("//!").unwrap_or(line).trim()
    });
    let mut table = uncommented.skip_while(|line| !line.starts_with("| Feature |"));
    table.next()?;
    let rows = table.skip(1).take_while(|line| line.starts_with('|'));
    Some(rows.filter_map(|row| feature(row.split('|').nth(1)?.trim())).collect())
}

/// The name in backticks that a cell begins with; what has none needs no feature.
fn feature(cell: &str) -> Option<&str> {
    Some(cell.strip_prefix('`')?.split_once('`')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! Backends.\n//!\n//! | Feature | What |\n//! |---|---|\n//! | (always) | a table |\n//! | `local` (default) | files |\n//! | `etcd` | a cluster |\n//!\n//! Text.\n";

    #[test]
    fn a_table_that_is_not_in_step_is_found_in_both_directions() {
        assert_eq!(compare("lib.rs", LIB, &BTreeSet::from(["local", "etcd"])), []);
        let findings = compare("lib.rs", LIB, &BTreeSet::from(["local", "mdns"]));
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].problem.contains("`mdns` is missing"), "{findings:?}");
        assert!(findings[1].problem.contains("names `etcd`"), "{findings:?}");
    }

    #[test]
    fn a_file_without_the_table_is_found() {
        assert_eq!(compare("lib.rs", "//! Nothing.\n", &BTreeSet::new()).len(), 1);
    }
}
