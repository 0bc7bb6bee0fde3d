//! Peers that do as they are told, good or bad: whole servers by `h2`, and frames by hand where `h2` is too well behaved.

use std::{future::poll_fn, net::SocketAddr};

use bytes::Bytes;
use callsign_examples::greeter::HelloReply;
use h2::{
    RecvStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::Count;

/// Listens, and does the same with each connection. All of it ends when dropped.
pub struct Peer {
    pub address: SocketAddr,
    /// Connections accepted, and those of them that are open.
    pub accepted: Count,
    pub open: Count,
    task: JoinHandle<()>,
}

/// One connection, frame by frame.
pub struct Raw {
    io: TcpStream,
}

/// One frame.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

// === impl Peer ===

impl Peer {
    /// Runs `script` on each connection.
    pub async fn start<F>(script: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, open) = (Count::default(), Count::default());
        let (all, now) = (accepted.clone(), open.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                all.add();
                now.add();
                let (now, script) = (now.clone(), script(socket));
                connections.spawn(async move {
                    script.await;
                    now.sub();
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, accepted, open, task }
    }

    /// Runs `answer` on each request of each connection.
    pub async fn serve<F>(
        answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start(move |socket| serve(socket, answer.clone())).await
    }

    /// Greets.
    pub async fn good() -> Self {
        Self::serve(greet).await
    }

    /// Greets, and counts how often.
    pub async fn counted(count: &Count) -> Self {
        let count = count.clone();
        Self::serve(move |request, respond| {
            count.add();
            greet(request, respond)
        })
        .await
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs `answer` on each request of one connection.
pub async fn serve<F>(socket: TcpStream, answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(mut connection) = server::handshake(socket).await else { return };
    let mut answers = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        answers.spawn(answer(request, respond));
        while answers.try_join_next().is_some() {}
    }
}

/// Reads the whole request, and greets.
pub async fn greet(request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    read(request.into_body()).await;
    say_hello(respond);
}

pub fn say_hello(mut respond: SendResponse<Bytes>) {
    let Ok(mut stream) = respond.send_response(head(), false) else { return };
    let _ = stream.send_data(message("Hello from a peer!"), false);
    let _ = stream.send_trailers(trailers());
}

/// Answers UNAVAILABLE in the head, having read the whole request.
pub async fn unavailable(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    message: &'static str,
) {
    read(request.into_body()).await;
    let mut head = head();
    head.headers_mut().insert("grpc-status", HeaderValue::from_static("14"));
    head.headers_mut().insert("grpc-message", HeaderValue::from_static(message));
    let _ = respond.send_response(head, true);
}

/// Answers in the head alone, with these headers, having read the whole request.
pub async fn refuse(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    headers: &'static [(&'static str, &'static str)],
) {
    read(request.into_body()).await;
    let mut head = head();
    for (name, value) in headers {
        head.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    let _ = respond.send_response(head, true);
}

/// Reads the whole request, and resets the stream.
pub async fn reset(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, reason: h2::Reason) {
    read(request.into_body()).await;
    respond.send_reset(reason);
}

/// Reads the whole request, and does not answer until the client loses interest.
pub async fn hang(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    read(request.into_body()).await;
    let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
}

pub async fn read(mut body: RecvStream) -> usize {
    let mut bytes = 0;
    while let Some(Ok(data)) = body.data().await {
        bytes += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    bytes
}

pub fn head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))])
}

/// A reply, with gRPC's five bytes before it.
pub fn message(text: &str) -> Bytes {
    let message = HelloReply { message: text.to_owned() }.encode_to_vec();
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed.into()
}

// === impl Raw ===

impl Raw {
    /// Shakes hands.
    pub async fn new(mut io: TcpStream) -> Self {
        let mut preface = [0; 24];
        let _ = io.read_exact(&mut preface).await;
        let mut raw = Self { io };
        raw.send(SETTINGS, 0, 0, &[]).await;
        raw
    }

    /// Waits until this many requests have come whole, and gives their streams; fewer if the client goes before that.
    pub async fn requests(&mut self, count: usize) -> Vec<u32> {
        let mut whole = Vec::new();
        while whole.len() < count {
            let Some(frame) = self.frame().await else { break };
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                whole.push(frame.stream);
            }
        }
        whole
    }

    pub fn into_inner(self) -> TcpStream {
        self.io
    }

    /// Reads until the peer closes.
    pub async fn drain(&mut self) {
        while self.frame().await.is_some() {}
    }

    pub async fn goaway(&mut self, last: u32) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(0_u32.to_be_bytes());
        self.send(GOAWAY, 0, 0, &payload).await;
    }

    /// Answers a request.
    pub async fn greet(&mut self, stream: u32) {
        // :status 200 from the static table, and two literals (RFC 7541, 6.1 and 6.2.2).
        let mut head = vec![0x88, 0, 12];
        head.extend(b"content-type");
        head.push(16);
        head.extend(b"application/grpc");
        self.send(HEADERS, END_HEADERS, stream, &head).await;
        self.send(DATA, 0, stream, &message("Hello by hand!")).await;
        let mut trailers = vec![0, 11];
        trailers.extend(b"grpc-status");
        trailers.extend([1, b'0']);
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &trailers).await;
    }

    /// The next frame, `None` at the end. SETTINGS and PING are answered.
    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        let frame = Frame { kind, flags, stream: u32::from_be_bytes(stream), payload };
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
            PING if frame.flags & ACK == 0 => self.send(PING, ACK, 0, &frame.payload).await,
            _ => {}
        }
        Some(frame)
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        // A peer that has gone does not listen.
        let _ = self.io.write_all(&frame).await;
    }
}
