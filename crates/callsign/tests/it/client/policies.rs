//! What a policy makes of failures: by method and by code, by what the server says of being asked again, and by what time is left.

use std::time::Duration;

use callsign::{
    CallOptions, CallReport,
    client::{ChannelBuilder, Code, MethodPolicy, RetryPolicy, ServiceConfig},
    core::{
        Node,
        retry::{RetryBudget, Throttle},
        select::Strategy,
    },
};
use callsign_examples::greeter::{HelloReply, greeter_client::GreeterClient};
use tokio::{sync::mpsc, time::Instant};
use tonic::{Response, Status};

use super::{
    Count, fixed,
    peer::{self, Peer},
    until_ready, with,
};
use crate::support::{hello, soon};

type Said = &'static [(&'static str, &'static str)];

const UNAVAILABLE: Said = &[("grpc-status", "14"), ("grpc-message", "busy")];
const ABORTED: Said = &[("grpc-status", "10"), ("grpc-message", "a race was lost")];
const IDS: [&str; 5] = ["v", "w", "x", "y", "z"];

/// A peer that answers so, and counts how often.
async fn saying(said: Said, count: &Count) -> Peer {
    let count = count.clone();
    Peer::serve(move |request, respond| {
        count.add();
        peer::refuse(request, respond, said)
    })
    .await
}

/// Five nodes, all of which are this peer.
fn five(peer: &Peer) -> ChannelBuilder {
    fixed(IDS.map(|id| (id, peer.address))).strategy(Strategy::Random)
}

/// One call over a channel of its own, connected to all of the five.
async fn call(builder: ChannelBuilder, options: CallOptions) -> Result<Response<HelloReply>, Status> {
    let channel = builder.build().unwrap();
    for id in IDS {
        until_ready(&channel, id).await;
    }
    soon("the answer", GreeterClient::new(channel).hello(with(options, "World"))).await
}

fn quick(attempts: u32) -> RetryPolicy {
    let millisecond = Duration::from_millis(1);
    RetryPolicy::new().attempts(attempts).backoff(millisecond, millisecond).unwrap()
}

#[tokio::test]
async fn each_method_has_its_own_policy() {
    let count = Count::default();
    let peer = saying(UNAVAILABLE, &count).await;
    let made = async |scope: &str, policy: MethodPolicy, options: CallOptions| {
        let before = count.get();
        let status = call(five(&peer).method(scope, policy).unwrap(), options).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Unavailable, "busy"));
        count.get() - before
    };
    let five = MethodPolicy::new().idempotent(true).retry(quick(5));
    assert_eq!(made("greeter.Greeter/Hello", five.clone(), CallOptions::new()).await, 5);
    assert_eq!(made("greeter.Greeter", five.clone(), CallOptions::new()).await, 5);
    assert_eq!(made("*", five.clone(), CallOptions::new()).await, 5);
    assert_eq!(made("greeter.Conversation", five.clone(), CallOptions::new()).await, 1);
    // What a call says itself counts more.
    assert_eq!(made("*", five.clone(), CallOptions::new().retry(quick(2))).await, 2);
    assert_eq!(made("*", five.clone(), CallOptions::new().idempotent(false)).await, 1);
    let tuned = MethodPolicy::new().retry(quick(4));
    assert_eq!(made("*", tuned.clone(), CallOptions::new()).await, 1, "a policy alone is no leave to repeat");
    assert_eq!(made("*", tuned, CallOptions::new().idempotent(true)).await, 4);
}

#[tokio::test]
async fn methods_are_idempotent_by_their_list() {
    let count = Count::default();
    let peer = saying(UNAVAILABLE, &count).await;
    call(five(&peer).idempotent_methods(&["/greeter.Greeter/Hello"]), CallOptions::new()).await.unwrap_err();
    assert_eq!(count.get(), 3);
    call(five(&peer).idempotent_methods(&["/greeter.Greeter/Bye"]), CallOptions::new()).await.unwrap_err();
    assert_eq!(count.get(), 3 + 1);
}

#[tokio::test]
async fn codes_decide_and_refusals_need_no_leave() {
    let count = Count::default();
    let peer = saying(ABORTED, &count).await;
    let made = async |policy: RetryPolicy, idempotent: bool| {
        let before = count.get();
        let options = CallOptions::new().idempotent(idempotent);
        let status = call(five(&peer).retry(policy), options).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Aborted, "a race was lost"));
        count.get() - before
    };
    assert_eq!(made(quick(3), true).await, 1);
    assert_eq!(made(quick(3).codes([Code::Aborted]), true).await, 3);
    assert_eq!(made(quick(3).codes([Code::Aborted]), false).await, 1);
    assert_eq!(made(quick(3).refusals([Code::Aborted]), false).await, 3);
}

#[tokio::test]
async fn the_server_says_whether_and_when_it_is_to_be_asked_again() {
    let made = async |said: Said| {
        let count = Count::default();
        let peer = saying(said, &count).await;
        let since = Instant::now();
        let status =
            call(five(&peer).retry(quick(2)), CallOptions::new().idempotent(true)).await.unwrap_err();
        (count.get(), status.code(), since.elapsed())
    };
    let (count, code, elapsed) = made(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", "60")]).await;
    assert_eq!((count, code), (2, tonic::Code::Unavailable));
    assert!(elapsed >= Duration::from_millis(60), "{elapsed:?}");
    // Overload is worth another attempt only when the server says so.
    let (count, code, _) = made(&[("grpc-status", "8"), ("grpc-retry-pushback-ms", "0")]).await;
    assert_eq!((count, code), (2, tonic::Code::ResourceExhausted));
    assert_eq!(made(&[("grpc-status", "8")]).await.0, 1);
    for never in ["-1", "soon", "", "1.5"] {
        let said = Vec::leak(vec![("grpc-status", "14"), ("grpc-retry-pushback-ms", never)]);
        assert_eq!(made(said).await.0, 1, "{never:?}");
    }
}

#[tokio::test]
async fn an_attempt_tells_the_node_how_many_came_before() {
    let (tell, mut told) = mpsc::channel(8);
    let peer = Peer::serve(move |request, respond| {
        let tell = tell.clone();
        async move {
            let attempts = request.headers().get("grpc-previous-rpc-attempts").cloned();
            tell.send(attempts).await.unwrap();
            peer::refuse(request, respond, UNAVAILABLE).await;
        }
    })
    .await;
    call(five(&peer).retry(quick(3)), CallOptions::new().idempotent(true)).await.unwrap_err();
    assert_eq!(told.recv().await.unwrap(), None);
    assert_eq!(told.recv().await.unwrap().unwrap(), "1");
    assert_eq!(told.recv().await.unwrap().unwrap(), "2");
}

/// Whoever hands such a status on keeps those above from repeating what was repeated here.
#[tokio::test]
async fn a_call_that_was_repeated_in_vain_says_that_it_is_not_to_be_repeated() {
    let count = Count::default();
    let peer = saying(UNAVAILABLE, &count).await;
    let pushback = async |builder: ChannelBuilder, idempotent: bool| {
        let status = call(builder, CallOptions::new().idempotent(idempotent)).await.unwrap_err();
        status.metadata().get("grpc-retry-pushback-ms").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(pushback(five(&peer).retry(quick(2)), true).await.as_deref(), Some("-1"));
    let no_budget = RetryBudget::new(0.0, 0).unwrap();
    assert_eq!(pushback(five(&peer).retry_budget(no_budget), true).await.as_deref(), Some("-1"));
    assert_eq!(pushback(five(&peer), false).await, None, "others may repeat what was not repeated");
    assert_eq!(pushback(five(&peer).retry(RetryPolicy::never()), true).await, None);
}

#[tokio::test]
async fn nobody_sleeps_into_a_deadline() {
    let count = Count::default();
    let peer = saying(
        &[("grpc-status", "14"), ("grpc-message", "busy"), ("grpc-retry-pushback-ms", "60000")],
        &count,
    )
    .await;
    let options = CallOptions::new().idempotent(true).timeout(Duration::from_secs(15));
    let since = Instant::now();
    let status = call(five(&peer), options).await.unwrap_err();
    assert_eq!((status.code(), status.message(), count.get()), (tonic::Code::Unavailable, "busy", 1));
    assert!(since.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn what_a_node_said_counts_more_than_that_the_next_said_nothing() {
    let count = Count::default();
    let counted = count.clone();
    let peer = Peer::serve(move |request, respond| {
        let first = counted.add() == 0;
        async move {
            match first {
                true => peer::refuse(request, respond, UNAVAILABLE).await,
                false => peer::hang(request, respond).await,
            }
        }
    })
    .await;
    let options = CallOptions::new().idempotent(true).timeout(Duration::from_millis(300));
    let status = call(five(&peer), options).await.unwrap_err();
    assert_eq!((status.code(), count.get()), (tonic::Code::Unavailable, 2));
    assert!(status.message().starts_with("busy; then no answer from greeter within 300 ms"), "{status}");
    assert!(status.message().contains("before that"), "{status}");
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_given_up_for_another_if_it_may_be_repeated() {
    let count = Count::default();
    let counted = count.clone();
    let peer = Peer::serve(move |request, respond| {
        let first = counted.add() == 0;
        async move {
            match first {
                true => peer::hang(request, respond).await,
                false => peer::greet(request, respond).await,
            }
        }
    })
    .await;
    let policy = quick(3).try_timeout(Duration::from_millis(50));
    let options = CallOptions::new().idempotent(true).report(true);
    let reply = call(five(&peer).retry(policy.clone()), options).await.unwrap();
    let report = reply.extensions().get::<CallReport>().unwrap();
    assert_eq!(report.attempts as usize, count.get());
    assert!(report.tried[0].reason.contains("in the time that an attempt has"), "{report:?}");

    let hanging = Peer::serve(peer::hang).await;
    let options = CallOptions::new().timeout(Duration::from_millis(300));
    let status = call(five(&hanging).retry(policy), options).await.unwrap_err();
    assert_eq!(
        status.code(),
        tonic::Code::DeadlineExceeded,
        "what may not be repeated has the whole time: {status}"
    );
}

#[tokio::test]
async fn the_second_repetition_goes_to_another_zone() {
    let count = Count::default();
    let peer = saying(UNAVAILABLE, &count).await;
    let node = |id: &str, zone: &str| {
        Node::builder("greeter", id, peer.address.to_string()).zone(zone).build().unwrap()
    };
    for seed in 0..10 {
        let mut nodes: Vec<_> = (0..6).map(|n| node(&format!("near-{n}"), "near")).collect();
        nodes.push(node("far", "far"));
        let ids: Vec<_> = nodes.iter().map(|node| node.id().to_string()).collect();
        let channel = callsign::Channel::builder("greeter")
            .nodes(nodes)
            .seed(seed)
            .strategy(Strategy::Random)
            .retry(quick(3))
            .build()
            .unwrap();
        for id in &ids {
            until_ready(&channel, id).await;
        }
        let before = channel.nodes();
        let request = with(CallOptions::new().idempotent(true), "World");
        GreeterClient::new(channel.clone()).hello(request).await.unwrap_err();
        let after = channel.nodes();
        let called: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| after.calls > before.calls)
            .map(|(_, after)| after.node.id().to_string())
            .collect();
        assert_eq!(called.len(), 3, "{called:?}");
        assert!(called.iter().any(|id| id == "far"), "seed {seed}: {called:?}");
    }
}

#[tokio::test]
async fn a_service_config_is_obeyed() {
    let count = Count::default();
    let peer = saying(ABORTED, &count).await;
    let config: ServiceConfig = r#"{
      "methodConfig": [{
        "name": [{"service": "greeter.Greeter"}],
        "retryPolicy": {
          "maxAttempts": 4, "initialBackoff": "0.001s", "maxBackoff": "0.001s", "backoffMultiplier": 1,
          "retryableStatusCodes": ["ABORTED"]
        }
      }],
      "retryThrottling": {"maxTokens": 4, "tokenRatio": 0.1}
    }"#
    .parse()
    .unwrap();
    let status = call(five(&peer).service_config(config), CallOptions::new()).await.unwrap_err();
    // Each failure takes one of four tokens: with two left there is no further attempt.
    assert_eq!((status.code(), count.get()), (tonic::Code::Aborted, 2));
}

#[tokio::test]
async fn a_service_that_refuses_everything_is_left_alone() {
    let count = Count::default();
    let peer = saying(&[("grpc-status", "8"), ("grpc-message", "too much")], &count).await;
    let channel = five(&peer).throttle(Throttle::default()).build().unwrap();
    for id in IDS {
        until_ready(&channel, id).await;
    }
    let mut client = GreeterClient::new(channel.clone());
    let (mut refused, calls) = (0, 200);
    for _ in 0..calls {
        let status = soon("the answer", client.hello(hello("World"))).await.unwrap_err();
        if status.code() == tonic::Code::Unavailable {
            assert!(status.message().starts_with("not sent: greeter refused most calls"), "{status}");
            assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
            refused += 1;
        }
    }
    assert_eq!(refused + count.get(), calls);
    assert_eq!(channel.meter().held_back(), refused as u64);
    assert!(channel.held_back(tokio::time::Instant::now()) > 0.5);
    assert!(count.get() < calls / 4, "{} calls reached it", count.get());
}
