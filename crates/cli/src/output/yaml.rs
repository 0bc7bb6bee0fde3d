//! YAML out of a [`Doc`]: block style, and quotes wherever a reader could take a text for something else.
//!
//! Written by hand because it only ever writes, and the crates for YAML bring a parser along.

use std::fmt::Write as _;

use super::Doc;

/// The document, ending in a newline.
pub(super) fn emit(doc: &Doc) -> String {
    let mut text = String::new();
    match doc {
        Doc::List(items) if !items.is_empty() => list(&mut text, items, 0),
        Doc::Map(pairs) if !pairs.is_empty() => map(&mut text, pairs, 0),
        other => scalar(&mut text, other),
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn map(text: &mut String, pairs: &[(String, Doc)], depth: usize) {
    for (at, (key, value)) in pairs.iter().enumerate() {
        // The first pair of a map in a list stands on the dash's line.
        if at > 0 || !text.ends_with("- ") {
            indent(text, depth);
        }
        word(text, key);
        text.push(':');
        match value {
            Doc::Map(inner) if !inner.is_empty() => {
                text.push('\n');
                map(text, inner, depth + 1);
            }
            Doc::List(inner) if !inner.is_empty() => {
                text.push('\n');
                list(text, inner, depth + 1);
            }
            other => {
                text.push(' ');
                scalar(text, other);
                text.push('\n');
            }
        }
    }
}

fn list(text: &mut String, items: &[Doc], depth: usize) {
    for item in items {
        indent(text, depth);
        match item {
            Doc::Map(inner) if !inner.is_empty() => {
                text.push_str("- ");
                map(text, inner, depth + 1);
            }
            Doc::List(inner) if !inner.is_empty() => {
                text.push_str("-\n");
                list(text, inner, depth + 1);
            }
            other => {
                text.push_str("- ");
                scalar(text, other);
                text.push('\n');
            }
        }
    }
}

fn scalar(text: &mut String, doc: &Doc) {
    match doc {
        Doc::Null => text.push_str("null"),
        Doc::Bool(value) => _ = write!(text, "{value}"),
        Doc::Number(value) => _ = write!(text, "{value}"),
        Doc::Text(value) => word(text, value),
        Doc::List(_) => text.push_str("[]"),
        Doc::Map(_) => text.push_str("{}"),
    }
}

fn word(text: &mut String, value: &str) {
    if is_plain(value) {
        text.push_str(value);
    } else {
        // A JSON string is a YAML double-quoted string.
        text.push_str(&serde_json::to_string(value).unwrap_or_default());
    }
}

/// Whether every YAML reader, old or new, takes the bare word for this very text.
fn is_plain(value: &str) -> bool {
    const MEANT_OTHERWISE: [&str; 11] =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"];
    let starts_well = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    starts_well
        && !value.ends_with([' ', ':'])
        && value.chars().all(|c| c.is_ascii_alphanumeric() || " _-./@+:".contains(c))
        && !value.contains(": ")
        && !MEANT_OTHERWISE.contains(&value.to_ascii_lowercase().as_str())
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(json: &str) -> String {
        emit(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn nesting_is_shown_by_indentation_and_order_is_kept() {
        assert_eq!(
            yaml(
                r#"{"name":"greeter","nodes":[{"id":"b","meta":{"k":"v"}},{"id":"a","meta":{}}],"empty":[]}"#
            ),
            "name: greeter\nnodes:\n  - id: b\n    meta:\n      k: v\n  - id: a\n    meta: {}\nempty: []\n"
        );
        assert_eq!(yaml(r#"[[1,[2]],[]]"#), "-\n  - 1\n  -\n    - 2\n- []\n");
        assert_eq!(yaml("[]"), "[]\n");
    }

    #[test]
    fn what_could_be_misread_is_quoted() {
        for (json, text) in [
            (r#""127.0.0.1:4000""#, "\"127.0.0.1:4000\"\n"),
            (r#""1.0""#, "\"1.0\"\n"),
            (r#""no""#, "\"no\"\n"),
            (r#""""#, "\"\"\n"),
            (r#""a: b""#, "\"a: b\"\n"),
            (r##""a #b""##, "\"a #b\"\n"),
            (r#""- a""#, "\"- a\"\n"),
            (r#""line\nline""#, "\"line\\nline\"\n"),
            (r#""v1.0""#, "v1.0\n"),
            ("1.5", "1.5\n"),
            ("null", "null\n"),
        ] {
            assert_eq!(yaml(json), text);
        }
    }
}
