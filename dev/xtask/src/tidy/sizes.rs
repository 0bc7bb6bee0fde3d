//! A file that is long hides what it is about.

use super::{Finding, tree::Tree};

/// From here on a file is asked for its reason.
const LINES_WARN: usize = 500;
/// Nothing is worth more than this in one file.
const LINES_MAX: usize = 800;

/// Looks at every Rust file that a person wrote.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let files = tree.with_extension("rs").filter(|file| !file.is_generated());
    files
        .filter_map(|file| match file.text.lines().count() {
            lines if lines > LINES_MAX => {
                let problem = format!("{lines} lines, and {LINES_MAX} is the most: split it by idea");
                Some(Finding::failure(&file.path, problem))
            }
            lines if lines > LINES_WARN => {
                let problem = format!("{lines} lines; more than {LINES_WARN} need a good reason");
                Some(Finding::warning(&file.path, problem))
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_warned_of_and_a_very_long_one_fails() {
        let lines = |count: usize| "x\n".repeat(count);
        let generated = format!("// @generated\n{}", lines(900));
        let tree = Tree::sample(&[
            ("fine.rs", &lines(500)),
            ("long.rs", &lines(501)),
            ("very-long.rs", &lines(801)),
            ("generated.rs", &generated),
            ("long.md", &lines(2000)),
        ]);
        let found: Vec<_> = check(&tree).into_iter().map(|found| (found.place, found.warning)).collect();
        assert_eq!(found, [("long.rs".to_owned(), true), ("very-long.rs".to_owned(), false)]);
    }
}
