//! The `tracestate` header: what vendors of tracing add to a context. It is handed on as it is, or not at all.
//!
//! W3C Trace Context, level 1, section 3.3: a list of `key=value`, parted by commas, of at most 32 members, each key once.

/// Most members that a list may have.
const MEMBERS_MAX: usize = 32;
/// Most characters of a key, a part of a key before `@` or behind it, and a value.
const KEY_MAX: usize = 256;
const TENANT_MAX: usize = 241;
const SYSTEM_MAX: usize = 14;
const VALUE_MAX: usize = 256;

/// Whether a list is one that the specification allows.
pub(crate) fn is_valid(list: &str) -> bool {
    let mut keys = Vec::new();
    for member in list.split(',').map(|member| member.trim_matches([' ', '\t'])) {
        // Empty members are allowed.
        if member.is_empty() {
            continue;
        }
        let Some((key, value)) = member.split_once('=') else { return false };
        if !is_key(key) || !is_value(value) || keys.contains(&key) || keys.len() == MEMBERS_MAX {
            return false;
        }
        keys.push(key);
    }
    !keys.is_empty()
}

fn is_key(key: &str) -> bool {
    let is_part = |part: &str, digit_first: bool, length_max: usize| {
        let first = |c: u8| c.is_ascii_lowercase() || (digit_first && c.is_ascii_digit());
        let any =
            |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-' | b'*' | b'/');
        part.len() <= length_max && part.bytes().next().is_some_and(first) && part.bytes().all(any)
    };
    match key.split_once('@') {
        None => is_part(key, false, KEY_MAX),
        Some((tenant, system)) => is_part(tenant, true, TENANT_MAX) && is_part(system, false, SYSTEM_MAX),
    }
}

/// Commas have been split at, and spaces at the end trimmed.
fn is_value(value: &str) -> bool {
    (1..=VALUE_MAX).contains(&value.len()) && value.bytes().all(|c| matches!(c, b' '..=b'~') && c != b'=')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_made_by_the_grammar_are_valid(
            members in prop::collection::btree_map(
                "[a-z][a-z0-9_*/-]{0,20}|[a-z0-9][a-z0-9_*/-]{0,20}@[a-z][a-z0-9_*/-]{0,13}",
                "[!-+\\--<>-~]{1,30}", 1..=MEMBERS_MAX,
            ),
            parted in ",|, |\t,  |,,",
        ) {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("{key}={value}")).collect();
            prop_assert!(is_valid(&members.join(&parted)));
            prop_assert!(!is_valid(&format!("{},{}", members[0], members[0])), "a key is there twice");
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = is_valid(&text);
        }
    }

    #[test]
    fn what_the_specification_forbids_is_dropped() {
        let long = "x".repeat(257);
        let many: Vec<_> = (0..33).map(|n| format!("k{n}=1")).collect();
        for bad in [
            "",
            " , ",
            "a",
            "a=",
            "=1",
            "A=1",
            "1=1",
            "a=b=c",
            "a@=1",
            "a@1x=1",
            "a@b@c=1",
            "a=1,a=2",
            "a=\u{e4}",
            &format!("{long}=1"),
            &format!("a={long}"),
            &format!("a@{}=1", &long[..15]),
            &many.join(","),
        ] {
            assert!(!is_valid(bad), "{bad:?}");
        }
        assert!(is_valid(&many[..32].join(",")));
        assert!(is_valid("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
    }
}
