//! A Rust file that no `mod` names is compiled by nobody: it rots, and misleads whoever finds it.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{
    Finding,
    tree::{File, Tree},
};
use crate::workspace::Workspace;

/// Follows `mod` from each target's first file, and names the Rust files that were not reached.
pub(super) fn check(tree: &Tree, workspace: &Workspace) -> Vec<Finding> {
    let targets = workspace.packages.iter().flat_map(|package| &package.targets);
    let reached = reach(tree, targets.cloned().collect());
    let dead = tree.with_extension("rs").filter(|file| !reached.contains(Path::new(&file.path)));
    dead.map(|file| Finding::failure(&file.path, "no `mod` names this file: name it, or delete it")).collect()
}

fn reach(tree: &Tree, targets: Vec<PathBuf>) -> HashSet<PathBuf> {
    let files: HashMap<&Path, &File> =
        tree.files().iter().map(|file| (Path::new(&file.path), file)).collect();
    // Modules of a crate's first file lie beside it; those of any other file in the folder named after it.
    let mut todo: Vec<(PathBuf, bool)> = targets.into_iter().map(|path| (path, true)).collect();
    let mut reached = HashSet::new();
    while let Some((path, first)) = todo.pop() {
        let Some(file) = files.get(path.as_path()) else { continue };
        if !reached.insert(path.clone()) {
            continue;
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let is_mod = path.file_name().is_some_and(|name| name == "mod.rs");
        let home = if first || is_mod { folder.to_owned() } else { path.with_extension("") };
        for module in modules(&file.text) {
            match module {
                Module::Named(name) => {
                    todo.push((home.join(format!("{name}.rs")), false));
                    todo.push((home.join(name).join("mod.rs"), false));
                }
                Module::At(place) => todo.push((normal(&folder.join(place)), false)),
            }
        }
    }
    reached
}

#[derive(Debug, PartialEq, Eq)]
enum Module<'a> {
    /// `mod name;`
    Named(&'a str),
    /// `#[path = "place"] mod name;` or `include!("place")`
    At(&'a str),
}

/// The other files that a file's text names. Lines are enough for that: rustfmt keeps each of these on a line of its own.
fn modules(text: &str) -> Vec<Module<'_>> {
    let mut found = Vec::new();
    let mut path = None;
    for line in text.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            path = Some(place);
        } else if let Some(place) = line.strip_prefix("include!(\"").and_then(|rest| rest.split('"').next()) {
            found.push(Module::At(place));
        } else if let Some(name) = module_name(line) {
            found.push(path.take().map_or(Module::Named(name), Module::At));
        }
    }
    found
}

/// The name in `mod name;`, with whatever visibility.
fn module_name(line: &str) -> Option<&str> {
    let (visibility, rest) = line.split_once("mod ")?;
    let name = rest.strip_suffix(';')?;
    let is_item = visibility.is_empty() || visibility.starts_with("pub");
    (is_item && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(name)
}

/// Takes `..` out of a path.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path {
        if part == ".." {
            normal.pop();
        } else if part != "." {
            normal.push(part);
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    #[test]
    fn a_file_that_nobody_names_is_found() {
        let tree = Tree::sample(&[
            ("a/src/lib.rs", "mod one;\npub(crate) mod two;\n#[cfg(test)]\nmod tests;\n// mod gone;\n"),
            ("a/src/one.rs", "pub mod deep;\n"),
            ("a/src/one/deep.rs", ""),
            ("a/src/two/mod.rs", "mod inner;\n#[path = \"../odd/place.rs\"]\nmod placed;\n"),
            ("a/src/two/inner.rs", ""),
            ("a/src/odd/place.rs", ""),
            ("a/src/tests.rs", ""),
            ("a/src/gone.rs", ""),
            ("a/src/one/stray.rs", ""),
            ("a/build.rs", ""),
        ]);
        let targets = vec!["a/src/lib.rs".into(), "a/build.rs".into()];
        let package = Package { targets, ..Package::default() };
        let dead: Vec<_> = check(&tree, &Workspace { packages: vec![package] })
            .into_iter()
            .map(|finding| finding.place)
            .collect();
        assert_eq!(dead, ["a/src/gone.rs", "a/src/one/stray.rs"]);
    }

    #[test]
    fn what_only_looks_like_a_module_is_none() {
        assert_eq!(
            modules("pub(super) mod a;\nmod b {\n// mod c;\nlet x = \"mod d;\";\n"),
            [Module::Named("a")]
        );
    }
}
