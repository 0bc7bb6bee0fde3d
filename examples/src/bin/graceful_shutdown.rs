//! Leaving without losing a call: each step is shown as it happens.
//!
//!     cargo run -p callsign-examples --bin graceful_shutdown
//!
//! Press Ctrl-C. A handler that streams without an end hears that the server is leaving and ends its stream; calls that
//! merely take long are waited for. Press Ctrl-C again to end at once.

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use std::{pin::Pin, time::Duration};

use callsign::server::{ConnectionInfo, DrainConfig, Phase};
use callsign_examples::greeter::{
    FILE_DESCRIPTOR_SET, HelloReply, HelloRequest,
    conversation_server::{Conversation, ConversationServer},
};
use futures_util::{Stream, StreamExt as _};
use tokio_stream::wrappers::IntervalStream;
use tonic::{Request, Response, Status, Streaming};

struct Talker;

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl Conversation for Talker {
    /// Takes five seconds: enough to press Ctrl-C meanwhile, and get the reply all the same.
    async fn ask(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(Response::new(HelloReply { message: format!("Hello at last, {}!", request.into_inner().name) }))
    }

    type ListenStream = Replies;

    /// One greeting a second, until the server leaves or the caller has gone.
    async fn listen(&self, request: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>().cloned();
        let connection = connection.ok_or_else(|| Status::internal("not served by Callsign"))?;
        let reply = HelloReply { message: format!("Hello, {}!", request.into_inner().name) };
        let seconds = IntervalStream::new(tokio::time::interval(Duration::from_secs(1)));
        let replies = seconds.map(move |_| Ok(reply.clone()));
        Ok(Response::new(Box::pin(replies.take_until(async move { connection.draining().await }))))
    }

    async fn tell(&self, _: Request<Streaming<HelloRequest>>) -> Result<Response<HelloReply>, Status> {
        Err(Status::unimplemented("see the example streaming"))
    }

    type ChatStream = Replies;

    async fn chat(&self, _: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        Err(Status::unimplemented("see the example streaming"))
    }
}

#[tokio::main]
async fn main() -> callsign::Result<()> {
    let drain = DrainConfig::default()
        .with_propagation(Duration::from_secs(5)) // clients have this long to see the node leave ..
        .with_quiet(Duration::from_secs(1)) // .. or until none of them has called for a second
        .with_deadline(Duration::from_secs(30)); // then what still runs is cut
    let server = callsign::Server::builder("conversation")
        .add_service(ConversationServer::new(Talker))
        .descriptors(FILE_DESCRIPTOR_SET)
        .drain(drain)
        .build()
        .await?;
    println!("listening on {}; press Ctrl-C", server.local_addr());

    let handle = server.handle();
    let show = async {
        let mut phases = handle.phases();
        loop {
            let phase = *phases.borrow_and_update();
            println!("{phase:?}, {} calls in flight", handle.calls_in_flight());
            if phase == Phase::Stopped || phases.changed().await.is_err() {
                break;
            }
        }
    };
    let (ended, ()) = tokio::join!(server.run(), show);
    ended
}
