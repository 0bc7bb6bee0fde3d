//! Servers that are processes of their own: signals, and running out of file descriptors.

use std::time::Duration;

use callsign_examples::greeter::{conversation_client::ConversationClient, greeter_client::GreeterClient};
use tokio::net::TcpStream;

use crate::support::{
    Connection, PATIENCE, hello,
    process::{ServerProcess, Spawn},
    soon,
};

impl ServerProcess {
    async fn client(&self) -> GreeterClient<Connection> {
        GreeterClient::new(Connection::open(self.address).await)
    }

    /// A call that the child does not answer, sent and on its way.
    async fn slow_call(
        &self,
    ) -> tokio::task::JoinHandle<Result<tonic::Response<callsign_examples::greeter::HelloReply>, tonic::Status>>
    {
        let mut client = self.client().await;
        let mut other = client.clone();
        let call = tokio::spawn(async move { client.hello(hello("slow")).await });
        // An answer on the same connection: what was sent before it has arrived.
        tokio::task::yield_now().await;
        other.hello(hello("World")).await.unwrap();
        call
    }
}

#[tokio::test]
async fn sigterm_and_sigint_let_it_leave_in_order() {
    for signal in ["TERM", "INT"] {
        let mut server = Spawn::new("greeter").start().await;
        let mut client = ConversationClient::new(Connection::open(server.address).await);
        let mut replies = client.listen(hello("polite")).await.unwrap().into_inner();
        assert!(replies.message().await.unwrap().is_some());
        server.signal(signal).await;
        assert!(soon("the stream ends", replies.message()).await.unwrap().is_none(), "{signal}");
        assert_eq!(server.exit_code().await, Some(0), "{signal}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut server = Spawn::new("greeter").start().await;
    let call = server.slow_call().await;
    server.signal("TERM").await;
    // It is leaving, and would wait 10 s for the call.
    soon("the port is closed", async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    assert!(!call.is_finished());
    let begun = tokio::time::Instant::now();
    server.signal("TERM").await;
    assert_ne!(server.exit_code().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn running_out_of_file_descriptors_does_not_end_it() {
    let server = Spawn::new("greeter").before("ulimit -n 40;").start().await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Full: a call over a new connection is not answered now, and is when others have gone.
    let address = server.address;
    let call = tokio::spawn(async move {
        GreeterClient::new(Connection::open(address).await).hello(hello("World")).await
    });
    let full = tokio::time::timeout(Duration::from_millis(300), async {
        while !call.is_finished() {
            tokio::task::yield_now().await
        }
    });
    assert!(full.await.is_err(), "with 40 descriptors it cannot serve 101 connections");
    drop(held);
    let served = tokio::time::timeout(PATIENCE, call).await.expect("served again");
    assert!(served.unwrap().is_ok());
}
