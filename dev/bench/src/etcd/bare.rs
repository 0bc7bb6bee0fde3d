//! What the registry is compared with: etcd asked over tonic's channel, and answers read by serde's derive.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::uri::PathAndQuery;
use serde::Deserialize;
use tonic::{Streaming, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

/// Everything a registry holds is under this key.
pub(super) const PREFIX: &str = "/micro/registry/";
/// The first key after it.
const END: &str = "/micro/registry0";
/// Puts in one transaction: etcd's limit is a little higher.
const PUTS_MAX: usize = 100;

/// A client without any comfort.
#[derive(Clone)]
pub(super) struct Bare(Grpc<Channel>);

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(int64, tag = "3")]
    pub(super) mod_revision: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestOp {
    #[prost(message, optional, tag = "2")]
    request_put: Option<PutRequest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

/// An answer of which nothing is wanted.
#[derive(Clone, PartialEq, prost::Message)]
struct Done {}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create_request: Option<WatchCreateRequest>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WatchCreateRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(bool, tag = "6")]
    prev_kv: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WatchResponse {
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Event {
    #[prost(message, optional, tag = "2")]
    pub(super) kv: Option<KeyValue>,
}

/// An entry as anybody would declare it.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "read, as whoever uses them would have them")]
pub(super) struct Service {
    name: String,
    version: String,
    metadata: Option<BTreeMap<String, String>>,
    endpoints: Option<Vec<Endpoint>>,
    nodes: Option<Vec<Node>>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "read, as whoever uses them would have them")]
struct Node {
    id: String,
    address: String,
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "read, as whoever uses them would have them")]
struct Endpoint {
    name: String,
    request: Option<Value>,
    response: Option<Value>,
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "read, as whoever uses them would have them")]
struct Value {
    name: String,
    r#type: String,
    values: Option<Vec<Self>>,
}

// === impl Bare ===

impl Bare {
    pub(super) async fn connect(url: String) -> Self {
        let endpoint = tonic::transport::Endpoint::from_shared(url).expect("a url");
        let endpoint = endpoint.initial_stream_window_size(2 << 20).initial_connection_window_size(8 << 20);
        let channel = endpoint.tcp_nodelay(true).connect().await.expect("an etcd");
        Self(Grpc::new(channel).max_decoding_message_size(1 << 30))
    }

    /// Everything in one answer.
    pub(super) async fn range(&mut self) -> RangeResponse {
        let request = RangeRequest { key: PREFIX.into(), range_end: END.into() };
        self.ask("/etcdserverpb.KV/Range", request).await
    }

    pub(super) async fn put(&mut self, key: &str, value: String) {
        let request = PutRequest { key: key.to_owned().into(), value: value.into() };
        let Done {} = self.ask("/etcdserverpb.KV/Put", request).await;
    }

    pub(super) async fn put_all(&mut self, entries: impl Iterator<Item = (String, String)>) {
        let mut puts = entries.map(|(key, value)| RequestOp {
            request_put: Some(PutRequest { key: key.into(), value: value.into() }),
        });
        loop {
            let success: Vec<_> = puts.by_ref().take(PUTS_MAX).collect();
            if success.is_empty() {
                return;
            }
            let Done {} = self.ask("/etcdserverpb.KV/Txn", TxnRequest { success }).await;
        }
    }

    /// What happens to any entry from now on; with what was there before, if that is wanted.
    pub(super) async fn watch(&mut self, prev_kv: bool) -> Streaming<WatchResponse> {
        let create = WatchCreateRequest { key: PREFIX.into(), range_end: END.into(), prev_kv };
        let request = WatchRequest { create_request: Some(create) };
        // The stream of requests must not end.
        let requests = futures_util::StreamExt::chain(
            futures_util::stream::iter([request]),
            futures_util::stream::pending(),
        );
        self.0.ready().await.expect("an etcd that answers");
        let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let answer = self.0.streaming(tonic::Request::new(requests), path, ProstCodec::default()).await;
        let mut answers = answer.expect("a watch").into_inner();
        let made: Option<WatchResponse> = answers.message().await.expect("a watch");
        assert!(made.is_some_and(|made| made.events.is_empty()));
        answers
    }

    async fn ask<Q, R>(&mut self, path: &'static str, request: Q) -> R
    where
        Q: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.expect("an etcd that answers");
        let path = PathAndQuery::from_static(path);
        let answer = self.0.unary(tonic::Request::new(request), path, ProstCodec::default()).await;
        answer.expect("an answer").into_inner()
    }
}
