//! What every member's manifest takes from the workspace's.

use super::{Finding, tree::Tree};
use crate::{Result, workspace::Workspace};

/// Lines that each manifest holds, and what is lost without them.
const INHERITED: &[(&str, &str)] = &[
    ("[lints]\nworkspace = true", "without it the lints of the root do not hold here"),
    ("edition.workspace = true", "one edition for all"),
    ("rust-version.workspace = true", "one oldest compiler for all"),
    ("license.workspace = true", "one licence for all"),
    ("version.workspace = true", "one version for all"),
];

/// Looks at the manifest of every member.
pub(super) fn check(tree: &Tree, workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let path = format!("{}/Cargo.toml", package.dir.display());
        findings.extend(inherits(&path, tree.text(&path)?));
    }
    Ok(findings)
}

fn inherits(path: &str, manifest: &str) -> Vec<Finding> {
    let missing = INHERITED.iter().filter(|(lines, _)| !manifest.contains(lines));
    missing
        .map(|(lines, why)| {
            Finding::failure(path, format!("`{}` is missing: {why}", lines.replace('\n', " ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_goes_its_own_way_is_found() {
        let good: String = INHERITED.iter().map(|(lines, _)| format!("{lines}\n")).collect();
        assert_eq!(inherits("Cargo.toml", &good), []);
        let findings = inherits("Cargo.toml", &good.replace("[lints]\nworkspace = true\n", ""));
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].problem.contains("[lints]"), "{findings:?}");
    }
}
