//! stdout is data, stderr is talk: how both are written.

mod doc;
mod paint;
mod printer;
mod table;
mod yaml;

use std::borrow::Cow;

pub(crate) use self::doc::Doc;
pub(crate) use self::paint::{ColorChoice, Paint};
pub(crate) use self::printer::{Out, Render};
pub(crate) use self::table::{Align, Table, fit};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people.
    Table,
    /// The same with more columns.
    Wide,
    /// JSON, stable for scripts.
    Json,
    /// YAML with the same content as the JSON.
    Yaml,
    /// Names alone, one a line.
    Name,
}

/// `text` without what would move the cursor or change colours: registries hold what strangers wrote.
pub(crate) fn printable(text: &str, lines: bool) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || (lines && c == '\n');
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .map(|c| if harmless(c) { c.to_string() } else { c.escape_default().to_string() })
        .collect::<String>()
        .into()
}
