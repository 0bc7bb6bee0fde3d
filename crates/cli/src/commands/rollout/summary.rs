//! What a rollout came to, as a table of at most 80 columns and as data.

use std::time::Duration;

use serde::Serialize;

use super::{
    clients::Client,
    ledger::{Instance, Ledger, Place},
    probes::Tally,
};
use crate::output::{Align, Paint, Render, Table, printable};

/// Part of the interface: keys are added, never renamed.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    service: String,
    /// Whether every node that was there at the start was replaced.
    complete: bool,
    took_ms: u64,
    probes: Tally,
    clients: Vec<Client>,
    nodes: Vec<Row>,
}

/// A node that was there at the start. The times are since then.
#[derive(Debug, Serialize)]
struct Row {
    old: Instance,
    drained_ms: Option<u64>,
    left_ms: Option<u64>,
    back_ms: Option<u64>,
    new: Option<Instance>,
}

/// Ids and versions are shown so long; `-o wide` has all of them.
const ID_WIDTH: usize = 14;
const VERSION_WIDTH: usize = 8;

// === impl Summary ===

impl Summary {
    pub(super) fn new(
        service: String,
        ledger: &Ledger,
        took: Duration,
        probes: Tally,
        clients: Vec<Client>,
    ) -> Self {
        let nodes = ledger.places.iter().map(Row::new).collect();
        Self { service, complete: ledger.is_complete(), took_ms: millis(took), probes, clients, nodes }
    }

    /// Every node was replaced, and no probe failed.
    pub(super) fn is_good(&self) -> bool {
        self.complete && self.probes.failed == 0
    }

    /// How many clients could not be asked at the end.
    pub(super) fn unreadable(&self) -> usize {
        self.clients.iter().filter(|client| client.unreadable.is_some()).count()
    }

    fn headline(&self) -> String {
        let replaced = self.nodes.iter().filter(|row| row.back_ms.is_some()).count();
        let Tally { sent, failed, .. } = self.probes;
        format!(
            "{}: {replaced} of {} nodes replaced in {}; {failed} of {sent} probes failed",
            self.service,
            self.nodes.len(),
            seconds(self.took_ms)
        )
    }
}

impl Render for Summary {
    type Data = Self;

    fn data(&self) -> &Self {
        self
    }

    fn text(&self, wide: bool, paint: Paint) -> Vec<String> {
        let headline = printable(&self.headline(), false).into_owned();
        let mut lines = vec![paint.bold(headline), String::new()];
        let mut table = Table::new([
            ("OLD", Align::Left),
            ("VERSION", Align::Left),
            ("DRAINED", Align::Right),
            ("LEFT", Align::Right),
            ("BACK", Align::Right),
            ("NEW", Align::Left),
            ("VERSION", Align::Left),
        ]);
        self.nodes.iter().for_each(|row| table.row(&row.cells(wide)));
        lines.extend(table.lines(paint));
        if !self.clients.is_empty() {
            lines.push(String::new());
        }
        for client in &self.clients {
            let line = client.line();
            let line = printable(&line, false);
            lines.push(if client.unreadable.is_some() { paint.error(line) } else { line.into_owned() });
        }
        if self.probes.failed > 0 {
            lines.push(String::new());
        }
        for failure in &self.probes.failures {
            let line = format!("{} a probe failed: {}", seconds(failure.at_ms), failure.error);
            lines.push(paint.error(printable(&line, false)));
        }
        lines
    }

    fn names(&self) -> Vec<String> {
        let replaced = self.nodes.iter().filter(|row| row.back_ms.is_some());
        replaced.map(|row| row.old.id.clone()).collect()
    }
}

// === impl Row ===

impl Row {
    fn new(place: &Place) -> Self {
        Self {
            old: place.old.clone(),
            drained_ms: place.drained.map(millis),
            left_ms: place.left.map(millis),
            back_ms: place.back.map(millis),
            new: place.new.clone(),
        }
    }

    fn cells(&self, wide: bool) -> Vec<String> {
        let fit = |text: &str, width: usize| if wide { text.to_owned() } else { shortened(text, width) };
        let time = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), seconds);
        let (id, version) = match &self.new {
            Some(new) => (fit(&new.id, ID_WIDTH), fit(&new.version, VERSION_WIDTH)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        vec![
            fit(&self.old.id, ID_WIDTH),
            fit(&self.old.version, VERSION_WIDTH),
            time(self.drained_ms),
            time(self.left_ms),
            time(self.back_ms),
            id,
            version,
        ]
    }
}

/// The ends of a text, which tell more than its middle.
fn shortened(text: &str, width: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= width {
        return text.to_owned();
    }
    let head = (width - 1) / 2;
    let tail = width - 1 - head;
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `2.4 s`, as long as a rollout may take.
pub(super) fn seconds(millis: u64) -> String {
    format!("{:.1} s", millis as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::{super::probes::Failure, *};

    fn instance(id: &str, address: &str, version: &str) -> Instance {
        Instance { id: id.into(), address: address.into(), version: version.into(), started: None }
    }

    fn summary() -> Summary {
        let mut ledger = Ledger::new([
            instance("greeter-2f1d4fae-7dec-41d0-a765-00a0c91e6bf6", "10.0.0.1:4000", "1.2.0-rc.1+build7"),
            instance("b", "10.0.0.2:4000", "1"),
        ]);
        ledger.places[0].drained = Some(Duration::from_millis(1_000_900));
        ledger.places[0].left = Some(Duration::from_millis(1_001_000));
        ledger.places[0].back = Some(Duration::from_millis(1_003_400));
        ledger.places[0].new = Some(instance(
            "greeter-aaaaaaaa-7dec-41d0-a765-00a0c91e0000",
            "10.0.0.1:4000",
            "1.3.0-rc.1+build7",
        ));
        let failures = vec![Failure { at_ms: 1_200, error: "Unavailable: gone".into() }];
        let probes = Tally { sent: 600, failed: 1, failures };
        let client = Client {
            url: "http://a:1/metrics".into(),
            attempts: Some(900),
            failed_attempts: Some(2),
            restarted: false,
            unreadable: None,
        };
        let silent = Client {
            attempts: None,
            failed_attempts: None,
            unreadable: Some("cannot read http://b:1/metrics: no answer: refused".into()),
            url: "http://b:1/metrics".into(),
            ..client.clone()
        };
        let anew = Client { url: "http://c:1/metrics".into(), restarted: true, ..client.clone() };
        let clients = vec![client, silent, anew];
        Summary::new("greeter".into(), &ledger, Duration::from_secs(1_200), probes, clients)
    }

    #[test]
    fn the_table_fits_into_80_columns() {
        let lines = summary().text(false, Paint::OFF);
        assert_eq!(
            lines.join("\n"),
            "greeter: 1 of 2 nodes replaced in 1200.0 s; 1 of 600 probes failed\n\
             \n\
             OLD             VERSION    DRAINED      LEFT      BACK  NEW             VERSION\n\
             greete…91e6bf6  1.2…ild7  1000.9 s  1001.0 s  1003.4 s  greete…91e0000  1.3…ild7\n\
             b               1                -         -         -  -               -\n\
             \n\
             http://a:1/metrics: 2 of 900 attempts failed, most likely repeated\n\
             cannot read http://b:1/metrics: no answer: refused\n\
             http://c:1/metrics: 2 of 900 attempts failed since it was started again\n\
             \n\
             1.2 s a probe failed: Unavailable: gone"
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn its_data_keeps_its_names() {
        let json = serde_json::to_string_pretty(&summary()).unwrap();
        assert_eq!(json, include_str!("summary.json").trim_end());
    }
}
