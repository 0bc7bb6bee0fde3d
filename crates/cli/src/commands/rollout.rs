//! `callsign rollout verify`: watches a rolling restart, and says whether a call was lost.

mod clients;
mod ledger;
mod probes;
mod summary;

use std::time::Duration;

use callsign::{
    Channel,
    client::{NodeState, NodeStatus},
    core::ServiceName,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::{
    clients::{Counted, Page},
    ledger::{Event, Instance, Ledger, Seen},
    probes::Probes,
    summary::{Summary, millis, seconds},
};
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    output::printable,
    units,
};

/// Follow a rolling restart.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Verify(Verify),
}

/// Watch a rolling restart, and say whether a call was lost.
///
/// Begin it before the restart. It ends when every node that was there at the start has been replaced by another process, and says
/// when each one drained, left and came back. Meanwhile it calls the service by name as any client does, with gRPC health checks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        callsign rollout verify greeter --timeout 5m\n  \
        callsign rollout verify greeter --rate 200 --metrics http://10.0.0.9:9090/metrics\n  \
        callsign rollout verify greeter -o json | jq .probes.failed\n\n\
        It ends with 8 if a probe failed or not all nodes were replaced, else with 1 if a client's metrics were gone at the end.")]
struct Verify {
    /// The service's name
    name: String,
    /// Probes a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// How long to wait for all nodes to be replaced
    #[arg(long, short, value_parser = units::parse_duration, value_name = "DURATION", default_value = "10m")]
    timeout: Duration,
    /// A client's metrics, read before and after; for a token, set CALLSIGN_METRICS_TOKEN
    #[arg(long, value_parser = Page::parse, value_name = "URL")]
    metrics: Vec<Page>,
}

/// How often it is looked who is there.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long nodes get to be connected to before the start.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// How long probes go on after the last node is back: what was sent to the one before may be under way.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let Command::Verify(args) = &args.command;
    let service = ServiceName::new(&args.name)?;
    let registry = context.registry()?;
    context.service(&*registry, &service).await?;
    let builder =
        Channel::builder(service.as_str()).registry(registry).domain(context.settings.domain.clone());
    let channel = context.settings.tls.apply(builder)?.build()?;
    if !channel.settled(SETTLE_MAX).await {
        context.out.note("not all nodes could be connected to");
    }
    let before: Vec<Counted> = args.read_pages(context).await.into_iter().collect::<Result<_>>()?;
    let (ledger, took, probes) = args.watch(&channel, context).await;
    let after = args.read_pages(context).await;
    let pages = args.metrics.iter().zip(before.into_iter().zip(after));
    let clients = pages.map(|(page, (before, after))| page.between(before, after)).collect();
    let summary = Summary::new(service.to_string(), &ledger, took, probes, clients);
    channel.close().await;
    context.out.print(&summary)?;
    match summary.unreadable() {
        _ if !summary.is_good() => Err(CliError::quiet(Exit::CheckFailed)),
        0 => Ok(()),
        n => Err(CliError::new(Exit::Other, "the verdict is incomplete").because(format!(
            "what {n} of {} clients counted could not be read at the end",
            args.metrics.len()
        ))),
    }
}

// === impl Verify ===

impl Verify {
    /// Follows the nodes to the end of the rollout, or of the time.
    async fn watch(&self, channel: &Channel, context: &Context) -> (Ledger, Duration, probes::Tally) {
        let began = Instant::now();
        let mut ledger = Ledger::new(seen(channel).into_iter().map(|seen| seen.instance));
        let nodes = ledger.places.len();
        context.out.note(&format!(
            "watching {nodes} {} of {}, with {} probes a second: begin the restart",
            if nodes == 1 { "node" } else { "nodes" },
            self.name,
            self.rate
        ));
        let probes = Probes::start(channel.clone(), self.rate);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = 0;
        while !ledger.is_complete() && began.elapsed() < self.timeout {
            ticks.tick().await;
            let at = began.elapsed();
            for (place, event) in ledger.observe(at, &seen(channel)) {
                self.tell(&ledger, place, event, at, context);
            }
            let now = probes.tally().failed;
            if now > std::mem::replace(&mut failed, now) {
                context.out.note(&format!("{:>8}  {now} probes have failed", seconds(millis(at))));
            }
        }
        let took = began.elapsed();
        if ledger.is_complete() {
            tokio::time::sleep(AFTERMATH).await;
        }
        (ledger, took, probes.tally())
    }

    fn tell(&self, ledger: &Ledger, place: usize, event: Event, at: Duration, context: &Context) {
        let Some(place) = ledger.places.get(place) else { return };
        let old = &place.old.id;
        let what = match (event, &place.new) {
            (Event::Drained, _) => format!("{old} drains"),
            (Event::Left, _) => format!("{old} has left"),
            (Event::Returned, _) => format!("{old} is there again, and the same process"),
            (Event::Back, Some(new)) if new.id != *old => {
                format!("{old} is replaced by {} at {}, version {}", new.id, new.address, new.version)
            }
            (Event::Back, new) => {
                let (address, version) =
                    new.as_ref().map(|new| (&*new.address, &*new.version)).unwrap_or_default();
                format!("{old} is back at {address}, version {version}")
            }
        };
        let count = format!("{}/{}", ledger.replaced(), ledger.places.len());
        let line = format!("{:>8}  {count}  {what}", seconds(millis(at)));
        context.out.say(&printable(&line, false));
    }

    async fn read_pages(&self, context: &Context) -> Vec<Result<Counted>> {
        let token = context.settings.metrics_token.as_ref().map(|token| token.reveal());
        let mut counted = Vec::new();
        for page in &self.metrics {
            counted.push(page.read(&self.name, token).await);
        }
        counted
    }
}

/// Who is there, as a client sees it.
fn seen(channel: &Channel) -> Vec<Seen> {
    let seen = |status: NodeStatus| Seen {
        instance: Instance {
            id: status.node.id().to_string(),
            address: status.node.address().to_owned(),
            version: status.node.version().to_owned(),
            started: status.node.started(),
        },
        draining: status.node.weight() == Some(0) || status.state == NodeState::Leaving,
        ready: status.state == NodeState::Ready && status.node.weight() != Some(0),
    };
    channel.nodes().into_iter().map(seen).collect()
}
