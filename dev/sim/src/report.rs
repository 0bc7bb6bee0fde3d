//! Results as people and programs read them: tables, pictures, JSON.

mod chart;
mod docs;
mod svg;

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

pub(crate) use self::{chart::Chart, docs::Docs};
use crate::{
    measure::Metric,
    run::Results,
    scenario::{Plot, Scenario, Variable},
};

/// What came of a scenario or a figure, ready to be shown.
pub(crate) struct Report {
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) published: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) charts: Vec<Chart>,
    pub(crate) json: Value,
}

/// A table; the first column says what a row is about.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(scenario: &Scenario, results: &Results) -> Self {
        let tables = match &scenario.sweep {
            None => vec![flat_table(scenario, results)],
            Some(sweep) => {
                scenario.show.iter().map(|metric| swept_table(scenario, sweep.by, results, *metric)).collect()
            }
        };
        Self {
            title: scenario.title.clone(),
            about: scenario.about.trim().to_owned(),
            published: scenario.published.trim().to_owned(),
            tables,
            charts: scenario.plot.iter().map(|plot| chart(scenario, results, plot)).collect(),
            json: to_json(scenario, results),
        }
    }

    /// For a terminal.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        for table in &self.tables {
            let _ = write!(text, "\n{}", table.to_text());
        }
        text
    }
}

// === impl Table ===

impl Table {
    fn to_text(&self) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(text, "{}", self.title);
        }
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].chars().count());
                cells.chain([self.head[column].chars().count()]).max().unwrap_or_default()
            })
            .collect();
        for row in std::iter::once(&self.head).chain(&self.rows) {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match column {
                    0 => write!(text, "{cell:<width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    fn to_markdown(&self) -> String {
        let mut text = String::new();
        if !self.title.is_empty() {
            let _ = writeln!(text, "{}:\n", self.title);
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text.push_str(&line(&self.head));
        let rule: Vec<&str> =
            (0..self.head.len()).map(|column| if column == 0 { "---" } else { "---:" }).collect();
        let _ = writeln!(text, "|{}|", rule.join("|"));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}

/// A row for each policy, a column for each metric.
fn flat_table(scenario: &Scenario, results: &Results) -> Table {
    let head =
        std::iter::once(String::new()).chain(scenario.show.iter().map(|metric| metric.title().to_owned()));
    let row = |(place, policy): (usize, &crate::scenario::Policy)| {
        let cell = results.cell(place, 0);
        let values = scenario.show.iter().map(|metric| show(scenario, *metric, cell.all.read(*metric)));
        std::iter::once(policy.label().to_owned()).chain(values).collect()
    };
    let rows = scenario.policy.iter().enumerate().map(row).collect();
    Table { title: String::new(), head: head.collect(), rows }
}

/// A row for each policy, a column for each value of the sweep.
fn swept_table(scenario: &Scenario, by: Variable, results: &Results, metric: Metric) -> Table {
    let points = scenario.points();
    let head = std::iter::once(by.title().to_owned()).chain(points.iter().map(f64::to_string));
    let row = |(place, policy): (usize, &crate::scenario::Policy)| {
        let values =
            (0..points.len()).map(|at| show(scenario, metric, results.cell(place, at).all.read(metric)));
        std::iter::once(policy.label().to_owned()).chain(values).collect()
    };
    let rows = scenario.policy.iter().enumerate().map(row).collect();
    Table { title: metric.title().to_owned(), head: head.collect(), rows }
}

/// A value, or that it is where callers give up.
fn show(scenario: &Scenario, metric: Metric, value: f64) -> String {
    let is_time = matches!(metric, Metric::P50 | Metric::P90 | Metric::P99 | Metric::P999);
    // Percentiles are read to 0.4 %.
    if is_time && value >= scenario.clients.timeout.seconds() * 0.996 {
        return "timeout".to_owned();
    }
    metric.format(value)
}

fn chart(scenario: &Scenario, results: &Results, plot: &Plot) -> Chart {
    let labels = || scenario.policy.iter().map(crate::scenario::Policy::label).enumerate();
    match plot {
        Plot::Time { show, log, policies } => {
            let (unit, one) = show.unit();
            let mut chart = Chart::lines(show.title(), "seconds", unit, *log);
            for (place, label) in labels() {
                if !policies.is_empty() && !policies.iter().any(|wanted| wanted == label) {
                    continue;
                }
                let points = results.cell(place, 0).all.over(*show).into_iter();
                // What is still under way after the last call has come is no second of its own.
                let within = points.filter(|(at, _)| *at < scenario.duration.seconds());
                // On a logarithmic axis there is no place for none.
                let place = |value: f64| if *log && value <= 0.0 { f64::NAN } else { value / one };
                chart.add(label, within.map(|(at, value)| (at, place(value))).collect());
            }
            for fault in &scenario.fault {
                chart.shade(fault.from.seconds(), fault.to.seconds());
            }
            scenario.change.iter().for_each(|change| chart.shade(change.at.seconds(), change.at.seconds()));
            chart
        }
        Plot::Sweep { show, log } => {
            let (unit, one) = show.unit();
            let by = scenario.sweep.as_ref().map_or("", |sweep| sweep.by.title());
            let mut chart = Chart::lines(show.title(), by, unit, *log);
            for (place, label) in labels() {
                let points = scenario.points().into_iter().enumerate();
                let read = |(at, x)| (x, results.cell(place, at).all.read(*show) / one);
                chart.add(label, points.map(read).collect());
            }
            chart
        }
        Plot::Bars { show, log } => {
            let (unit, one) = show.unit();
            let mut chart = Chart::bars(show.title(), unit, *log);
            for (place, label) in labels() {
                let value = results.cell(place, 0).all.read(*show);
                chart.add(label, vec![(0.0, value / one)]);
            }
            chart
        }
    }
}

fn to_json(scenario: &Scenario, results: &Results) -> Value {
    let mut cells = Vec::new();
    for (place, policy) in scenario.policy.iter().enumerate() {
        for (at, value) in scenario.points().into_iter().enumerate() {
            let cell = results.cell(place, at);
            let values: Map<String, Value> = Metric::ALL
                .iter()
                .filter(|metric| cell.all.read(**metric).is_finite())
                .map(|metric| {
                    let value = json!({ "value": cell.all.read(*metric), "spread": cell.spread(*metric) });
                    (metric.title().to_owned(), value)
                })
                .collect();
            cells.push(json!({ "policy": policy.label(), "at": value, "values": values }));
        }
    }
    json!({
        "title": scenario.title,
        "seeds": scenario.seeds,
        "calls": results.calls(),
        "by": scenario.sweep.as_ref().map(|sweep| sweep.by.title()),
        "cells": cells,
    })
}
