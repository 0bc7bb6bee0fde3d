//! What a test does to an etcd behind the back of the code that it tests: over etcd's JSON gateway, so that no line of our own
//! client is in it.

use std::{io, net::SocketAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{EtcdServer, PATIENCE};

/// The JSON side of one etcd.
#[derive(Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    token: Option<String>,
}

/// A key and what etcd knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The lease it lives by; 0 for none.
    pub lease: i64,
    /// The revision of its last change.
    pub revision: i64,
}

// === impl EtcdServer ===

/// Each of these goes over a plaintext port of its own, and panics when etcd refuses: then the test is wrong, not the code that it tests.
impl EtcdServer {
    /// Writes a key, with a lease or, by 0, without. Gives the revision.
    pub async fn put(&self, key: &str, value: impl AsRef<[u8]>, lease: i64) -> i64 {
        let put = json!({ "key": encode(key), "value": encode(value), "lease": lease.to_string() });
        revision(&self.gateway.order("/v3/kv/put", &put).await)
    }

    /// What is under this key.
    pub async fn get(&self, key: &str) -> Option<Entry> {
        entries(&self.gateway.order("/v3/kv/range", &json!({ "key": encode(key) })).await).pop()
    }

    /// What is under keys that begin with this.
    pub async fn list(&self, prefix: &str) -> Vec<Entry> {
        let mut end = prefix.as_bytes().to_vec();
        let last = end.pop();
        end.extend(last.map(|last| last + 1));
        let range = json!({ "key": encode(prefix), "range_end": encode(end) });
        entries(&self.gateway.order("/v3/kv/range", &range).await)
    }

    /// Deletes a key. Gives the revision.
    pub async fn delete(&self, key: &str) -> i64 {
        revision(&self.gateway.order("/v3/kv/deleterange", &json!({ "key": encode(key) })).await)
    }

    /// Forgets what was before this revision.
    pub async fn compact(&self, revision: i64) {
        let order = json!({ "revision": revision.to_string(), "physical": true });
        self.gateway.order("/v3/kv/compaction", &order).await;
    }

    /// Makes a lease of this many seconds. Gives its id.
    pub async fn grant(&self, seconds: u32) -> i64 {
        let granted = self.gateway.order("/v3/lease/grant", &json!({ "TTL": seconds.to_string() })).await;
        number(&granted["ID"])
    }

    /// Ends a lease, and all that lives by it.
    pub async fn revoke(&self, lease: i64) {
        self.gateway.order("/v3/lease/revoke", &json!({ "ID": lease.to_string() })).await;
    }

    /// The leases there are.
    pub async fn leases(&self) -> Vec<i64> {
        let leases = self.gateway.order("/v3/lease/leases", &json!({})).await;
        leases["leases"].as_array().into_iter().flatten().map(|lease| number(&lease["ID"])).collect()
    }

    /// Turns on authentication: see [`EtcdBuilder::user`](crate::EtcdBuilder::user).
    pub async fn protect(&mut self, users: &[(String, String)]) {
        self.gateway.protect(users).await;
    }

    /// Lets in one more user, who may do nothing.
    pub async fn add_guest(&self, name: &str, password: &str) {
        self.gateway.order("/v3/auth/user/add", &json!({ "name": name, "password": password })).await;
    }

    /// Gives a user another password.
    pub async fn change_password(&self, name: &str, password: &str) {
        let change = json!({ "name": name, "password": password });
        self.gateway.order("/v3/auth/user/changepw", &change).await;
    }

    /// Waits until it accepts writes, by writing. Gives the moment at which the write that succeeded was answered.
    ///
    /// # Panics
    ///
    /// When it accepts none for a minute.
    pub async fn accepts_writes(&self) -> Instant {
        let put = json!({ "key": encode("callsign-testbed/probe"), "value": encode("") });
        let accepted = async {
            loop {
                let answer = timeout(Duration::from_secs(1), self.gateway.ask("/v3/kv/put", &put)).await;
                if let Ok(Ok(_)) = answer {
                    return Instant::now();
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, accepted).await.unwrap_or_else(|_| panic!("no write was accepted\n{}", self.log()))
    }
}

// === impl Gateway ===

impl Gateway {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, token: None }
    }

    /// Lets in only `root` and these.
    pub(crate) async fn protect(&mut self, users: &[(String, String)]) {
        if users.is_empty() {
            return;
        }
        let root = ("root".to_owned(), "root".to_owned());
        self.order("/v3/auth/role/add", &json!({ "name": "root" })).await;
        for (name, password) in users.iter().chain([&root]) {
            self.order("/v3/auth/user/add", &json!({ "name": name, "password": password })).await;
            self.order("/v3/auth/user/grant", &json!({ "user": name, "role": "root" })).await;
        }
        self.order("/v3/auth/enable", &json!({})).await;
        let login = json!({ "name": "root", "password": "root" });
        let granted = self.order("/v3/auth/authenticate", &login).await;
        self.token = granted["token"].as_str().map(str::to_owned);
    }

    /// Whether this member is the leader. One that does not answer at once is not.
    pub(crate) async fn leads(&self) -> bool {
        let asked = timeout(Duration::from_secs(1), self.ask("/v3/maintenance/status", &json!({}))).await;
        let Ok(Ok(status)) = asked else { return false };
        status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
    }

    /// Has it do something that it is not to refuse.
    pub(crate) async fn order(&self, path: &str, body: &Value) -> Value {
        match timeout(PATIENCE, self.ask(path, body)).await {
            Ok(Ok(answer)) => answer,
            other => panic!("{path} {body}: {other:?}"),
        }
    }

    pub(crate) async fn ask(&self, path: &str, body: &Value) -> io::Result<Value> {
        let body = body.to_string();
        let token =
            self.token.as_ref().map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
        // HTTP/1.0: the answer ends with the connection, and is in one piece.
        let request = format!(
            "POST {path} HTTP/1.0\r\nHost: etcd\r\n{token}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = TcpStream::connect(self.address).await?;
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let is_ok = head.split(' ').nth(1) == Some("200");
        if is_ok { Ok(serde_json::from_str(body)?) } else { Err(io::Error::other(format!("{head}\n{body}"))) }
    }
}

// === free functions ===

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

fn entries(range: &Value) -> Vec<Entry> {
    let decode = |value: &Value| BASE64.decode(value.as_str().unwrap_or_default()).expect("base64");
    let entry = |found: &Value| Entry {
        key: String::from_utf8_lossy(&decode(&found["key"])).into_owned(),
        value: decode(&found["value"]),
        lease: number(&found["lease"]),
        revision: number(&found["mod_revision"]),
    };
    range["kvs"].as_array().into_iter().flatten().map(entry).collect()
}

pub(crate) fn revision(answer: &Value) -> i64 {
    number(&answer["header"]["revision"])
}

/// Numbers of 64 bits come as text, and zero not at all.
fn number(value: &Value) -> i64 {
    value.as_str().map_or(0, |text| text.parse().expect("a number"))
}
