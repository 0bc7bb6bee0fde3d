//! The name of a node's file.
//!
//! `domain+service+id.json`, each part escaped so that it can be read back: lower-case letters, digits, `-`, `_` and `.`
//! stand for themselves, every other byte is `%` and two hexadecimal digits. Upper case is escaped too, because some file
//! systems do not tell it from lower case. No name begins with a dot, so that what begins with one is never an entry.
//!
//! A file name has room for 255 bytes, and three names of 200 bytes do not fit: such a key is named by its hash, `+` and 32
//! digits, and the names are read from the content.

use std::fmt::Write as _;

use callsign_core::{Domain, NodeId, NodeKey, ServiceName};

use crate::hash::fnv1a;

/// What every entry's file name ends in.
const SUFFIX: &str = ".json";
/// Between the three parts; never left unescaped in one.
const SEPARATOR: char = '+';
/// The longest name that is written out. `NAME_MAX` is 255 almost everywhere, 143 on encrypting file systems.
const NAME_BYTES_MAX: usize = 143;

/// What a file name says of the entry in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// The whole key.
    Key(NodeKey),
    /// Only its hash.
    Hashed,
}

/// The one file name of a key.
pub(super) fn file_name(key: &NodeKey) -> String {
    let NodeKey { domain, service, id } = key;
    let mut name = String::with_capacity(64);
    escape(&mut name, domain.as_str());
    name.push(SEPARATOR);
    escape(&mut name, service.as_str());
    name.push(SEPARATOR);
    escape(&mut name, id.as_str());
    if name.len() + SUFFIX.len() > NAME_BYTES_MAX {
        name = format!("{SEPARATOR}{:032x}", fnv1a(name.as_bytes()));
    }
    name.push_str(SUFFIX);
    name
}

/// What `name` says; `None` when it is no name that [`file_name`] gives.
pub(super) fn parse(name: &str) -> Option<Named> {
    let stem = name.strip_suffix(SUFFIX)?;
    if let Some(hash) = stem.strip_prefix(SEPARATOR) {
        let hexadecimal = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        return (hash.len() == 32 && hexadecimal).then_some(Named::Hashed);
    }
    let mut parts = stem.split(SEPARATOR);
    let key = NodeKey {
        domain: Domain::new(unescape(parts.next()?)?).ok()?,
        service: ServiceName::new(unescape(parts.next()?)?).ok()?,
        id: NodeId::new(unescape(parts.next()?)?).ok()?,
    };
    // One key, one name: a second spelling of it would be a second entry.
    (file_name(&key) == name).then_some(Named::Key(key))
}

fn escape(out: &mut String, part: &str) {
    for byte in part.bytes() {
        match byte {
            b'.' if out.is_empty() => out.push_str("%2e"),
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "%{other:02x}");
            }
        }
    }
}

fn unescape(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(domain: &str, service: &str, id: &str) -> NodeKey {
        NodeKey {
            domain: Domain::new(domain).unwrap(),
            service: ServiceName::new(service).unwrap(),
            id: NodeId::new(id).unwrap(),
        }
    }

    #[test]
    fn plain_names_are_left_readable() {
        let name = file_name(&key("micro", "shop.cart", "shop.cart-1"));
        assert_eq!(name, "micro+shop.cart+shop.cart-1.json");
    }

    #[test]
    fn what_could_leave_the_folder_or_hide_in_it_is_escaped() {
        assert_eq!(file_name(&key("..", "../../etc", "a/b")), "%2e.+..%2f..%2fetc+a%2fb.json");
        assert_eq!(file_name(&key("a", "+", "%2f")), "a+%2b+%252f.json");
        assert_eq!(file_name(&key("a", "é", "Ä")), "a+%c3%a9+%c3%84.json");
    }

    #[test]
    fn a_key_too_long_for_a_file_name_is_named_by_its_hash() {
        let long = "é".repeat(100);
        let (one, two) = (file_name(&key(&long, &long, "1")), file_name(&key(&long, &long, "2")));
        assert_ne!(one, two);
        assert_eq!(one.len(), 38);
        assert_eq!(parse(&one), Some(Named::Hashed));
        // The published test value of the hash: it must never change from one version to the next.
        assert_eq!(fnv1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv1a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn second_spellings_and_foreign_files_are_no_names() {
        for name in [
            "README",
            "a.json",
            "a+b.json",
            "a+b+c+d.json",
            "a+%62+c.json",
            "a+%2B+c.json",
            "a+B+c.json",
            "a+b+%.json",
            "a+b+%zz.json",
            "a+b+%ff.json",
            "+abc.json",
            ".a+b+c.json",
            "++.json",
            "*+b+c",
            "a+b+ c.json",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    fn any_name() -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>(), 1..60)
            .prop_map(|chars| chars.into_iter().collect::<String>())
            .prop_filter("a valid name", |name| NodeId::new(name).is_ok())
    }

    proptest! {
        #[test]
        fn every_key_has_a_safe_file_name_that_leads_back_to_it(
            domain in any_name(), service in any_name(), id in any_name(),
        ) {
            let key = key(&domain, &service, &id);
            let name = file_name(&key);
            prop_assert!(name.len() <= NAME_BYTES_MAX);
            prop_assert!(!name.starts_with('.') && !name.contains('/') && name.is_ascii());
            prop_assert_eq!(name.to_ascii_lowercase(), name.clone());
            match parse(&name) {
                Some(Named::Key(read)) => prop_assert_eq!(read, key),
                Some(Named::Hashed) => prop_assert!(domain.len() + service.len() + id.len() > 30),
                None => prop_assert!(false, "{} is not read back", name),
            }
        }

        #[test]
        fn reading_any_file_name_never_panics_and_is_exact(name in ".{0,80}") {
            if let Some(Named::Key(key)) = parse(&name) {
                prop_assert_eq!(file_name(&key), name);
            }
        }

        #[test]
        fn two_keys_never_share_a_file(a in any_name(), b in any_name(), c in any_name(), d in any_name()) {
            let (one, two) = (key(&a, &b, &c), key(&a, &d, &c));
            prop_assert_eq!(one == two, file_name(&one) == file_name(&two));
        }
    }
}
