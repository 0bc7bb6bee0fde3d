//! The registry of a demo that has none: an etcd that is started for it, and ended with it.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdin, Command},
};

use super::node::KEEP;
use crate::{
    config::{Setting, Source, registry_url},
    context::Context,
    error::{CliError, Result},
    exit::Exit,
};

/// A process that keeps an etcd for as long as the demo lives.
#[derive(Debug)]
pub(super) struct Host {
    child: Child,
    stdin: ChildStdin,
    url: String,
}

/// What it says when it cannot begin is not longer.
const WORDS_BYTES_MAX: u64 = 64 * 1024;

// === impl Host ===

impl Host {
    /// Starts one if the settings name etcd and no address of it.
    ///
    /// # Errors
    ///
    /// When no etcd is installed, or when it does not start.
    pub(super) async fn if_wanted(context: &Context) -> Result<Option<Self>> {
        let url = registry_url(&context.settings)?;
        if url.scheme() != "etcd" || !url.authority().is_empty() {
            return Ok(None);
        }
        let Some(etcd) = context.settings.find_program("etcd") else { return Err(not_installed()) };
        context.out.note(&format!("starting {} for the demo", etcd.display()));
        let failed = |what: &str| CliError::new(Exit::Other, format!("cannot start an etcd: {what}"));
        let mut child = Command::new(context.program()?)
            .arg("demo-etcd")
            .arg("--program")
            .arg(etcd)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the demo, which ends it last.
            .process_group(0)
            .spawn()
            .map_err(|error| failed("the system refuses").because_of(&error))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("its pipes are missing"));
        };
        match BufReader::new(stdout).lines().next_line().await {
            Ok(Some(url)) => Ok(Some(Self { child, stdin, url })),
            Ok(None) => Err(failed("it ended at once").because(words(stderr).await)),
            Err(error) => Err(failed("it cannot be read").because_of(&error)),
        }
    }

    /// The settings, with this registry in them.
    pub(super) fn put_in(&self, context: &Context) -> Context {
        let mut context = context.clone();
        context.settings.registry = Setting { value: self.url.clone(), source: Source::Flag("--registry") };
        context.settings.registry_address = None;
        // Nobody has to say who they are.
        context.settings.access = Default::default();
        context
    }

    /// Lets the etcd stay when the demo ends, and gives the process that ends it.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    pub(super) async fn keep(mut self) -> Result<Option<u32>> {
        let told = async {
            self.stdin.write_all(KEEP).await?;
            self.stdin.flush().await
        };
        told.await.map_err(|error| {
            CliError::new(Exit::Other, "cannot tell the demo's etcd to stay").because_of(&error)
        })?;
        Ok(self.child.id())
    }

    /// Ends it, and waits until it has.
    pub(super) async fn end(self) {
        let Self { mut child, stdin, url: _ } = self;
        drop(stdin);
        // It sees to the etcd itself, within a few seconds.
        let _ = child.wait().await;
    }
}

fn not_installed() -> CliError {
    CliError::new(Exit::Other, "the demo has no etcd to show").because("there is no program `etcd` on the path").hint(
        "install it (on Debian: apt-get install etcd-server; elsewhere see https://etcd.io/docs/latest/install), \
         or name one that runs: --registry etcd://HOST:2379",
    )
}

async fn words(stderr: ChildStderr) -> String {
    let mut words = String::new();
    let _ = stderr.take(WORDS_BYTES_MAX).read_to_string(&mut words).await;
    words.trim_end().trim_start_matches("error: ").to_owned()
}
