//! A network that can be made bad: a TCP proxy that delays, slows, cuts, resets and swallows.

use std::{future::pending, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::ports;

/// Chunks that are on their way at most, in one direction.
const CHUNKS_MAX: usize = 256;

/// Stands between a client and a server. What it does to connections it does to those there are and to later ones.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    resets: watch::Sender<()>,
    _accepting: JoinSet<()>,
}

/// How good the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Good,
    Delayed(Duration),
    Slow { bytes_per_second: u32 },
    Cut,
    Swallowing,
}

// === impl Proxy ===

impl Proxy {
    /// Listens on a free port, and passes what comes to `upstream`.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    pub async fn start(upstream: SocketAddr) -> Self {
        let address = ports::free();
        let listener = TcpListener::bind(address).await.expect("a free port");
        let (link, quality) = watch::channel(Link::Good);
        let (resets, reset) = watch::channel(());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, upstream, quality, reset));
        Self { address, link, resets, _accepting: accepting }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as `host:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// Each byte arrives this much later, in either direction.
    pub fn delay(&self, delay: Duration) {
        self.link.send_replace(Link::Delayed(delay));
    }

    /// At most this many bytes a second pass, in either direction of each connection.
    pub fn slow(&self, bytes_per_second: u32) {
        self.link.send_replace(Link::Slow { bytes_per_second });
    }

    /// Every connection is closed, and new ones at once.
    pub fn cut(&self) {
        self.link.send_replace(Link::Cut);
    }

    /// Every connection that there is ends with a reset, on both sides: what was under way in it is lost. New ones are well.
    pub fn reset(&self) {
        self.resets.send_replace(());
    }

    /// Connections stay and can be made, and nothing comes through: what is sent arrives after [`restore`](Self::restore), as
    /// TCP's repetitions would have it.
    pub fn blackhole(&self) {
        self.link.send_replace(Link::Swallowing);
    }

    /// All is well again.
    pub fn restore(&self) {
        self.link.send_replace(Link::Good);
    }
}

// === free functions ===

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    link: watch::Receiver<Link>,
    reset: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connect(client, upstream, link.clone(), reset.clone()));
                }
            }
        }
    }
}

/// One connection, until it ends by itself, or is cut or reset.
async fn connect(
    mut client: TcpStream,
    upstream: SocketAddr,
    link: watch::Receiver<Link>,
    mut reset: watch::Receiver<()>,
) {
    reset.mark_unchanged();
    let mut cut = link.clone();
    let passing = async {
        passable(&mut link.clone()).await;
        let Ok(mut server) = TcpStream::connect(upstream).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::join!(
                pass(from_client, to_server, link.clone()),
                pass(from_server, to_client, link.clone()),
            )
        };
        tokio::select! {
            biased;
            Ok(()) = reset.changed() => {
                // Closing them, which is next, is now a reset.
                let _ = (client.set_zero_linger(), server.set_zero_linger());
            }
            _ = both => {}
        }
    };
    tokio::select! {
        biased;
        () = async { drop(cut.wait_for(|link| *link == Link::Cut).await) } => {}
        () = passing => {}
    }
}

/// One direction of a connection.
async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, link: watch::Receiver<Link>) {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let mut quality = link.clone();
    let reading = async move {
        let mut chunk = vec![0; 16 << 10];
        while let Ok(bytes @ 1..) = from.read(&mut chunk).await {
            let delay = match *link.borrow() {
                Link::Delayed(delay) => delay,
                Link::Good | Link::Slow { .. } | Link::Cut | Link::Swallowing => Duration::ZERO,
            };
            if sender.send((Instant::now() + delay, chunk[..bytes].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = chunks.recv().await {
            sleep_until(due).await;
            for piece in chunk.chunks(1024) {
                let link = passable(&mut quality).await;
                if let Link::Slow { bytes_per_second } = link {
                    sleep(Duration::from_secs_f64(piece.len() as f64 / f64::from(bytes_per_second))).await;
                }
                if to.write_all(piece).await.is_err() {
                    return;
                }
            }
        }
        passable(&mut quality).await;
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

/// Waits until something can pass.
async fn passable(link: &mut watch::Receiver<Link>) -> Link {
    let passable = link.wait_for(|link| *link != Link::Swallowing).await.map(|link| *link);
    match passable {
        Ok(link) => link,
        // The proxy is going, and its connections with it.
        Err(_) => pending().await,
    }
}
