//! What a server lets its clients use up.

use std::time::Duration;

use callsign::{ErrorKind, core::memory::MemoryRegistry, server::Limits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::greeter_client;
use crate::support::{builder, hello, run, soon};

#[tokio::test]
async fn a_connection_over_the_limit_waits_until_there_is_room() {
    let running =
        run(&MemoryRegistry::new(), |builder| builder.limits(Limits::default().with_connections(1))).await;
    let mut first = running.client().await;
    assert!(first.hello(hello("World")).await.is_ok());
    // The second is in the kernel's queue: connected, and not served.
    let address = running.handle.local_addr();
    let second = tokio::spawn(async move {
        let mut client = greeter_client(address).await;
        client.hello(hello("World")).await
    });
    assert!(first.hello(hello("World")).await.is_ok());
    assert!(!second.is_finished());
    drop(first);
    soon("the second is served", second).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_does_not_say_which_protocol_it_speaks_is_let_go() {
    let limits = Limits::default().with_header_timeout(Duration::from_millis(100));
    let running = run(&MemoryRegistry::new(), |builder| builder.limits(limits)).await;
    for begun in ["", "PRI * HTTP/2", "GET / HTTP/1.1\r\nhost: "] {
        let mut stream = TcpStream::connect(running.handle.local_addr()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset: either is an end.
        let _ = soon("the connection is closed", stream.read_to_end(&mut rest)).await;
    }
    // One that has spoken may be silent for as long as it likes.
    let mut client = running.client().await;
    assert!(client.hello(hello("World")).await.is_ok());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(client.hello(hello("World")).await.is_ok());
}

#[tokio::test]
async fn a_client_that_no_longer_answers_pings_is_let_go_and_one_that_does_is_kept() {
    let often = Duration::from_millis(100);
    let limits = Limits::default().with_keep_alive(often, often);
    let running = run(&MemoryRegistry::new(), |builder| builder.limits(limits)).await;
    let mut client = running.client().await;
    assert!(client.hello(hello("World")).await.is_ok());
    let mut deaf = TcpStream::connect(running.handle.local_addr()).await.unwrap();
    deaf.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon("the connection is closed", deaf.read_to_end(&mut rest)).await;
    assert!(client.hello(hello("World")).await.is_ok());
}

#[tokio::test]
async fn the_limit_of_streams_is_announced() {
    let running =
        run(&MemoryRegistry::new(), |builder| builder.limits(Limits::default().with_streams(7))).await;
    let stream = TcpStream::connect(running.handle.local_addr()).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    soon("the settings arrive", async {
        while requests.current_max_send_streams() != 7 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn headers_over_the_limit_are_refused_and_the_connection_lives() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;
    let mut request = tonic::Request::new(hello("World"));
    request.metadata_mut().insert("x-large", "x".repeat(20 * 1024).parse().unwrap());
    assert!(soon("a refusal", client.hello(request)).await.is_err());
    assert!(client.hello(hello("World")).await.is_ok());
}

#[tokio::test]
async fn a_port_in_use_is_said_at_once() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, |builder| builder).await;
    let address = running.handle.local_addr().to_string();
    let error = builder(&registry).0.bind(address.as_str()).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("{address} is in use")), "{error}");
    assert!(error.hint().unwrap().contains("port 0"), "{error:?}");
}

#[tokio::test]
async fn a_range_of_ports_serves_many_nodes() {
    let registry = MemoryRegistry::new();
    let (mut first, mut port) = (None, 0);
    while first.is_none() {
        let running = run(&registry, |builder| builder).await;
        port = running.handle.local_addr().port();
        let free = port < u16::MAX && std::net::TcpListener::bind(("127.0.0.1", port + 1)).is_ok();
        first = free.then_some(running);
    }
    let range = format!("127.0.0.1:{port}-{}", port + 1);
    let second = run(&registry, |builder| builder.bind(range)).await;
    assert_eq!(second.handle.local_addr().port(), port + 1);
    assert!(second.client().await.hello(hello("World")).await.is_ok());
}

#[tokio::test]
async fn a_node_bound_to_all_interfaces_advertises_an_address_that_answers() {
    let running = run(&MemoryRegistry::new(), |builder| builder.bind("0.0.0.0:0")).await;
    let address = running.handle.node().address().parse::<std::net::SocketAddr>().unwrap();
    assert!(!address.ip().is_unspecified());
    assert_eq!(address.port(), running.handle.local_addr().port());
    let mut client = greeter_client(address).await;
    assert!(client.hello(hello("World")).await.is_ok());

    let running = run(&MemoryRegistry::new(), |builder| builder.advertise("greeter.example")).await;
    let port = running.handle.local_addr().port();
    assert_eq!(running.handle.node().address(), format!("greeter.example:{port}"));
}
