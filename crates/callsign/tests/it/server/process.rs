//! Servers that are processes of their own: signals, and running out of file descriptors.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use callsign::{Server, server::DrainConfig};
use callsign_examples::greeter::{
    conversation_client::ConversationClient, conversation_server::ConversationServer,
    greeter_client::GreeterClient, greeter_server::GreeterServer,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use crate::support::{Connection, PATIENCE, TestGreeter, hello, soon};

/// Set in the environment of a child that is to be a server.
const CHILD: &str = "CALLSIGN_TEST_CHILD";

/// No test, but what the child process runs: this binary again, told to run just this.
#[tokio::test]
async fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let drain = DrainConfig::default().with_deadline(Duration::from_secs(10));
    let server = Server::builder("greeter")
        .unregistered()
        .drain(drain)
        .add_service(GreeterServer::new(TestGreeter::default()))
        .add_service(ConversationServer::new(TestGreeter::default()))
        .build()
        .await
        .unwrap();
    println!("\nlistening {}", server.local_addr());
    // A failure is one of the "test", and so the process's exit code.
    server.run().await.unwrap();
}

/// A child process that serves; killed when dropped.
struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

/// Starts a child, by way of a shell that runs `before` first.
async fn start(before: &str) -> ServerProcess {
    let binary = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("{before} exec \"$0\" --exact server::process::child --nocapture"))
        .arg(binary)
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = soon("the child listens", async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the child ended");
            if let Some(address) = line.strip_prefix("listening ") {
                return address.parse().unwrap();
            }
        }
    })
    .await;
    // What else it prints must not block it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    ServerProcess { child, address }
}

impl ServerProcess {
    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }

    async fn exit_code(&mut self) -> Option<i32> {
        soon("the child ends", self.child.wait()).await.unwrap().code()
    }

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
        let mut server = start("").await;
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
    let mut server = start("").await;
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
    let server = start("ulimit -n 40;").await;
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
