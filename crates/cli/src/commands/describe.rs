//! `callsign describe`: all there is to know of one service.

mod proto;
mod published;

use std::{collections::BTreeMap, time::Duration};

use callsign::core::{Service, ServiceName};
use serde::Serialize;

use self::published::Published;
use super::{call::Dial, view::NodeView};
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    output::{Paint, Render, printable},
    reflect::{Schema, Session},
    units,
};

/// Show a service: its versions, nodes, methods and messages.
///
/// The methods and messages are asked of one of its nodes by server reflection. If none answers, what the nodes published in
/// the registry is shown.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callsign describe greeter\n  callsign describe greeter -o json | jq -r '.methods[].name'"
)]
pub(crate) struct Args {
    /// The service
    name: String,
}

/// How long a node gets to tell its schema; the registry's part is shown without.
const SCHEMA_MAX: Duration = Duration::from_secs(3);

/// A service as JSON and YAML show it. Part of the interface: keys are added, never renamed.
#[derive(Debug, Serialize)]
struct Description {
    domain: String,
    name: String,
    /// How many nodes run each version.
    versions: BTreeMap<String, usize>,
    nodes: Vec<NodeView>,
    /// What the nodes published in the registry.
    endpoints: Vec<String>,
    /// The same with the shapes of their messages, as far as they were published.
    published: Vec<Published>,
    /// By reflection; `null` when no node told.
    methods: Option<Vec<proto::Method>>,
    /// The messages and enums of the methods, as a proto file has them; `null` when no node told.
    schema: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let registry = context.registry()?;
    let name = ServiceName::new(&args.name)?;
    let services = context.service(&*registry, &name).await?;
    let schema = match tokio::time::timeout(SCHEMA_MAX, schema(&name, context)).await {
        Ok(Ok(schema)) => Some(schema),
        Ok(Err(error)) => {
            let why = error.render(Paint::OFF);
            context
                .out
                .note(&format!("no schema, so only what the registry knows is shown:\n  {}", why.trim_end()));
            None
        }
        Err(_) => {
            let waited = units::short(SCHEMA_MAX);
            context.out.note(&format!(
                "no node told its schema within {waited}; only what the registry knows is shown"
            ));
            None
        }
    };
    for service in &services {
        context.out.print(&Description::new(service, schema.as_ref(), context.now()))?;
    }
    Ok(())
}

async fn schema(name: &ServiceName, context: &Context) -> Result<Schema> {
    let dial = Dial::service(name, context)?;
    let refused = |status: &tonic::Status| {
        CliError::new(Exit::Other, format!("{}: {}", dial.target(), status.message()))
    };
    let mut session = Session::open(dial.channel(), |request| dial.prepare(request))
        .await
        .map_err(|status| refused(&status))?;
    Schema::load(&mut session).await.map_err(|status| refused(&status))
}

// === impl Description ===

impl Description {
    fn new(service: &Service, schema: Option<&Schema>, now: Duration) -> Self {
        let mut versions = BTreeMap::new();
        for node in service.nodes() {
            *versions.entry(node.version().to_owned()).or_default() += 1;
        }
        Self {
            domain: service.domain().to_string(),
            name: service.name().to_string(),
            versions,
            nodes: super::ls::views(std::slice::from_ref(service), now),
            endpoints: service.endpoints().into_iter().map(|endpoint| endpoint.name.clone()).collect(),
            published: service.endpoints().into_iter().map(Published::new).collect(),
            methods: schema.map(proto::methods),
            schema: schema.map(proto::types),
        }
    }
}

impl Render for Description {
    type Data = Self;

    fn data(&self) -> &Self {
        self
    }

    fn text(&self, wide: bool, paint: Paint) -> Vec<String> {
        let versions: Vec<_> = self
            .versions
            .iter()
            .map(|(version, nodes)| format!("{version} ({})", units::count(*nodes, "node")))
            .collect();
        let mut lines = vec![
            format!("{}  {}", paint.bold("Service "), printable(&self.name, false)),
            format!("{}  {}", paint.bold("Domain  "), printable(&self.domain, false)),
            format!("{}  {}", paint.bold("Versions"), printable(&versions.join(", "), false)),
            String::new(),
        ];
        lines.extend(NodeView::table(&self.nodes, false, wide).lines(paint));
        match (&self.methods, &self.schema) {
            (Some(methods), Some(schema)) => {
                if !methods.is_empty() {
                    lines.extend([String::new(), paint.bold("METHODS")]);
                    lines.extend(methods.iter().map(|method| method.signature.clone()));
                }
                if !schema.is_empty() {
                    lines.extend([String::new(), paint.bold("MESSAGES")]);
                    lines.extend(schema.trim_end().lines().map(str::to_owned));
                }
            }
            _ if !self.published.is_empty() => {
                lines.extend([String::new(), paint.bold("ENDPOINTS")]);
                let signatures = self.published.iter().map(Published::signature);
                lines.extend(signatures.map(|signature| printable(&signature, false).into_owned()));
            }
            _ => {}
        }
        lines
    }

    fn names(&self) -> Vec<String> {
        match &self.methods {
            Some(methods) => methods.iter().map(|method| method.short.clone()).collect(),
            None => self.endpoints.clone(),
        }
    }
}
