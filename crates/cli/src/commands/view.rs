//! Nodes and services as data and as rows: what `ls`, `describe` and `watch` have in common.

use std::{collections::BTreeMap, time::Duration};

use callsign::core::{Node, model::keys};
use serde::Serialize;

use crate::{
    output::{Align, Table},
    units,
};

/// A node as JSON and YAML show it. Part of the interface: keys are added, never renamed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NodeView {
    domain: String,
    service: String,
    id: String,
    address: String,
    version: String,
    weight: Option<u16>,
    group: Option<String>,
    zone: Option<String>,
    /// RFC 3339, UTC.
    started: Option<String>,
    metadata: BTreeMap<String, String>,
    endpoints: Vec<String>,
    #[serde(skip)]
    age: Option<Duration>,
}

/// The metadata that has a column, or is of use to programs only.
const SHOWN_ELSEWHERE: [&str; 4] = [keys::WEIGHT, keys::GROUP, keys::ZONE, keys::STARTED];

// === impl NodeView ===

impl NodeView {
    /// A node as it is at `now`, since the Unix epoch.
    pub(super) fn new(node: &Node, now: Duration) -> Self {
        Self {
            domain: node.domain().to_string(),
            service: node.service().to_string(),
            id: node.id().to_string(),
            address: node.address().to_owned(),
            version: node.version().to_owned(),
            weight: node.weight(),
            group: node.group().map(str::to_owned),
            zone: node.zone().map(str::to_owned),
            started: node.started().map(rfc3339),
            metadata: node.metadata().iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            endpoints: node.endpoints().iter().map(|endpoint| endpoint.name.clone()).collect(),
            age: node.started().map(|started| now.saturating_sub(started)),
        }
    }

    /// `greeter/greeter-1`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.service, self.id)
    }

    /// One line: name, address and version; with group, zone and weight when `wide`.
    pub(super) fn line(&self, wide: bool) -> String {
        let mut line = format!("{}  {}  {}", self.name(), self.address, self.version);
        if wide {
            let weight = self.weight.map(|weight| weight.to_string());
            for (what, value) in [("group", &self.group), ("zone", &self.zone), ("weight", &weight)] {
                if let Some(value) = value {
                    line.push_str(&format!("  {what}={value}"));
                }
            }
        }
        crate::output::printable(&line, false).into_owned()
    }

    /// A table of nodes. The service's column is left out where the service is in the heading already.
    pub(super) fn table<'a>(
        nodes: impl IntoIterator<Item = &'a Self>,
        with_service: bool,
        wide: bool,
    ) -> Table {
        let mut columns = vec![];
        if wide {
            columns.push(("DOMAIN", Align::Left));
        }
        if with_service {
            columns.push(("SERVICE", Align::Left));
        }
        columns.extend([
            ("ID", Align::Left),
            ("ADDRESS", Align::Left),
            ("VERSION", Align::Left),
            ("UP", Align::Right),
        ]);
        if wide {
            columns.extend([
                ("WEIGHT", Align::Right),
                ("GROUP", Align::Left),
                ("ZONE", Align::Left),
                ("METADATA", Align::Left),
            ]);
        }
        let mut table = Table::new(columns);
        for node in nodes {
            table.row(&node.row(with_service, wide));
        }
        table
    }

    fn row(&self, with_service: bool, wide: bool) -> Vec<String> {
        let mut row = vec![];
        if wide {
            row.push(self.domain.clone());
        }
        if with_service {
            row.push(self.service.clone());
        }
        row.extend([
            self.id.clone(),
            self.address.clone(),
            self.version.clone(),
            self.age.map(units::age).unwrap_or_default(),
        ]);
        if wide {
            let metadata = self.metadata.iter().filter(|(key, _)| !SHOWN_ELSEWHERE.contains(&key.as_str()));
            row.extend([
                self.weight.map(|weight| weight.to_string()).unwrap_or_default(),
                self.group.clone().unwrap_or_default(),
                self.zone.clone().unwrap_or_default(),
                metadata.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
            ]);
        }
        row
    }
}

/// A point in time as programs read it.
pub(super) fn rfc3339(since_epoch: Duration) -> String {
    let millis = Duration::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
    prost_types::Timestamp {
        seconds: i64::try_from(millis.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis.subsec_nanos()).unwrap_or(0),
    }
    .to_string()
}
