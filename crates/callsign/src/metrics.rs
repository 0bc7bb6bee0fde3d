//! What channels and servers have counted, for Prometheus and for programs.
//!
//! Nothing is counted for the sake of metrics: calls leave their traces on their nodes anyway, since selection goes by them. A
//! [`Metrics`] knows where to look, and looks when it is read, so that the calls of a program which nobody scrapes cost nothing more.
//!
//! There is no list of everything in the process. A program makes a [`Metrics`], says which channels and servers belong to it, and
//! offers it on an [`Admin`] address, or mounts [`Metrics::text`] wherever it has its other pages.
//!
//! ```no_run
//! # async fn example(channel: callsign::Channel, server: callsign::Server) -> callsign::Result<()> {
//! use callsign::metrics::{Admin, Metrics};
//!
//! let metrics = Metrics::new();
//! metrics.add_channel(&channel);
//! metrics.add_server(server.handle());
//! let admin = Admin::bind(([127, 0, 0, 1], 9901).into(), None, metrics).await?;
//! println!("metrics at http://{}/metrics", admin.local_addr());
//! # Ok(()) }
//! ```

mod admin;
mod client;
mod page;
mod server;
mod table;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

pub use self::admin::Admin;
use self::page::Page;
pub use self::table::{Kind, Metric};
use crate::{
    CallOptions, Channel,
    client::WeakChannel,
    server::{Handle, Phase},
};

/// Calls of each channel that are explained on one page.
const CALLS_SHOWN: usize = 20;

/// Where to look for what was counted. Clones are the same.
///
/// It keeps no channel alive; one that is gone, or a server that has stopped, is shown no more.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Sources>>);

#[derive(Default)]
struct Sources {
    channels: Vec<WeakChannel>,
    servers: Vec<Handle>,
}

// === impl Metrics ===

impl Metrics {
    /// Nothing to look at yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All metrics that there are, with what each means.
    #[must_use]
    pub fn all() -> &'static [Metric] {
        &table::ALL
    }

    /// Shows a channel too. Two channels to one service are told apart by nothing: their numbers are added up.
    pub fn add_channel(&self, channel: &Channel) {
        self.sources().channels.push(channel.downgrade());
    }

    /// Shows a server too.
    pub fn add_server(&self, handle: Handle) {
        self.sources().servers.push(handle);
    }

    /// All of it as it is now, in Prometheus' text format (version 0.0.4).
    #[must_use]
    pub fn text(&self) -> String {
        let (channels, servers) = self.alive();
        let (mut page, now) = (Page::default(), Instant::now());
        channels.iter().for_each(|channel| client::write(&mut page, channel, now));
        servers.iter().for_each(|handle| server::write(&mut page, handle));
        page.to_string()
    }

    /// What each channel says of its next call.
    fn explained(&self) -> String {
        let (channels, _) = self.alive();
        let explain = |channel: &Channel| format!("{}\n", channel.explain(&CallOptions::new()));
        channels.iter().map(explain).collect()
    }

    /// Why the last calls of each channel went where they went.
    fn calls(&self) -> String {
        let (channels, _) = self.alive();
        let calls = channels.iter().flat_map(|channel| channel.explain_calls(CALLS_SHOWN));
        calls.map(|call| format!("{call}\n\n")).collect()
    }

    /// Those that are still there; the others are forgotten.
    fn alive(&self) -> (Vec<Channel>, Vec<Handle>) {
        let mut sources = self.sources();
        sources.servers.retain(|handle| handle.phase() != Phase::Stopped);
        sources.channels.retain(|channel| channel.upgrade().is_some());
        (sources.channels.iter().filter_map(WeakChannel::upgrade).collect(), sources.servers.clone())
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.sources();
        f.debug_struct("Metrics")
            .field("channels", &sources.channels.len())
            .field("servers", &sources.servers.len())
            .finish()
    }
}
