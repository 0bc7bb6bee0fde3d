//! The course of the demo: what is done to the nodes, and when.

use std::{future::Future, process::ExitStatus, sync::Arc, time::Duration};

use callsign::core::{
    Registry, ServiceName, WatchEvent,
    registry::{ListOptions, WatchOptions},
};
use tokio::time::Instant;

use super::{
    attempts::Attempts,
    fleet::Fleet,
    node::SERVICE,
    stage::{Life, Stage, Weight},
};
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    units,
};

/// What the script needs, and what it did.
pub(super) struct Script {
    pub(super) stage: Stage,
    pub(super) fleet: Fleet,
    pub(super) attempts: Arc<Attempts>,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) domain: callsign::core::Domain,
    pub(super) ids: Vec<String>,
    pub(super) deeds: Deeds,
}

/// What was done, for the summary.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    pub(super) killed: Option<Killed>,
    pub(super) restarted: Option<Restarted>,
}

#[derive(Debug)]
pub(super) struct Killed {
    pub(super) id: String,
    pub(super) at: Instant,
    /// When the registry told of it.
    pub(super) seen: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Restarted {
    pub(super) id: String,
    pub(super) drained: Duration,
    pub(super) back: Option<Duration>,
}

/// Nodes at the start, and in all.
const NODES_AT_START: usize = 3;
const NODES: usize = NODES_AT_START + 1;

/// When each deed is done, in parts of the whole.
const ADD_AT: f64 = 0.15;
const KILL_AT: f64 = 0.35;
const RESTART_AT: f64 = 0.55;

/// The version of the first nodes, and of those started later.
const OLD: &str = "1.0.0";
const NEW: &str = "1.1.0";

/// How long a node may take to be there.
const START_MAX: Duration = Duration::from_secs(15);

/// How long a node may take to leave in order.
const DRAIN_MAX: Duration = Duration::from_secs(15);

/// How long is waited for the registry to tell of a dead node.
const SEEN_MAX: Duration = Duration::from_secs(30);

/// Ids for the nodes that nobody has: those of an earlier demo that was told to keep its nodes are left alone.
///
/// # Errors
///
/// When the registry does not answer.
pub(super) async fn free_ids(context: &Context, registry: &dyn Registry) -> Result<Vec<String>> {
    let listing = registry.list(&ListOptions::in_domain(context.settings.domain.clone())).await?;
    let taken = |id: &String| {
        listing.nodes.iter().any(|node| *node.service() == SERVICE && *node.id() == id.as_str())
    };
    Ok((1..).map(|number| format!("{SERVICE}-{number}")).filter(|id| !taken(id)).take(NODES).collect())
}

/// How a process ended, in a few words.
fn end(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

// === impl Script ===

impl Script {
    /// Starts the first nodes, and waits until the client can call each of them.
    ///
    /// # Errors
    ///
    /// When one does not come up, with what it said.
    pub(super) async fn open(&mut self) -> Result<()> {
        self.stage.say(
            Weight::Deed,
            format!("starting {NODES_AT_START} nodes of {SERVICE}, each a process of its own"),
        );
        let ids: Vec<_> = self.ids[..NODES_AT_START].to_vec();
        for id in &ids {
            self.start(id, OLD)?;
        }
        for id in &ids {
            self.ready(id).await?;
        }
        self.stage.say(Weight::Good, format!("the client sees all of them in {}", self.registry));
        Ok(())
    }

    /// Does what is to be done in the `whole`, counted from `began`.
    ///
    /// # Errors
    ///
    /// When a node does not do its part.
    pub(super) async fn play(&mut self, began: Instant, whole: Duration) -> Result<()> {
        let at = |part: f64| tokio::time::sleep_until(began + whole.mul_f64(part));
        at(ADD_AT).await;
        self.add().await?;
        at(KILL_AT).await;
        self.kill().await?;
        at(RESTART_AT).await;
        self.restart().await?;
        at(1.0).await;
        Ok(())
    }

    async fn add(&mut self) -> Result<()> {
        let id = self.ids[NODES - 1].clone();
        self.stage.say(Weight::Deed, format!("adding a fourth node, {id}, version {NEW}"));
        let began = Instant::now();
        self.start(&id, NEW)?;
        self.ready(&id).await?;
        self.stage
            .say(Weight::Good, format!("{id} is called {} after its start", units::short(began.elapsed())));
        Ok(())
    }

    async fn kill(&mut self) -> Result<()> {
        let id = self.ids[1].clone();
        let seen = self.removal(&id).await?;
        self.stage.say(Weight::Deed, format!("killing {id} with SIGKILL, in the middle of its calls"));
        let at = Instant::now();
        self.attempts.watch(&id, at);
        self.fleet.kill(&id)?;
        self.stage.update(&id, |node| node.life = Life::Killed);
        let _ = self.fleet.ended(&id).await?;
        let seen = tokio::time::timeout(SEEN_MAX, seen).await.ok().flatten();
        let failed = self.stage.tally().totals(Instant::now()).failed;
        let word = match seen {
            Some(seen) => format!("left the view {} later", units::short(seen - at)),
            None => format!("was not seen to go within {}", units::short(SEEN_MAX)),
        };
        self.stage.say(Weight::Good, format!("{id} is dead and {word}; {failed} calls failed so far"));
        self.deeds.killed = Some(Killed { id, at, seen });
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        let id = self.ids[2].clone();
        self.stage
            .say(Weight::Deed, format!("restarting {id} as {NEW} with SIGTERM: it leaves first, then ends"));
        let began = Instant::now();
        self.stage.update(&id, |node| node.life = Life::Draining);
        self.fleet.terminate(&id)?;
        let ended = tokio::time::timeout(DRAIN_MAX, self.fleet.ended(&id)).await;
        let status = ended.map_err(|_| {
            CliError::new(Exit::Other, format!("{id} did not end within {}", units::short(DRAIN_MAX)))
        })??;
        let drained = began.elapsed();
        self.stage.update(&id, |node| node.life = Life::Stopped);
        let weight = if status.success() { Weight::Good } else { Weight::Bad };
        self.stage.say(
            weight,
            format!(
                "{id} left, finished its calls and ended after {}, {}",
                units::short(drained),
                end(status)
            ),
        );
        self.deeds.restarted = Some(Restarted { id: id.clone(), drained, back: None });
        self.start(&id, NEW)?;
        self.ready(&id).await?;
        let back = began.elapsed();
        self.stage.say(
            Weight::Good,
            format!("{id} is back as {NEW}, {} after it was told to go", units::short(back)),
        );
        if let Some(restarted) = &mut self.deeds.restarted {
            restarted.back = Some(back);
        }
        Ok(())
    }

    fn start(&mut self, id: &str, version: &str) -> Result<()> {
        self.stage.enter(id, version);
        self.fleet.start(id, version).map(|_| ())
    }

    /// Waits until the client can call a node.
    async fn ready(&mut self, id: &str) -> Result<()> {
        let stage = self.stage.clone();
        tokio::select! {
            biased;
            () = stage.until(id, Life::Ready) => Ok(()),
            fallen = self.fleet.fallen() => Err(fallen),
            () = tokio::time::sleep(START_MAX) => {
                let error = format!("the node {id} could not be called within {}", units::short(START_MAX));
                Err(CliError::new(Exit::NoNode, error).hint("run `callsign ls nodes` while the demo runs, to see whether it registered"))
            }
        }
    }

    /// The moment at which the registry tells that a node has gone; it is being watched when this returns.
    async fn removal(&self, id: &str) -> Result<impl Future<Output = Option<Instant>> + use<>> {
        let options = WatchOptions::in_domain(self.domain.clone()).of(ServiceName::new(SERVICE)?);
        let mut watch = self.registry.watch(&options).await?;
        while !matches!(watch.next().await, None | Some(WatchEvent::SnapshotDone(_))) {}
        let id = id.to_owned();
        Ok(async move {
            loop {
                match watch.next().await? {
                    WatchEvent::Remove(key, _, _) if key.id == id.as_str() => return Some(Instant::now()),
                    _ => {}
                }
            }
        })
    }
}
