//! An etcd of our own, on free ports, with its data in a temporary folder. It ends with its guard.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use callsign_registry::etcd::{EtcdConfig, EtcdRegistry};
use tempfile::TempDir;

pub(crate) struct Server {
    folder: TempDir,
    client: u16,
    peer: u16,
    child: Mutex<Option<Child>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [client, peer] = ports.map(|port| port.local_addr().unwrap().port());
        let server =
            Self { folder: tempfile::tempdir_in("/dev/shm").unwrap(), client, peer, child: Mutex::new(None) };
        server.run().await;
        server
    }

    pub(crate) fn config(&self) -> EtcdConfig {
        EtcdConfig::new(&format!("127.0.0.1:{}", self.client)).unwrap()
    }

    pub(crate) fn open(&self) -> EtcdRegistry {
        EtcdRegistry::open(self.config())
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn run(&self) {
        self.run_as(None).await;
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client)
    }

    pub(crate) async fn run_as(&self, user: Option<(&str, &str)>) {
        let [client, peer] = [self.client, self.peer].map(|port| format!("http://127.0.0.1:{port}"));
        let child = Command::new("etcd")
            .args(["--name", "one", "--log-level", "error", "--logger", "zap"])
            .args(["--data-dir", self.data().to_str().unwrap()])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--max-request-bytes", "8388608"])
            .args(["--initial-cluster", &format!("one={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *self.child.lock().unwrap() = Some(child);
        let config = match user {
            Some((user, password)) => self.config().with_credentials(user, password).unwrap(),
            None => self.config(),
        };
        let registry = EtcdRegistry::open(config);
        let ready = async { while registry.status().await.is_err() {} };
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("an etcd that starts");
    }

    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn forget_data(&self) {
        std::fs::remove_dir_all(self.data()).unwrap();
    }

    pub(crate) fn etcdctl(&self, args: &[&str]) -> String {
        self.etcdctl_with(args, Stdio::null())
    }

    pub(crate) fn etcdctl_as(&self, user: &str, args: &[&str]) -> String {
        self.etcdctl(&[&["--user", user], args].concat())
    }

    /// Puts a value that is too long for a command line.
    pub(crate) fn put_large(&self, key: &str, value: &str) {
        let file = self.folder.path().join("value");
        std::fs::write(&file, value).unwrap();
        self.etcdctl_with(&["put", key], std::fs::File::open(file).unwrap().into());
    }

    fn etcdctl_with(&self, args: &[&str], input: Stdio) -> String {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.address()])
            .args(args)
            .stdin(input)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
