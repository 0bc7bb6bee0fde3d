//! `callsign demo-node`: one node of the demo's `greeter` service, in a process of its own.

use std::{ops::Range, pin::Pin, time::Duration};

use callsign::{
    Server,
    core::registry::RegisterOptions,
    server::{DrainConfig, OnRegisterFailure, Operators},
};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    signal::unix::{SignalKind, signal},
};
use tonic::{Request, Response, Status, Streaming};

use self::proto::{
    HelloReply, HelloRequest, Language, RepeatRequest,
    greeter_server::{Greeter, GreeterServer},
};
use crate::{
    context::Context,
    error::{CliError, Result},
    exit::Exit,
};

/// What the demo's service speaks.
#[expect(unreachable_pub, clippy::all, reason = "generated")]
pub(super) mod proto {
    callsign::include_proto!("greeter");
}

/// The name the demo's nodes register under.
pub(crate) const SERVICE: &str = "greeter";

/// What the demo writes to a node that is to stay when the demo ends.
pub(super) const KEEP: &[u8] = b"keep\n";

/// Run one node of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long)]
    id: String,
    #[arg(long)]
    node_version: String,
    #[arg(long)]
    group: String,
}

/// Greets, and says who it is.
#[derive(Debug)]
struct Greetings {
    id: String,
}

/// How long a registry that cannot see a process die keeps it: as short as etcd's leases can be, for there is not much time.
const TTL: Duration = Duration::from_secs(2);

/// How long a greeting takes, in milliseconds: about as long as a service that asks a database.
///
/// Without it hardly any call would be in flight when a node is killed, and there would be nothing to see.
pub(super) const WORK_MS: Range<u64> = 1..6;

/// Greetings that one call of `Repeat` may ask for.
const TIMES_MAX: u32 = 1000;

/// Runs the command until it is told to end, or left alone.
pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    let server = Server::builder(SERVICE)
        .id(&args.id)
        .domain(context.settings.domain.as_str())
        .version(&args.node_version)
        .group(&args.group)
        .registry(context.registry()?)
        .bind("127.0.0.1:0")
        .drain(DrainConfig::default().with_quiet(Duration::from_millis(200)))
        .register(RegisterOptions::default().with_ttl(TTL))
        .operators(Operators::on_loopback())
        .on_register_failure(OnRegisterFailure::Fail)
        .add_service(GreeterServer::new(Greetings { id: args.id.clone() }))
        .descriptors(proto::FILE_DESCRIPTOR_SET)
        .build()
        .await?;
    let mut terminated = signal(SignalKind::terminate())
        .map_err(|error| CliError::new(Exit::Other, "cannot listen to signals").because_of(&error))?;
    let told = async {
        tokio::select! {
            biased;
            _ = terminated.recv() => {}
            () = left_alone() => {}
        }
    };
    server.serve_until(told).await?;
    Ok(())
}

/// Returns when the demo has gone without saying that this process is to stay.
pub(super) async fn left_alone() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.as_bytes() == KEEP.trim_ascii_end() {
            return std::future::pending().await;
        }
    }
}

// === impl Greetings ===

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl Greeter for Greetings {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(WORK_MS))).await;
        Ok(Response::new(self.greet(&request.into_inner())?))
    }

    type RepeatStream = Replies;

    async fn repeat(&self, request: Request<RepeatRequest>) -> Result<Response<Replies>, Status> {
        let RepeatRequest { name, times } = request.into_inner();
        if times > TIMES_MAX {
            return Err(Status::invalid_argument(format!(
                "{times} times is too often; {TIMES_MAX} is the most"
            )));
        }
        let reply = self.greet(&HelloRequest { name, language: 0 })?;
        let replies = stream::iter((0..times).map(move |_| Ok(reply.clone())));
        Ok(Response::new(replies.boxed()))
    }

    async fn gather(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let mut requests = request.into_inner();
        let mut names = Vec::new();
        while let Some(HelloRequest { name, language: _ }) = requests.message().await? {
            if names.len() >= TIMES_MAX as usize {
                return Err(Status::resource_exhausted(format!("{TIMES_MAX} names are the most")));
            }
            names.push(name);
        }
        let name = names.join(", ");
        Ok(Response::new(self.greet(&HelloRequest { name, language: 0 })?))
    }

    type ChatStream = Replies;

    async fn chat(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        let node = Self { id: self.id.clone() };
        let replies = request.into_inner().map(move |message| node.greet(&message?));
        Ok(Response::new(replies.boxed()))
    }
}

impl Greetings {
    fn greet(&self, request: &HelloRequest) -> Result<HelloReply, Status> {
        let HelloRequest { name, language: _ } = request;
        if name.is_empty() {
            return Err(Status::invalid_argument("there is nobody to greet: name is empty"));
        }
        let hello = match request.language() {
            Language::English => "Hello",
            Language::French => "Bonjour",
            Language::German => "Hallo",
            Language::Japanese => "こんにちは",
        };
        Ok(HelloReply { message: format!("{hello}, {name}!"), node: self.id.clone() })
    }
}
