//! The README does what it says: its shell blocks are run and its Rust blocks compiled, in the order in which a newcomer
//! meets them, and its server and its client are run against each other.
//!
//! One block is treated differently: `cargo xtask test` runs this very test, so only its dry run is run, which goes the same
//! way up to the point of starting the tests; and the block must say exactly that command, which is what `.ci/run` runs.

#![allow(clippy::unwrap_used, reason = "a test, helpers included: what cannot go on may panic")]

mod blocks;
mod stranger;

use std::{fs, process::Output};

use self::{
    blocks::{Block, blocks},
    stranger::{Stranger, root},
};

const DEMO: &str = "cargo run --release -- demo\n";
const TEST: &str = "cargo xtask test\n";

/// The folder that the README's first program lies in.
const PROGRAM: &str = "hello";

#[test]
fn the_readme_leads_with_the_demo_and_the_tests() {
    let shell: Vec<_> = readme().into_iter().filter(|block| block.language == "sh").collect();
    assert_eq!((shell[0].text.as_str(), shell[1].text.as_str()), (DEMO, TEST));
    assert_eq!(readme()[0], shell[0], "nothing comes before it");
    assert_eq!(readme()[1], shell[1], "nothing comes in between");
    assert!(fs::read_to_string(root().join(".ci/run")).unwrap().contains(TEST));
}

#[test]
fn every_block_is_of_a_kind_that_is_checked() {
    for block in readme() {
        let is_checked = match block.language.as_str() {
            "sh" | "text" => true,
            "toml" | "proto" => block.file().is_some(),
            // Cargo compiles these without being told of them.
            "rust" => block.file().is_some_and(|file| file == "build.rs" || file.starts_with("src/bin/")),
            _ => false,
        };
        assert!(is_checked, "README.md:{}: nothing checks this block", block.line);
    }
}

#[test]
fn a_server_and_a_client_take_less_than_25_lines_each() {
    for file in ["src/bin/server.rs", "src/bin/client.rs"] {
        let block = readme().into_iter().find(|block| block.file() == Some(file)).unwrap();
        // The first line is the file's name.
        let lines = block.text.lines().skip(1).count();
        assert!(lines < 25, "{file} takes {lines} lines");
    }
}

#[test]
fn every_rust_block_compiles_and_every_shell_block_runs() {
    let mut stranger = Stranger::arrive();
    let blocks = readme();
    for block in &blocks {
        if let Some(file) = block.file().filter(|_| block.language != "sh") {
            stranger.write(PROGRAM, file, &block.text);
        }
    }
    expect_success("the README's Rust blocks", &stranger.run(Some(PROGRAM), "cargo build --bins"));

    for (index, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "sh") {
        let said = format!("README.md:{}: {}", block.line, block.text);
        eprintln!("{said}");
        if block.has("background") {
            let first = stranger.start(block.folder(), &block.text);
            assert!(!first.is_empty(), "{said}ended without a word");
            continue;
        }
        let output = stranger.run(block.folder(), instead(&block.text));
        expect_success(&said, &output);
        if let Some(expected) = blocks.get(index + 1).filter(|next| next.has("output")) {
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected.text, "{said}");
        }
        if block.text == TEST {
            let plan = String::from_utf8_lossy(&output.stdout);
            assert!(plan.contains("would run cargo test --workspace --all-features"), "{plan}");
        }
    }
    for output in stranger.leave() {
        expect_success("what ran in the background, when told to end,", &output);
    }
}

/// What to run for a block: itself, but for the one that would run this test again.
fn instead(script: &str) -> &str {
    if script == TEST { "cargo xtask test --dry-run" } else { script }
}

fn readme() -> Vec<Block> {
    blocks(&fs::read_to_string(root().join("README.md")).unwrap())
}

fn expect_success(what: &str, output: &Output) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{what} failed ({})\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
        output.status
    );
}
