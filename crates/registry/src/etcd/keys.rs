//! Where entries are: go-micro's key layouts.
//!
//! ```text
//! /micro/registry/<service>/<node>              the default domain; go-micro v1.8 and later
//! /micro/registry/<domain>/<service>/<node>     another domain; go-micro v3's first versions, and micro v3
//! ```
//!
//! The two are told apart by the number of their parts, since a slash in a name is written as a dash. That loses what the name
//! was: `a/b` and `a-b` have the same place, so what an entry is of is read from its value and nowhere else. go-micro also
//! takes `.` and `..` for steps of a path, and cannot find services of such names; here they are names like others.

use bytes::Bytes;
use callsign_core::{Domain, NodeKey, ServiceName};

use super::client::Range;

/// What every key begins with.
pub(super) const PREFIX: &str = "/micro/registry/";

/// The parts of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// `None` in the layout without domains.
    pub(super) domain: Option<&'a str>,
    pub(super) service: &'a str,
    pub(super) node: &'a str,
}

/// The key of a node's entry.
pub(super) fn key(node: &NodeKey) -> Bytes {
    let NodeKey { domain, service, id } = node;
    let mut key = String::from(PREFIX);
    if *domain != Domain::default() {
        push(&mut key, domain.as_str());
        key.push('/');
    }
    push(&mut key, service.as_str());
    key.push('/');
    push(&mut key, id.as_str());
    key.into()
}

/// The ranges that hold every entry of a domain, of one service or of all; and others beside them.
pub(super) fn ranges(domain: &Domain, service: Option<&ServiceName>) -> Vec<Range> {
    let default = *domain == Domain::default();
    match service {
        _ if domain.is_all() => vec![under(PREFIX.to_owned())],
        None if default => vec![under(PREFIX.to_owned())],
        None => vec![under(folder([domain.as_str()]))],
        // The default domain's entries may be in either layout.
        Some(service) if default => {
            vec![under(folder([service.as_str()])), under(folder([domain.as_str(), service.as_str()]))]
        }
        Some(service) => vec![under(folder([domain.as_str(), service.as_str()]))],
    }
}

/// What a key says, if it is one of ours.
pub(super) fn place(key: &[u8]) -> Option<Place<'_>> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    let mut parts = rest.split('/');
    let place = match (parts.next()?, parts.next()?, parts.next()) {
        (service, node, None) => Place { domain: None, service, node },
        (domain, service, Some(node)) => Place { domain: Some(domain), service, node },
    };
    let whole = !place.service.is_empty() && !place.node.is_empty() && place.domain != Some("");
    (whole && parts.next().is_none()).then_some(place)
}

/// Whether `part` is how `name` is written in a key.
pub(super) fn is_written(name: &str, part: &str) -> bool {
    let dashed = name.bytes().map(|byte| if byte == b'/' { b'-' } else { byte });
    dashed.eq(part.bytes())
}

fn push(key: &mut String, name: &str) {
    key.extend(name.chars().map(|c| if c == '/' { '-' } else { c }));
}

fn folder<const N: usize>(names: [&str; N]) -> String {
    let mut folder = String::from(PREFIX);
    for name in names {
        push(&mut folder, name);
        folder.push('/');
    }
    folder
}

/// Everything that begins with `folder`, which ends with a slash: up to the same with the next byte in its place.
fn under(folder: String) -> Range {
    let mut end = folder.clone();
    end.pop();
    end.push('0');
    Range { key: folder.into(), end: end.into() }
}

// === impl Place ===

impl Place<'_> {
    /// Whether an entry of `node` is written here. One that is elsewhere may be there twice.
    pub(super) fn is_home_of(&self, domain: &Domain, service: &str, id: &str) -> bool {
        let home = match self.domain {
            None => *domain == Domain::default(),
            Some(part) => *domain != Domain::default() && is_written(domain.as_str(), part),
        };
        home && is_written(service, self.service) && is_written(id, self.node)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(domain: &str, service: &str, id: &str) -> NodeKey {
        NodeKey {
            domain: domain.parse().unwrap(),
            service: service.parse().unwrap(),
            id: id.parse().unwrap(),
        }
    }

    #[test]
    fn keys_are_where_go_micro_has_them() {
        for (domain, service, id, key) in [
            ("micro", "greeter", "greeter-1", "/micro/registry/greeter/greeter-1"),
            ("micro", "a/b", "a/b-1", "/micro/registry/a-b/a-b-1"),
            ("foo", "a/b", "n/1", "/micro/registry/foo/a-b/n-1"),
            ("micro", "..", ".", "/micro/registry/../."),
        ] {
            assert_eq!(super::key(&node(domain, service, id)), key, "{service}");
        }
    }

    #[test]
    fn ranges_are_those_that_go_micro_asks_for() {
        let greeter: ServiceName = "greeter".parse().unwrap();
        let shown = |domain: &Domain, service| -> Vec<(String, String)> {
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            ranges(domain, service).into_iter().map(|range| (text(range.key), text(range.end))).collect()
        };
        let pair = |key: &str, end: &str| (key.to_owned(), end.to_owned());
        let all = pair("/micro/registry/", "/micro/registry0");
        assert_eq!(shown(&Domain::default(), None), std::slice::from_ref(&all));
        assert_eq!(shown(&Domain::all(), Some(&greeter)), [all]);
        assert_eq!(
            shown(&Domain::default(), Some(&greeter)),
            [
                pair("/micro/registry/greeter/", "/micro/registry/greeter0"),
                pair("/micro/registry/micro/greeter/", "/micro/registry/micro/greeter0"),
            ]
        );
        let foo = Domain::new("f/o").unwrap();
        assert_eq!(
            shown(&foo, Some(&greeter)),
            [pair("/micro/registry/f-o/greeter/", "/micro/registry/f-o/greeter0")]
        );
        assert_eq!(shown(&foo, None), [pair("/micro/registry/f-o/", "/micro/registry/f-o0")]);
    }

    #[test]
    fn keys_that_are_none_are_not_read() {
        for key in [
            &b"/micro/registry/"[..],
            b"/micro/registry/greeter",
            b"/micro/registry/greeter/",
            b"/micro/registry//greeter-1",
            b"/micro/registry//greeter/greeter-1",
            b"/micro/registry/a/b/c/d",
            b"/micro/other/a/b",
            b"/micro/registry/\xff/b",
        ] {
            assert_eq!(place(key), None, "{}", String::from_utf8_lossy(key));
        }
    }

    proptest! {
        #[test]
        fn a_node_is_at_home_where_its_key_is(
            domain in "micro|[a-z/.*-]{1,8}", service in "[a-z/.é -]{0,8}x", id in "[a-z/. -]{0,8}x",
        ) {
            prop_assume!(domain != "*");
            let node = node(&domain, service.trim(), id.trim());
            let key = key(&node);
            let place = place(&key).unwrap();
            prop_assert!(place.is_home_of(&node.domain, node.service.as_str(), node.id.as_str()));
            let covers = |range: &Range| key >= range.key && key < range.end;
            for (domain, service) in [
                (&node.domain, None), (&node.domain, Some(&node.service)),
                (&Domain::all(), None), (&Domain::all(), Some(&node.service)),
            ] {
                prop_assert!(ranges(domain, service).iter().any(covers));
            }
        }
    }
}
