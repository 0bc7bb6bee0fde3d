//! Real sockets, with `h2`'s server as the peer and a bare socket where the peer is to misbehave.

use std::{convert::Infallible, future::poll_fn, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Reason, server};
use http::{Request, Response};
use http_body::{Body, Frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::*;

type Server = server::Connection<TcpStream, Bytes>;

/// A body of some frames, all there at once.
struct Frames(Vec<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = (!self.0.is_empty()).then(|| self.0.remove(0));
        std::task::Poll::Ready(next.map(|data| Ok(Frame::data(data))))
    }
}

async fn listen() -> (TcpListener, Host) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = Host::Ip(listener.local_addr().unwrap());
    (listener, host)
}

async fn accept(listener: &TcpListener) -> Server {
    let (socket, _) = listener.accept().await.unwrap();
    server::Builder::new().max_concurrent_streams(2).handshake(socket).await.unwrap()
}

fn quick() -> Config {
    Config {
        connect_timeout: Duration::from_millis(300),
        keep_alive_interval: Duration::from_millis(100),
        keep_alive_timeout: Duration::from_millis(100),
        probe_timeout: Duration::from_millis(100),
        ..Config::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks by their handles")]
fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

async fn open(host: &Host) -> (Connection, JoinHandle<Error>, Arc<Bundle>) {
    let bundle = Arc::new(Bundle::default());
    let (connection, driver) = connect(host, &quick(), &bundle).await.unwrap();
    (connection, spawn(driver), bundle)
}

async fn call(connection: &Connection, body: Vec<Bytes>) -> Result<Vec<u8>, Error> {
    let request = Request::post("http://peer/greeter").body(()).unwrap();
    let slot = connection.try_slot().expect("room for a stream");
    let (mut stream, mut outgoing) = slot.open(connection, request, body.is_empty())?;
    let mut body = pin!(Frames(body));
    let send = poll_fn(move |cx| outgoing.poll_send(cx, body.as_mut()));
    let receive = async { read(poll_fn(|cx| stream.poll_response(cx)).await?.into_body()).await };
    let (sent, received) = tokio::join!(send, receive);
    sent?;
    received
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            all.extend_from_slice(&data);
        }
    }
    Ok(all)
}

/// Answers every request with its own body.
async fn echo(mut server: Server) {
    while let Some(Ok((request, mut respond))) = server.accept().await {
        spawn(async move {
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                stream.send_data(data, false).unwrap();
            }
            stream.send_data(Bytes::new(), true).unwrap();
        });
    }
}

#[tokio::test]
async fn small_and_large_bodies_come_back_whole() {
    let (listener, host) = listen().await;
    spawn(async move { echo(accept(&listener).await).await });
    let (connection, ..) = open(&host).await;
    for frames in [vec![], vec![5], vec![0, 3, 0], vec![70_000, 1, 300_000], vec![3_000_000]] {
        let body: Vec<_> = frames.iter().map(|&n| Bytes::from(vec![b'x'; n])).collect();
        assert_eq!(call(&connection, body).await.unwrap().len(), frames.iter().sum::<usize>());
        assert_eq!(connection.streams(), 0);
    }
}

#[tokio::test]
async fn the_peers_stream_limit_is_known_and_kept() {
    let (listener, host) = listen().await;
    spawn(async move { echo(accept(&listener).await).await });
    let (connection, ..) = open(&host).await;
    assert_eq!(connection.streams_max(), 2);
    let slots = [connection.try_slot().unwrap(), connection.try_slot().unwrap()];
    assert!(connection.try_slot().is_none());
    drop(slots);
    assert!(connection.try_slot().is_some());
}

#[tokio::test]
async fn a_port_where_nothing_listens_is_refused_and_named() {
    let (listener, host) = listen().await;
    drop(listener);
    let error = connect(&host, &quick(), &Arc::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.disposition()), (ErrorKind::Connect, Disposition::Unsent));
    assert!(error.to_string().contains("nothing listens there"), "{error}");
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_given_up() {
    let (listener, host) = listen().await;
    let error = connect(&host, &quick(), &Arc::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout);
    assert!(error.to_string().contains("said nothing within 300 ms"), "{error}");
    drop(listener);
}

#[tokio::test]
async fn http1_and_tls_are_named() {
    for (answer, said) in
        [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP/1"), (b"\x15\x03\x01\0\x02\x02\x46\0\0", "TLS")]
    {
        let (listener, host) = listen().await;
        spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut preface = [0; 24];
            socket.read_exact(&mut preface).await.unwrap();
            socket.write_all(answer).await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
        });
        let error = connect(&host, &quick(), &Arc::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotHttp2, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_tls_alert_is_heard_though_the_peer_hangs_up_on_unread_bytes() {
    let (listener, host) = listen().await;
    spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_exact(&mut [0; 24]).await.unwrap();
        socket.write_all(b"\x15\x03\x01\0\x02\x02\x46").await.unwrap();
    });
    let error = connect(&host, &quick(), &Arc::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotHttp2, "{error}");
    assert!(error.to_string().contains("wants TLS"), "{error}");
}

#[tokio::test]
async fn a_refused_stream_may_be_sent_elsewhere_and_another_reset_may_not() {
    for (reason, disposition) in
        [(Reason::REFUSED_STREAM, Disposition::Refused), (Reason::INTERNAL_ERROR, Disposition::Unknown)]
    {
        let (listener, host) = listen().await;
        spawn(async move {
            let mut server = accept(&listener).await;
            while let Some(Ok((_, mut respond))) = server.accept().await {
                respond.send_reset(reason);
            }
        });
        let (connection, ..) = open(&host).await;
        let error = call(&connection, vec![Bytes::from_static(b"x")]).await.unwrap_err();
        assert_eq!((error.kind(), error.disposition()), (ErrorKind::Reset, disposition));
        assert_eq!(connection.streams(), 0);
    }
}

#[tokio::test]
async fn goaway_lets_open_streams_finish_and_takes_no_more() {
    let (listener, host) = listen().await;
    let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (server_go, server_gone) = (go.clone(), gone.clone());
    spawn(async move {
        let mut server = accept(&listener).await;
        let (_, mut respond) = server.accept().await.unwrap().unwrap();
        server_go.notify_one();
        server.graceful_shutdown();
        let answer = async move {
            server_gone.notified().await;
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"late"), true).unwrap();
        };
        tokio::join!(answer, async { while server.accept().await.is_some() {} });
    });
    let (connection, driver, bundle) = open(&host).await;
    let calling = call(&connection, vec![Bytes::from_static(b"x")]);
    let watching = async {
        go.notified().await;
        bundle.changed().await;
        assert_eq!(connection.status(), Status::Draining);
        assert!(connection.try_slot().is_none());
        gone.notify_one();
    };
    let (reply, ()) = tokio::join!(calling, watching);
    assert_eq!(reply.unwrap(), b"late");
    drop(connection);
    driver.await.unwrap();
}

#[tokio::test]
async fn a_broken_connection_leaves_the_fate_of_a_sent_request_open() {
    let (listener, host) = listen().await;
    spawn(async move {
        let mut server = accept(&listener).await;
        let _held = server.accept().await.unwrap().unwrap();
        // The socket closes here, as when a process is killed.
    });
    let (connection, driver, _) = open(&host).await;
    let error = call(&connection, vec![Bytes::from_static(b"x")]).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Unknown, "{error:?}");
    driver.await.unwrap();
    assert_eq!(connection.status(), Status::Closed);
    assert!(connection.error().is_some());
}

#[tokio::test]
async fn a_request_that_never_left_is_known_to_be_unsent() {
    let (listener, host) = listen().await;
    let server = spawn(async move { accept(&listener).await });
    let (connection, driver) = connect(&host, &quick(), &Arc::default()).await.unwrap();
    let server = server.await.unwrap();
    let slot = connection.try_slot().unwrap();
    let request = Request::post("http://peer/greeter").body(()).unwrap();
    // The driver does not move, so the request stays here; then the connection dies.
    let (mut stream, _outgoing) = slot.open(&connection, request, true).unwrap();
    drop(server);
    drop(driver);
    let error = poll_fn(|cx| stream.poll_response(cx)).await.unwrap_err();
    assert_eq!(error.disposition(), Disposition::Unsent, "{error:?}");
}

#[tokio::test]
async fn a_silent_peer_with_open_streams_is_pinged_and_given_up() {
    let (listener, host) = listen().await;
    let server = spawn(async move {
        let mut server = accept(&listener).await;
        let held = server.accept().await;
        (server, held)
    });
    let (connection, driver, _) = open(&host).await;
    let calling = call(&connection, vec![Bytes::from_static(b"x")]);
    // The server is alive but nobody drives it any more, as in a stopped process.
    let (answer, _server) = tokio::join!(calling, server);
    assert_eq!(answer.unwrap_err().disposition(), Disposition::Unknown);
    assert_eq!(driver.await.unwrap().kind(), ErrorKind::KeepAlive);
}

#[tokio::test]
async fn a_probe_is_answered_by_a_live_peer_and_ends_a_dead_connection() {
    let (listener, host) = listen().await;
    spawn(async move { echo(accept(&listener).await).await });
    let (connection, ..) = open(&host).await;
    connection.probe();
    assert_eq!(call(&connection, vec![Bytes::from_static(b"x")]).await.unwrap(), b"x");
    assert_eq!(connection.status(), Status::Open);

    let (listener, host) = listen().await;
    let server = spawn(async move { accept(&listener).await });
    let (connection, driver, _) = open(&host).await;
    let _stopped = server.await.unwrap();
    connection.probe();
    assert_eq!(driver.await.unwrap().kind(), ErrorKind::KeepAlive);
    assert_eq!(connection.status(), Status::Closed);
}
