//! What a failed command says: what failed, why, and what to do next; and how the process ends.

use std::{error::Error as StdError, fmt::Write as _, io};

use callsign::core::{Error as CoreError, ErrorKind};

use crate::{exit::Exit, output::Paint};

/// A result of the command line.
pub(crate) type Result<T, E = CliError> = std::result::Result<T, E>;

/// Why a command failed, ready to be shown.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    quiet: bool,
}

// === impl CliError ===

impl CliError {
    /// A failure that ends the process with `exit`.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hint: None, quiet: false }
    }

    /// Something in the command line or a setting that can never work.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An end that has been explained already, or needs no words.
    pub(crate) fn quiet(exit: Exit) -> Self {
        Self { quiet: true, ..Self::new(exit, "") }
    }

    /// Adds a cause under those that are there.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds an error and all of its causes.
    pub(crate) fn because_of(mut self, error: &(dyn StdError + 'static)) -> Self {
        self.push_chain(Some(error));
        self
    }

    /// Says what to do next; an earlier hint gives way.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what else can be done.
    pub(crate) fn also(self, hint: &str) -> Self {
        match &self.hint {
            Some(first) => {
                let both = format!("{first}; or {hint}");
                self.hint(both)
            }
            None => self.hint(hint),
        }
    }

    /// Ends the process otherwise.
    pub(crate) fn exit_as(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The whole text for stderr, with a newline; empty for a quiet end.
    pub(crate) fn render(&self, paint: Paint) -> String {
        if self.quiet {
            return String::new();
        }
        let mut text = format!("{} {}\n", paint.error("error:"), indent(&self.message));
        for cause in &self.causes {
            let _ = writeln!(text, "  {} {}", paint.dim("because:"), indent(cause));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  {} {}", paint.good("hint:"), indent(hint));
        }
        text
    }

    /// What failed and why, where there is room for one line alone.
    pub(crate) fn on_one_line(&self) -> String {
        [&self.message].into_iter().chain(&self.causes).map(String::as_str).collect::<Vec<_>>().join(": ")
    }

    fn push_chain(&mut self, mut cause: Option<&(dyn StdError + 'static)>) {
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat their cause in their own message; once is enough.
            if !text.is_empty() && self.causes.last().is_none_or(|last| !last.contains(&text)) {
                self.causes.push(text);
            }
            cause = error.source();
        }
    }
}

impl From<CoreError> for CliError {
    fn from(error: CoreError) -> Self {
        let exit = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::Unsupported => Exit::Usage,
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => Exit::RegistryUnreachable,
            ErrorKind::PermissionDenied => Exit::NotAllowed,
            _ => Exit::Other,
        };
        let mut shown = Self::new(exit, error.to_string());
        shown.push_chain(error.source());
        shown.hint = error.hint().map(str::to_owned);
        shown
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        // Whoever read us has seen enough: `callsign ls | head -1` ends well.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::quiet(Exit::Ok);
        }
        Self::new(Exit::Other, "cannot write the output").because_of(&error)
    }
}

/// Further lines of a text stand under its first.
fn indent(text: &str) -> String {
    crate::output::printable(text, true).replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_its_causes_and_what_to_do() {
        let error = CoreError::new(ErrorKind::Unavailable, "list services", "no answer from etcd://a:2379")
            .with_source(io::Error::from(io::ErrorKind::ConnectionRefused))
            .with_hint("start etcd");
        let shown = CliError::from(error);
        assert_eq!(shown.exit(), Exit::RegistryUnreachable);
        assert_eq!(
            shown.render(Paint::OFF),
            "error: cannot list services: no answer from etcd://a:2379\n  because: connection refused\n  hint: start etcd\n"
        );
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_success() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit(), error.render(Paint::OFF)), (Exit::Ok, String::new()));
    }
}
