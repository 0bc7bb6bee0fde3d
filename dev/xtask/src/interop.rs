//! `cargo xtask interop`: Callsign and go-micro on the same registries, in both directions.

use std::{fs, path::PathBuf};

use crate::{
    Result, setup,
    shell::{Step, is_there},
    workspace,
};

/// The programs of `dev/interop/go`, one for each line of go-micro.
const PEERS: &[&str] = &["./peer3", "./peer4", "./peer5"];

/// What is said where it cannot be run.
pub(crate) const NO_GO: &str = "there is no Go toolchain (`go` on the path; https://go.dev/dl), so nothing was tried \
                                against live go-micro processes; core's tests read what was recorded of them";

/// Runs the tests, or says that they were not run.
pub(crate) fn run(args: &[&str]) -> Result<bool> {
    if !is_available() {
        return Err(format!("interop was NOT RUN: {NO_GO}").into());
    }
    setup::ensure(setup::FOR_TESTS)?;
    let peers = workspace::root().join("target/interop");
    fs::create_dir_all(&peers)?;
    let built = build_peers(&peers)? && build_program()?;
    if !built {
        return Ok(false);
    }
    let test = ["test", "--package", "callsign-interop", "--test", "go_micro", "--"];
    Step::cargo(&[&test[..], args].concat())
        .env("CALLSIGN_INTEROP_PEERS", &peers.display().to_string())
        .env("CALLSIGN_INTEROP_PROGRAM", &program_folder()?.display().to_string())
        .run()
}

/// Whether the other side can be built here.
pub(crate) fn is_available() -> bool {
    is_there("go")
}

/// Go's own cache makes this quick from the second time on.
fn build_peers(folder: &std::path::Path) -> Result<bool> {
    let module = workspace::root().join("dev/interop/go").display().to_string();
    let out = format!("{}/", folder.display());
    let build = ["-C", &module, "build", "-trimpath", "-o", &out];
    Step::new("go", &[&build[..], PEERS].concat()).run()
}

fn build_program() -> Result<bool> {
    Step::cargo(&["build", "--package", "callsign-cli"]).run()
}

/// Where cargo put the program: beside the tests that it builds.
fn program_folder() -> Result<PathBuf> {
    let metadata = Step::cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str().ok_or("cargo does not say where it builds")?;
    Ok(PathBuf::from(target).join("debug"))
}
