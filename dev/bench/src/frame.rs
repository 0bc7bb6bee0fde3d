//! What all benchmarks share: running the cases in turn, medians, a table, and a file to compare by.

mod mark;

use std::{fmt, hint::black_box, path::PathBuf, time::Duration};

use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

pub(crate) use self::mark::Bound;
use self::mark::Mark;

/// How thorough a benchmark is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How often every case is run.
    pub(crate) repeats: usize,
    /// About how long one measurement in a case may take.
    pub(crate) span: Duration,
}

/// Cases to compare by the same metrics.
pub(crate) struct Comparison<'a> {
    title: &'static str,
    metrics: Vec<Metric>,
    cases: Vec<Case<'a>>,
}

/// One column of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    /// What is measured, with its unit.
    pub(crate) name: &'static str,
    /// Digits after the point.
    pub(crate) digits: usize,
}

/// The medians of every case.
#[derive(Debug)]
pub(crate) struct Report {
    title: &'static str,
    metrics: Vec<Metric>,
    rows: Vec<Row>,
    marks: Vec<Mark>,
}

struct Case<'a> {
    name: String,
    run: Box<dyn FnMut() -> Vec<f64> + 'a>,
    /// One list of metrics for each run.
    samples: Vec<Vec<f64>>,
}

#[derive(Debug)]
struct Row {
    name: String,
    /// Median, least and most of each metric.
    values: Vec<[f64; 3]>,
}

// === impl Settings ===

impl Settings {
    /// Just enough to see that a benchmark runs.
    pub(crate) fn quick() -> Self {
        Self { repeats: 3, span: Duration::from_millis(5) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { repeats: 11, span: Duration::from_millis(50) }
    }
}

// === impl Comparison ===

impl<'a> Comparison<'a> {
    /// A comparison without cases.
    pub(crate) fn new(title: &'static str, metrics: impl IntoIterator<Item = Metric>) -> Self {
        Self { title, metrics: metrics.into_iter().collect(), cases: Vec::new() }
    }

    /// Adds a case. `run` is called once per repeat and returns one value for each metric; NaN where it has none.
    pub(crate) fn case(&mut self, name: impl Into<String>, run: impl FnMut() -> Vec<f64> + 'a) {
        self.cases.push(Case { name: name.into(), run: Box::new(run), samples: Vec::new() });
    }

    /// Runs every case once for warming up and then, in turn, as often as the settings say.
    pub(crate) fn run(mut self, settings: &Settings) -> Report {
        for case in &mut self.cases {
            (case.run)();
        }
        self.run_cold(settings.repeats)
    }

    /// Runs every case, in turn, so many times: for cases that warm up by themselves.
    pub(crate) fn run_cold(mut self, repeats: usize) -> Report {
        for _ in 0..repeats {
            for case in &mut self.cases {
                let sample = (case.run)();
                assert_eq!(sample.len(), self.metrics.len(), "{} measures every metric", case.name);
                case.samples.push(sample);
            }
        }
        let rows = self.cases.iter().map(|case| case.row(self.metrics.len())).collect();
        Report { title: self.title, metrics: self.metrics, rows, marks: Vec::new() }
    }
}

// === impl Case ===

impl Case<'_> {
    fn row(&self, metrics: usize) -> Row {
        let spread = |metric| {
            let mut values: Vec<f64> = self.samples.iter().map(|sample: &Vec<f64>| sample[metric]).collect();
            values.sort_by(f64::total_cmp);
            [values[values.len() / 2], values[0], values[values.len() - 1]]
        };
        Row { name: self.name.clone(), values: (0..metrics).map(spread).collect() }
    }
}

// === impl Report ===

impl Report {
    /// Writes `target/bench/NAME.json`, and says where that is.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(crate) fn write(&self, name: &str) -> std::io::Result<PathBuf> {
        // The program lies in `target/release`.
        let program = std::env::current_exe()?;
        let target = program.ancestors().nth(2).unwrap_or(&program);
        let folder = target.join("bench");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, format!("{:#}\n", self.to_json()))?;
        Ok(path)
    }

    fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let values = self.metrics.iter().zip(&row.values).map(|(metric, [median, least, most])| {
                (metric.name.to_owned(), json!({ "median": median, "least": least, "most": most }))
            });
            json!({ "case": row.name, "values": values.collect::<serde_json::Map<_, _>>() })
        });
        json!({
            "title": self.title,
            "cpus": std::thread::available_parallelism().map_or(0, usize::from),
            "rows": rows.collect::<Vec<_>>(),
            "marks": self.marks.iter().map(Mark::to_json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title)?;
        let first = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        write!(f, "{:first$}", "")?;
        for metric in &self.metrics {
            write!(f, "  {:>12}", metric.name)?;
        }
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "{:first$}", row.name)?;
            for (metric, [median, ..]) in self.metrics.iter().zip(&row.values) {
                let width = metric.name.len().max(12);
                if median.is_nan() {
                    write!(f, "  {:>width$}", "-")?;
                } else {
                    write!(f, "  {median:>width$.digits$}", digits = metric.digits)?;
                }
            }
            writeln!(f)?;
        }
        if !self.marks.is_empty() {
            writeln!(f)?;
        }
        self.marks.iter().try_for_each(|mark| writeln!(f, "{mark}"))
    }
}

/// Nanoseconds of this thread's time that one call of `work` takes, over about `span`.
///
/// The thread's own time, not that on the wall: what else the machine does meanwhile shows less. `work` is called many times
/// between two looks at the clock, so the clock does not count.
pub(crate) fn nanoseconds<R>(span: Duration, work: impl FnMut() -> R) -> f64 {
    nanoseconds_in_batches(1000, span, work)
}

/// The same for work that takes so long that few runs must do.
pub(crate) fn nanoseconds_in_batches<R>(batch: u32, span: Duration, mut work: impl FnMut() -> R) -> f64 {
    let start = thread_time();
    let mut calls = 0_u64;
    loop {
        for _ in 0..batch {
            black_box(work());
        }
        calls += u64::from(batch);
        let elapsed = thread_time() - start;
        if elapsed >= span {
            return elapsed.as_nanos() as f64 / calls as f64;
        }
    }
}

/// How long this thread has run.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}
