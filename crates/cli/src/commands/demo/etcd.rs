//! `callsign demo-etcd`: an etcd of the demo's own, in a folder that goes with it.
//!
//! It stands between the demo and the etcd for the sake of the end: like a node it reads its standard input, so that it
//! notices when the demo is over or dead, and then it ends the etcd and removes the folder.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use callsign::{
    core::{WatchEvent, registry::WatchOptions},
    registry::{Access, RegistryUrl, open_with},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use super::node::left_alone;
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    units,
};

/// Run an etcd for the demo; its URL is printed once it answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the program is
    #[arg(long)]
    program: PathBuf,
}

/// How long an etcd may take to answer for the first time.
const START_MAX: Duration = Duration::from_secs(20);

/// How long it gets to end when it is told to.
const END_MAX: Duration = Duration::from_secs(3);

/// Last lines of its log that are shown when something is wrong.
const LINES_SHOWN: usize = 6;

/// Its log, in its folder.
const LOG: &str = "etcd.log";

/// Runs the command until it is told to end, or left alone.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())
        .map_err(|error| CliError::new(Exit::Other, "cannot listen to signals").because_of(&error))?;
    let folder = tempfile::Builder::new()
        .prefix("callsign-demo-etcd-")
        .tempdir()
        .map_err(|error| failed("there is no folder for its data").because_of(&error))?;
    let ports = free_ports().map_err(|error| failed("there are no free ports").because_of(&error))?;
    let mut etcd = start(&args.program, folder.path(), ports)?;
    let url = format!("etcd://{}:{}", Ipv4Addr::LOCALHOST, ports[0]);
    let told = async {
        tokio::select! {
            biased;
            _ = terminated.recv() => {}
            () = left_alone() => {}
        }
    };
    let serve = async {
        match tokio::time::timeout(START_MAX, answers(&url)).await {
            Ok(answered) => answered?,
            Err(_) => {
                return Err(failed(&format!("it does not answer within {}", units::short(START_MAX))));
            }
        }
        context.out.write(&format!("{url}\n"))?;
        std::future::pending().await
    };
    let ended = tokio::select! {
        biased;
        () = told => Ok(()),
        status = etcd.wait() => Err(fallen(status, folder.path())),
        served = serve => served,
    };
    end(etcd).await;
    ended
}

fn start(program: &Path, folder: &Path, [client, peer]: [u16; 2]) -> Result<Child> {
    let url = |port| format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
    let log = File::create(folder.join(LOG))
        .map_err(|error| failed("its log cannot be written").because_of(&error))?;
    Command::new(program)
        .args(["--name", "demo"])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)])
        .args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)])
        .args(["--initial-cluster", &format!("demo={}", url(peer))])
        // Every ETCD_* of ours would be a setting of its own.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed("the system refuses").because_of(&error))
}

/// Returns once the etcd at `url` answers: a watch tries for ever, and begins with what is there.
async fn answers(url: &str) -> Result<()> {
    let registry = open_with(&url.parse::<RegistryUrl>()?, &Access::new())?;
    let mut watch = registry.watch(&WatchOptions::default()).await?;
    while let Some(event) = watch.next().await {
        if let WatchEvent::SnapshotDone(_) = event {
            break;
        }
    }
    Ok(())
}

/// Two ports on loopback that are free now.
fn free_ports() -> std::io::Result<[u16; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // Both are held until both are known.
    let (one, two) = (bind()?, bind()?);
    Ok([one.local_addr()?.port(), two.local_addr()?.port()])
}

async fn end(mut etcd: Child) {
    let pid = etcd.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(END_MAX, etcd.wait()).await.is_err() {
        let _ = etcd.kill().await;
    }
}

fn fallen(status: std::io::Result<ExitStatus>, folder: &Path) -> CliError {
    let error = CliError::new(Exit::Other, "the demo's etcd ended by itself");
    let log = std::fs::read_to_string(folder.join(LOG)).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    match (status, &lines[lines.len().saturating_sub(LINES_SHOWN)..]) {
        (Ok(status), []) => error.because(status.to_string()),
        (Err(problem), []) => error.because_of(&problem),
        (_, last) => error.because(last.join("\n")),
    }
}

fn failed(what: &str) -> CliError {
    CliError::new(Exit::Other, format!("cannot start an etcd for the demo: {what}"))
}
