//! Every example is run as a reader would run it, and has to show what its header promises.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use callsign::core::{WatchEvent, registry::WatchOptions};

/// What the example prints when it runs to its end.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Longer than anything here takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs until it is told to leave; killed when dropped.
struct Background {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Background {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (send, lines) = mpsc::sync_channel(100);
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    /// The next line that holds `word`, and all lines before it.
    fn until(&self, word: &str) -> String {
        let mut shown = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            shown += &line.unwrap_or_else(|_| panic!("{word} did not come, but {shown}"));
            shown.push('\n');
            if shown.contains(word) {
                return shown;
            }
        }
    }

    /// Presses Ctrl-C, and gives what it prints from there on.
    fn interrupt(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
        let mut rest = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => rest = rest + &line + "\n",
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not leave: {rest}"),
            }
        }
        assert!(self.child.wait().unwrap().success(), "{rest}");
        rest
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until somebody is registered in the local registry below `folder`.
fn somebody_registered(folder: &Path) {
    let url = format!("local://{}", folder.join("callsign").display()).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = async {
        let registry = callsign::registry::open(&url).unwrap();
        let mut events = registry.watch(&WatchOptions::default()).await.unwrap();
        while !matches!(events.next().await.unwrap(), WatchEvent::Node(_) | WatchEvent::Upsert(..)) {}
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, seen).await }).expect("somebody registers");
}

#[test]
fn streaming_shows_all_four_shapes() {
    let shown = output(&mut Command::new(env!("CARGO_BIN_EXE_streaming")));
    assert_eq!(shown.matches("one request").count(), 2, "{shown}");
    assert_eq!(shown.matches("many requests").count(), 2, "{shown}");
    assert!(shown.contains("Hello, Ann and Bob!") && shown.contains("Hallo, Ann!"), "{shown}");
}

#[test]
fn own_strategy_sends_all_calls_to_the_youngest_that_is_in_service() {
    let shown = output(&mut Command::new(env!("CARGO_BIN_EXE_own_strategy")));
    assert_eq!(shown, "of 100 calls:\n  second    100\n");
}

#[test]
fn weights_and_groups_shares_calls_by_weight_and_keeps_to_the_group() {
    let shown = output(&mut Command::new(env!("CARGO_BIN_EXE_weights_and_groups")));
    let (all, blue) = shown.split_once("to blue:").unwrap();
    let calls = |part: &str, node: &str| -> i32 {
        let line = part.lines().find(|line| line.trim().starts_with(node)).unwrap_or_default();
        line.split_whitespace().last().map_or(0, |calls| calls.parse().unwrap())
    };
    // The first few calls go to whichever node is connected first.
    for (part, node, share) in [
        (all, "blue-30", 120),
        (all, "blue-10", 40),
        (all, "green-10", 40),
        (blue, "blue-30", 150),
        (blue, "blue-10", 50),
    ] {
        assert!((calls(part, node) - share).abs() <= 10, "{node}: {share} of 200 expected\n{shown}");
    }
    assert_eq!(calls(blue, "green-10"), 0, "{shown}");
}

#[test]
#[cfg(feature = "tls")]
fn mutual_tls_knows_its_caller_and_goes_on_with_new_certificates() {
    let shown = output(&mut Command::new(env!("CARGO_BIN_EXE_mutual_tls")));
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[0], "billing: Hello, billing!", "{shown}");
    assert!(lines[1].contains("wants a client certificate, and there is none to show"), "{shown}");
    assert_eq!(lines[2], "billing, renewed: Hello, billing!", "{shown}");
}

#[test]
fn static_targets_loses_no_call_to_the_address_that_nobody_is_behind() {
    let shown = output(&mut Command::new(env!("CARGO_BIN_EXE_static_targets")));
    assert_eq!(shown.matches("Hello, World! This is node ").count(), 6, "{shown}");
}

#[test]
fn greeter_client_finds_greeter_server_by_its_name() {
    let registry = tempfile::tempdir().unwrap();
    let server = Background::start(
        Command::new(env!("CARGO_BIN_EXE_greeter_server")).env("XDG_RUNTIME_DIR", registry.path()),
    );
    somebody_registered(registry.path());
    let shown = output(
        Command::new(env!("CARGO_BIN_EXE_greeter_client")).env("XDG_RUNTIME_DIR", registry.path()).arg("Ann"),
    );
    assert_eq!(shown, "Hello, Ann!\n");
    server.interrupt();
}

#[test]
fn greeter_client_and_greeter_server_meet_where_the_environment_says() {
    let registry = tempfile::tempdir().unwrap();
    let folder = registry.path().join("callsign");
    let ours = format!("local://{}", folder.display());
    let server = Background::start(
        Command::new(env!("CARGO_BIN_EXE_greeter_server"))
            .env("CALLSIGN_REGISTRY", &ours)
            .env("MICRO_REGISTRY", "no-such-registry"),
    );
    somebody_registered(registry.path());
    let shown = output(
        Command::new(env!("CARGO_BIN_EXE_greeter_client"))
            .env("MICRO_REGISTRY", "local")
            .env("MICRO_REGISTRY_ADDRESS", &folder)
            .arg("Ann"),
    );
    assert_eq!(shown, "Hello, Ann!\n");
    server.interrupt();
}

#[test]
fn axum_and_grpc_answers_browsers_and_clients_on_one_port() {
    let registry = tempfile::tempdir().unwrap();
    let server = Background::start(
        Command::new(env!("CARGO_BIN_EXE_axum_and_grpc")).env("XDG_RUNTIME_DIR", registry.path()),
    );
    let shown = server.until("try: curl");
    let address = shown.trim().strip_prefix("try: curl http://").unwrap();
    let (address, path) = address.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("Hello, World!\n"), "{answer}");

    somebody_registered(registry.path());
    let shown = output(
        Command::new(env!("CARGO_BIN_EXE_greeter_client")).env("XDG_RUNTIME_DIR", registry.path()).arg("Ann"),
    );
    assert_eq!(shown, "Hello, Ann!\n");
    server.interrupt();
}

#[test]
fn graceful_shutdown_shows_each_phase() {
    let registry = tempfile::tempdir().unwrap();
    let server = Background::start(
        Command::new(env!("CARGO_BIN_EXE_graceful_shutdown")).env("XDG_RUNTIME_DIR", registry.path()),
    );
    // By then the signal is the server's; before, it would end the process by itself.
    server.until("Serving");
    let shown = server.interrupt();
    // With nothing in flight, finishing may be over before it is seen.
    let phases = ["Draining", "Stopped"].map(|phase| shown.find(phase));
    assert!(phases.iter().all(Option::is_some) && phases.is_sorted(), "{shown}");
}
