//! Methods that take longer than others do not make their nodes look slow.

use std::time::Duration;

use bytes::Bytes;
use callsign::{CallOptions, Channel, core::NodeId};
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use tower_service::Service as _;

use super::{
    fixed,
    peer::{self, Peer},
    settled, status,
};

const QUICK: &str = "/test.Shop/Quick";
const LONG: &str = "/test.Shop/Long";

/// Answers a long call after twenty times as long as a quick one.
async fn shop() -> Peer {
    Peer::serve(|request, mut respond| async move {
        let millis = if request.uri().path() == LONG { 400 } else { 20 };
        peer::read(request.into_body()).await;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let Ok(mut stream) = respond.send_response(peer::head(), false) else { return };
        let _ = stream.send_data(peer::message("sold"), false);
        let _ = stream.send_trailers(peer::trailers());
    })
    .await
}

/// One call, to the node named if one is.
async fn call(channel: &Channel, path: &str, node: Option<&str>) {
    let mut request = Request::post(path).body(Empty::<Bytes>::new()).unwrap();
    if let Some(node) = node {
        request.extensions_mut().insert(CallOptions::new().node(NodeId::new(node).unwrap()));
    }
    let response = channel.clone().call(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().and_then(|trailers| trailers.get("grpc-status")).unwrap(), "0");
}

#[tokio::test]
async fn a_node_that_had_the_long_calls_is_not_taken_for_slow() {
    let (one, other) = (shop().await, shop().await);
    let nodes = [("long", one.address), ("quick", other.address)];
    let channel = settled(fixed(nodes).slow_start(Duration::ZERO)).await;
    // The same number of calls each, one after the other.
    let teach = async |path, node| {
        for _ in 0..8 {
            call(&channel, path, Some(node)).await;
        }
    };
    tokio::join!(teach(LONG, "long"), teach(QUICK, "quick"));

    let before = status(&channel, "long").calls;
    for _ in 0..10 {
        join_all((0..4).map(|_| call(&channel, QUICK, None))).await;
    }
    let share = status(&channel, "long").calls - before;
    assert!(share >= 10, "{share} of 40 quick calls went to the node that had the long ones");
}
