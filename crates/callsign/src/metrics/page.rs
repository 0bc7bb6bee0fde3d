//! Prometheus' text format (version 0.0.4), written by hand: it is a dozen lines, and the crates for it keep registries of their own.

use std::{collections::BTreeMap, fmt};

use super::table::{ALL, Kind, Metric};

/// What is to be shown: for each metric its labels as they are written, and the sum of what they were given.
#[derive(Debug, Default)]
pub(super) struct Page(BTreeMap<&'static str, BTreeMap<String, f64>>);

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

    fn number(&mut self, metric: &Metric, labels: &[(&str, &str)]) -> &mut f64 {
        let label = |(name, value): &(&str, &str)| format!("{name}=\"{}\"", escape(value));
        let labels: Vec<_> = labels.iter().map(label).collect();
        self.0.entry(metric.name).or_default().entry(labels.join(",")).or_default()
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Metric { name, kind, help } in &ALL {
            let Some(numbers) = self.0.get(name) else { continue };
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            writeln!(f, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
            for (labels, value) in numbers {
                writeln!(f, "{name}{{{labels}}} {value}")?;
            }
        }
        Ok(())
    }
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
    fn names_are_as_prometheus_wants_them() {
        for (n, Metric { name, kind, help }) in ALL.iter().enumerate() {
            assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}");
            assert!(!ALL[..n].iter().any(|other| other.name == *name), "{name} is there twice");
        }
    }
}
