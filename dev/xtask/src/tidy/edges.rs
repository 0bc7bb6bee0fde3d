//! Which crate may depend on which. A new arrow is a decision: it is made here and in ARCHITECTURE.md together.

use super::Finding;
use crate::workspace::Package;

/// Crates, each with those it may depend on.
type List = &'static [(&'static str, &'static [&'static str])];

/// Every allowed arrow, from a crate to those it may be compiled with.
const EDGES: List = &[
    ("callsign", &["callsign-core", "callsign-net", "callsign-registry"]),
    (
        "callsign-bench",
        &[
            "callsign",
            "callsign-build",
            "callsign-core",
            "callsign-net",
            "callsign-registry",
            "callsign-testbed",
        ],
    ),
    ("callsign-build", &[]),
    ("callsign-cli", &["callsign", "callsign-build"]),
    ("callsign-core", &[]),
    ("callsign-examples", &["callsign", "callsign-build"]),
    ("callsign-interop", &[]),
    ("callsign-net", &[]),
    ("callsign-registry", &["callsign-core", "callsign-net"]),
    ("callsign-sim", &["callsign-core"]),
    ("callsign-testbed", &[]),
    ("xtask", &[]),
];

/// What tests may use beyond that.
const TEST_EDGES: List = &[
    ("callsign", &["callsign-core", "callsign-examples", "callsign-registry", "callsign-testbed"]),
    ("callsign-cli", &["callsign-testbed"]),
    ("callsign-interop", &["callsign", "callsign-testbed"]),
    ("callsign-net", &["callsign-testbed"]),
    ("callsign-registry", &["callsign-core", "callsign-testbed"]),
];

/// Around the list's copy in ARCHITECTURE.md.
const MIRROR: (&str, &str) = ("<!-- edges -->", "<!-- /edges -->");

/// Compares the arrows there are with those allowed.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    compare(packages, EDGES, TEST_EDGES)
}

fn compare(packages: &[Package], edges: List, test_edges: List) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let place = format!("{}/Cargo.toml", package.dir.display());
        let Some(allowed) = of(edges, &package.name) else {
            let problem = format!(
                "the crate {} is in no list of allowed edges (dev/xtask/src/tidy/edges.rs)",
                package.name
            );
            findings.push(Finding::failure(place, problem));
            continue;
        };
        let for_tests = of(test_edges, &package.name).unwrap_or_default();
        for edge in &package.edges {
            let to = edge.to.as_str();
            if !allowed.contains(&to) && (!edge.dev || !for_tests.contains(&to)) {
                let problem = format!(
                    "{} may not depend on {}: ARCHITECTURE.md (Allowed edges) says what may and why",
                    package.name, edge.to
                );
                findings.push(Finding::failure(&place, problem));
            }
        }
    }
    findings
}

/// Compares the list with its copy in ARCHITECTURE.md.
pub(super) fn check_mirror(architecture: &str) -> Vec<Finding> {
    let shown = architecture
        .split_once(MIRROR.0)
        .and_then(|(_, rest)| rest.split_once(MIRROR.1))
        .map(|(list, _)| list.lines().map(str::trim).filter(|line| line.contains("->")).collect::<Vec<_>>());
    let wanted = mirror();
    match shown {
        Some(shown) if shown == wanted => Vec::new(),
        _ => {
            let problem = format!(
                "the list between {} and {} must be exactly:\n{}",
                MIRROR.0,
                MIRROR.1,
                wanted.join("\n")
            );
            vec![Finding::failure("ARCHITECTURE.md", problem)]
        }
    }
}

/// The list as it stands in ARCHITECTURE.md.
fn mirror() -> Vec<String> {
    let lines = EDGES.iter().filter(|(_, to)| !to.is_empty());
    lines.map(|(from, to)| format!("{from} -> {}", to.join(", "))).collect()
}

fn of(list: List, name: &str) -> Option<&'static [&'static str]> {
    list.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Edge;

    fn package(name: &str, edges: &[(&str, bool)]) -> Package {
        let edges = edges.iter().map(|&(to, dev)| Edge { to: to.into(), dev }).collect();
        Package { name: name.into(), edges, ..Package::default() }
    }

    const TOP_ON_BASE: List = &[("base", &[]), ("top", &["base"]), ("tools", &[])];
    const TOP_WITH_TOOLS: List = &[("top", &["tools"])];

    #[test]
    fn an_arrow_that_is_not_on_the_list_is_found() {
        let packages =
            [package("base", &[("top", false)]), package("top", &[("base", false), ("tools", true)])];
        let found = compare(&packages, TOP_ON_BASE, TOP_WITH_TOOLS);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].problem.starts_with("base may not depend on top"), "{found:?}");
    }

    #[test]
    fn what_tests_may_use_the_crate_itself_may_not() {
        let packages = [package("top", &[("tools", false)])];
        assert_eq!(compare(&packages, TOP_ON_BASE, TOP_WITH_TOOLS).len(), 1);
    }

    #[test]
    fn a_crate_that_nobody_thought_of_is_found() {
        assert!(check(&[package("callsign-new", &[])])[0].problem.contains("no list of allowed edges"));
    }

    #[test]
    fn the_copy_in_the_architecture_must_be_the_same() {
        let good = format!("x\n{}\n```text\n{}\n```\n{}\n", MIRROR.0, mirror().join("\n"), MIRROR.1);
        assert_eq!(check_mirror(&good), []);
        assert_eq!(check_mirror(&good.replace("callsign-core, ", "")).len(), 1);
        assert_eq!(check_mirror("no list at all").len(), 1);
    }
}
