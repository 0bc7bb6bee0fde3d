//! Servers and clients that are processes of their own, and export what they do: this binary again, told to run just [`child`].

use std::process::Stdio;

use callsign::{
    CallOptions, Channel, Server,
    core::Node,
    trace::{OtlpExporter, TraceContext},
};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader, Lines, Stdin},
    process::{Child, ChildStdin, Command},
    sync::watch,
};
use tonic::{Request, Response, Status};
use tracing_subscriber::{Layer as _, filter::LevelFilter, layer::SubscriberExt as _};

use super::{PATIENCE, soon};

/// Set in the environment of a child: what it is, its name, and whom it calls.
const ROLE: &str = "CALLSIGN_TEST_ROLE";
const NAME: &str = "CALLSIGN_TEST_NAME";
const BEHIND: &str = "CALLSIGN_TEST_BEHIND";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// A child, killed when this is dropped. It ends by itself when its input does.
pub(crate) struct Process {
    name: &'static str,
    /// Of a server.
    address: String,
    child: Child,
    orders: Option<ChildStdin>,
    printed: watch::Receiver<String>,
    logged: watch::Receiver<String>,
}

// === impl Process ===

impl Process {
    /// Starts it, and waits until it is ready. Without an endpoint it exports nothing.
    pub(crate) async fn start(role: Role, name: &'static str, endpoint: &str, behind: Option<&Self>) -> Self {
        Self::start_with(&[], role, name, endpoint, behind).await
    }

    /// The same with this in its environment.
    pub(crate) async fn start_with(
        set: &[(&str, &str)],
        role: Role,
        name: &'static str,
        endpoint: &str,
        behind: Option<&Self>,
    ) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process::child", "--nocapture"])
            .env(ROLE, format!("{role:?}"))
            .env(NAME, name)
            .env(
                BEHIND,
                behind.map(|behind| format!("{}={}", behind.name, behind.address)).unwrap_or_default(),
            )
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_BSP_SCHEDULE_DELAY", "20")
            .envs(set.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let orders = child.stdin.take();
        let mut printed = lines(child.stdout.take().unwrap());
        let logged = lines(child.stderr.take().unwrap());
        let said =
            soon("it is ready", printed.wait_for(|text| text.contains("listening "))).await.unwrap().clone();
        let address = said.lines().find_map(|line| line.strip_prefix("listening ")).unwrap().to_owned();
        Self { name, address, child, orders, printed, logged }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Gives a client an order, and waits until it is carried out.
    pub(crate) async fn say(&mut self, order: &str) {
        let before = self.printed.borrow().matches("answered").count();
        let orders = self.orders.as_mut().unwrap();
        orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        let answered = self.printed.wait_for(|text| text.matches("answered").count() > before);
        soon("the answer", answered).await.unwrap();
    }

    pub(crate) async fn until_logged(&mut self, words: &str) {
        soon(words, self.logged.wait_for(|text| text.contains(words))).await.unwrap();
    }

    /// Lets it end, in order, and waits until it has.
    pub(crate) async fn end(&mut self) {
        self.orders = None;
        let status = soon("the child ends", self.child.wait()).await.unwrap();
        let log = self.log().await;
        assert!(status.success(), "{}: {log}", self.name);
    }

    /// What a client that has ended said of its calls.
    pub(crate) async fn printed(&mut self) -> String {
        let text = whole(&mut self.printed).await;
        text.lines().filter(|line| line.starts_with("answered")).map(|line| format!("{line}\n")).collect()
    }

    /// What it logged, once it has ended.
    pub(crate) async fn log(&mut self) -> String {
        whole(&mut self.logged).await
    }
}

/// All that is read until now; at the end its sender is gone.
fn lines(pipe: impl AsyncRead + Send + Unpin + 'static) -> watch::Receiver<String> {
    let (tell, told) = watch::channel(String::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tell.send_modify(|text| *text += &format!("{line}\n"));
        }
    });
    told
}

async fn whole(told: &mut watch::Receiver<String>) -> String {
    soon("its output ends", async { while told.changed().await.is_ok() {} }).await;
    told.borrow().clone()
}

// === the child's side ===

type Orders = Lines<BufReader<Stdin>>;

/// Says which trace it was called in, or has another say it.
struct Tier(Option<Channel>);

#[tonic::async_trait]
impl Greeter for Tier {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let Some(behind) = self.0.clone() else {
            let trace = request.extensions().get::<TraceContext>().map(TraceContext::trace_id);
            return Ok(Response::new(HelloReply {
                message: trace.map_or_else(String::new, |id| format!("{id:032x}")),
            }));
        };
        let mut call = Request::new(HelloRequest::default());
        call.extensions_mut().insert(CallOptions::new().within(request.extensions()));
        // In a task that knows nothing of the handler's span: what it is called within says enough.
        tokio::spawn(async move { GreeterClient::new(behind).hello(call).await }).await.unwrap()
    }
}

/// No test, but what a child runs.
#[tokio::test]
async fn child() {
    let variable = |name| std::env::var_os(name).map(|value| value.into_string().unwrap());
    let Some(role) = variable(ROLE) else { return };
    let name = variable(NAME).unwrap();
    let exporter = OtlpExporter::from_env(name.clone()).unwrap();
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(LevelFilter::INFO);
    let layer = exporter.as_ref().map(OtlpExporter::layer);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(log).with(layer)).unwrap();
    let behind = variable(BEHIND).unwrap();
    let behind = behind.split_once('=').map(|(service, address)| {
        let node = Node::builder(service, service, address).build().unwrap();
        Channel::builder(service).nodes([node]).build().unwrap()
    });
    let orders = BufReader::new(tokio::io::stdin()).lines();
    match role == format!("{:?}", Role::Server) {
        true => serve(&name, behind, orders).await,
        false => call(behind.unwrap(), orders).await,
    }
    if let Some(exporter) = exporter
        && let Err(error) = exporter.close().await
    {
        eprintln!("{error}");
    }
}

async fn serve(name: &str, behind: Option<Channel>, mut orders: Orders) {
    let server = Server::builder(name)
        .unregistered()
        .add_service(GreeterServer::new(Tier(behind)))
        .build()
        .await
        .unwrap();
    println!("\nlistening {}", server.local_addr());
    server.serve_until(async { while orders.next_line().await.unwrap().is_some() {} }).await.unwrap();
}

async fn call(channel: Channel, mut orders: Orders) {
    channel.ready(PATIENCE).await.unwrap();
    println!("\nlistening nowhere");
    let mut client = GreeterClient::new(channel);
    while let Some(order) = orders.next_line().await.unwrap() {
        let mut request = Request::new(HelloRequest::default());
        if let Some(parent) = order.strip_prefix("call ") {
            let mut headers = http::HeaderMap::new();
            headers.insert("traceparent", parent.parse().unwrap());
            let mut within = http::Extensions::new();
            within.insert(TraceContext::from_headers(&headers).unwrap());
            request.extensions_mut().insert(CallOptions::new().within(&within));
        }
        let reply = client.hello(request).await.unwrap().into_inner();
        println!("answered {}", reply.message);
    }
}
