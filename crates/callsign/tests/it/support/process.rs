//! Servers that are processes of their own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use callsign::{
    Server,
    registry::local::{LocalConfig, LocalRegistry},
    server::DrainConfig,
};
use callsign_examples::greeter::{conversation_server::ConversationServer, greeter_server::GreeterServer};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{TestGreeter, soon};

/// Set in the environment of a child that is to be a server: its id, the address it binds, and the folder of the local
/// registry in which it registers, if it does.
const ID: &str = "CALLSIGN_TEST_CHILD";
const BIND: &str = "CALLSIGN_TEST_BIND";
const FOLDER: &str = "CALLSIGN_TEST_FOLDER";

/// No test, but what the child process runs: this binary again, told to run just this.
#[tokio::test]
async fn child() {
    let Some(id) = std::env::var_os(ID) else { return };
    let drain = DrainConfig::default()
        .with_propagation(Duration::from_secs(1))
        .with_quiet(Duration::from_millis(100))
        .with_deadline(Duration::from_secs(10));
    let builder = Server::builder("greeter")
        .id(id.into_string().unwrap())
        .bind(std::env::var_os(BIND).unwrap().into_string().unwrap())
        .drain(drain)
        .add_service(GreeterServer::new(TestGreeter::default()))
        .add_service(ConversationServer::new(TestGreeter::default()));
    let builder = match std::env::var_os(FOLDER) {
        Some(folder) => builder.registry(Arc::new(local(Path::new(&folder)))),
        None => builder.unregistered(),
    };
    let server = builder.build().await.unwrap();
    println!("\nlistening {}", server.local_addr());
    // A failure is one of the "test", and so the process's exit code.
    server.run().await.unwrap();
}

/// The local registry in `folder`.
pub fn local(folder: &Path) -> LocalRegistry {
    LocalRegistry::open(LocalConfig::new(folder)).unwrap()
}

/// How a child is to be started.
pub struct Spawn {
    id: String,
    bind: String,
    folder: Option<PathBuf>,
    before: String,
}

/// A child process that serves; killed when dropped.
pub struct ServerProcess {
    pub id: String,
    pub address: SocketAddr,
    child: Child,
}

impl Spawn {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), bind: "127.0.0.1:0".to_owned(), folder: None, before: String::new() }
    }

    /// Binds this address, not a free port.
    pub fn bind(self, address: SocketAddr) -> Self {
        Self { bind: address.to_string(), ..self }
    }

    /// Registers in the local registry in `folder`.
    pub fn register(self, folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..self }
    }

    /// Is started by a shell that runs `commands` first.
    pub fn before(self, commands: &str) -> Self {
        Self { before: commands.to_owned(), ..self }
    }

    /// Starts it, and waits until it listens.
    pub async fn start(self) -> ServerProcess {
        let Self { id, bind, folder, before } = self;
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("{before} exec \"$0\" --exact support::process::child --nocapture"))
            .arg(std::env::current_exe().unwrap())
            .envs([(ID, &id), (BIND, &bind)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(folder) = folder {
            command.env(FOLDER, folder);
        }
        let mut child = command.spawn().unwrap();
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
        ServerProcess { id, child, address }
    }
}

impl ServerProcess {
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }

    pub async fn exit_code(&mut self) -> Option<i32> {
        soon("the child ends", self.child.wait()).await.unwrap().code()
    }
}
