//! Two versions of one of these in one program do not fit together: their types are not the same types.

use super::Finding;

/// Of each of these there is one version.
const ONCE: &[&str] =
    &["axum", "h2", "http", "http-body", "hyper", "hyper-util", "prost", "rustls", "tokio", "tonic", "tower"];

/// Reads a `Cargo.lock`.
pub(super) fn check(lock: &str) -> Vec<Finding> {
    let packages: Vec<_> = lock.split("[[package]]").filter_map(name_and_version).collect();
    let mut findings = Vec::new();
    for name in ONCE {
        let versions: Vec<_> =
            packages.iter().filter(|(found, _)| found == name).map(|(_, version)| *version).collect();
        if versions.len() > 1 {
            let problem =
                format!("{name} is there as {} (`cargo tree --workspace -d`)", versions.join(" and "));
            findings.push(Finding::failure("Cargo.lock", problem));
        }
    }
    findings
}

fn name_and_version(package: &str) -> Option<(&str, &str)> {
    let field = |key: &str| {
        package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
    };
    Some((field("name")?, field("version")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_versions_of_a_crate_that_may_be_there_once_are_found() {
        let package = |name: &str, version: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n")
        };
        let lock = [
            "version = 4\n\n",
            &package("http", "0.2.12"),
            &package("http", "1.3.1"),
            &package("syn", "1.0.0"),
            &package("syn", "2.0.0"),
        ]
        .concat();
        let findings = check(&lock);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].problem.contains("http is there as 0.2.12 and 1.3.1"), "{findings:?}");
        assert_eq!(check(&package("http", "1.3.1")), []);
    }
}
