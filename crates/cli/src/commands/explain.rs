//! `callsign explain`: where the next call would go, and why not elsewhere.

use std::time::Duration;

use callsign::{
    CallOptions,
    client::{Explanation, NodeExplanation},
    core::select::Filter,
};
use serde::Serialize;

use super::aim::Aim;
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    output::{Align, Paint, Render, Table, printable},
    units,
};

/// Show where the next call to a service would go, and why not to the other nodes.
///
/// The first line says what matters most. Each node is connected to, as a call would, and none is called. What one client has found
/// out by its calls, such as which node it leaves alone, another does not know: ask that one, by `Channel::explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        callsign explain greeter\n  \
        callsign explain greeter --zone eu-1a --node-version 2 -o wide\n  \
        callsign explain 'registry://greeter?near=eu-1a&subset=20'\n  \
        callsign explain greeter -o json | jq -r '.nodes[] | select(.because == \"filter\").id'\n\n\
        It ends with 5 if no node can take the call.")]
pub(crate) struct Args {
    /// The service's name, or a target like `registry://greeter?near=eu-1a`
    name: String,
    #[command(flatten)]
    aim: Aim,
    /// Call nodes in this zone only
    #[arg(long)]
    zone: Option<String>,
    /// What the call is about, for strategies and splits that go by a key
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// How long nodes get to be connected to [env: CALLSIGN_TIMEOUT] [default: 5s]
    #[arg(long, short, value_parser = units::parse_duration, value_name = "DURATION")]
    timeout: Option<Duration>,
}

/// Nodes that do not answer within this are shown as they are then.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// An explanation as JSON and YAML show it. Part of the interface: keys are added, never renamed.
#[derive(Debug, Serialize)]
struct Shown {
    summary: String,
    strategy: String,
    /// So few nodes can be used that verdicts on their health are ignored.
    panic: bool,
    nodes: Vec<Row>,
}

/// One node.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    address: String,
    version: String,
    weight: Option<u16>,
    group: Option<String>,
    zone: Option<String>,
    /// Whether the next call may go to it.
    candidate: bool,
    /// Of the calls, what may go to it and to those like it, from 0 to 1.
    share: f64,
    /// One word for what is against it; `null` when nothing is.
    because: Option<&'static str>,
    /// The same as a sentence, or whatever else there is to be said.
    reason: Option<String>,
    state: Option<String>,
    verdict: Option<String>,
    inflight: Option<u32>,
    calls: Option<u64>,
    latency_us: Option<u64>,
    cost_us: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let channel = args.aim.channel(&args.name, true, context).await?;
    let mut options = args.aim.narrow(CallOptions::new())?;
    if let Some(zone) = &args.zone {
        options = options.filter(Filter::zone(zone));
    }
    if let Some(key) = &args.key {
        options = options.hash_key(key.as_bytes());
    }
    let timeout = args.timeout.or(context.settings.timeout).unwrap_or(TIMEOUT_DEFAULT);
    if !channel.settled(timeout).await {
        let waited = units::short(timeout);
        context.out.note(&format!("not all nodes could be connected to within {waited}"));
    }
    let shown = Shown::new(&channel.explain(&options));
    channel.close().await;
    context.out.print(&shown)?;
    match shown.nodes.iter().any(|node| node.candidate) {
        true => Ok(()),
        false => Err(CliError::quiet(Exit::NoNode)),
    }
}

// === impl Shown ===

impl Shown {
    fn new(explanation: &Explanation) -> Self {
        Self {
            summary: explanation.summary.clone(),
            strategy: explanation.strategy.to_string(),
            panic: explanation.panic,
            nodes: explanation.nodes.iter().map(Row::new).collect(),
        }
    }
}

impl Render for Shown {
    type Data = Self;

    fn data(&self) -> &Self {
        self
    }

    fn text(&self, wide: bool, paint: Paint) -> Vec<String> {
        let mut lines = vec![paint.bold(printable(&self.summary, false))];
        if self.nodes.is_empty() {
            return lines;
        }
        let mut columns = vec![("TAKES", Align::Right), ("ID", Align::Left), ("ADDRESS", Align::Left)];
        if wide {
            columns.extend([
                ("VERSION", Align::Left),
                ("WEIGHT", Align::Right),
                ("GROUP", Align::Left),
                ("ZONE", Align::Left),
                ("STATE", Align::Left),
                ("VERDICT", Align::Left),
                ("INFLIGHT", Align::Right),
                ("COST", Align::Right),
            ]);
        }
        columns.push(("WHY", Align::Left));
        let mut table = Table::new(columns);
        self.nodes.iter().for_each(|node| table.row(&node.cells(wide)));
        lines.push(String::new());
        lines.extend(table.lines(paint));
        lines
    }

    fn names(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| node.candidate).map(|node| node.id.clone()).collect()
    }
}

// === impl Row ===

impl Row {
    fn new(explained: &NodeExplanation) -> Self {
        let node = &explained.node;
        let status = explained.status.as_ref();
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            id: node.id().to_string(),
            address: node.address().to_owned(),
            version: node.version().to_owned(),
            weight: node.weight(),
            group: node.group().map(str::to_owned),
            zone: node.zone().map(str::to_owned),
            candidate: explained.is_candidate(),
            share: explained.share,
            because: explained.obstacle.as_ref().map(|obstacle| obstacle.code()),
            reason: explained.remark(),
            state: status.map(|status| status.state.to_string()),
            verdict: status.map(|status| status.verdict.to_string()),
            inflight: status.map(|status| status.inflight),
            calls: status.map(|status| status.calls),
            latency_us: status.and_then(|status| status.latency).map(micros),
            cost_us: explained.cost.map(micros),
        }
    }

    fn cells(&self, wide: bool) -> Vec<String> {
        let takes = match self.candidate {
            // Calls that are divided, and not down to the last per cent.
            true if self.share < 0.995 => format!("{:.0} %", self.share * 100.0),
            true => "yes".to_owned(),
            false => "no".to_owned(),
        };
        let mut cells = vec![takes, self.id.clone(), self.address.clone()];
        if wide {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let number = |number: Option<String>| number.unwrap_or_default();
            cells.extend([
                self.version.clone(),
                number(self.weight.map(|weight| weight.to_string())),
                text(&self.group),
                text(&self.zone),
                text(&self.state),
                text(&self.verdict),
                number(self.inflight.map(|inflight| inflight.to_string())),
                number(self.cost_us.map(|cost| units::short(Duration::from_micros(cost)))),
            ]);
        }
        cells.push(self.reason.clone().unwrap_or_default());
        cells
    }
}
