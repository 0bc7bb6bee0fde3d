//! Somebody new who has this repository, a toolchain, an empty home, and types what the README says.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::{
        fs::{DirBuilderExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// Long enough to compile all for release on a slow machine; a block that hangs ends then.
const BLOCK_SECONDS_MAX: u32 = 1800;

/// The folders of the newcomer, and what runs in them.
///
/// They lie in cargo's folder for tests, so that what is compiled in them is found again the next time.
#[derive(Debug)]
pub(crate) struct Stranger {
    scratch: PathBuf,
    background: Vec<Child>,
}

// === impl Stranger ===

impl Stranger {
    /// Makes the folders anew. The clone is a link to this repository, under the name that the README gives it.
    pub(crate) fn arrive() -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
        if scratch.exists() {
            fs::remove_dir_all(&scratch).unwrap();
        }
        for folder in ["home", "run"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(scratch.join(folder)).unwrap();
        }
        symlink(root(), scratch.join("callsign")).unwrap();
        Self { scratch, background: Vec::new() }
    }

    /// Writes a file of the newcomer's own program. It gets our versions of what both use, so that nothing is downloaded
    /// twice and no release of today can break this.
    pub(crate) fn write(&self, folder: &str, file: &str, text: &str) {
        let path = self.scratch.join(folder).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::copy(root().join("Cargo.lock"), self.scratch.join(folder).join("Cargo.lock")).unwrap();
    }

    /// Runs shell commands in a folder, to their end.
    pub(crate) fn run(&self, folder: Option<&str>, script: &str) -> Output {
        let mut command = Command::new("timeout");
        command.arg(BLOCK_SECONDS_MAX.to_string()).args(["bash", "-eu", "-o", "pipefail", "-c", script]);
        self.prepare(&mut command, folder);
        command.stderr(Stdio::piped()).stdout(Stdio::piped()).output().unwrap()
    }

    /// Starts shell commands in a folder and leaves them running, once they have printed their first line; returns it.
    pub(crate) fn start(&mut self, folder: Option<&str>, script: &str) -> String {
        let mut command = Command::new("bash");
        command.args(["-eu", "-c", script]).process_group(0);
        self.prepare(&mut command, folder);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        child.stdout = Some(stdout.into_inner());
        self.background.push(child);
        first
    }

    /// Tells what was started to end, as Ctrl-C in its terminal would, and returns how each did.
    pub(crate) fn leave(mut self) -> Vec<Output> {
        self.interrupt();
        self.background.drain(..).map(|child| child.wait_with_output().unwrap()).collect()
    }

    fn interrupt(&self) {
        for child in &self.background {
            // The whole group, as a terminal does: cargo, and the program that it runs.
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-INT", "--", &group]).status().unwrap();
        }
    }

    fn prepare(&self, command: &mut Command, folder: Option<&str>) {
        let home = std::env::home_dir().unwrap();
        let or = |key, default: &str| std::env::var_os(key).unwrap_or_else(|| home.join(default).into());
        let (cargo_home, rustup_home) = (or("CARGO_HOME", ".cargo"), or("RUSTUP_HOME", ".rustup"));
        // What the cargo that runs this test told it about itself is no business of the newcomer's.
        let told = std::env::vars_os().filter_map(|(key, _)| key.into_string().ok()).filter(|key| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CALLSIGN_", "MICRO_"]
                .iter()
                .any(|start| key.starts_with(start))
                || ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH"]
                    .contains(&key.as_str())
        });
        for key in told {
            command.env_remove(key);
        }
        command
            .current_dir(self.scratch.join(folder.unwrap_or("callsign")))
            .env("HOME", self.scratch.join("home"))
            .env("XDG_RUNTIME_DIR", self.scratch.join("run"))
            .env("CARGO_HOME", cargo_home)
            .env("RUSTUP_HOME", rustup_home)
            .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap())
            .stdin(Stdio::null());
    }
}

impl Drop for Stranger {
    /// For a test that panicked: nothing it started may outlive it.
    fn drop(&mut self) {
        self.interrupt();
        for child in &mut self.background {
            drop(child.stdout.take().map(|mut stdout| stdout.read_to_end(&mut Vec::new())));
            drop(child.wait());
        }
    }
}

// === free functions ===

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).unwrap()
}
