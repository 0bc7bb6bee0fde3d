//! What it costs to remember calls: channels of one process, some that remember their calls and some that do not, have turns of a few
//! milliseconds.
//!
//! Two processes that do the same differ by more than what is looked for here: by where their memory lies, and by what else the machine
//! does meanwhile. Turns are so short that all of that hits both alike, and pairs of turns that differ most from others do not count.
//! What is left of chance is shown by channels that all do not remember.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use callsign::client::ChannelBuilder;
use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::Instant};

use super::{
    Server,
    measure::Used,
    pb::{Payload, bench_client::BenchClient},
    way,
};
use crate::frame::{Bound, Comparison, Metric, Report, Settings};

/// How long one channel has its turn.
const TURN: Duration = Duration::from_millis(20);
/// Share of the time that goes by before anything counts.
const WARM_UP: f64 = 0.25;
/// For what share of the time allocations are counted: their number a call hardly varies.
const COUNTED: f64 = 0.1;
/// How many times a settings' span one process measures, and how many processes do so for each of its repeats. Short ones and many of
/// them: two channels of one process differ for as long as it lives by where their memory lies.
const SPANS: u32 = 60;
const PROCESSES: usize = 3;
const BYTES: usize = 16;
/// Says that the channel is to remember as many calls as it does when it is told nothing.
const USUAL: &str = "usual";
/// Two channels of each kind, since it matters when and so where in memory one is made; and whether each remembers its calls.
const REMEMBERS: [bool; CHANNELS] = [true, false, false, true];
const CHANNELS: usize = 4;
/// One channel after the other, of each kind one: each is the first as often as the second, and so is each kind.
const PAIRS: [[usize; 2]; 4] = [[0, 1], [2, 3], [1, 0], [3, 2]];
/// Is added to the number of the channel whose turn it is, once what it does counts.
const COUNTS: usize = CHANNELS;
/// The turn that ends everything.
const END: usize = usize::MAX;

const METRICS: [Metric; 6] = [
    Metric { name: "p50 µs", digits: 1 },
    Metric { name: "without", digits: 1 },
    Metric { name: "more %", digits: 2 },
    Metric { name: "CPU µs/call", digits: 2 },
    Metric { name: "more µs/call", digits: 2 },
    Metric { name: "more allocs/call", digits: 1 },
];

/// What was used in one turn.
#[derive(Clone, Copy)]
struct Turn {
    cpu: Duration,
    allocations: usize,
    calls: usize,
}

/// How many calls each channel has made.
type Calls = [AtomicUsize; CHANNELS];

/// The benchmark.
pub(crate) fn remembered(settings: &Settings) -> Report {
    let servers: Vec<Server> = (0..super::NODES).map(|_| Server::start()).collect();
    let addresses: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    let span = settings.span * SPANS;
    let mut comparison = Comparison::new("What it costs to remember calls", METRICS);
    for inflight in [1, 64] {
        for (what, places) in [("remembered", None), ("nothing remembered by either", Some(0))] {
            let addresses = &addresses;
            comparison.case(format!("{inflight} in flight: {what}"), move || {
                spawn(inflight, places, span, addresses)
            });
        }
    }
    let remembers = |name: &str| name.ends_with(": remembered");
    let report =
        comparison.run_cold(settings.repeats * PROCESSES).hold("more %", Bound::AtMost(2.0), remembers);
    report.hold("more µs/call", Bound::AtMost(1.0), remembers)
}

/// Runs a process, and gives what it measured; then a shorter one that counts what is allocated.
fn spawn(inflight: usize, places: Option<usize>, span: Duration, addresses: &[&str]) -> Vec<f64> {
    let run = |program: &Path, span: Duration| {
        let places = places.map_or(USUAL.to_owned(), |places| places.to_string());
        let ours = ["--turns".to_owned(), inflight.to_string(), places, span.as_millis().to_string()];
        let theirs = addresses.iter().map(|address| (*address).to_owned());
        let numbers = super::numbers_of(program, &ours.into_iter().chain(theirs).collect::<Vec<_>>());
        <[f64; 5]>::try_from(numbers).expect("it prints five")
    };
    let [p50, p50_without, cpu, more_cpu, _] = run(&super::bare_program(), span);
    let [.., more_allocations] = run(&super::counting_program(), span.mul_f64(COUNTED));
    vec![p50, p50_without, (p50 / p50_without - 1.0) * 100.0, cpu, more_cpu, more_allocations]
}

/// The client process: `--turns INFLIGHT PLACES MILLISECONDS ADDRESS...`
pub(crate) fn main(args: &[String]) {
    let [inflight, places, millis, addresses @ ..] = args else {
        panic!("depth, places, span and addresses are given")
    };
    let inflight = inflight.parse().expect("a number of calls");
    let places = (places != USUAL).then(|| places.parse().expect("a number of places"));
    let span = Duration::from_millis(millis.parse().expect("milliseconds"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let measured = runtime.block_on(measure(inflight, places, span, addresses));
    println!("{}", measured.iter().map(f64::to_string).collect::<Vec<_>>().join(" "));
}

/// The medians of those that remember and of the others in microseconds, microseconds of CPU a call, and how many more of these and of
/// allocations those have that remember.
async fn measure(inflight: usize, places: Option<usize>, span: Duration, addresses: &[String]) -> [f64; 5] {
    let mut channels = Vec::new();
    for remembers in REMEMBERS {
        let places = if remembers { places } else { Some(0) };
        channels.push(way::callsign(addresses, |builder| remember(builder, places)).await);
    }
    let (turn, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(Calls::default()));
    let mut callers = JoinSet::new();
    for _ in 0..inflight {
        let clients = channels.iter().map(|(channel, _registrar)| BenchClient::new(channel.clone()));
        callers.spawn(calls(clients.collect(), turn.clone(), made.clone()));
    }
    let turns = give_turns(&turn, &made, span).await;
    let mut all = histograms();
    while let Some(latencies) = callers.join_next().await {
        for (all, some) in all.iter_mut().zip(latencies.expect("a caller ends well")) {
            all.add(some).expect("the same range");
        }
    }
    let [p50, p50_without] = all.map(|latencies| latencies.value_at_quantile(0.5) as f64 / 1e3);
    let more = |used: fn(&Turn) -> f64| usual(turns.iter().map(|[one, other]| used(one) - used(other)));
    let cpu = usual(turns.iter().map(|[one, _]| one.cpu_per_call()));
    [p50, p50_without, cpu, more(Turn::cpu_per_call), more(Turn::allocations_per_call)]
}

fn remember(builder: ChannelBuilder, places: Option<usize>) -> ChannelBuilder {
    match places {
        Some(places) => builder.remembered_calls(places),
        None => builder,
    }
}

/// The mean of the middle half of them.
fn usual(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let aside = figures.len() / 4;
    let middle = &figures[aside..figures.len() - aside];
    middle.iter().sum::<f64>() / middle.len() as f64
}

/// Gives each channel its turns, and says what was used in them once all is warm: pairs of one of a channel that remembers and one of
/// another.
async fn give_turns(turn: &AtomicUsize, made: &Calls, span: Duration) -> Vec<[Turn; 2]> {
    let mut turns = Vec::new();
    let warm = Instant::now() + span.mul_f64(WARM_UP);
    let end = warm + span;
    for channels in PAIRS.into_iter().cycle() {
        let now = Instant::now();
        if now >= end {
            break;
        }
        let mut pair = [Turn::NONE; 2];
        for which in channels {
            turn.store(which + if now >= warm { COUNTS } else { 0 }, Relaxed);
            let (used, before) = (Used::now(), made[which].load(Relaxed));
            tokio::time::sleep(TURN).await;
            let (cpu, allocations) = Used::now().since(used);
            pair[kind(which)] = Turn { cpu, allocations, calls: made[which].load(Relaxed) - before };
        }
        if now >= warm && pair.iter().all(|turn| turn.calls > 0) {
            turns.push(pair);
        }
    }
    turn.store(END, Relaxed);
    turns
}

/// Makes calls by the channel whose turn it is, until the end; gives their latencies.
async fn calls(
    mut clients: Vec<BenchClient<callsign::Channel>>,
    turn: Arc<AtomicUsize>,
    made: Arc<Calls>,
) -> [Histogram<u64>; 2] {
    let payload = Payload { data: vec![b'x'; BYTES] };
    let mut latencies = histograms();
    loop {
        let now = turn.load(Relaxed);
        if now == END {
            return latencies;
        }
        let (which, counts) = (now % CHANNELS, now >= COUNTS);
        let since = Instant::now();
        let reply = clients[which].echo(payload.clone()).await.expect("a reply");
        assert_eq!(reply.into_inner().data.len(), BYTES);
        made[which].fetch_add(1, Relaxed);
        if counts {
            latencies[kind(which)].record(since.elapsed().as_nanos() as u64).expect("in range");
        }
    }
}

/// The place of what is measured of a channel: first those that remember.
fn kind(channel: usize) -> usize {
    usize::from(!REMEMBERS[channel])
}

/// One for each kind of channel.
fn histograms() -> [Histogram<u64>; 2] {
    [(); 2].map(|()| Histogram::new(3).expect("a histogram"))
}

// === impl Turn ===

impl Turn {
    const NONE: Self = Self { cpu: Duration::ZERO, allocations: 0, calls: 0 };

    /// In microseconds.
    fn cpu_per_call(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.calls as f64
    }

    fn allocations_per_call(&self) -> f64 {
        self.allocations as f64 / self.calls as f64
    }
}
