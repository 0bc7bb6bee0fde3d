//! Pass marks: figures that are held to a bound, and whether they keep to it.

use std::fmt;

use serde_json::{Value, json};

use super::Report;

/// What a figure must keep to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    /// The median of all runs.
    AtMost(f64),
    /// The median of all runs.
    AtLeast(f64),
    /// Zero, in every run.
    Zero,
}

/// A figure beside its bound.
#[derive(Debug)]
pub(super) struct Mark {
    case: String,
    metric: &'static str,
    bound: Bound,
    figure: f64,
}

// === impl Report ===

impl Report {
    /// Holds a figure of every case that `of` chooses to a bound.
    ///
    /// # Panics
    ///
    /// When there is no such case or metric.
    pub(crate) fn hold(mut self, metric: &str, bound: Bound, of: impl Fn(&str) -> bool) -> Self {
        let column = self.metrics.iter().position(|known| known.name == metric).expect("a metric of these");
        let chosen = self.rows.iter().filter(|row| of(&row.name));
        let marks = chosen.map(|row| {
            let [median, _, most] = row.values[column];
            let figure = match bound {
                Bound::AtMost(_) | Bound::AtLeast(_) => median,
                Bound::Zero => most,
            };
            Mark { case: row.name.clone(), metric: self.metrics[column].name, bound, figure }
        });
        let before = self.marks.len();
        self.marks.extend(marks);
        assert!(self.marks.len() > before, "a mark is about some case");
        self
    }
}

// === impl Mark ===

impl Mark {
    /// A figure that there is not keeps to no bound.
    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtMost(most) => self.figure <= most,
            Bound::AtLeast(least) => self.figure >= least,
            Bound::Zero => self.figure == 0.0,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "case": self.case,
            "metric": self.metric,
            "bound": self.bound.to_string(),
            "figure": self.figure,
            "met": self.is_met(),
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, metric, bound, figure } = self;
        let verdict = if self.is_met() { "met   " } else { "MISSED" };
        write!(f, "{verdict}  {case}: {metric} {bound}, is {figure:.2}")
    }
}

// === impl Bound ===

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::Zero => f.write_str("zero"),
        }
    }
}
