//! A client in a process of its own, which calls in one way, at a pace, and counts what becomes of the calls.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use callsign::{
    CallOptions, Channel,
    client::{HedgePolicy, MethodPolicy},
    registry::RegistryUrl,
};
use callsign_core::{Node as Entry, select::Strategy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::{
    Request,
    body::Body,
    transport::{self, Endpoint, channel::Change},
};
use tower::{
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwma},
};

use super::{
    child::{Child, obey},
    curve::Curve,
    load::{Tally, pace},
    node::without_bounds,
    runtime,
};
use crate::calls::pb::{Payload, bench_client::BenchClient};

/// The first argument of a client's process.
pub(crate) const ROLE: &str = "--fleet-client";

/// The same for all ways.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// linkerd's, for tower's balancer has no defaults.
const EWMA_DEFAULT: Duration = Duration::from_millis(30);
const EWMA_DECAY: Duration = Duration::from_secs(10);
/// Requests that wait for a node in the peers' buffers. tonic's own default.
const BUFFER: usize = 1024;

/// A way to call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    #[default]
    Adaptive,
    LeastRequest,
    RoundRobin,
    /// tonic's channel over several nodes, which can be told of further ones.
    Tonic,
    /// tower's balancer with peak EWMA over tonic's channels to one node each.
    TowerPeakEwma,
}

/// What a client is to do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Options {
    pub(super) way: Way,
    pub(super) per_second: u32,
    pub(super) idempotent: bool,
    /// Whether Callsign's channel repeats calls without a budget.
    pub(super) naive: bool,
    /// Whether Callsign's channel makes a second attempt for calls that are slow, by its defaults.
    pub(super) hedged: bool,
    /// Addresses.
    pub(super) nodes: Vec<String>,
    /// Where Callsign's channel finds nodes, if it is not to keep to the addresses.
    pub(super) registry: Option<String>,
}

/// A client's process, seen from outside.
#[derive(Debug)]
pub(super) struct Client(Child);

/// What became of a client's calls.
#[derive(Debug)]
pub(super) struct Seen(Value);

/// Tells tonic's channel of further nodes.
type More = Option<mpsc::Sender<Change<String, Endpoint>>>;

// === impl Way ===

impl Way {
    pub(super) const ALL: [Self; 5] =
        [Self::Adaptive, Self::LeastRequest, Self::RoundRobin, Self::Tonic, Self::TowerPeakEwma];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Adaptive => "callsign, adaptive",
            Self::LeastRequest => "callsign, least-request",
            Self::RoundRobin => "callsign, round-robin",
            Self::Tonic => "tonic balance_list",
            Self::TowerPeakEwma => "tower p2c, peak EWMA",
        })
    }
}

// === impl Client ===

impl Client {
    pub(super) async fn start(options: &Options) -> Self {
        Self(Child::start(ROLE, options).await)
    }

    /// Counts anew.
    pub(super) async fn begin(&mut self) {
        self.0.ask("take").await;
    }

    /// What became of the calls since then.
    pub(super) async fn take(&mut self) -> Seen {
        Seen(self.0.ask("take").await)
    }

    /// How many calls were answered so far.
    pub(super) async fn answered(&mut self) -> f64 {
        self.0.number("answered").await
    }

    /// Tells it of a further node, where nothing else does.
    pub(super) async fn add(&mut self, address: &str) {
        self.0.ask(&format!("add {address}")).await;
    }
}

// === impl Seen ===

impl Seen {
    /// A figure by its name; NaN if there were no calls that it could be about.
    pub(super) fn figure(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or(f64::NAN)
    }

    /// How long all of them took.
    pub(super) fn curve(&self) -> Curve {
        Curve::deserialize(&self.0["curve"]).expect("a curve")
    }
}

// === the process ===

/// What a client's process does until its input ends.
pub(crate) fn main(options: &str) {
    let options: Options = serde_json::from_str(options).expect("options");
    let runtime = runtime(1);
    runtime.block_on(async {
        match options.way {
            Way::Adaptive => callsign(&options, Strategy::default()).await,
            Way::LeastRequest => callsign(&options, Strategy::LeastRequest { choices: 2 }).await,
            Way::RoundRobin => callsign(&options, Strategy::RoundRobin).await,
            Way::Tonic => {
                let (channel, more) = transport::Channel::balance_channel(BUFFER);
                for address in &options.nodes {
                    let insert = Change::Insert(address.clone(), endpoint(address));
                    more.send(insert).await.expect("a channel that lives");
                }
                drive(&options, channel, Some(more)).await;
            }
            Way::TowerPeakEwma => drive(&options, tower_peak_ewma(&options.nodes), None).await,
        }
    });
    // A thread waits for further orders, and would keep us.
    runtime.shutdown_background();
}

async fn callsign(options: &Options, strategy: Strategy) {
    let builder = Channel::builder("bench").strategy(strategy);
    let builder = match &options.registry {
        Some(url) => {
            let url: RegistryUrl = url.parse().expect("a registry's address");
            builder.registry(callsign::registry::open(&url).expect("a registry"))
        }
        None => builder.nodes(options.nodes.iter().map(|address| node(address))),
    };
    let builder = if options.naive { builder.retry_budget(without_bounds()) } else { builder };
    let builder = match options.hedged {
        true => {
            let policy = MethodPolicy::new().idempotent(true).hedge(HedgePolicy::new());
            builder.method("*", policy).expect("all methods")
        }
        false => builder,
    };
    drive(options, builder.build().expect("a channel"), None).await;
}

/// A node of a fixed list.
pub(super) fn node(address: &str) -> Entry {
    Entry::builder("bench", address, address).build().expect("a node")
}

fn tower_peak_ewma(nodes: &[String]) -> Buffer<http::Request<Body>, PeakEwmaFuture> {
    let decay = EWMA_DECAY.as_nanos() as f64;
    let service = |address: &String| {
        let channel = endpoint(address).connect_lazy();
        PeakEwma::new(channel, EWMA_DEFAULT, decay, CompleteOnResponse::default())
    };
    let services: Vec<_> = nodes.iter().map(service).collect();
    Buffer::new(Balance::new(ServiceList::new::<http::Request<Body>>(services)), BUFFER)
}

type PeakEwmaFuture = <Balance<
    ServiceList<std::vec::IntoIter<PeakEwma<transport::Channel>>>,
    http::Request<Body>,
> as tower::Service<http::Request<Body>>>::Future;

fn endpoint(address: &str) -> Endpoint {
    Endpoint::try_from(format!("http://{address}")).expect("an endpoint").tcp_nodelay(true)
}

/// Calls through a generated client over any channel, and obeys.
async fn drive<T>(options: &Options, channel: T, more: More)
where
    T: tonic::client::GrpcService<Body, Future: Send> + Clone + Send + 'static,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    T::Error: Into<tonic::codegen::StdError>,
    <T::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    let tally = Arc::new(Tally::default());
    let client = BenchClient::new(channel);
    let said = CallOptions::new().idempotent(options.idempotent);
    let calling = pace(options.per_second, pending(), |_, due| {
        let (mut client, tally, said) = (client.clone(), tally.clone(), said.clone());
        async move {
            let mut request = Request::new(Payload { data: vec![b'x'; 16] });
            request.set_timeout(CALL_TIMEOUT);
            request.extensions_mut().insert(said);
            let answer = tokio::time::timeout(CALL_TIMEOUT, client.echo(request)).await;
            tally.count(due, &answer.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("given up"))));
        }
    });
    let obeying = obey(Value::Null, async |order, argument| match order {
        "take" => tally.take().to_json(),
        "answered" => json!(tally.so_far().0),
        "add" => {
            if let Some(more) = &more {
                let insert = Change::Insert(argument.to_owned(), endpoint(argument));
                more.send(insert).await.expect("a channel that lives");
            }
            Value::Null
        }
        _ => panic!("a client does not know how to `{order}`"),
    });
    tokio::select! {
        biased;
        () = obeying => {}
        () = calling => {}
    }
}
