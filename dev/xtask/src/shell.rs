//! Running other programs: said before it is done, and with the workspace's root as the folder.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use crate::{Result, workspace};

/// One program to run.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    program: OsString,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

// === impl Step ===

impl Step {
    /// A program by name, with its arguments.
    pub(crate) fn new(program: impl Into<OsString>, args: &[&str]) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { program: program.into(), args, env: Vec::new() }
    }

    /// The cargo that runs us, so that one toolchain does it all.
    pub(crate) fn cargo(args: &[&str]) -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
    }

    /// Adds an environment variable.
    pub(crate) fn env(mut self, key: &'static str, value: &str) -> Self {
        self.env.push((key, value.to_owned()));
        self
    }

    /// The line a person would type.
    pub(crate) fn line(&self) -> String {
        let program = Path::new(&self.program).file_name().unwrap_or(&self.program);
        let env = self.env.iter().map(|(key, value)| format!("{key}={}", quoted(value)));
        let words = std::iter::once(program.to_string_lossy().into_owned());
        let args = self.args.iter().map(|arg| quoted(arg));
        env.chain(words).chain(args).collect::<Vec<_>>().join(" ")
    }

    /// Runs it, its output going where ours goes, and returns whether it succeeded.
    pub(crate) fn run(&self) -> Result<bool> {
        self.announce();
        Ok(self.command().status().map_err(|error| self.not_started(&error))?.success())
    }

    /// Runs it and returns what it wrote to stdout; a failure is an error.
    pub(crate) fn output(&self) -> Result<String> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| self.not_started(&error))?;
        if !output.status.success() {
            return Err(format!("`{}` failed ({})", self.line(), output.status).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it, shows its stdout as it comes and shows each line to `see` as well; returns whether it succeeded.
    pub(crate) fn follow(&self, mut see: impl FnMut(&str)) -> Result<bool> {
        self.announce();
        let mut child =
            self.command().stdout(Stdio::piped()).spawn().map_err(|error| self.not_started(&error))?;
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout was asked for just above"));
        let mut line = Vec::new();
        // Bytes, not text: a test may print what is not UTF-8.
        while stdout.read_until(b'\n', &mut line)? > 0 {
            std::io::stdout().write_all(&line)?;
            see(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        Ok(child.wait()?.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(workspace::root());
        for (key, value) in &self.env {
            command.env(key, value);
        }
        command
    }

    fn announce(&self) {
        eprintln!("$ {}", self.line());
    }

    fn not_started(&self, error: &std::io::Error) -> String {
        format!("cannot start `{}`: {error}", self.line())
    }
}

// === free functions ===

/// Whether a program of this name is on the path.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(|c: char| c.is_whitespace() || "\"'$&|;()<>*?".contains(c)) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_as_a_person_would_type_it() {
        let step = Step::new("/usr/bin/cargo", &["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(step.line(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }

    #[test]
    fn followed_output_is_seen_line_by_line_and_the_exit_is_told() {
        let mut seen = Vec::new();
        let step = Step::new("sh", &["-c", "echo one; echo two; exit 3"]);
        assert!(!step.follow(|line| seen.push(line.to_owned())).unwrap());
        assert_eq!(seen, ["one", "two"]);
    }

    #[test]
    fn output_of_a_failing_step_is_an_error_that_names_it() {
        let error = Step::new("sh", &["-c", "exit 3"]).output().unwrap_err().to_string();
        assert!(error.contains("exit 3") && error.contains("failed"), "{error}");
        let error = Step::new("no-such-program-at-all", &[]).output().unwrap_err().to_string();
        assert!(error.contains("cannot start `no-such-program-at-all`"), "{error}");
    }

    #[test]
    fn a_program_is_looked_for_on_the_path() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-program-at-all"));
    }
}
