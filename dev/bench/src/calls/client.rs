//! A client process: it calls in one way, measures itself, and prints one line of numbers.

use std::{
    fmt,
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use callsign::client::ChannelBuilder;
use callsign_core::select::Strategy;
use hdrhistogram::Histogram;
use prost::Message;
use tokio::{task::JoinSet, time::Instant};
use tonic::body::Body;

use super::{
    measure::Used,
    pb::{FlowRequest, Payload, bench_client::BenchClient},
    way::{self, Way},
};

/// What is called, and how often at once.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    Unary { inflight: usize, bytes: usize },
    Flow { inflight: usize, messages: u32, bytes: u32 },
}

/// Where among the figures the allocations are.
const ALLOCATIONS: usize = 4;

/// For what share of the time allocations are counted: their number a call hardly varies.
const COUNTED: f64 = 0.2;

/// Share of the time that goes by before anything counts.
const WARM_UP: f64 = 0.25;

/// Over the size of the largest message sent here.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

// === impl Load ===

impl Load {
    fn inflight(self) -> usize {
        match self {
            Self::Unary { inflight, .. } | Self::Flow { inflight, .. } => inflight,
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unary { inflight, bytes } => write!(f, "unary {inflight} {bytes}"),
            Self::Flow { inflight, messages, bytes } => write!(f, "flow {inflight} {messages} {bytes}"),
        }
    }
}

impl FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("no load is called {text:?}");
        let mut words = text.split(' ');
        let kind = words.next().ok_or_else(wrong)?;
        let numbers: Vec<u32> = words.map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
        match (kind, &*numbers) {
            ("unary", [inflight, bytes]) => {
                Ok(Self::Unary { inflight: *inflight as usize, bytes: *bytes as usize })
            }
            ("flow", [inflight, messages, bytes]) => {
                Ok(Self::Flow { inflight: *inflight as usize, messages: *messages, bytes: *bytes })
            }
            _ => Err(wrong()),
        }
    }
}

/// Runs a client process, and gives what it measured; then a shorter one that counts what is allocated.
pub(crate) fn spawn(way: Way, load: Load, span: Duration, addresses: &[&str]) -> Vec<f64> {
    let run = |program: &Path, span: Duration| {
        let ours = ["--client".to_owned(), way.to_string(), load.to_string(), span.as_millis().to_string()];
        let theirs = addresses.iter().map(|address| (*address).to_owned());
        super::numbers_of(program, &ours.into_iter().chain(theirs).collect::<Vec<_>>())
    };
    let mut figures = run(&super::bare_program(), span);
    let counted = run(&super::counting_program(), span.mul_f64(COUNTED));
    figures[ALLOCATIONS] = counted[ALLOCATIONS];
    figures
}

/// The client process: `--client WAY LOAD MILLISECONDS ADDRESS...`
pub(crate) fn main(args: &[String]) {
    let [way, load, millis, addresses @ ..] = args else { panic!("way, load, span and addresses are given") };
    let way: Way = way.parse().expect("a way");
    let load: Load = load.parse().expect("a load");
    let span = Duration::from_millis(millis.parse().expect("milliseconds"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let measured = runtime.block_on(measure(way, load, span, addresses));
    println!("{}", measured.map(|number| number.to_string()).join(" "));
}

async fn measure(way: Way, load: Load, span: Duration, addresses: &[String]) -> [f64; 5] {
    match way {
        Way::Callsign => by_name(addresses, |builder| builder, load, span).await,
        Way::CallsignLeastRequest => {
            let strategy = Strategy::LeastRequest { choices: 2 };
            by_name(addresses, |builder| builder.strategy(strategy), load, span).await
        }
        Way::CallsignRoundRobin => {
            by_name(addresses, |builder| builder.strategy(Strategy::RoundRobin), load, span).await
        }
        Way::CallsignForgetful => by_name(addresses, |builder| builder.remembered_calls(0), load, span).await,
        Way::TonicBalanced => generated(way::tonic_balanced(addresses), load, span).await,
        Way::TonicOne => generated(way::tonic_one(addresses).await, load, span).await,
        Way::HyperOne => generated(way::HyperOne::connect(addresses).await, load, span).await,
        Way::H2 => bare(addresses, load, span).await,
    }
}

/// Calls through Callsign's channel.
async fn by_name(
    addresses: &[String],
    set: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
    load: Load,
    span: Duration,
) -> [f64; 5] {
    let (channel, _registrar) = way::callsign(addresses, set).await;
    generated(channel, load, span).await
}

/// Calls through a generated client over any channel.
async fn generated<T>(channel: T, load: Load, span: Duration) -> [f64; 5]
where
    T: tonic::client::GrpcService<Body, Future: Send> + Clone + Send + Sync + 'static,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    T::Error: Into<tonic::codegen::StdError>,
    <T::ResponseBody as http_body::Body>::Error: Into<tonic::codegen::StdError> + Send,
{
    let client = BenchClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    match load {
        Load::Unary { bytes, .. } => {
            let payload = Payload { data: vec![b'x'; bytes] };
            repeat(load, span, move |_| {
                let (mut client, payload) = (client.clone(), payload.clone());
                async move {
                    let reply = client.echo(payload).await.expect("a reply");
                    assert_eq!(reply.into_inner().data.len(), bytes);
                }
            })
            .await
        }
        Load::Flow { messages, bytes, .. } => {
            repeat(load, span, move |_| {
                let mut client = client.clone();
                async move {
                    let reply =
                        client.flow(FlowRequest { messages, bytes, pause_ms: 0 }).await.expect("a reply");
                    let mut stream = reply.into_inner();
                    let mut seen = 0;
                    while stream.message().await.expect("a message").is_some() {
                        seen += 1;
                    }
                    assert_eq!(seen, messages);
                }
            })
            .await
        }
    }
}

/// Calls with nothing but `h2`: the message is encoded once, and the reply is counted, not decoded.
async fn bare(addresses: &[String], load: Load, span: Duration) -> [f64; 5] {
    let Load::Unary { bytes, .. } = load else { panic!("bare h2 makes unary calls only") };
    let mut senders = Vec::new();
    for address in addresses {
        let socket = tokio::net::TcpStream::connect(address).await.expect("a connection");
        socket.set_nodelay(true).expect("an option");
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(2 << 20)
            .initial_connection_window_size(8 << 20)
            .handshake(socket)
            .await
            .expect("a handshake");
        tokio::spawn(connection);
        senders.push((sender, format!("http://{address}/bench.Bench/Echo")));
    }
    let payload = Payload { data: vec![b'x'; bytes] };
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(payload.encoded_len()).expect("a small message"));
    payload.encode(&mut message).expect("room");
    let message = message.freeze();
    let turn = AtomicUsize::new(0);
    repeat(load, span, move |_| {
        let (sender, uri) = &senders[turn.fetch_add(1, Ordering::Relaxed) % senders.len()];
        let (mut sender, message) = (sender.clone(), message.clone());
        let request = http::Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        async move {
            let (response, mut stream) = sender.send_request(request, false).expect("room");
            let length = message.len();
            stream.send_data(message, true).expect("a stream");
            let mut body = response.await.expect("a response").into_body();
            let mut seen = 0;
            while let Some(data) = body.data().await {
                let data = data.expect("data");
                seen += data.len();
                body.flow_control().release_capacity(data.len()).expect("capacity");
            }
            let trailers = body.trailers().await.expect("trailers").expect("trailers");
            assert_eq!((seen, trailers["grpc-status"].as_bytes()), (length, &b"0"[..]));
        }
    })
    .await
}

/// Makes calls, as many at once as the load says, and measures them after a warm-up.
async fn repeat<F, C>(load: Load, span: Duration, call: F) -> [f64; 5]
where
    F: Fn(usize) -> C + Send + Sync + 'static,
    C: Future<Output = ()> + Send,
{
    let (call, stop, warm) =
        (Arc::new(call), Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for caller in 0..load.inflight() {
        let (call, stop, warm) = (call.clone(), stop.clone(), warm.clone());
        callers.spawn(async move {
            let mut latencies = Histogram::<u64>::new(3).expect("a histogram");
            while !stop.load(Ordering::Relaxed) {
                let counts = warm.load(Ordering::Relaxed);
                let since = Instant::now();
                call(caller).await;
                if counts {
                    latencies.record(since.elapsed().as_nanos() as u64).expect("in range");
                }
            }
            latencies
        });
    }
    tokio::time::sleep(span.mul_f64(WARM_UP)).await;
    let (used, since) = (Used::now(), Instant::now());
    warm.store(true, Ordering::Relaxed);
    tokio::time::sleep(span).await;
    let (using, elapsed) = (Used::now(), since.elapsed());
    stop.store(true, Ordering::Relaxed);
    let mut all = Histogram::<u64>::new(3).expect("a histogram");
    while let Some(latencies) = callers.join_next().await {
        all.add(latencies.expect("a caller ends well")).expect("the same range");
    }
    let [cpu, allocations] = using.per_call(used, all.len());
    let micros = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    [all.len() as f64 / elapsed.as_secs_f64(), micros(0.5), micros(0.99), cpu, allocations]
}
