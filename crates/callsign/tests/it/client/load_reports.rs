//! Nodes report how busy they are at the end of each call, and get their share by it.

use std::time::Duration;

use callsign::{
    CallOptions, Channel,
    core::{
        memory::MemoryRegistry,
        select::{ReportConfig, Strategy},
    },
    server::LoadReporter,
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use http::HeaderValue;

use super::{
    failures, fixed,
    peer::{self, Peer},
    status, until_ready,
};
use crate::support::{Running, hello, run, soon};

async fn reporting(load: &LoadReporter) -> Running {
    run(&MemoryRegistry::new(), |builder| builder.unregistered().load_reports(load)).await
}

fn by_reports(nodes: [(&str, std::net::SocketAddr); 2]) -> Channel {
    let at_once = ReportConfig::default().blackout(Duration::ZERO).unwrap();
    fixed(nodes).strategy(Strategy::LoadReports(at_once)).slow_start(Duration::ZERO).build().unwrap()
}

#[tokio::test]
async fn a_busy_node_gets_less_and_more_again_when_it_is_not() {
    let (busy, free) = (LoadReporter::new(), LoadReporter::new());
    busy.set_application(0.8);
    free.set_cpu(0.2);
    let (one, other) = (reporting(&busy).await, reporting(&free).await);
    let channel = by_reports([("busy", one.handle.local_addr()), ("free", other.handle.local_addr())]);
    until_ready(&channel, "busy").await;
    until_ready(&channel, "free").await;
    let round = async || {
        let before = ["busy", "free"].map(|id| status(&channel, id).calls);
        assert!(failures(&channel, &CallOptions::new(), 100).await.is_empty());
        let after = ["busy", "free"].map(|id| status(&channel, id).calls);
        (after[0] - before[0], after[1] - before[1])
    };
    // What a node answers follows its share, so of two that stay as they are the free one comes to get nearly all.
    soon("the free node gets most", async {
        loop {
            let (busy, free) = round().await;
            if free > 3 * busy {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    busy.set_application(0.02);
    free.set_cpu(1.0);
    soon("the node that was busy gets most", async {
        loop {
            let (busy, free) = round().await;
            if busy > free {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_report_that_makes_no_sense_does_no_harm() {
    let peer = |report: &'static str| {
        Peer::serve(move |request, mut respond| async move {
            peer::read(request.into_body()).await;
            let Ok(mut stream) = respond.send_response(peer::head(), false) else { return };
            let _ = stream.send_data(peer::message("Hello!"), false);
            let mut trailers = peer::trailers();
            trailers.insert("endpoint-load-metrics-bin", HeaderValue::from_static(report));
            let _ = stream.send_trailers(trailers);
        })
    };
    // No base64, and an application utilization of -1 at 100 calls a second.
    let (garbled, lying) = (peer("?!").await, peer("MQAAAAAAAFlASQAAAAAAAPC/").await);
    let channel = by_reports([("garbled", garbled.address), ("lying", lying.address)]);
    until_ready(&channel, "garbled").await;
    until_ready(&channel, "lying").await;
    for _ in 0..40 {
        GreeterClient::new(channel.clone()).hello(hello("x")).await.unwrap();
    }
    let calls = ["garbled", "lying"].map(|id| status(&channel, id).calls);
    assert!(calls[0].abs_diff(calls[1]) <= 2, "{calls:?}");
}
