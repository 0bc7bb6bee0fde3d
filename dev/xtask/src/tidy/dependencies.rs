//! A dependency that nothing names costs every user its compilation.

use super::{Finding, tree::Tree};
use crate::workspace::{Package, Workspace};

/// What generated code names, and the dependency that generates it: its text is not in this repository.
const GENERATED: (&str, &[&str]) = ("callsign-build", &["callsign", "prost", "tonic", "tonic-prost"]);

/// Looks for the name of each member's dependencies in its sources, and for users of the workspace's own list.
pub(super) fn check(tree: &Tree, workspace: &Workspace, manifest: &str) -> Vec<Finding> {
    let mut findings: Vec<_> =
        workspace.packages.iter().flat_map(|package| unnamed(package, &sources(tree, package))).collect();
    let used = |name: &str| {
        workspace.packages.iter().any(|package| package.dependencies.iter().any(|used| used == name))
    };
    let unused = offered(manifest).filter(|name| !used(name));
    findings.extend(unused.map(|name| Finding::failure("Cargo.toml", format!("no member uses {name}"))));
    findings
}

fn unnamed(package: &Package, sources: &str) -> Vec<Finding> {
    let (generator, generated) = GENERATED;
    let generates = package.dependencies.iter().any(|name| name == generator);
    let is_generated = |name: &String| generates && generated.contains(&name.as_str());
    let mut unnamed: Vec<_> = package.dependencies.iter().filter(|name| !is_generated(name)).collect();
    unnamed.retain(|name| !names(sources, &name.replace('-', "_")));
    let place = format!("{}/Cargo.toml", package.dir.display());
    unnamed
        .into_iter()
        .map(|name| Finding::failure(&place, format!("nothing here names {name}: take it out")))
        .collect()
}

/// All Rust text of a member.
fn sources(tree: &Tree, package: &Package) -> String {
    let folder = format!("{}/", package.dir.display());
    tree.with_extension("rs")
        .filter(|file| file.path.starts_with(&folder))
        .map(|file| file.text.as_str())
        .collect()
}

/// Whether `name` stands in `text` as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word))
}

/// The names under `[workspace.dependencies]`.
fn offered(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    section.take_while(|line| !line.starts_with('[')).filter_map(|line| Some(line.split_once(" = ")?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|&name| name.to_owned()).collect();
        Package { dir: "crates/a".into(), dependencies, ..Package::default() }
    }

    #[test]
    fn a_dependency_that_nothing_names_is_found() {
        let tree = Tree::sample(&[
            ("crates/a/src/lib.rs", "use http_body::Body;\nfn f() { tokio::spawn(x) }\n"),
            ("crates/ab/src/lib.rs", "use bytes::Bytes;\n"),
        ]);
        let packages = vec![package(&["http-body", "http", "tokio", "bytes"])];
        let found: Vec<_> =
            check(&tree, &Workspace { packages }, "").into_iter().map(|finding| finding.problem).collect();
        assert_eq!(found, ["nothing here names http: take it out", "nothing here names bytes: take it out"]);
    }

    #[test]
    fn what_generated_code_names_is_not_looked_for() {
        assert_eq!(unnamed(&package(&["callsign-build", "prost"]), "callsign_build::compile()"), []);
        assert_eq!(unnamed(&package(&["prost"]), "").len(), 1);
    }

    #[test]
    fn an_offer_that_nobody_takes_is_found() {
        let manifest =
            "[workspace.dependencies]\nhttp = \"1\"\nused = { path = \"x\" }\n\n[profile.dev]\ndebug = 1\n";
        let tree = Tree::sample(&[("crates/a/src/lib.rs", "used::f()")]);
        let found = check(&tree, &Workspace { packages: vec![package(&["used"])] }, manifest);
        assert_eq!(found, [Finding::failure("Cargo.toml", "no member uses http")]);
    }
}
