//! Whole fleets: nodes and clients are processes of their own, things go wrong, and each figure is held to a pass mark.
//!
//! Calls are begun at a pace that does not depend on their answers, and a latency is counted from when its call was due: a client
//! that waits for a slow node does not spare it further calls. What nodes did is counted by the nodes. Whatever fails is a
//! process that is told to be slow, to fail, or to die, or a proxy between; everything is on the loopback of this machine, so
//! absolute times say how busy it was, and rows of one table are to be compared with each other.

mod child;
mod client;
mod curve;
mod cut_off;
mod growth;
mod hedging;
mod kills;
mod load;
mod node;
mod overload;
mod resets;
mod restarts;
mod tiers;
mod uneven;
mod view;
mod work;

use std::{process::ExitCode, time::Duration};

use tokio::runtime::{Builder, Runtime};

pub(crate) use self::{
    cut_off::cut_off,
    growth::{even, growth},
    hedging::hedging,
    kills::kills,
    overload::overload,
    resets::resets,
    restarts::restarts,
    tiers::tiers,
    uneven::{failing, slow},
};
use crate::frame::{Metric, Settings};

/// How long anything may take on a busy machine before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many times a settings' span a fleet is watched: seconds, where picks need milliseconds.
const SPANS: u32 = 200;

/// A node's or a client's process, if that is what the arguments ask for.
pub(crate) fn child(role: &str, rest: &[String]) -> Option<ExitCode> {
    let [options] = rest else { return None };
    match role {
        node::ROLE => node::main(options),
        client::ROLE => client::main(options),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn runtime(threads: usize) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.expect("a runtime")
}

/// For how long a fleet is watched.
fn span(settings: &Settings) -> Duration {
    settings.span * SPANS
}

/// Columns, with their digits after the point.
fn columns<const N: usize>(named: [(&'static str, usize); N]) -> [Metric; N] {
    named.map(|(name, digits)| Metric { name, digits })
}
