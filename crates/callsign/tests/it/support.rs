//! A greeter to serve, and a plain client that hides nothing of what the server does.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use callsign::{
    Deadline, Server,
    core::memory::MemoryRegistry,
    server::{Builder, ConnectionInfo, Handle},
};
use callsign_examples::greeter::{
    FILE_DESCRIPTOR_SET, HelloReply, HelloRequest,
    conversation_client::ConversationClient,
    conversation_server::{Conversation, ConversationServer},
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use futures_util::Stream;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Notify, task::JoinHandle};
use tonic::{Request, Response, Status, Streaming, body::Body};

pub mod process;

/// Longer than anything here takes: a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits what must happen.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("this did not happen within {PATIENCE:?}: {what}"),
    }
}

/// A greeter that can be held up.
#[derive(Debug, Clone, Default)]
pub struct TestGreeter {
    /// Told when a call named `slow` has arrived.
    pub arrived: Arc<Notify>,
    /// Lets one call named `slow` go on.
    pub go: Arc<Notify>,
    /// Told when a handler was dropped before its end.
    pub dropped: Arc<Notify>,
}

struct TellWhenDropped(Arc<Notify>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

fn reply(text: &str) -> HelloReply {
    HelloReply { message: format!("Hello, {text}!") }
}

#[tonic::async_trait]
impl Greeter for TestGreeter {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        let left = request.extensions().get::<Deadline>().map(|deadline| deadline.remaining().as_secs());
        match &*request.into_inner().name {
            "slow" => {
                let told = TellWhenDropped(self.dropped.clone());
                self.arrived.notify_one();
                self.go.notified().await;
                std::mem::forget(told);
                Ok(Response::new(reply("slow")))
            }
            "panic" => panic!("asked to"),
            "how long" => Ok(Response::new(reply(&format!("{left:?}")))),
            "who am I" => Ok(Response::new(reply(&connection.unwrap().peer().to_string()))),
            "what am I called" => Ok(Response::new(reply(&connection.unwrap().peer_names().join(" and ")))),
            name => Ok(Response::new(reply(name))),
        }
    }
}

#[tonic::async_trait]
impl Conversation for TestGreeter {
    async fn ask(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.hello(request).await
    }

    type ListenStream = Replies;

    /// One reply at once; then none, until the server leaves if the name is `polite`. Replies without end if it is `talkative`.
    async fn listen(&self, request: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>().unwrap().clone();
        let name = request.into_inner().name;
        if name == "talkative" {
            return Ok(Response::new(Box::pin(futures_util::stream::repeat_with(|| Ok(reply("more"))))));
        }
        let polite = name == "polite";
        let told = TellWhenDropped(self.dropped.clone());
        let first = futures_util::stream::iter([Ok(reply("one"))]);
        let rest = futures_util::stream::unfold((connection, told), move |state| async move {
            if !polite {
                std::future::pending::<()>().await;
            }
            state.0.draining().await;
            None
        });
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(first, rest))))
    }

    async fn tell(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<HelloReply>, Status> {
        let mut requests = request.into_inner();
        let mut names = Vec::new();
        while let Some(request) = requests.message().await? {
            names.push(request.name);
        }
        Ok(Response::new(reply(&names.join(" and "))))
    }

    type ChatStream = Replies;

    async fn chat(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        let requests = request.into_inner();
        let replies = futures_util::StreamExt::map(requests, |request| Ok(reply(&request?.name)));
        Ok(Response::new(Box::pin(replies)))
    }
}

/// A server that runs in a task of the test.
pub struct Running {
    pub handle: Handle,
    pub greeter: TestGreeter,
    pub ended: JoinHandle<callsign::Result<()>>,
}

/// A builder with a greeter, on loopback, that registers in `registry`.
pub fn builder(registry: &MemoryRegistry) -> (Builder, TestGreeter) {
    let greeter = TestGreeter::default();
    let builder = Server::builder("greeter")
        .registry(Arc::new(registry.clone()))
        .add_service(GreeterServer::new(greeter.clone()))
        .add_service(ConversationServer::new(greeter.clone()))
        .descriptors(FILE_DESCRIPTOR_SET);
    (builder, greeter)
}

/// Runs what `change` makes of the builder above, until the test says to leave through the handle.
pub async fn run(registry: &MemoryRegistry, change: impl FnOnce(Builder) -> Builder) -> Running {
    let (builder, greeter) = builder(registry);
    let server = change(builder).build().await.unwrap();
    let handle = server.handle();
    let ended = tokio::spawn(server.serve_until(std::future::pending()));
    Running { handle, greeter, ended }
}

impl Running {
    pub async fn client(&self) -> GreeterClient<Connection> {
        GreeterClient::new(Connection::open(self.handle.local_addr()).await)
    }

    pub async fn conversation(&self) -> ConversationClient<Connection> {
        ConversationClient::new(Connection::open(self.handle.local_addr()).await)
    }

    /// Waits for the end, and gives how it went.
    pub async fn end(self) -> callsign::Result<()> {
        soon("the server ends", self.ended).await.unwrap()
    }
}

/// One HTTP/2 connection, without any cleverness.
#[derive(Clone, Debug)]
pub struct Connection {
    requests: http2::SendRequest<Body>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
        let (requests, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Self { requests }
    }
}

impl tower_service::Service<http::Request<Body>> for Connection {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path_and_query().unwrap().as_str();
        *request.uri_mut() = format!("http://test{path}").parse().unwrap();
        Box::pin(self.requests.send_request(request))
    }
}

pub fn hello(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned() }
}
