//! The bodies of a call: JSON from the command line, a file, or stdin; one message or many.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    thread,
};

use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    error::{CliError, Result},
    exit::Exit,
};

/// Messages read ahead of the call.
const READ_AHEAD: usize = 16;

/// Where a body comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Text(String),
    File(String),
    Stdin,
}

/// The messages of a call, in order, read as they are needed.
#[derive(Debug)]
pub(super) struct Bodies {
    messages: mpsc::Receiver<Result<Value>>,
}

// === impl Source ===

impl Source {
    /// `@-` is stdin, `@path` a file, and anything else the JSON itself.
    pub(super) fn parse(text: &str) -> Self {
        match text.strip_prefix('@') {
            Some("-") => Self::Stdin,
            Some(path) => Self::File(path.to_owned()),
            None => Self::Text(text.to_owned()),
        }
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Text(text) => Box::new(Cursor::new(text.clone())),
            Self::File(path) => Box::new(BufReader::new(File::open(path).map_err(|error| {
                CliError::usage(format!("cannot read the body from {path}")).because_of(&error)
            })?)),
            Self::Stdin => Box::new(io::stdin()),
        })
    }

    fn describe(&self) -> String {
        match self {
            Self::Text(_) => "the body".to_owned(),
            Self::File(path) => format!("the body in {path}"),
            Self::Stdin => "the body on stdin".to_owned(),
        }
    }
}

// === impl Bodies ===

impl Bodies {
    /// Starts reading. JSON values may follow each other with or without anything between them.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened; one that cannot be read to its end, or is not JSON, is told by [`next`](Self::next).
    pub(super) fn read(sources: &[Source]) -> Result<Self> {
        let (sender, messages) = mpsc::channel(READ_AHEAD);
        let mut readers = Vec::new();
        for source in sources {
            readers.push((source.describe(), source.open()?));
        }
        // Reading stdin blocks, and cannot be called off: it is done on a thread that nobody waits for.
        thread::Builder::new()
            .name("body".to_owned())
            .spawn(move || {
                for (name, reader) in readers {
                    for value in serde_json::Deserializer::from_reader(reader).into_iter::<Value>() {
                        let value = value.map_err(|error| not_json(&name, &error));
                        let ended = value.is_err();
                        if sender.blocking_send(value).is_err() || ended {
                            return;
                        }
                    }
                }
            })
            .map_err(|error| {
                CliError::new(Exit::Other, "cannot start a thread to read with").because_of(&error)
            })?;
        Ok(Self { messages })
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// Exit code 2 when what was read is not JSON.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
    pub(super) async fn next(&mut self) -> Option<Result<Value>> {
        self.messages.recv().await
    }
}

fn not_json(name: &str, error: &serde_json::Error) -> CliError {
    CliError::usage(format!("{name} is not JSON"))
        .because(error.to_string())
        .hint("write it like '{\"name\": \"World\"}', in single quotes for the shell")
}
