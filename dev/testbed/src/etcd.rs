//! One etcd: a process of its own, on free loopback ports, with its data in a folder of its own.

use std::{net::SocketAddr, path::Path};

use tokio::{net::UnixDatagram, time::timeout};

use crate::{PATIENCE, certs::Certificate, gateway::Gateway, handshake, ports, supervised::Supervised};

/// A real etcd. It is killed, and its data removed, when this is dropped or the test's process dies.
#[derive(Debug)]
pub struct EtcdServer {
    process: Supervised,
    ready: UnixDatagram,
    address: SocketAddr,
    scheme: &'static str,
    pub(crate) gateway: Gateway,
}

/// What becomes of the data when an etcd is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// It goes on where it stopped.
    Kept,
    /// It begins anew, as after a lost disk: empty, at revision 1.
    Lost,
}

/// Settings of an [`EtcdServer`].
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is started before `start`"]
pub struct EtcdBuilder {
    users: Vec<(String, String)>,
    certificate: Option<Certificate>,
    client_authority: Option<String>,
    arguments: Vec<String>,
}

/// Where a member listens for the others.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) client: SocketAddr,
    /// The same for what a test does by itself, always in plaintext.
    pub(crate) backdoor: SocketAddr,
    pub(crate) peer: SocketAddr,
}

// === impl EtcdServer ===

impl EtcdServer {
    /// Starts one without users and without TLS.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// One that is to differ from that.
    pub fn builder() -> EtcdBuilder {
        EtcdBuilder::default()
    }

    /// Makes ready to run one member of a cluster.
    pub(crate) fn prepare(builder: &EtcdBuilder, own: &Member, all: &[Member]) -> Self {
        let scheme = if builder.certificate.is_some() { "https" } else { "http" };
        let process = Supervised::new("etcd", |folder| builder.arguments(folder, scheme, own, all));
        if let Some(certificate) = &builder.certificate {
            keep(process.folder(), certificate);
        }
        if let Some(authority) = &builder.client_authority {
            write(process.folder(), "clients.pem", authority);
        }
        let ready = UnixDatagram::bind(process.folder().join("ready")).expect("a socket");
        let gateway = Gateway::new(own.backdoor);
        Self { process, ready, address: own.client, scheme, gateway }
    }

    /// Runs the process, and waits until it serves: it says so itself (`sd_notify`), but of TLS too early.
    pub(crate) async fn run(&mut self) {
        self.process.order("start").await;
        let mut said = [0; 64];
        let ready = async {
            loop {
                let bytes = self.ready.recv(&mut said).await.expect("a word of etcd");
                if said[..bytes].starts_with(b"READY=1") {
                    return;
                }
            }
        };
        if timeout(PATIENCE, ready).await.is_err() {
            panic!(
                "no etcd was ready within {PATIENCE:?}; is it installed (`cargo xtask test` installs it; on Debian: \
                 apt-get install etcd-server)?\n{}",
                self.process.log()
            );
        }
        if self.scheme == "https"
            && let Err(error) = handshake::complete(self.address).await
        {
            panic!("etcd says that it is ready, and does not speak TLS: {error}\n{}", self.process.log());
        }
    }

    /// Where it listens for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as `host:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Shows this certificate to those who connect from now on. It needs [`EtcdBuilder::tls`].
    pub fn show(&self, certificate: &Certificate) {
        keep(self.process.folder(), certificate);
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) {
        self.process.order("end TERM").await;
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) {
        self.process.order("end KILL").await;
    }

    /// Stops its clock (SIGSTOP): its sockets stay open, and nothing answers.
    pub async fn pause(&mut self) {
        self.process.order("signal STOP").await;
    }

    /// Lets it go on (SIGCONT).
    pub async fn resume(&mut self) {
        self.process.order("signal CONT").await;
    }

    /// Starts it again on the same ports, after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub async fn restart(&mut self, data: Data) {
        if data == Data::Lost {
            self.process.order("wipe").await;
        }
        self.run().await;
    }

    /// The end of its log, to be shown by a test that fails.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

// === impl EtcdBuilder ===

impl EtcdBuilder {
    /// Lets nobody in but `root` and users with a password. The first call turns authentication on; `root`'s password is `root`.
    ///
    /// A user may do everything.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Speaks TLS to clients, and shows this certificate.
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Wants a certificate of each client, signed by the authority in this PEM text. It needs [`tls`](Self::tls) as well.
    pub fn client_authority(mut self, pem: &str) -> Self {
        self.client_authority = Some(pem.to_owned());
        self
    }

    /// Takes another argument of etcd's own.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Panics
    ///
    /// When there is no etcd, or it does not start: its log is shown.
    pub async fn start(self) -> EtcdServer {
        let own = Member::new("alone");
        let mut server = EtcdServer::prepare(&self, &own, std::slice::from_ref(&own));
        server.run().await;
        server.gateway.protect(&self.users).await;
        server
    }

    fn arguments(&self, folder: &Path, scheme: &str, own: &Member, all: &[Member]) -> Vec<String> {
        let in_folder = |name: &str| folder.join(name).display().to_string();
        let client = format!("{scheme}://{}", own.client);
        let peer = format!("http://{}", own.peer);
        let cluster: Vec<_> =
            all.iter().map(|member| format!("{}=http://{}", member.name, member.peer)).collect();
        let mut arguments: Vec<_> = [
            ("name", own.name.clone()),
            ("data-dir", in_folder("data")),
            ("listen-client-urls", format!("{client},http://{}", own.backdoor)),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer),
            ("initial-cluster", cluster.join(",")),
            ("initial-cluster-token", all[0].peer.to_string()),
            ("logger", "zap".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect();
        if self.certificate.is_some() {
            arguments.push(format!("--cert-file={}", in_folder("cert.pem")));
            arguments.push(format!("--key-file={}", in_folder("key.pem")));
        }
        if self.client_authority.is_some() {
            arguments.push("--client-cert-auth".to_owned());
            arguments.push(format!("--trusted-ca-file={}", in_folder("clients.pem")));
        }
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }
}

// === impl Member ===

impl Member {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), client: ports::free(), backdoor: ports::free(), peer: ports::free() }
    }
}

fn keep(folder: &Path, Certificate { pem, key }: &Certificate) {
    write(folder, "cert.pem", pem);
    write(folder, "key.pem", key);
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file in a folder of our own");
}
