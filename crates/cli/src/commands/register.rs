//! `callsign register`: a sidecar that gives any program a name.

mod child;
mod probe;

use std::{sync::Arc, time::Duration};

use callsign::core::{
    Node,
    model::keys,
    registration::{Registrar, Registration, RegistrationState},
    registry::RegisterOptions,
};
use tokio::time::Instant;

use self::{
    child::{Child, Signals, Told},
    probe::answering,
};
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    units,
};

/// Run a program, and register it as a node for as long as it runs.
///
/// It is registered once its port answers, and deregistered before a signal to end is passed on to it, or when it ends by
/// itself. The exit code is the program's.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "callsign register [OPTIONS] --address <HOST:PORT> <NAME> -- <COMMAND>...",
    after_help = "Example:\n  callsign register web --address 127.0.0.1:8000 -- python3 -m http.server 8000"
)]
pub(crate) struct Args {
    /// The service's name
    name: String,
    /// Where the program can be reached
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// The node's id [default: the name and random letters]
    #[arg(long)]
    id: Option<String>,
    /// The version it runs
    #[arg(long, value_name = "VERSION", default_value = Node::VERSION_DEFAULT)]
    node_version: String,
    /// Its share of calls relative to the other nodes; 0 for none
    #[arg(long)]
    weight: Option<String>,
    /// The group it belongs to
    #[arg(long)]
    group: Option<String>,
    /// The zone it runs in
    #[arg(long)]
    zone: Option<String>,
    /// What it speaks, like `grpc` or `http`; not said when not given
    #[arg(long)]
    protocol: Option<String>,
    /// It speaks TLS, and clients are to speak it too
    #[arg(long)]
    secure: bool,
    /// More that it says of itself
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// How long a registry with a time to live keeps the node when this process is gone
    #[arg(long, value_parser = units::parse_duration, value_name = "DURATION")]
    ttl: Option<Duration>,
    /// How long clients get to notice before the program is told to end
    #[arg(long, value_parser = units::parse_duration, default_value = "500ms", value_name = "DURATION")]
    drain: Duration,
    /// The program with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
}

/// How long the registry gets to take the entry back at the end.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Runs the command.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let node = Arc::new(args.node(context)?);
    let registry = context.registry()?;
    let mut options = RegisterOptions::default();
    if let Some(ttl) = args.ttl {
        options = options.with_ttl(ttl);
    }
    let mut signals = Signals::listen()?;
    let mut child = Child::start(&args.command)?;
    let registrar = Registrar::new(registry.clone());
    let place = registry.to_string();
    let say = |text: &str| context.out.note(&format!("callsign: {text}"));

    let address = node.dial_address()?;
    let ended = tokio::select! {
        biased;
        ended = child.run(&mut signals, |_| false) => Some(ended?),
        () = answering(&address, |waited| say(&format!("{address} does not answer after {}", units::short(waited)))) => None,
    };
    if let Some(code) = ended {
        say(&format!("the program ended before {address} answered, so {} was never registered", node.id()));
        return finish(code);
    }

    let registration = registrar.register((*node).clone(), options);
    let code = tokio::select! {
        biased;
        code = child.run(&mut signals, |told| told == Told::End) => code?,
        () = tell(&registration, &node, &place, say) => unreachable!("a registration is told of for ever"),
    };
    let code = match code {
        // Asked to end: first no new calls, then the program's own end.
        None => {
            deregister(registration, &node, say).await;
            tokio::select! {
                biased;
                () = signals.any() => {}
                () = tokio::time::sleep(args.drain) => {}
            }
            child.signal_last(&signals);
            child.run(&mut signals, |_| false).await?
        }
        code => {
            deregister(registration, &node, say).await;
            code
        }
    };
    registrar.close(Instant::now() + CLOSE_MAX).await;
    finish(code)
}

// === impl Args ===

impl Args {
    fn node(&self, context: &Context) -> Result<Node> {
        let id = self.id.clone().unwrap_or_else(|| format!("{}-{}", self.name, random_word()));
        if context.settings.domain.is_all() {
            return Err(CliError::usage("a node is registered in one domain, and * stands for all"));
        }
        let mut node = Node::builder(&self.name, id, &self.address)
            .domain(context.settings.domain.as_str())
            .version(&self.node_version)
            .started(context.now());
        for (key, value) in [
            (keys::WEIGHT, &self.weight),
            (keys::GROUP, &self.group),
            (keys::ZONE, &self.zone),
            (keys::PROTOCOL, &self.protocol),
        ] {
            if let Some(value) = value {
                node = node.metadata(key, value);
            }
        }
        if self.secure {
            node = node.metadata(keys::SECURE, "true");
        }
        for pair in &self.metadata {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                CliError::usage(format!("--metadata {pair:?} has no value"))
                    .hint("write it like --metadata team=payments")
            })?;
            node = node.metadata(key, value);
        }
        Ok(node.build()?)
    }
}

/// Says each change of the registration's state, for as long as it is polled.
async fn tell(registration: &Registration, node: &Node, registry: &str, say: impl Fn(&str)) {
    let mut states = registration.watch();
    // Attempts go on for ever; each reason is told once, until something else happens.
    let mut told = String::new();
    let mut say = |text: String| {
        if text != told {
            say(&text);
            told = text;
        }
    };
    loop {
        let state = states.borrow_and_update().clone();
        match state {
            RegistrationState::Registered { .. } => {
                say(format!(
                    "registered {}/{} at {} in {registry}",
                    node.service(),
                    node.id(),
                    node.address()
                ));
            }
            RegistrationState::Registering { last_error: Some(error), .. } => {
                say(format!("not registered, trying again: {}", error.chain()));
            }
            RegistrationState::Lost { error } => say(format!("registration lost: {}", error.chain())),
            _ => {}
        }
        if states.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn deregister(registration: Registration, node: &Node, say: impl Fn(&str)) {
    match tokio::time::timeout(CLOSE_MAX, registration.close()).await {
        Ok(Ok(())) => say(&format!("deregistered {}/{}", node.service(), node.id())),
        Ok(Err(error)) => say(&format!("could not deregister: {}", error.chain())),
        Err(_) => say(&format!("could not deregister within {}", units::short(CLOSE_MAX))),
    }
}

/// Ends as the program did.
fn finish(code: Option<u8>) -> Result<()> {
    match code {
        None | Some(0) => Ok(()),
        Some(code) => Err(CliError::quiet(Exit::Program(code))),
    }
}

/// Six letters that hardly repeat.
fn random_word() -> String {
    std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase()).take(6).collect()
}
