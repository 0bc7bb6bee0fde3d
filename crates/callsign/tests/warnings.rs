//! What makes no sense and does no harm is said once, and not with every call.
//!
//! It is alone in this file because what `tracing` records is settled for the whole process.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use callsign::{
    Channel, Server,
    core::{Node, model::keys, select::Strategy},
};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    conversation_client::ConversationClient,
    conversation_server::{Conversation, ConversationServer},
};
use futures_util::Stream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataValue};
use tracing_subscriber::fmt::MakeWriter;

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn count(&self, words: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(words).count()
    }
}

/// Ends each stream with a report that nobody can read.
struct Odd;

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl Conversation for Odd {
    async fn ask(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply::default()))
    }

    type ListenStream = Replies;

    async fn listen(&self, _: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
        let mut end = Status::not_found("no more");
        end.metadata_mut().insert_bin("endpoint-load-metrics-bin", MetadataValue::from_bytes(&[0xff; 4]));
        let replies = futures_util::stream::iter([Ok(HelloReply::default()), Err(end)]);
        Ok(Response::new(Box::pin(replies)))
    }

    async fn tell(&self, _: Request<Streaming<HelloRequest>>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply::default()))
    }

    type ChatStream = Replies;

    async fn chat(&self, _: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        Ok(Response::new(Box::pin(futures_util::stream::empty())))
    }
}

#[tokio::test]
async fn odd_weights_reports_and_calls_without_a_key_are_told_of_once() {
    let log = Log::default();
    tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).init();
    let server = Server::builder("odd")
        .unregistered()
        .add_service(ConversationServer::new(Odd))
        .build()
        .await
        .unwrap();
    let address = server.handle().local_addr().to_string();
    tokio::spawn(server.serve_until(std::future::pending()));
    let node = Node::builder("odd", "heavy", address).metadata(keys::WEIGHT, "NaN").build_as_read().unwrap();

    for name in ["maglev", "load-reports"] {
        let strategy: Strategy = name.parse().unwrap();
        let channel = Channel::builder("odd").nodes([node.clone()]).strategy(strategy).build().unwrap();
        channel.ready(Duration::from_secs(20)).await.unwrap();
        for _ in 0..3 {
            let mut client = ConversationClient::new(channel.clone());
            let mut replies = client.listen(HelloRequest::default()).await.unwrap().into_inner();
            assert!(replies.message().await.unwrap().is_some());
            assert_eq!(replies.message().await.unwrap_err().message(), "no more");
        }
    }
    assert_eq!(log.count("without a hash key"), 1);
    assert_eq!(log.count("a load report makes no sense"), 1);
    assert_eq!(log.count("counts as the mean of the others"), 2, "once in each channel");
}
