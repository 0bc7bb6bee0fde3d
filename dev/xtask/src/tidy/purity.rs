//! Core is what authors of backends and strategies build on: it brings no network stack with it, and stays small.

use std::collections::BTreeSet;

use super::Finding;

/// No HTTP, no gRPC, no TLS: neither these nor what begins with one of them and a hyphen.
const FORBIDDEN: &[&str] = &[
    "axum",
    "h2",
    "http",
    "httparse",
    "hyper",
    "native-tls",
    "openssl",
    "prost",
    "reqwest",
    "ring",
    "rustls",
    "socket2",
    "tokio-rustls",
    "tonic",
    "tower",
];

/// How many crates core may bring, itself included.
const CRATES_MAX: usize = 40;

/// Reads the output of `cargo tree --prefix none`.
pub(super) fn check(tree: &str) -> Vec<Finding> {
    let crates: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).collect();
    let mut findings: Vec<_> = crates
        .iter()
        .filter(|name| FORBIDDEN.iter().any(|forbidden| is_or_extends(name, forbidden)))
        .map(|name| {
            Finding::failure(
                "crates/core/Cargo.toml",
                format!("core may not bring {name} with it (`cargo tree -p callsign-core -i {name}`)"),
            )
        })
        .collect();
    if crates.len() > CRATES_MAX {
        let problem = format!("core brings {} crates, and {CRATES_MAX} is the most", crates.len());
        findings.push(Finding::failure("crates/core/Cargo.toml", problem));
    }
    findings
}

fn is_or_extends(name: &str, forbidden: &str) -> bool {
    name.strip_prefix(forbidden).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_crate_in_core_is_found() {
        let tree = "callsign-core v0.1.0 (/x)\nhttp-body v1.0.1\ntokio v1.48.0\nhttp v1.3.1 (*)\nring-buffer v1.0.0\n";
        let problems: Vec<_> = check(tree).into_iter().map(|finding| finding.problem).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("bring http with"), "{problems:?}");
        assert!(problems[1].contains("bring http-body with"), "{problems:?}");
    }

    #[test]
    fn names_that_only_begin_alike_are_fine() {
        assert_eq!(check("callsign-core v0.1.0\nhttpdate v1.0.3\ntonics v1.0.0\n"), []);
    }

    #[test]
    fn too_many_crates_are_found_and_each_counts_once() {
        let many: String = (0..=CRATES_MAX).map(|n| format!("crate{n} v1.0.0\n")).collect();
        assert_eq!(check(&many).len(), 1);
        assert_eq!(check(&"same v1.0.0 (*)\n".repeat(100)), []);
    }
}
