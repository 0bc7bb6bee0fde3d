//! Why code could not be generated, said so that the build's output is enough to mend it.

use std::{
    collections::BTreeSet,
    error::Error as StdError,
    fmt, io,
    path::{Path, PathBuf},
};

/// Why code could not be generated.
///
/// Its `Debug` reads like its `Display` with the cause and the advice added, because that is what cargo prints when a build
/// script's `main` returns it.
pub struct Error {
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

// === impl Error ===

impl Error {
    /// What can be done about it, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, source: None }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn no_out_dir() -> Self {
        Self::new("there is no folder to write to: OUT_DIR is not set")
            .with_hint("call this from build.rs, or name a folder with `configure().out_dir(..)`")
    }

    pub(crate) fn nothing_to_do() -> Self {
        Self::new("no .proto file was given")
    }

    pub(crate) fn no_folder(folder: &Path) -> Self {
        Self::new(format!("the include folder {} does not exist", folder.display()))
            .with_hint(format!("paths are relative to {}", here().display()))
    }

    pub(crate) fn no_file(proto: &Path, includes: &[&Path], neighbours: &BTreeSet<String>) -> Self {
        let error = Self::new(format!(
            "{} does not exist; looked in {} and in the include folders: {}",
            proto.display(),
            here().display(),
            list(includes)
        ));
        if neighbours.is_empty() {
            return error;
        }
        let names: Vec<_> = neighbours.iter().map(String::as_str).collect();
        error.with_hint(format!("found there: {}", names.join(", ")))
    }

    /// A mistake in a file, as `path:line:column: what`.
    pub(crate) fn source(error: &protox::Error, proto: &Path, includes: &[&Path]) -> Self {
        // protox names a file as an `import` would; a person wants to click on its path.
        let text = format!("{error:?}");
        let located = error.file().and_then(|name| {
            let rest = text.strip_prefix(name)?;
            let path = includes.iter().map(|folder| folder.join(name)).find(|path| path.exists())?;
            Some(format!("{}{rest}", path.display()))
        });
        let located = located.unwrap_or(text);
        if error.file().is_none() && error.is_file_not_found() {
            return Self::new(format!(
                "{} is in none of the include folders: {}",
                proto.display(),
                list(includes)
            ))
            .with_hint("add the folder that it lies in to the include folders");
        }
        let failed = Self::new(located);
        if error.is_file_not_found() {
            return failed.with_hint(format!(
                "imports are looked up in: {} (the files of google/protobuf are built in)",
                list(includes)
            ));
        }
        failed
    }

    pub(crate) fn write(path: &Path, error: io::Error) -> Self {
        let message = format!("cannot write the generated code to {}", path.display());
        Self { source: Some(error.into()), ..Self::new(message) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, hint, source } = self;
        f.write_str(message)?;
        if let Some(source) = source {
            write!(f, ": {source}")?;
        }
        if let Some(hint) = hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}

fn list(folders: &[&Path]) -> String {
    if folders.is_empty() {
        return "none was given".to_owned();
    }
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}
