//! `callsign ls`: which services and nodes there are.

use std::time::Duration;

use callsign::core::{Service, registry::ListOptions};
use serde::Serialize;

use super::view::NodeView;
use crate::{
    context::Context,
    error::Result,
    output::{Align, Paint, Render, Table},
};

/// List services or nodes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  callsign ls\n  callsign ls nodes -o wide\n  callsign ls nodes -o json | jq '.[].address'"
)]
pub(crate) struct Args {
    /// What to list
    #[arg(value_enum, default_value = "services")]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// One line a service
    #[value(alias = "service")]
    Services,
    /// One line a node
    #[value(alias = "node")]
    Nodes,
}

struct Services(Vec<ServiceRow>);

struct Nodes(Vec<NodeView>);

/// A service as JSON and YAML show it in a list.
#[derive(Debug, Serialize)]
struct ServiceRow {
    domain: String,
    name: String,
    versions: Vec<String>,
    nodes: usize,
    endpoints: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let registry = context.registry()?;
    let domain = context.settings.domain.clone();
    let listing = registry.list(&ListOptions::in_domain(domain.clone())).await?;
    if listing.poisoned > 0 {
        let warning = format!("left out what cannot be understood in {registry}: {}", listing.poisoned);
        context.out.say(&format!("{} {warning}", context.out.talk.warn("warning:")));
    }
    let services = Service::group(listing.nodes);
    if services.is_empty() {
        let hint = "start a service, or `callsign demo --keep` to have some nodes to look at";
        context.out.note(&format!("no service is registered in {registry}, domain {domain}; {hint}"));
    }
    match args.what {
        What::Services => context.out.print(&Services(services.iter().map(ServiceRow::new).collect())),
        What::Nodes => context.out.print(&Nodes(views(&services, context.now()))),
    }
}

/// All nodes of the services.
pub(super) fn views(services: &[Service], now: Duration) -> Vec<NodeView> {
    services.iter().flat_map(Service::nodes).map(|node| NodeView::new(node, now)).collect()
}

// === impl ServiceRow ===

impl ServiceRow {
    fn new(service: &Service) -> Self {
        Self {
            domain: service.domain().to_string(),
            name: service.name().to_string(),
            versions: service.versions().into_iter().map(str::to_owned).collect(),
            nodes: service.nodes().len(),
            endpoints: service.endpoints().into_iter().map(|endpoint| endpoint.name.clone()).collect(),
        }
    }
}

impl Render for Services {
    type Data = Vec<ServiceRow>;

    fn data(&self) -> &Vec<ServiceRow> {
        &self.0
    }

    fn text(&self, wide: bool, paint: Paint) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut columns = vec![("SERVICE", Align::Left), ("VERSIONS", Align::Left), ("NODES", Align::Right)];
        if wide {
            columns.insert(0, ("DOMAIN", Align::Left));
            columns.push(("ENDPOINTS", Align::Left));
        }
        let mut table = Table::new(columns);
        for service in &self.0 {
            let mut row = vec![service.name.clone(), service.versions.join(", "), service.nodes.to_string()];
            if wide {
                row.insert(0, service.domain.clone());
                row.push(service.endpoints.join(", "));
            }
            table.row(&row);
        }
        table.lines(paint)
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|service| service.name.clone()).collect()
    }
}

impl Render for Nodes {
    type Data = Vec<NodeView>;

    fn data(&self) -> &Vec<NodeView> {
        &self.0
    }

    fn text(&self, wide: bool, paint: Paint) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        NodeView::table(&self.0, true, wide).lines(paint)
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(NodeView::name).collect()
    }
}
