//! A link in the documentation leads to a file that is there, and to a heading that it has; and every guide is found from the
//! list of guides.

use std::{collections::HashSet, path::Path};

use super::{
    Finding,
    tree::{File, Tree},
};

/// The list of guides, and the folder they are in.
const INDEX: &str = "docs/README.md";
const GUIDES: &str = "docs/";

/// Looks at every relative link of every Markdown file, and for every guide in the list of guides.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut places: HashSet<&str> = tree.files().iter().map(|file| file.path.as_str()).collect();
    let folders: Vec<&str> = places.iter().flat_map(|path| ancestors(path)).collect();
    places.extend(folders);
    let mut findings = Vec::new();
    for file in tree.with_extension("md") {
        for (line, target) in links(&file.text) {
            if let Err(problem) = resolve(tree, &places, file, target) {
                findings.push(Finding::failure(format!("{}:{line}", file.path), problem));
            }
        }
    }
    findings.extend(unlisted(tree));
    findings
}

fn unlisted(tree: &Tree) -> Vec<Finding> {
    let listed: HashSet<String> = tree
        .text(INDEX)
        .map(|text| links(text).map(|(_, target)| join(INDEX, target)).collect())
        .unwrap_or_default();
    tree.with_extension("md")
        .filter(|file| file.path.starts_with(GUIDES) && file.path != INDEX && !listed.contains(&file.path))
        .map(|file| {
            Finding::failure(&file.path, format!("{INDEX} does not name this guide, so nobody will find it"))
        })
        .collect()
}

fn resolve(tree: &Tree, places: &HashSet<&str>, from: &File, target: &str) -> Result<(), String> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { from.path.clone() } else { join(&from.path, path) };
    if !places.contains(path.trim_end_matches('/')) {
        return Err(format!("the link to {target} leads nowhere: there is no {path}"));
    }
    if heading.is_empty() || !path.ends_with(".md") {
        return Ok(());
    }
    let text = tree.text(&path).unwrap_or_default();
    if prose(text).any(|(_, line)| line.starts_with('#') && slug(line) == heading) {
        return Ok(());
    }
    Err(format!("the link to {target} leads to no heading: {path} has none that becomes #{heading}"))
}

/// The lines that are not within a fenced block, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// The targets of `[text](target)` that stay within this repository, with their lines' numbers.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text)
        .flat_map(|(number, line)| {
            line.split("](").skip(1).filter_map(move |rest| Some((number, rest.split_once(')')?.0)))
        })
        .filter(|(_, target)| !target.contains("://") && !target.starts_with("mailto:"))
}

/// A heading as a link names it: lower case, hyphens for spaces, without punctuation.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// Where a link written in the file `from` leads.
fn join(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    Path::new(path).ancestors().skip(1).filter_map(Path::to_str).filter(|folder| !folder.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_nothing_are_found_with_their_lines() {
        let guide = "# A guide\n\n[up](../README.md) [code](../crates/core/) [gone](gone.md)\n\
            [web](https://example.org/x) [part](#a-guide)\n[lost](#nowhere) [far](../README.md#what-it-s)\n\
            ```text\n[in a block](is-not-a-link)\n```\n";
        let tree = Tree::sample(&[
            ("README.md", "## What it's\n"),
            ("docs/README.md", "[guide](guide.md)\n"),
            ("docs/guide.md", guide),
            ("crates/core/src/lib.rs", ""),
        ]);
        let found: Vec<_> =
            check(&tree).into_iter().map(|found| format!("{} {}", found.place, found.problem)).collect();
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found[0].starts_with("docs/guide.md:3 the link to gone.md"), "{found:#?}");
        assert!(found[1].starts_with("docs/guide.md:5 the link to #nowhere"), "{found:#?}");
        assert!(found[2].starts_with("docs/guide.md:5 the link to ../README.md#what-it-s"), "{found:#?}");
    }

    #[test]
    fn a_guide_that_the_list_does_not_name_is_found() {
        let tree = Tree::sample(&[("docs/README.md", "[a](a.md)\n"), ("docs/a.md", ""), ("docs/b.md", "")]);
        let found: Vec<_> = check(&tree).into_iter().map(|found| found.place).collect();
        assert_eq!(found, ["docs/b.md"]);
    }

    #[test]
    fn a_heading_becomes_its_slug() {
        assert_eq!(slug("## Why `h2`, not hyper?"), "why-h2-not-hyper");
    }
}
