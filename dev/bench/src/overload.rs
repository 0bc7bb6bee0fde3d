//! A server with twice as many calls as it can answer, with its limit and without.
//!
//! The server is a process of its own. What bounds it is no processor but ten workers, each busy with a call for about 10 ms, as
//! the connections of a pool to a database are: so the figures do not hang on what else the machine does. Work that was begun is
//! finished, also when its caller has gone. Calls come as chance has it, at a rate that does not fall when answers are late, and
//! their callers wait for a while and no longer.

use std::{
    fmt,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use callsign_core::Tasks;
use hdrhistogram::Histogram;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tonic::{Code, Request, Response, Status, transport::Endpoint};

use crate::{
    calls::{
        bare_program,
        pb::{
            FlowRequest, Payload,
            bench_client::BenchClient,
            bench_server::{Bench, BenchServer},
        },
    },
    frame::{Comparison, Metric, Report, Settings},
};

/// The argument that makes this program the server.
pub(crate) const SERVER: &str = "--serve-overload";

const WORKERS: usize = 10;
const WORK: Duration = Duration::from_millis(10);
/// How long callers wait.
const PATIENCE: Duration = Duration::from_millis(250);
/// In spans of the settings: how long the server has half of what it can do first, how long a load lasts until it is measured, and
/// how long it is measured.
const EASE: u32 = 100;
const SETTLE: u32 = 200;
const MEASURE: u32 = 200;
/// More runs than this take more time than they are worth.
const REPEATS_MAX: usize = 2;

const METRICS: [Metric; 5] = [
    Metric { name: "answered/s", digits: 0 },
    Metric { name: "of capacity %", digits: 0 },
    Metric { name: "p50 ms", digits: 0 },
    Metric { name: "p99 ms", digits: 0 },
    Metric { name: "refused %", digits: 0 },
];

/// Does ten pieces of work at a time.
#[derive(Debug)]
struct Pool {
    workers: Arc<Semaphore>,
    tasks: Tasks,
}

/// What became of the calls that came while it was measured.
struct Seen {
    took: Histogram<u64>,
    refused: u64,
    all: u64,
}

struct Server {
    child: Child,
    address: String,
}

#[derive(Clone, Copy)]
enum Limit {
    Adaptive,
    None,
}

/// The benchmark.
pub(crate) fn run(settings: &Settings) -> Report {
    let settings = Settings { repeats: settings.repeats.min(REPEATS_MAX), ..*settings };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let runtime = &runtime;
    let capacity = {
        let server = Server::start(Limit::None);
        runtime.block_on(server.capacity(settings.span * MEASURE))
    };
    let mut comparison = Comparison::new("A server at twice its capacity", METRICS);
    let cases =
        [(Limit::Adaptive, "half of", 0.5), (Limit::Adaptive, "twice", 2.0), (Limit::None, "twice", 2.0)];
    for (limit, load, times) in cases {
        comparison.case(format!("{limit}, {load} its capacity"), move || {
            let server = Server::start(limit);
            let measure = settings.span * MEASURE;
            let seen = runtime.block_on(async {
                server.load(capacity / 2.0, settings.span * EASE, Duration::ZERO).await;
                server.load(capacity * times, settings.span * SETTLE, measure).await
            });
            seen.figures(capacity, measure)
        });
    }
    comparison.run(&settings)
}

/// The server's process: `--serve-overload LIMIT`.
pub(crate) fn server_main(args: &[String]) {
    let limit = match args {
        [limit] if limit == "none" => callsign::server::ConcurrencyLimit::none(),
        _ => callsign::server::ConcurrencyLimit::adaptive(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let pool = Pool { workers: Arc::new(Semaphore::new(WORKERS)), tasks: Tasks::new() };
        let server = callsign::Server::builder("bench")
            .unregistered()
            .concurrency_limit(limit)
            .add_service(BenchServer::new(pool))
            .build()
            .await
            .expect("a free port");
        println!("{}", server.local_addr());
        // Until the standard input ends, as it does with the one who started it.
        let over = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        server.serve_until(async { drop(over.await) }).await.expect("the server serves");
    });
}

// === impl Pool ===

#[tonic::async_trait]
impl Bench for Pool {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        let worker = self.workers.clone().acquire_owned().await.map_err(|_| Status::internal("closed"))?;
        let (done, work_is_done) = tokio::sync::oneshot::channel();
        let time = WORK.mul_f64(0.5 + fastrand::f64());
        self.tasks.spawn("work", async move {
            sleep(time).await;
            drop(worker);
            let _ = done.send(());
        });
        let _ = work_is_done.await;
        Ok(Response::new(request.into_inner()))
    }

    type FlowStream = futures_util::stream::Empty<Result<Payload, Status>>;

    async fn flow(&self, _: Request<FlowRequest>) -> Result<Response<Self::FlowStream>, Status> {
        Err(Status::unimplemented("not measured here"))
    }
}

// === impl Server ===

impl Server {
    fn start(limit: Limit) -> Self {
        let limit = match limit {
            Limit::Adaptive => "adaptive",
            Limit::None => "none",
        };
        let mut child = Command::new(bare_program())
            .args([SERVER, limit])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server process starts");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("its output is ours");
        BufReader::new(stdout).read_line(&mut address).expect("it says its address");
        Self { child, address: address.trim().to_owned() }
    }

    async fn client(&self) -> BenchClient<tonic::transport::Channel> {
        let endpoint = Endpoint::try_from(format!("http://{}", self.address)).expect("an address");
        BenchClient::new(endpoint.tcp_nodelay(true).connect().await.expect("a connection"))
    }

    /// Answers a second, when there is always a next call and no queue to speak of.
    async fn capacity(&self, span: Duration) -> f64 {
        let client = self.client().await;
        let end = Instant::now() + span;
        let mut callers = JoinSet::new();
        for _ in 0..2 * WORKERS {
            let mut client = client.clone();
            callers.spawn(async move {
                let mut answered = 0_u32;
                while Instant::now() < end {
                    client.echo(Payload::default()).await.expect("an answer");
                    answered += 1;
                }
                answered
            });
        }
        callers.join_all().await.into_iter().map(f64::from).sum::<f64>() / span.as_secs_f64()
    }

    /// So many calls a second, whatever becomes of them.
    async fn load(&self, rate: f64, settle: Duration, measure: Duration) -> Seen {
        let client = self.client().await;
        let start = Instant::now();
        let seen = Arc::new(Mutex::new(Seen::new()));
        let mut calls = JoinSet::new();
        let mut next = Duration::ZERO;
        while next < settle + measure {
            next += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / rate);
            sleep_until(start + next).await;
            let measured = next >= settle;
            let (mut client, seen) = (client.clone(), seen.clone());
            calls.spawn(async move {
                let mut request = Request::new(Payload::default());
                request.set_timeout(PATIENCE);
                let begun = Instant::now();
                let answer = client.echo(request).await;
                if measured {
                    seen.lock().expect("nobody panics").add(begun.elapsed(), answer.map(drop));
                }
            });
            // Nothing is kept of those that have ended.
            while calls.try_join_next().is_some() {}
        }
        while calls.join_next().await.is_some() {}
        let mut seen = seen.lock().expect("nobody panics");
        std::mem::replace(&mut *seen, Seen::new())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Seen ===

impl Seen {
    fn new() -> Self {
        // It would clip what is longer, and not grow.
        let took = Histogram::new_with_max(120_000_000, 3).expect("a precision that there is");
        Self { took, refused: 0, all: 0 }
    }

    fn add(&mut self, took: Duration, answer: Result<(), Status>) {
        self.all += 1;
        match answer {
            Ok(()) => self.took.saturating_record(took.as_micros() as u64),
            Err(status) if status.code() == Code::ResourceExhausted => self.refused += 1,
            Err(_) => {}
        }
    }

    fn figures(&self, capacity: f64, span: Duration) -> Vec<f64> {
        let rate = self.took.len() as f64 / span.as_secs_f64();
        let millis = |quantile| match self.took.len() {
            0 => f64::NAN,
            _ => self.took.value_at_quantile(quantile) as f64 / 1000.0,
        };
        let refused = self.refused as f64 / self.all.max(1) as f64 * 100.0;
        vec![rate, rate / capacity * 100.0, millis(0.5), millis(0.99), refused]
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adaptive => "adaptive limit",
            Self::None => "no limit",
        })
    }
}
