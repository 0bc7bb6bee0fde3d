//! The oldest compiler that this workspace promises must be enough for what it depends on.
//!
//! It is rarely the compiler at hand, so that a newer need would go unseen until a user has it. (Our own code is clippy's
//! business: `incompatible_msrv`.)

use serde_json::Value;

use super::Finding;
use crate::{
    Result,
    workspace::{list, text},
};

/// Reads `cargo metadata`, dependencies included.
pub(super) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let members: Vec<_> = list(metadata, "workspace_members").collect();
    let (ours, theirs): (Vec<_>, Vec<_>) =
        list(metadata, "packages").partition(|package| members.contains(&&package["id"]));
    let promised = ours.iter().filter_map(|package| oldest(package)).min();
    let promised = promised.ok_or("no member says which compiler it needs (`rust-version`)")?;
    let mut findings = Vec::new();
    for package in theirs {
        if let Some(needed) = oldest(package).filter(|needed| *needed > promised) {
            let (name, version) = (text(package, "name")?, text(package, "version")?);
            let problem = format!(
                "{name} {version} needs Rust {}.{}, and the workspace promises {}.{}",
                needed.0, needed.1, promised.0, promised.1
            );
            findings.push(Finding::failure("Cargo.lock", problem));
        }
    }
    Ok(findings)
}

/// `rust-version` as major and minor.
fn oldest(package: &Value) -> Option<(u32, u32)> {
    let mut parts = package["rust_version"].as_str()?.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dependency_that_needs_a_newer_compiler_is_found() {
        let package = |id: &str, rust: Option<&str>| json!({"id": id, "name": id, "version": "1.0.0", "rust_version": rust});
        let metadata = json!({
            "workspace_members": ["ours"],
            "packages": [
                package("ours", Some("1.88")),
                package("older", Some("1.9.0")),
                package("same", Some("1.88.0")),
                package("silent", None),
                package("newer", Some("1.90")),
            ],
        });
        let findings = check(&metadata).unwrap();
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].problem.contains("newer 1.0.0 needs Rust 1.90"), "{findings:?}");
        assert!(check(&json!({"packages": []})).is_err());
    }
}
