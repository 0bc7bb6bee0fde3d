//! What other tests stand on must itself stand.

use std::{process::Stdio, time::Duration};

use callsign_testbed::{Data, EtcdCluster, EtcdServer, Proxy};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    time::{Instant, timeout},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Set in the environment of a child that is to start an etcd and wait.
const ROLE: &str = "CALLSIGN_TEST_ROLE";

/// A connection that says nothing ends when its server does.
async fn until_gone(connection: &mut TcpStream) {
    let ended = timeout(PATIENCE, connection.read(&mut [0])).await.expect("an end in time");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test]
async fn an_etcd_serves_and_is_gone_with_its_guard() {
    let etcd = EtcdServer::start().await;
    let revision = etcd.put("key", "value", 0).await;
    let entry = etcd.get("key").await.unwrap();
    assert_eq!((&*entry.value, entry.lease, entry.revision), (&b"value"[..], 0, revision));
    let lease = etcd.grant(60).await;
    etcd.put("kez", "", lease).await;
    assert_eq!(etcd.list("ke").await.len(), 2);
    assert_eq!(etcd.leases().await, [lease]);
    etcd.revoke(lease).await;
    etcd.delete("key").await;
    assert_eq!(etcd.list("ke").await, []);

    let mut connection = TcpStream::connect(etcd.address()).await.unwrap();
    drop(etcd);
    until_gone(&mut connection).await;
}

/// Not a test: what a child does.
#[tokio::test]
#[ignore = "the role of a child process"]
async fn child() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let etcd = EtcdServer::start().await;
    println!("\n@{}", etcd.address());
    std::future::pending().await
}

#[tokio::test]
async fn an_etcd_is_gone_when_its_process_is_killed() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(ROLE, "etcd")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        if let Some(address) = line.strip_prefix('@') {
            break address.to_owned();
        }
    };
    let mut connection = TcpStream::connect(address).await.unwrap();
    let id = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(id, Signal::KILL).unwrap();
    until_gone(&mut connection).await;
}

#[tokio::test]
async fn data_is_kept_or_lost_as_asked_and_a_paused_etcd_goes_on() {
    let mut etcd = EtcdServer::start().await;
    etcd.put("key", "", 0).await;
    etcd.stop().await;
    etcd.restart(Data::Kept).await;
    assert!(etcd.get("key").await.is_some());

    etcd.pause().await;
    let mut connection = TcpStream::connect(etcd.address()).await.unwrap();
    connection.write_all(b"GET /health HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let answered = timeout(Duration::from_millis(300), connection.read_to_string(&mut answer)).await;
    assert!(answered.is_err(), "it was paused");
    etcd.resume().await;
    etcd.accepts_writes().await;
    timeout(PATIENCE, connection.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.contains("200 OK"), "{answer}");

    etcd.kill().await;
    etcd.restart(Data::Lost).await;
    assert_eq!(etcd.get("key").await, None);
}

#[tokio::test]
async fn users_need_their_password() {
    let etcd = EtcdServer::builder().user("me", "secret").start().await;
    etcd.put("key", "by root", 0).await;
    let mut stranger = TcpStream::connect(etcd.address()).await.unwrap();
    let request = "POST /v3/kv/range HTTP/1.0\r\nContent-Length: 14\r\n\r\n{\"key\":\"a2V5\"}";
    stranger.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stranger.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.contains("user name is empty"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_elects_another_leader_when_its_own_is_killed() {
    let mut cluster = EtcdCluster::start(3).await;
    let first = cluster.leader().await;
    cluster.members[first].kill().await;
    let next = cluster.leader().await;
    assert_ne!(first, next);
    cluster.members[next].accepts_writes().await;
    cluster.members[first].restart(Data::Kept).await;
    cluster.members[next].put("key", "", 0).await;
    assert!(cluster.members[first].get("key").await.is_some());
}

/// What comes back of four bytes over `connection`, and how long that took.
async fn echo(connection: &mut TcpStream) -> (std::io::Result<usize>, Duration) {
    let begun = Instant::now();
    let back = async {
        connection.write_all(b"echo").await?;
        connection.read_exact(&mut [0; 4]).await
    };
    (timeout(PATIENCE, back).await.expect("an answer in time"), begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_delays_slows_swallows_resets_and_cuts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    let proxy = Proxy::start(upstream).await;
    let mut connection = TcpStream::connect(proxy.address()).await.unwrap();
    echo(&mut connection).await.0.unwrap();

    proxy.delay(Duration::from_millis(100));
    let (back, took) = echo(&mut connection).await;
    assert!(back.is_ok() && took >= Duration::from_millis(200), "{took:?}");

    proxy.slow(40);
    let (back, took) = echo(&mut connection).await;
    assert!(back.is_ok() && took >= Duration::from_millis(200), "{took:?}");

    proxy.blackhole();
    let mut later = TcpStream::connect(proxy.address()).await.unwrap();
    for connection in [&mut connection, &mut later] {
        let silent = timeout(Duration::from_millis(100), echo(connection)).await;
        assert!(silent.is_err(), "it was swallowed");
    }
    proxy.restore();
    for connection in [&mut connection, &mut later] {
        // What was swallowed comes now.
        timeout(PATIENCE, connection.read_exact(&mut [0; 4])).await.unwrap().unwrap();
        echo(connection).await.0.unwrap();
    }

    proxy.reset();
    for connection in [&mut connection, &mut later] {
        let ended = timeout(PATIENCE, connection.read(&mut [0; 4])).await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    }
    let mut connection = TcpStream::connect(proxy.address()).await.unwrap();
    let mut later = TcpStream::connect(proxy.address()).await.unwrap();
    echo(&mut connection).await.0.unwrap();
    echo(&mut later).await.0.unwrap();

    proxy.cut();
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    for connection in [&mut connection, &mut later, &mut refused] {
        until_gone(connection).await;
    }
    proxy.restore();
    let mut anew = TcpStream::connect(proxy.address()).await.unwrap();
    echo(&mut anew).await.0.unwrap();
}
