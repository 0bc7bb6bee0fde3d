//! The fenced blocks of a Markdown file.
//!
//! The first word after the fence is the block's language. Readers do not see the words after it; they say how the block is
//! to be checked:
//!
//! | Words | Meaning |
//! |---|---|
//! | `sh` | run by bash in the root of the repository |
//! | `sh in=hello` | run in the folder of that name, which the README tells people to make beside their clone |
//! | `sh background` | started, and left running until the last block is done; then it must end well when told to |
//! | `text output` | what the shell block before it prints |
//! | `rust`, `toml`, `proto` | a file of the reader's own; its first line is a comment that names it |

/// One fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) language: String,
    options: Vec<String>,
    pub(crate) text: String,
    /// The line of its opening fence, from 1.
    pub(crate) line: usize,
}

/// The blocks of `markdown`, in order.
pub(crate) fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in markdown.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(info), None) => open = Some(Block::new(info, index + 1)),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block is not closed");
    blocks
}

// === impl Block ===

impl Block {
    fn new(info: &str, line: usize) -> Self {
        let mut words = info.split_whitespace().map(str::to_owned);
        let language = words.next().unwrap_or_default();
        Self { language, options: words.collect(), text: String::new(), line }
    }

    /// Whether this word stands after the language.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|found| found == option)
    }

    /// The folder to run in, when it is not the root.
    pub(crate) fn folder(&self) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix("in="))
    }

    /// The file that the block's first line names.
    pub(crate) fn file(&self) -> Option<&str> {
        let first = self.text.lines().next()?;
        let name = first.strip_prefix("//").or_else(|| first.strip_prefix('#'))?.trim();
        let is_file = name.contains('.') && !name.contains(' ') && !name.starts_with(['/', '.']);
        is_file.then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_with_their_words_and_files() {
        let markdown = "Text.\n\n```sh in=hello background\ncargo run\n```\n\n```rust\n// src/main.rs\nfn main() {}\n```\n\
            ```text output\nHello\n```\n";
        let blocks = blocks(markdown);
        let languages: Vec<_> = blocks.iter().map(|block| (block.language.as_str(), block.line)).collect();
        assert_eq!(languages, [("sh", 3), ("rust", 7), ("text", 11)]);
        assert_eq!(blocks[0].text, "cargo run\n");
        assert!(blocks[0].has("background") && !blocks[0].has("output"));
        assert_eq!(blocks[0].folder(), Some("hello"));
        assert_eq!(blocks[0].file(), None);
        assert_eq!(blocks[1].file(), Some("src/main.rs"));
        assert!(blocks[2].has("output"));
    }

    #[test]
    fn only_a_comment_that_is_a_path_names_a_file() {
        let file =
            |text: &str| Block { text: text.into(), ..Block::new("rust", 1) }.file().map(str::to_owned);
        assert_eq!(file("# Cargo.toml\n"), Some("Cargo.toml".into()));
        assert_eq!(file("// A comment.\n"), None);
        assert_eq!(file("// ../outside.rs\n"), None);
        assert_eq!(file("let x = 1;\n"), None);
    }
}
