//! Writes what a command found, in the format asked for.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::{ColorChoice, Doc, Format, Paint, yaml};
use crate::error::{CliError, Result};

/// What a command found, in each of the ways it can be shown.
pub(crate) trait Render {
    /// What JSON and YAML hold; its shape is part of the interface.
    type Data: Serialize + ?Sized;

    /// The data.
    fn data(&self) -> &Self::Data;

    /// The lines of the table, or of the wide one.
    fn text(&self, wide: bool, paint: Paint) -> Vec<String>;

    /// The names, one a line.
    fn names(&self) -> Vec<String>;
}

/// Both outputs of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    /// The format asked for, if any was.
    pub(crate) format: Option<Format>,
    /// Colours for stdout.
    pub(crate) paint: Paint,
    /// Colours for stderr.
    pub(crate) talk: Paint,
}

// === impl Out ===

impl Out {
    /// Decides on colours: `choice`, and when that is automatic whether a person is looking.
    pub(crate) fn new(format: Option<Format>, choice: ColorChoice, colorless: bool) -> Self {
        let paint = |terminal: bool| match choice {
            ColorChoice::Always => Paint::new(true),
            ColorChoice::Never => Paint::OFF,
            ColorChoice::Auto => Paint::new(terminal && !colorless),
        };
        Self { format, paint: paint(io::stdout().is_terminal()), talk: paint(io::stderr().is_terminal()) }
    }

    /// The format asked for, or the one that people like.
    pub(crate) fn format(&self) -> Format {
        self.format.unwrap_or(Format::Table)
    }

    /// Prints the whole of an answer.
    ///
    /// # Errors
    ///
    /// When stdout cannot be written; quietly so when its reader has gone.
    pub(crate) fn print(&self, answer: &impl Render) -> Result<()> {
        self.write(&self.form(answer, self.paint)?)
    }

    /// Says the whole of an answer on stderr, where it is not what was asked for in the first place.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON.
    pub(crate) fn tell(&self, answer: &impl Render) -> Result<()> {
        self.say(self.form(answer, self.talk)?.trim_end());
        Ok(())
    }

    /// Prints one item of a stream: JSON on one line, YAML as a document of its own.
    ///
    /// # Errors
    ///
    /// As [`print`](Self::print).
    pub(crate) fn print_item(&self, item: &impl Render) -> Result<()> {
        let text = match self.format() {
            format @ (Format::Table | Format::Wide) => lines(&item.text(format == Format::Wide, self.paint)),
            Format::Json => json(item.data(), false)?,
            Format::Yaml => {
                format!("---\n{}", yaml::emit(&Doc::of(item.data()).map_err(|error| not_json(&error))?))
            }
            Format::Name => lines(&item.names()),
        };
        self.write(&text)
    }

    /// Writes text to stdout as it is.
    ///
    /// # Errors
    ///
    /// As [`print`](Self::print).
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Says something on stderr. Nobody listening is no reason to stop.
    pub(crate) fn say(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn form(&self, answer: &impl Render, paint: Paint) -> Result<String> {
        Ok(match self.format() {
            format @ (Format::Table | Format::Wide) => lines(&answer.text(format == Format::Wide, paint)),
            Format::Json => json(answer.data(), true)?,
            Format::Yaml => yaml::emit(&Doc::of(answer.data()).map_err(|error| not_json(&error))?),
            Format::Name => lines(&answer.names()),
        })
    }

    /// Says something of little weight on stderr.
    pub(crate) fn note(&self, text: &str) {
        self.say(&self.talk.dim(text));
    }
}

fn lines(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn json(data: &(impl Serialize + ?Sized), pretty: bool) -> Result<String> {
    let text = if pretty { serde_json::to_string_pretty(data) } else { serde_json::to_string(data) };
    Ok(text.map_err(|error| not_json(&error))? + "\n")
}

fn not_json(error: &serde_json::Error) -> CliError {
    CliError::new(crate::exit::Exit::Other, "cannot write the answer as JSON").because_of(error)
}
