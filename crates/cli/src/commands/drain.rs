//! `callsign drain` and `callsign undrain`: a node gets no more calls, and gets calls again, without being ended.

mod node;

use std::{path::PathBuf, time::Duration};

use callsign::{Error, ErrorKind, Operator, Standing};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use self::node::Meant;
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    output::{Paint, Render, printable},
    units,
};

/// Have a node get no more calls, and go on.
///
/// The node itself is told, and tells everybody: its entry in the registry gets a weight of zero, it answers health checks with
/// NOT_SERVING, and its replies say so too. Its server must allow it (`Builder::operators`). It lasts until `callsign undrain`, or
/// until the node is started again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        callsign drain greeter greeter-1 --wait\n  \
        callsign drain greeter 10.0.0.7:4000 --unlist\n  \
        callsign undrain greeter greeter-1\n\n\
        It ends with 6 if calls are still in flight after --timeout, and with 7 if the node does not allow it.")]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Wait until no call is in flight on it
    #[arg(long)]
    wait: bool,
    /// Take its entry out of the registry too, for clients that do not go by weights, as go-micro's do
    ///
    /// It is then to be undrained by its address.
    #[arg(long)]
    unlist: bool,
}

/// Have a drained node get calls again.
///
/// Its share grows little by little, as that of a new node does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
        callsign undrain greeter greeter-1\n  \
        callsign undrain greeter 10.0.0.7:4000")]
pub(crate) struct UndrainArgs {
    #[command(flatten)]
    whom: Whom,
}

/// Which node, and by what right.
#[derive(Debug, clap::Args)]
struct Whom {
    /// The service's name
    name: String,
    /// The node's id, or its address
    node: String,
    /// How long all of it may take [env: CALLSIGN_TIMEOUT] [default: 30s]
    #[arg(long, short, value_parser = units::parse_duration, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// The file with the token that the node wants [env: CALLSIGN_OPERATOR_TOKEN, the token itself]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// How often the node is asked while something is waited for.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often it is told that there is nothing new.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// How the node stands in the end. Part of the interface: keys are added, never renamed.
#[derive(Debug, Serialize)]
struct Shown {
    service: String,
    id: String,
    address: String,
    drained: bool,
    /// Whether the registry shows it.
    carried_out: bool,
    inflight: u64,
    calls: u64,
}

/// A node that has been told something, and what is waited for.
struct Waiting<'a> {
    operator: &'a Operator,
    meant: &'a Meant,
    context: &'a Context,
    deadline: Instant,
}

/// Runs `callsign drain`.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let Whom { name, node, timeout, token_file } = &args.whom;
    let deadline = deadline(*timeout, context);
    let meant = Meant::find(name, node, context).await?;
    let operator = meant.operator(token_file.as_deref(), context)?;
    meant.warn_of_the_last(context);
    let before = operator.drain(&meant.node, args.unlist).await.map_err(refused)?;
    let waiting = Waiting { operator: &operator, meant: &meant, context, deadline };
    let standing = waiting.until(before, |now| now.carried_out && (!args.wait || now.inflight == 0)).await?;
    meant.show(&standing, context)
}

/// Runs `callsign undrain`.
pub(crate) async fn undrain(args: &UndrainArgs, context: &Context) -> Result<()> {
    let Whom { name, node, timeout, token_file } = &args.whom;
    let deadline = deadline(*timeout, context);
    let meant = Meant::find(name, node, context).await?;
    let operator = meant.operator(token_file.as_deref(), context)?;
    let before = operator.undrain(&meant.node).await.map_err(refused)?;
    let waiting = Waiting { operator: &operator, meant: &meant, context, deadline };
    let standing = waiting.until(before, |now| now.carried_out).await?;
    meant.show(&standing, context)
}

fn deadline(timeout: Option<Duration>, context: &Context) -> Instant {
    Instant::now() + timeout.or(context.settings.timeout).unwrap_or(TIMEOUT_DEFAULT)
}

/// A node's refusal ends the program otherwise than a registry's.
fn refused(error: Error) -> CliError {
    let exit = match error.kind() {
        ErrorKind::Unsupported | ErrorKind::PermissionDenied => Exit::NotAllowed,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Unavailable | ErrorKind::Closed => Exit::NoNode,
        _ => Exit::Other,
    };
    CliError::from(error).exit_as(exit)
}

// === impl Waiting ===

impl Waiting<'_> {
    /// Asks the node until it stands as wanted, and tells how far it is.
    async fn until(&self, first: Standing, enough: impl Fn(&Standing) -> bool) -> Result<Standing> {
        let mut ticks = interval_at(Instant::now(), ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut standing = first;
        let mut told: Option<(String, Instant)> = None;
        while !enough(&standing) {
            let words = progress(&standing);
            let stale = |(last, at): &(String, Instant)| *last != words || at.elapsed() >= TELL_EVERY;
            if told.as_ref().is_none_or(stale) {
                self.context.out.note(&words);
                told = Some((words, Instant::now()));
            }
            let asked = async {
                ticks.tick().await;
                self.operator.ask(&self.meant.node).await
            };
            standing = match timeout_at(self.deadline, asked).await {
                Ok(standing) => standing.map_err(refused)?,
                Err(_) => return Err(self.late(&standing)),
            };
        }
        Ok(standing)
    }

    fn late(&self, standing: &Standing) -> CliError {
        let id = &standing.node;
        let error = match standing.carried_out {
            true => CliError::new(Exit::Deadline, format!("{id} still has {}", calls(standing.inflight)))
                .hint("it stays drained: wait on with the same command, or look which calls last so long"),
            false => CliError::new(Exit::Deadline, format!("the registry does not show it of {id} yet"))
                .hint("the node goes on trying; see whether the registry can be reached from there"),
        };
        error.because("the time that --timeout gives is over")
    }
}

fn progress(standing: &Standing) -> String {
    match standing.carried_out {
        false => "the node knows; waiting for the registry to show it".to_owned(),
        true => format!("waiting for {}", calls(standing.inflight)),
    }
}

fn calls(inflight: u64) -> String {
    match inflight {
        1 => "1 call in flight".to_owned(),
        calls => format!("{calls} calls in flight"),
    }
}

// === impl Meant ===

impl Meant {
    fn show(&self, standing: &Standing, context: &Context) -> Result<()> {
        context.out.print(&Shown {
            service: self.node.service().to_string(),
            id: standing.node.clone(),
            address: self.node.address().to_owned(),
            drained: standing.drained,
            carried_out: standing.carried_out,
            inflight: standing.inflight,
            calls: standing.started,
        })
    }
}

impl Render for Shown {
    type Data = Self;

    fn data(&self) -> &Self {
        self
    }

    fn text(&self, _: bool, paint: Paint) -> Vec<String> {
        let state = if self.drained { "drained" } else { "takes calls again" };
        let line = format!("{} {state}, {}", self.id, calls(self.inflight));
        vec![paint.bold(printable(&line, false))]
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.clone()]
    }
}
