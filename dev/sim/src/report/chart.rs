//! A picture before it is drawn: lines or bars, their axes, and where the ticks are.

/// Where the least value of a logarithmic axis is at the lowest, below the greatest.
const DECADES_MAX: f64 = 5.0;

#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(super) title: String,
    /// Of the horizontal axis; none for bars.
    pub(super) across: Option<String>,
    pub(super) unit: String,
    pub(super) log: bool,
    pub(super) series: Vec<(String, Vec<(f64, f64)>)>,
    /// When something was wrong.
    pub(super) shades: Vec<(f64, f64)>,
}

/// One axis: what lies at its ends, and the ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) log: bool,
    pub(super) ticks: Vec<f64>,
}

// === impl Chart ===

impl Chart {
    pub(crate) fn lines(title: &str, across: &str, unit: &str, log: bool) -> Self {
        Self { across: Some(across.to_owned()), ..Self::bars(title, unit, log) }
    }

    pub(crate) fn bars(title: &str, unit: &str, log: bool) -> Self {
        let (title, unit) = (title.to_owned(), unit.to_owned());
        Self { title, across: None, unit, log, series: Vec::new(), shades: Vec::new() }
    }

    pub(crate) fn add(&mut self, label: &str, points: Vec<(f64, f64)>) {
        self.series.push((label.to_owned(), points));
    }

    pub(crate) fn shade(&mut self, from: f64, to: f64) {
        self.shades.push((from, to));
    }

    /// The horizontal axis.
    pub(super) fn x(&self) -> Axis {
        let (from, to) = range(self.series.iter().flat_map(|(_, points)| points.iter().map(|point| point.0)));
        let to = if to > from { to } else { from + 1.0 };
        Axis { from, to, log: false, ticks: linear_ticks(from, to) }
    }

    /// The vertical axis.
    pub(super) fn y(&self) -> Axis {
        let values = || self.series.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
        let (_, most) = range(values());
        let most = if most > 0.0 { most } else { 1.0 };
        if !self.log {
            let step = linear_ticks(0.0, most).get(1).copied().unwrap_or(most);
            let to = (most / step - 1e-9).ceil() * step;
            return Axis { from: 0.0, to, log: false, ticks: linear_ticks(0.0, to) };
        }
        let (least, _) = range(values().filter(|value| *value > 0.0));
        let lowest = if least > 0.0 { least } else { most / 10.0 };
        let from = 10_f64.powf(lowest.max(most / 10_f64.powf(DECADES_MAX)).log10().floor());
        let steps = || [1.0, 2.0, 5.0, 10.0].into_iter();
        let decade = 10_f64.powf(most.log10().floor());
        let to = steps().map(|step| step * decade).find(|tick| *tick >= most).unwrap_or(most * 1.1);
        let mut ticks = Vec::new();
        let mut decade = from;
        while decade <= to * (1.0 + 1e-9) {
            ticks.extend(steps().take(3).map(|step| step * decade).filter(|tick| *tick <= to * (1.0 + 1e-9)));
            decade *= 10.0;
        }
        if ticks.len() > 10 {
            ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-9);
        }
        Axis { from, to, log: true, ticks }
    }
}

// === impl Axis ===

impl Axis {
    /// From 0 at the beginning to 1 at the end. What is below a logarithmic axis lies on it.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.log {
            let value = value.max(self.from);
            return (value / self.from).ln() / (self.to / self.from).ln();
        }
        (value - self.from) / (self.to - self.from)
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let ends = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
    let (least, most) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), ends);
    if least <= most { (least, most) } else { (0.0, 0.0) }
}

/// About six round numbers.
fn linear_ticks(from: f64, to: f64) -> Vec<f64> {
    let rough = (to - from) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|tick| tick as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(log: bool, values: &[f64]) -> Chart {
        let mut chart = Chart::lines("t", "x", "ms", log);
        chart.add("a", values.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect());
        chart
    }

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        let axis = chart(false, &[3.0, 97.0, f64::NAN]).y();
        assert_eq!(axis.ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert!(axis.to >= 97.0 && axis.place(axis.to) == 1.0);
        let axis = chart(true, &[0.0, 12.0, 900.0]).y();
        assert_eq!(axis.ticks, [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);
        assert_eq!(axis.place(0.0), 0.0);
    }

    #[test]
    fn nothing_to_show_is_still_a_chart() {
        for chart in [chart(false, &[]), chart(true, &[0.0]), chart(true, &[f64::NAN])] {
            let (x, y) = (chart.x(), chart.y());
            assert!(y.to > y.from && y.to.is_finite(), "{y:?}");
            assert!(x.ticks.len() < 20);
        }
    }
}
