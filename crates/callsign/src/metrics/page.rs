//! Prometheus' text format (version 0.0.4), written by hand: it is a dozen lines, and the crates for it keep registries of their own.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    time::Duration,
};

use super::table::{ALL, Kind, Metric};
use crate::client::LatencyCounts;

/// What is to be shown: for each metric its labels as they are written, and the sum of what they were given.
#[derive(Debug, Default)]
pub(super) struct Page {
    numbers: BTreeMap<&'static str, BTreeMap<String, f64>>,
    histograms: BTreeMap<&'static str, BTreeMap<String, LatencyCounts>>,
}

// === impl Page ===

impl Page {
    /// Adds to a number.
    pub(super) fn add(&mut self, metric: &Metric, labels: &[(&str, &str)], value: f64) {
        *self.number(metric, labels) += value;
    }

    /// Shows the largest of the values given.
    pub(super) fn most(&mut self, metric: &Metric, labels: &[(&str, &str)], value: f64) {
        let number = self.number(metric, labels);
        *number = number.max(value);
    }

    /// Adds to a histogram.
    pub(super) fn add_counts(&mut self, metric: &Metric, labels: &[(&str, &str)], counts: &LatencyCounts) {
        match self.histograms.entry(metric.name).or_default().entry(written(labels)) {
            Entry::Vacant(vacant) => drop(vacant.insert(counts.clone())),
            Entry::Occupied(mut occupied) => occupied.get_mut().add(counts),
        }
    }

    fn number(&mut self, metric: &Metric, labels: &[(&str, &str)]) -> &mut f64 {
        self.numbers.entry(metric.name).or_default().entry(written(labels)).or_default()
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Metric { name, kind, help } in &ALL {
            let (numbers, histograms) = (self.numbers.get(name), self.histograms.get(name));
            if numbers.is_none() && histograms.is_none() {
                continue;
            }
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            for (labels, value) in numbers.into_iter().flatten() {
                writeln!(f, "{name}{{{labels}}} {value}")?;
            }
            for (labels, counts) in histograms.into_iter().flatten() {
                write_counts(f, name, labels, counts)?;
            }
        }
        Ok(())
    }
}

fn write_counts(f: &mut fmt::Formatter<'_>, name: &str, labels: &str, counts: &LatencyCounts) -> fmt::Result {
    for (bound, count) in &counts.up_to {
        match *bound {
            Duration::MAX => writeln!(f, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?,
            bound => writeln!(f, "{name}_bucket{{{labels},le=\"{}\"}} {count}", bound.as_secs_f64())?,
        }
    }
    writeln!(f, "{name}_sum{{{labels}}} {}", counts.sum.as_secs_f64())?;
    writeln!(f, "{name}_count{{{labels}}} {}", counts.count())
}

fn written(labels: &[(&str, &str)]) -> String {
    let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escape(value));
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{super::table, *};

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        let labels = [("service", "greeter"), ("node", "a\"b\\c\nd")];
        page.add(&table::CALLS, &labels, 1.0);
        page.add(&table::CALLS, &labels, 2.0);
        page.most(&table::PANIC, &[("service", "greeter")], 0.0);
        assert_eq!(
            page.to_string(),
            "# HELP callsign_client_calls_total Attempts that ended, but for those that never left.\n\
             # TYPE callsign_client_calls_total counter\n\
             callsign_client_calls_total{service=\"greeter\",node=\"a\\\"b\\\\c\\nd\"} 3\n\
             # HELP callsign_client_panic 1 while so few nodes can be used that verdicts on their health are ignored.\n\
             # TYPE callsign_client_panic gauge\n\
             callsign_client_panic{service=\"greeter\"} 0\n"
        );
    }

    #[test]
    fn a_histogram_is_what_prometheus_reads() {
        let up_to = |counts: [u64; 2]| LatencyCounts {
            up_to: vec![(Duration::from_micros(500), counts[0]), (Duration::MAX, counts[1])],
            sum: Duration::from_millis(250),
        };
        let mut page = Page::default();
        let labels = [("service", "greeter"), ("node", "a")];
        page.add_counts(&table::DURATION, &labels, &up_to([1, 2]));
        page.add_counts(&table::DURATION, &labels, &up_to([0, 5]));
        let text = page.to_string();
        let (_, numbers) =
            text.split_once("# TYPE callsign_client_attempt_duration_seconds histogram\n").unwrap();
        assert_eq!(
            numbers
                .replace("callsign_client_attempt_duration_seconds", "x")
                .replace("service=\"greeter\",", ""),
            "x_bucket{node=\"a\",le=\"0.0005\"} 1\n\
             x_bucket{node=\"a\",le=\"+Inf\"} 7\n\
             x_sum{node=\"a\"} 0.5\n\
             x_count{node=\"a\"} 7\n"
        );
    }

    #[test]
    fn names_are_as_prometheus_wants_them() {
        for (n, Metric { name, kind, help }) in ALL.iter().enumerate() {
            assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}");
            assert!(!ALL[..n].iter().any(|other| other.name == *name), "{name} is there twice");
        }
    }
}
