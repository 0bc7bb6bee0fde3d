//! `callsign demo`: the main job, to be seen: nodes come, die and leave, and no call fails.

mod attempts;
pub(crate) mod etcd;
mod fleet;
mod frame;
mod host;
mod load;
pub(crate) mod node;
mod screen;
mod script;
mod stage;
mod summary;
mod tally;

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use callsign::{Channel, client::NodeState as Link, core::Tasks};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior},
};

use self::{
    attempts::Attempts,
    fleet::Fleet,
    host::Host,
    node::SERVICE,
    screen::Screen,
    script::{Deeds, Script, free_ids},
    stage::{Life, NodeState, Stage, Weight},
    summary::Summary,
};
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    output::Format,
    units,
};

/// Watch it work: nodes come, die and leave, and no call fails.
///
/// Starts three nodes of a service as processes of their own and calls them by name. Meanwhile it adds a fourth, kills one
/// with SIGKILL and restarts one gracefully. It ends with a summary, and with exit code 1 if any call has failed.
///
/// With `--registry etcd` and no address it starts an etcd of its own for the time, if one is installed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callsign demo\n  callsign demo --keep\n  callsign demo --registry etcd\n  callsign demo --plain --duration 5s\n  callsign demo -o json"
)]
pub(crate) struct Args {
    /// How long it goes on
    #[arg(long, value_parser = duration, default_value = "20s")]
    duration: Duration,
    /// Leave the nodes running at the end, and say what to do with them
    #[arg(long)]
    keep: bool,
    /// Print lines instead of a live screen
    #[arg(long)]
    plain: bool,
}

/// Less leaves no time for what there is to see.
const DURATION_MIN: Duration = Duration::from_secs(4);

/// Frames of the live screen, and lines of the plain output.
const FRAME_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(1);

/// How often the channel is asked how its nodes are.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How the demo is shown while it goes on.
enum View {
    Live(Screen),
    Lines {
        told: usize,
    },
    /// Only the summary is wanted.
    Silent,
}

/// Runs the command, on a registry of its own if it is to be an etcd and nobody says where.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let host = Host::if_wanted(context).await?;
    let context = match &host {
        Some(host) => host.put_in(context),
        None => context.clone(),
    };
    match (perform(args, &context).await, host) {
        (Ok(fleet), host) if args.keep => keep(fleet, host, &context).await,
        (performed, host) => {
            let ended = match performed {
                Ok(fleet) => {
                    fleet.end().await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Some(host) = host {
                host.end().await;
            }
            ended
        }
    }
}

/// Gives the nodes that are left, if all went well.
async fn perform(args: &Args, context: &Context) -> Result<Fleet> {
    let registry = context.registry()?;
    if context.settings.domain.is_all() {
        return Err(CliError::usage("the demo's nodes register in one domain, and * stands for all"));
    }
    if registry.to_string() == "memory" {
        return Err(CliError::usage(
            "the demo's nodes are processes of their own, which do not share this memory",
        )
        .hint("leave --registry out, to use the default one"));
    }
    let ids = free_ids(context, &*registry).await?;
    // Nodes of an earlier demo are of another group, and get none of our calls.
    let group = format!("demo-{}", std::process::id());
    let stage = Stage::new();
    let attempts = Arc::new(Attempts::default());
    let channel = Channel::builder(SERVICE)
        .registry(registry.clone())
        .domain(context.settings.domain.clone())
        .build()?;
    let mut script = Script {
        stage: stage.clone(),
        fleet: Fleet::new(context, &group)?,
        attempts: attempts.clone(),
        registry,
        domain: context.settings.domain.clone(),
        ids,
        deeds: Deeds::default(),
    };
    let tasks = Tasks::new();
    tasks.spawn("watch the channel", look(channel.clone(), stage.clone()));
    let mut view = View::open(args, context)?;
    if matches!(view, View::Silent) {
        context.out.note(&format!("the demo runs for {}", units::short(args.duration)));
    }
    let callers = Tasks::new();
    let began = tokio::select! {
        biased;
        () = interrupted() => Err(CliError::quiet(Exit::Interrupted)),
        played = play(&mut script, &callers, &channel, &group, args.duration) => played,
        shown = show(&mut view, &stage, args.duration, context) => shown.map(|never| match never {}),
    };
    callers.close().await;
    let last = view.last(&stage, args.duration, context);
    drop(view);
    tasks.close().await;
    channel.close().await;
    let Script { fleet, deeds, .. } = script;
    let outcome = match (began, last) {
        (Ok(began), Ok(())) => finish(args, context, &stage, &deeds, &attempts, began.elapsed()),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    match outcome {
        Ok(()) => Ok(fleet),
        Err(error) => {
            fleet.end().await;
            Err(error)
        }
    }
}

/// Plays the script under load; gives the moment the load began.
async fn play(
    script: &mut Script,
    callers: &Tasks,
    channel: &Channel,
    group: &str,
    whole: Duration,
) -> Result<Instant> {
    script.open().await?;
    let began = Instant::now();
    load::start(callers, channel, group, &script.stage, &script.attempts);
    script.stage.say(
        Weight::Deed,
        format!(
            "{} callers call {SERVICE} by its name; an answer takes a node {} to {} ms",
            load::CALLERS,
            node::WORK_MS.start,
            node::WORK_MS.end - 1
        ),
    );
    script.play(began, whole).await?;
    Ok(began)
}

/// Prints the summary, and fails if there is nothing to be proud of.
fn finish(
    args: &Args,
    context: &Context,
    stage: &Stage,
    deeds: &Deeds,
    attempts: &Attempts,
    elapsed: Duration,
) -> Result<()> {
    let summary = Summary::new(stage, deeds, attempts, elapsed.min(args.duration));
    if matches!(context.out.format(), Format::Table | Format::Wide) {
        context.out.write("\n")?;
    }
    context.out.print(&summary)?;
    if summary.is_good() { Ok(()) } else { Err(CliError::quiet(Exit::Other)) }
}

/// Leaves the nodes alone, and says what can be done with them.
async fn keep(fleet: Fleet, host: Option<Host>, context: &Context) -> Result<()> {
    let mut pids: Vec<_> = fleet.pids().iter().map(u32::to_string).collect();
    let nodes = units::count(pids.len(), "node");
    fleet.keep().await?;
    let left = match host {
        None => nodes,
        Some(host) => {
            // Last, so that the nodes can still deregister.
            pids.extend(host.keep().await?.map(|pid| pid.to_string()));
            format!("{nodes} and their etcd")
        }
    };
    let program = context.invocation();
    let show = |command: &str| context.out.say(&format!("  {}", context.out.talk.accent(command)));
    context.out.say(&format!("\n{left} are left running. Try next:\n"));
    show(&format!("{program} ls nodes"));
    show(&format!("{program} call greeter Greeter.Hello -d '{{\"name\":\"World\"}}'"));
    show(&format!("{program} watch greeter"));
    context.out.say("\nEnd them with:\n");
    show(&format!("kill {}", pids.join(" ")));
    Ok(())
}

/// Follows how the channel sees the nodes, for as long as it is polled.
async fn look(channel: Channel, stage: Stage) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let seen = channel.nodes();
        for NodeState { id, version, life, .. } in stage.nodes() {
            // A new process of the same id has another version: until it is seen, nothing is known of it.
            let status =
                seen.iter().find(|status| *status.node.id() == *id && status.node.version() == version);
            let now = match (life, status) {
                (Life::Draining | Life::Killed | Life::Stopped, _) | (Life::Starting, None) => continue,
                // Somebody else has ended it.
                (Life::Ready | Life::Connecting, None) => Life::Stopped,
                (_, Some(status)) if status.state == Link::Ready => Life::Ready,
                (_, Some(_)) => Life::Connecting,
            };
            stage.update(&id, |node| {
                // The script may have done something to it meanwhile, and knows better.
                if node.life == life {
                    node.life = now;
                    node.address =
                        status.map(|status| status.node.address().to_owned()).or(node.address.take());
                }
            });
        }
    }
}

/// Shows the stage, for as long as it is polled.
async fn show(
    view: &mut View,
    stage: &Stage,
    whole: Duration,
    context: &Context,
) -> Result<std::convert::Infallible> {
    let every = match view {
        View::Live(_) => FRAME_EVERY,
        View::Lines { .. } | View::Silent => LINE_EVERY,
    };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        view.refresh(stage, whole, context)?;
    }
}

/// Ctrl-C, or a service manager's SIGTERM.
async fn interrupted() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = units::parse_duration(text)?;
    if duration < DURATION_MIN {
        return Err(format!("the demo needs at least {}", units::short(DURATION_MIN)));
    }
    Ok(duration)
}

// === impl View ===

impl View {
    fn open(args: &Args, context: &Context) -> Result<Self> {
        Ok(match context.out.format() {
            Format::Table | Format::Wide if !args.plain && io::stdout().is_terminal() => {
                Self::Live(Screen::open()?)
            }
            Format::Table | Format::Wide => Self::Lines { told: 0 },
            Format::Json | Format::Yaml | Format::Name => Self::Silent,
        })
    }

    /// Shows what is new.
    fn refresh(&mut self, stage: &Stage, whole: Duration, context: &Context) -> Result<()> {
        match self {
            Self::Live(screen) => {
                let (columns, _) = Screen::size();
                screen.draw(&frame::frame(stage, whole, columns, context.out.paint))?;
            }
            Self::Lines { told } => {
                let mut text = String::new();
                for event in stage.events(*told) {
                    text.push_str(&frame::event(&event));
                    text.push('\n');
                    *told += 1;
                }
                text.push_str(&frame::status(stage));
                text.push('\n');
                context.out.write(&text)?;
            }
            Self::Silent => {}
        }
        Ok(())
    }

    /// Shows the end.
    fn last(&mut self, stage: &Stage, whole: Duration, context: &Context) -> Result<()> {
        self.refresh(stage, whole, context)
    }
}
