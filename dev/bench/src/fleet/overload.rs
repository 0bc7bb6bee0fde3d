//! A server with twice as many calls as it can answer, with its limit of calls and without.
//!
//! What bounds it is no processor but ten workers, each busy with a call for about 10 ms, as the connections of a pool to a database
//! are: so the figures do not hang on what else the machine does. Work that was begun is finished, also when its caller has gone.
//! What it can answer is measured right before each run, on a server of its own. Callers wait for a while and no longer; an
//! answer counts if it was there in that time, from when its call was due. The client is tonic's, which repeats nothing.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{
    runtime::Runtime,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use super::{
    columns,
    load::pace,
    node::{self, Node},
    runtime, span,
    work::Spread,
};
use crate::{
    calls::pb::{Payload, bench_client::BenchClient},
    frame::{Bound, Comparison, Report, Settings},
};

const WORKERS: usize = 10;
const WORK: Duration = Duration::from_millis(10);
/// How long callers wait.
const PATIENCE: Duration = Duration::from_millis(250);
/// Calls under way at a time while it is measured what a server can answer: enough for its workers never to wait for one.
const CALLERS: usize = 5 * WORKERS;
/// How often each case is run at most, for the sake of whoever waits for it.
const REPEATS_MAX: usize = 3;

// In seconds of a full run:
/// how long it is measured what a server can answer,
const CAPACITY: u32 = 2;
/// how long the server then has half of that, so that it has seen how long calls take,
const EASE: u32 = 4;
/// how long it has twice that until it counts as settled,
const FIRST: u32 = 5;
/// and how long it goes on then.
const THEN: u32 = 8;

#[derive(Debug, Clone, Copy)]
enum Limit {
    Adaptive,
    None,
}

/// What became of the calls that were due in some time.
#[derive(Debug)]
struct Seen {
    /// Microseconds, of those that were answered in time.
    took: Histogram<u64>,
    refused: u64,
    all: u64,
}

/// A server gets half of the calls that it can answer, and then twice as many as it can.
pub(crate) fn overload(settings: &Settings) -> Report {
    let metrics = columns([
        ("capacity/s", 0),
        ("refused at half", 0),
        ("p99 at half", 0),
        ("offered %", 0),
        ("first 5 s %", 0),
        ("answered %", 0),
        ("refused %", 0),
        ("p50 ms", 0),
        ("p99 ms", 0),
    ]);
    let runtime = runtime(2);
    let mut comparison = Comparison::new("A server at twice its capacity", metrics);
    let second = span(settings) / 10;
    for limit in [Limit::Adaptive, Limit::None] {
        let runtime = &runtime;
        comparison.case(limit.to_string(), move || measure(runtime, limit, second));
    }
    let ours = |case: &str| case == Limit::Adaptive.to_string();
    comparison
        .run_cold(settings.repeats.min(REPEATS_MAX))
        .hold("answered %", Bound::AtLeast(90.0), ours)
        .hold("refused at half", Bound::Zero, ours)
}

/// With `second` for what is a second in a full run.
fn measure(runtime: &Runtime, limit: Limit, second: Duration) -> Vec<f64> {
    runtime.block_on(async {
        let capacity = capacity(second * CAPACITY).await;
        let node = Node::start(&options(limit)).await;
        let client = connect(&node).await;
        let [ease] = load(&client, capacity / 2.0, [second * EASE]).await;
        let [first, then] = load(&client, capacity * 2.0, [second * FIRST, second * THEN]).await;
        let share =
            |calls: u64, seconds: u32| 100.0 * calls as f64 / (second * seconds).as_secs_f64() / capacity;
        vec![
            capacity,
            ease.refused as f64,
            ease.latency_at(0.99),
            share(then.all, THEN),
            share(first.took.len(), FIRST),
            share(then.took.len(), THEN),
            100.0 * then.refused as f64 / then.all as f64,
            then.latency_at(0.5),
            then.latency_at(0.99),
        ]
    })
}

fn options(limit: Limit) -> node::Options {
    let unlimited = matches!(limit, Limit::None);
    node::Options {
        latency: WORK,
        spread: Spread::Even,
        workers: Some(WORKERS),
        unlimited,
        ..Default::default()
    }
}

async fn connect(node: &Node) -> BenchClient<Channel> {
    let endpoint = Endpoint::try_from(format!("http://{}", node.address)).expect("an address");
    BenchClient::new(endpoint.tcp_nodelay(true).connect().await.expect("a connection"))
}

/// Answers a second, when there is always a next call and each is answered in time.
async fn capacity(span: Duration) -> f64 {
    let node = Node::start(&options(Limit::None)).await;
    let client = connect(&node).await;
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let mut client = client.clone();
        callers.spawn(async move {
            let mut answered = 0_u32;
            while begun.elapsed() < span {
                client.echo(Payload::default()).await.expect("an answer");
                answered += 1;
            }
            answered
        });
    }
    let answered: u32 = callers.join_all().await.into_iter().sum();
    f64::from(answered) / begun.elapsed().as_secs_f64()
}

/// So many calls a second, whatever becomes of them; and what does, for those that were due in each of the spans.
async fn load<const N: usize>(client: &BenchClient<Channel>, rate: f64, spans: [Duration; N]) -> [Seen; N] {
    let begun = Instant::now();
    let mut end = Duration::ZERO;
    let seen = Arc::new(spans.map(|span| {
        end += span;
        (begun + end, Mutex::new(Seen::new()))
    }));
    pace(rate.round() as u32, sleep(end), |_, due| {
        let (mut client, seen) = (client.clone(), seen.clone());
        async move {
            let mut request = Request::new(Payload::default());
            request.set_timeout(PATIENCE);
            let answer = client.echo(request).await;
            if let Some((_, seen)) = seen.iter().find(|(end, _)| due < *end) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.add(due.elapsed(), &answer.map(drop));
            }
        }
    })
    .await;
    let seen = Arc::into_inner(seen).expect("all calls have ended");
    seen.map(|(_, seen)| seen.into_inner().unwrap_or_else(PoisonError::into_inner))
}

// === impl Limit ===

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adaptive => "adaptive limit",
            Self::None => "no limit",
        })
    }
}

// === impl Seen ===

impl Seen {
    fn new() -> Self {
        let took = Histogram::new_with_max(PATIENCE.as_micros() as u64, 3).expect("a histogram");
        Self { took, refused: 0, all: 0 }
    }

    fn add(&mut self, took: Duration, answer: &Result<(), Status>) {
        self.all += 1;
        match answer {
            Ok(()) if took <= PATIENCE => self.took.saturating_record(took.as_micros() as u64),
            Err(status) if status.code() == Code::ResourceExhausted => self.refused += 1,
            _ => {}
        }
    }

    /// Milliseconds; NaN if nothing was answered.
    fn latency_at(&self, quantile: f64) -> f64 {
        if self.took.is_empty() {
            return f64::NAN;
        }
        self.took.value_at_quantile(quantile) as f64 / 1e3
    }
}
