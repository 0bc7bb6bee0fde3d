//! Each of three node processes is restarted gracefully in turn, and no call fails.

use std::path::Path;
use std::sync::Arc;

use callsign::{Channel, client::NodeState};
use callsign_examples::greeter::{conversation_client::ConversationClient, greeter_client::GreeterClient};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Count, until};
use crate::support::{
    hello,
    process::{Spawn, local},
    soon,
};

/// Calls of one kind, made until told to stop.
struct Worker {
    channel: Channel,
    made: Count,
    stop: CancellationToken,
}

impl Worker {
    async fn unary(self) -> Result<(), Status> {
        let mut client = GreeterClient::new(self.channel);
        while !self.stop.is_cancelled() {
            client.hello(hello("World")).await?;
            self.made.add();
        }
        Ok(())
    }

    /// Conversations of a few words each.
    async fn chats(self) -> Result<(), Status> {
        let mut client = ConversationClient::new(self.channel);
        while !self.stop.is_cancelled() {
            let (say, said) = mpsc::channel(1);
            let mut answers = client.chat(ReceiverStream::new(said)).await?.into_inner();
            for word in ["one", "two", "three"] {
                say.send(hello(word)).await.expect("the stream goes on");
                let answer = answers.message().await?.expect("an answer");
                assert_eq!(answer.message, format!("Hello, {word}!"));
                self.made.add();
            }
            drop(say);
            assert!(answers.message().await?.is_none());
        }
        Ok(())
    }

    /// Replies that end only when their node leaves.
    async fn listens(self) -> Result<(), Status> {
        let mut client = ConversationClient::new(self.channel);
        while !self.stop.is_cancelled() {
            let mut replies = client.listen(hello("polite")).await?.into_inner();
            assert!(replies.message().await?.is_some());
            self.made.add();
            let rest = self.stop.run_until_cancelled(replies.message()).await;
            assert!(rest.transpose()?.flatten().is_none());
        }
        Ok(())
    }
}

async fn start(id: &str, folder: &Path) -> crate::support::process::ServerProcess {
    Spawn::new(id).register(folder).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_each_of_three_nodes_gracefully_fails_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let channel =
        Channel::builder("greeter").registry(Arc::new(local(folder.path()))).seed(7).build().unwrap();
    let ready = |address: std::net::SocketAddr| {
        let address = address.to_string();
        channel
            .nodes()
            .iter()
            .any(|status| status.node.address() == address && status.state == NodeState::Ready)
    };
    let mut nodes = Vec::new();
    for id in ["a", "b", "c"] {
        nodes.push(start(id, folder.path()).await);
    }
    for node in &nodes {
        until("the node is in use", || ready(node.address)).await;
    }

    let (made, stop) = (Count::default(), CancellationToken::new());
    let mut workers = JoinSet::new();
    let worker = || Worker { channel: channel.clone(), made: made.clone(), stop: stop.clone() };
    for _ in 0..16 {
        workers.spawn(worker().unary());
    }
    for _ in 0..4 {
        workers.spawn(worker().chats());
        workers.spawn(worker().listens());
    }
    for node in &mut nodes {
        let before = made.get();
        until("calls are made", || made.get() > before + 300).await;
        node.signal("TERM").await;
        assert_eq!(node.exit_code().await, Some(0));
        *node = start(&node.id, folder.path()).await;
        until("the node is in use again", || ready(node.address)).await;
    }
    stop.cancel();
    while let Some(ended) = soon("the workers end", workers.join_next()).await {
        ended.unwrap().unwrap();
    }
}
