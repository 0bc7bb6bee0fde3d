//! Lines that are never meant to stay.

use super::{
    Finding,
    tree::{File, Tree},
};

/// Looks at every line of every text file.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| !file.is_generated()) {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(problem) = problem(file, line) {
                findings.push(Finding::failure(format!("{}:{}", file.path, index + 1), problem));
            }
        }
    }
    findings
}

fn problem(file: &File, line: &str) -> Option<&'static str> {
    let is_rust = file.path.ends_with(".rs");
    if is_merge_marker(line) {
        Some("a merge left its marker")
    } else if is_bare_to_do(line) {
        Some("a note of unfinished work needs its reason, in parentheses right after the word")
    } else if is_rust && line.trim() == concat!("#[", "ignore]") {
        Some("a test is left out without a reason: write one, as #[ignore = \"...\"]")
    } else if is_rust && is_unchecked_doctest(line) {
        Some("an example that is not compiled will lie sooner or later: use `no_run` or `text`")
    } else {
        None
    }
}

fn is_merge_marker(line: &str) -> bool {
    ['<', '>'].iter().any(|mark| line.starts_with(&format!("{} ", mark.to_string().repeat(7))))
}

/// The word and no `(` right after it.
fn is_bare_to_do(line: &str) -> bool {
    [concat!("TO", "DO"), concat!("FIX", "ME")].iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            let is_word = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '`');
            let rest = &line[at + word.len()..];
            is_word && !rest.starts_with(|c: char| c == '(' || c == '`' || c == '_' || c.is_alphanumeric())
        })
    })
}

fn is_unchecked_doctest(line: &str) -> bool {
    let comment = line.trim().strip_prefix("///").or_else(|| line.trim().strip_prefix("//!"));
    comment.is_some_and(|text| text.trim().starts_with("```") && text.contains("ignore"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        check(&Tree::sample(&[(path, text)])).into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn merge_markers_are_found() {
        let text = format!("a\n{} HEAD\nb\n=======\n{} other\n", "<".repeat(7), ">".repeat(7));
        assert_eq!(problems("Cargo.toml", &text), ["Cargo.toml:2", "Cargo.toml:5"]);
    }

    #[test]
    fn unfinished_work_without_a_reason_is_found() {
        let word = concat!("TO", "DO");
        let text = format!("// {word}: later\n// {word}(the kernel has no such call): poll\n// {word}S\n");
        assert_eq!(problems("a.rs", &text), ["a.rs:1"]);
    }

    #[test]
    fn tests_and_examples_left_out_in_silence_are_found() {
        let bare = concat!("#[", "ignore]");
        let fence = "`".repeat(3);
        let text = format!(
            "{bare}\n#[ignore = \"needs a server\"]\n/// {fence}ignore\n/// {fence}no_run\n//! {fence}rust,ignore\n"
        );
        assert_eq!(problems("a.rs", &text), ["a.rs:1", "a.rs:3", "a.rs:5"]);
    }
}
