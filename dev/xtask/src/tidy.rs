//! The rules of this house that neither rustc nor clippy knows.
//!
//! A rule is a pure function from what lies in the repository to findings, so that each is tested on a bad sample. The
//! reasons are in STYLE.md and ARCHITECTURE.md; the findings say what to do.

mod dead_files;
mod dependencies;
mod edges;
mod features;
mod links;
mod manifests;
mod msrv;
mod purity;
mod sizes;
mod text;
mod tree;
mod versions;

use std::fmt;

use self::tree::Tree;
use crate::{Result, shell::Step, workspace::Workspace};

/// Something a rule does not like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    place: String,
    problem: String,
    /// A warning is shown and fails nothing.
    warning: bool,
}

/// Checks every rule and prints what was found; whether nothing failed.
pub(crate) fn run() -> Result<bool> {
    let findings = all()?;
    for finding in &findings {
        println!("{finding}");
    }
    let failures = findings.iter().filter(|finding| !finding.warning).count();
    println!("tidy: {failures} failures, {} warnings", findings.len() - failures);
    Ok(failures == 0)
}

fn all() -> Result<Vec<Finding>> {
    let workspace = Workspace::load()?;
    let tree = Tree::load()?;
    let mut findings = Vec::new();
    findings.extend(sizes::check(&tree));
    findings.extend(dead_files::check(&tree, &workspace));
    findings.extend(dependencies::check(&tree, &workspace, tree.text("Cargo.toml")?));
    findings.extend(edges::check(&workspace.packages));
    findings.extend(edges::check_mirror(tree.text("ARCHITECTURE.md")?));
    findings.extend(purity::check(&core_dependencies()?));
    findings.extend(versions::check(tree.text("Cargo.lock")?));
    findings.extend(msrv::check(&dependencies()?)?);
    findings.extend(features::check(&tree, &workspace)?);
    findings.extend(manifests::check(&tree, &workspace)?);
    findings.extend(links::check(&tree));
    findings.extend(text::check(&tree));
    Ok(findings)
}

/// What a user of core compiles, one `name version` a line.
fn core_dependencies() -> Result<String> {
    let args =
        ["tree", "--package", "callsign-core", "--all-features", "--edges", "normal", "--prefix", "none"];
    Step::cargo(&args).output()
}

/// All that is compiled for this machine, as cargo describes it.
fn dependencies() -> Result<serde_json::Value> {
    let rustc = Step::new("rustc", &["-vV"]).output()?;
    let host =
        rustc.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not say its host")?;
    let json = Step::cargo(&["metadata", "--format-version", "1", "--filter-platform", host]).output()?;
    Ok(serde_json::from_str(&json)?)
}

// === impl Finding ===

impl Finding {
    fn failure(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into(), warning: false }
    }

    fn warning(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { warning: true, ..Self::failure(place, problem) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.warning { "warning" } else { "error" };
        write!(f, "{level}: {}: {}", self.place, self.problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_like_a_compiler_message() {
        let finding = Finding::failure("crates/core/src/x.rs:3", "too long");
        assert_eq!(finding.to_string(), "error: crates/core/src/x.rs:3: too long");
        assert_eq!(Finding::warning("a", "b").to_string(), "warning: a: b");
    }
}
