//! What a channel says of calls that it has made: each kind of reason is named, and so is what was tried.

use std::{pin::pin, time::Duration};

use callsign::{
    CallOptions, Channel,
    client::{CallExplanation, CallId, CallRef, HealthCheck, HedgePolicy, MethodPolicy, Why},
    core::{
        health::HealthConfig,
        memory::MemoryRegistry,
        select::{Filter, Outcome, PassedOver, Shape, Strategy},
    },
};
use callsign_examples::greeter::greeter_client::GreeterClient;
use futures_util::poll;

use super::{
    Count, builder, fixed, node, nowhere,
    peer::{self, Peer},
    register, server, settled, until, with,
};
use crate::support::soon;

/// Makes a call, and gives what is said of it by the id that is on its reply.
async fn call(channel: &Channel, options: CallOptions) -> CallExplanation {
    let made = soon("the call", GreeterClient::new(channel.clone()).hello(with(options, "x"))).await;
    let id = match &made {
        Ok(reply) => {
            let id = CallId::of(reply.metadata().as_ref()).expect("an id");
            assert_eq!(reply.metadata().get("callsign-call-id").unwrap(), &id.to_string());
            id
        }
        Err(status) => CallId::of(status.metadata().as_ref()).expect("an id"),
    };
    drop(made);
    let explanation = channel.explain_call(CallRef::Id(id)).expect("it is remembered");
    assert_eq!((explanation.id, &*explanation.method), (id, "/greeter.Greeter/Hello"));
    assert_eq!(channel.explain_call(CallRef::Last).unwrap().id, id);
    assert!(explanation.outcome.is_some(), "{explanation}");
    explanation
}

/// The call went past this node for this reason, in the words that the next call has for it, and the first line says so.
#[track_caller]
fn names(
    channel: &Channel,
    options: &CallOptions,
    call: &CallExplanation,
    id: &str,
    code: &str,
    words: &str,
) {
    let said = call.nodes.iter().find(|node| node.node.id() == id).expect("a node of that id");
    assert!(!said.is_candidate(), "{call}");
    assert_eq!(said.obstacle.as_ref().map(|obstacle| obstacle.code()), Some(code), "{call}");
    assert!(said.remark().unwrap().contains(words), "{call}");
    let text = call.to_string();
    let first = text.lines().next().unwrap();
    assert!(first.contains(" took the call and answered after "), "{first}");
    assert!(first.contains(&format!("{id} was passed over: ")) && first.contains(words), "{first}");
    let next = channel.explain(options);
    let next = next.nodes.iter().find(|node| node.node.id() == id).unwrap();
    assert_eq!(next.obstacle.as_ref().map(|obstacle| obstacle.code()), Some(code));
    let json = serde_json::to_value(call).unwrap();
    let shown = json["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).unwrap();
    assert_eq!((&json["summary"], &shown["because"]), (&first.into(), &code.into()));
}

#[tokio::test]
async fn a_call_past_the_wrong_zone_says_so() {
    let (registry, server) = (MemoryRegistry::new(), server().await);
    let _here = register(&registry, &server, "here", |node| node.zone("eu-1a")).await;
    let _there = register(&registry, &server, "there", |node| node.zone("eu-1b")).await;
    let options = CallOptions::new();
    let channel = settled(builder(&registry).filter(Filter::zone("eu-1a"))).await;
    let made = call(&channel, options.clone()).await;
    names(&channel, &options, &made, "there", "filter", "zone=eu-1a is asked for, and it has eu-1b");

    let channel = settled(builder(&registry).shape(Shape::default().near(["eu-1a"]))).await;
    let made = call(&channel, options.clone()).await;
    names(
        &channel,
        &options,
        &made,
        "there",
        "zone",
        "nearer nodes, in eu-1a, take the calls unless they are far busier",
    );
}

#[tokio::test]
async fn a_call_past_a_node_that_drains_says_so() {
    let (registry, stays, leaves) = (MemoryRegistry::new(), server().await, server().await);
    let _stays = register(&registry, &stays, "stays", |node| node).await;
    let _leaving = register(&registry, &leaves, "leaves", |node| node.weight(0)).await;
    let options = CallOptions::new();
    let channel = settled(builder(&registry)).await;
    let made = call(&channel, options.clone()).await;
    names(
        &channel,
        &options,
        &made,
        "leaves",
        "draining",
        "its weight is 0: it is draining, or wants no calls",
    );

    let addresses = [("stays", stays.handle.local_addr()), ("leaves", leaves.handle.local_addr())];
    leaves.handle.health().set_healthy(false);
    let channel = settled(fixed(addresses).health_check(HealthCheck::default())).await;
    let made = call(&channel, options.clone()).await;
    names(&channel, &options, &made, "leaves", "not-serving", "it is not serving");
}

#[tokio::test]
async fn a_call_past_an_ejected_node_says_what_led_to_it() {
    let (one, other) = (server().await, server().await);
    let addresses = [("bad", one.handle.local_addr()), ("good", other.handle.local_addr())];
    let brief = HealthConfig::default().ejection(Duration::from_secs(60), Duration::from_secs(60)).unwrap();
    let channel = settled(fixed(addresses).strategy(Strategy::RoundRobin).health(brief)).await;
    let bad = node("bad", one.handle.local_addr());
    for _ in 0..5 {
        channel.mark(bad.id(), Outcome::Failure, Duration::from_millis(1));
    }
    let options = CallOptions::new();
    until("it is ejected", || channel.explain(&options).nodes.iter().any(|node| !node.is_candidate())).await;
    let made = call(&channel, options.clone()).await;
    names(&channel, &options, &made, "bad", "ejected", "it is ejected: 5 calls failed in a row; for another");
}

#[tokio::test]
async fn a_call_past_another_version_says_so_and_one_that_finds_none_too() {
    let (registry, server) = (MemoryRegistry::new(), server().await);
    let _old = register(&registry, &server, "old", |node| node.version("1.9")).await;
    let _new = register(&registry, &server, "new", |node| node.version("2.0")).await;
    let channel = settled(builder(&registry)).await;
    let options = CallOptions::new().filter(Filter::version("2"));
    let made = call(&channel, options.clone()).await;
    names(&channel, &options, &made, "old", "filter", "version=2 is asked for, and it has 1.9");
    assert_eq!(made.filters.as_deref(), Some("version=2"));

    let nobody = CallOptions::new().filter(Filter::version("3"));
    let made = call(&channel, nobody.clone()).await;
    let next = channel.explain(&nobody).summary;
    assert_eq!(made.summary, format!("the call failed with UNAVAILABLE: {next}"));
    assert!(next.contains("version=3"), "{next}");
    let reasons = made.nodes.iter().map(|node| node.remark().unwrap());
    assert!(
        reasons.clone().count() == 2 && reasons.clone().all(|reason| reason.contains("version=3")),
        "{made}"
    );
}

#[tokio::test]
async fn a_call_past_a_node_outside_of_the_subset_says_so() {
    let (registry, server) = (MemoryRegistry::new(), server().await);
    let mut leases = Vec::new();
    for id in ["a", "b", "c"] {
        leases.push(register(&registry, &server, id, |node| node).await);
    }
    let options = CallOptions::new();
    let channel = settled(builder(&registry).subset(2)).await;
    let made = call(&channel, options.clone()).await;
    let outside: Vec<_> = made.nodes.iter().filter(|node| !node.is_candidate()).collect();
    assert_eq!(outside.len(), 1, "{made}");
    let id = outside[0].node.id().to_string();
    names(
        &channel,
        &options,
        &made,
        &id,
        "subset",
        "outside the subset: this client keeps to 2 of the 3 nodes",
    );
}

#[tokio::test]
async fn what_a_choice_saw_is_remembered_and_leads_to_the_same_node_again() {
    for strategy in
        ["adaptive", "least-request", "random", "round-robin", "maglev", "prequal", "weighted-round-robin"]
    {
        let servers = [server().await, server().await, server().await];
        let addresses = ["a", "b", "c"].into_iter().zip(&servers);
        let addresses: Vec<_> = addresses.map(|(id, server)| (id, server.handle.local_addr())).collect();
        let channel = settled(fixed(addresses).strategy(strategy.parse().unwrap())).await;
        let mut made = Vec::new();
        for n in 0..40u8 {
            made.push(call(&channel, CallOptions::new().hash_key(&[n])).await);
        }
        servers.iter().for_each(|server| server.handle.stop_now());
        until("they are away", || channel.explain(&CallOptions::new()).candidates().next().is_none()).await;
        // What is said of the calls stays.
        let ids = made.iter().map(|made| made.id);
        for (before, after) in ids.map(|id| channel.explain_call(CallRef::Id(id)).unwrap()).zip(&made) {
            assert_eq!(before.to_string(), after.to_string());
            let [attempt] = &*before.attempts else { panic!("{before}") };
            assert_eq!(attempt.unseen, None, "{before}");
            // A table is asked for the node, and then the node whether it may be called.
            let chosen: Vec<_> = attempt.seen.iter().filter(|seen| seen.chosen).collect();
            let [chosen] = &*chosen else { panic!("{before}") };
            assert_eq!((Some(&chosen.node), &chosen.against), (attempt.node.as_ref(), &None));
            let compares = matches!(strategy, "adaptive" | "least-request");
            assert_eq!(attempt.seen.len() >= 2 && chosen.inflight == Some(0), compares, "{before}");
        }
    }
}

#[tokio::test]
async fn the_latest_calls_come_first_and_no_more_than_are_asked_for() {
    let server = server().await;
    let channel = settled(fixed([("a", server.handle.local_addr())]).remembered_calls(4)).await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(call(&channel, CallOptions::new()).await.id);
    }
    ids.reverse();
    let explained = |most| channel.explain_calls(most).iter().map(|made| made.id).collect::<Vec<_>>();
    assert_eq!(explained(2), ids[..2]);
    assert_eq!(explained(100), ids[..4], "there is room for four");
}

#[tokio::test]
async fn a_call_by_a_snapshot_that_is_long_gone_still_says_who_had_it() {
    const SNAPSHOTS_MAX: usize = 64;
    let (registry, server) = (MemoryRegistry::new(), server().await);
    let _lease = register(&registry, &server, "a", |node| node).await;
    let channel = settled(builder(&registry)).await;
    let first = call(&channel, CallOptions::new()).await;
    assert_eq!((first.attempts[0].unseen.as_deref(), first.nodes.len()), (None, 1), "{first}");
    let mut leases = Vec::new();
    for number in 1..=SNAPSHOTS_MAX {
        leases.push(register(&registry, &server, &format!("n{number}"), |node| node).await);
        until("the node is known", || channel.nodes().len() == number + 1).await;
    }
    let now = channel.explain_call(CallRef::Id(first.id)).expect("it is remembered");
    let said = now.attempts[0].unseen.as_deref();
    assert_eq!(said, Some("the snapshot that it was made by is kept no more"), "{now}");
    assert_eq!((&now.attempts[0].node, now.nodes.len()), (&first.attempts[0].node, 0), "{now}");
}

#[tokio::test]
async fn a_call_that_waits_for_the_first_snapshot_says_so_and_what_it_saw_is_known() {
    let channel = fixed([("a", nowhere(1))]).build().unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let mut waits = pin!(client.hello(with(CallOptions::new(), "x")));
    assert!(poll!(&mut waits).is_pending(), "no task of the channel has run yet");
    let made = channel.explain_call(CallRef::Last).expect("it is remembered");
    assert!(made.summary.starts_with("the call waits for a node: "), "{made}");
    assert_eq!((made.attempts.len(), &made.attempts[0].unseen), (1, &None), "{made}");
}

#[tokio::test]
async fn what_made_the_difference_between_two_nodes_is_shown() {
    let (slow, quick) = (server().await, server().await);
    let addresses = [("slow", slow.handle.local_addr()), ("quick", quick.handle.local_addr())];
    let channel = settled(fixed(addresses)).await;
    let late = node("slow", addresses[0].1);
    channel.mark(late.id(), Outcome::DeadlineExceeded, Duration::from_secs(2));
    let made = call(&channel, CallOptions::new()).await;
    let seen = |id| made.attempts[0].seen.iter().find(|seen| seen.node.as_str() == id).unwrap();
    assert!(seen("quick").chosen && !seen("slow").chosen, "{made}");
    assert!(seen("slow").expected() > Some(Duration::from_secs(1)), "{made}");
    assert_eq!(seen("quick").inflight, Some(0), "{made}");
    let text = made.to_string();
    assert!(
        text.contains("\n    > quick: 0 in flight") && text.contains("\n      slow: a call costs "),
        "{text}"
    );
    let json = serde_json::to_value(&made).unwrap();
    assert!(
        json["attempts"][0]["seen"]
            .as_array()
            .unwrap()
            .iter()
            .any(|seen| seen["cost_us"].as_u64() > Some(1_000_000))
    );
}

#[tokio::test]
async fn a_call_that_says_itself_where_it_goes_has_seen_nothing() {
    let server = server().await;
    let channel = settled(fixed([("a", server.handle.local_addr())])).await;
    let made = call(&channel, CallOptions::new().node(node("a", nowhere(1)).id().clone())).await;
    assert!(made.attempts[0].seen.is_empty(), "{made}");
    assert_eq!(made.attempts[0].unseen.as_deref(), Some("the call says itself where it goes"));
}

#[tokio::test]
async fn each_attempt_says_what_came_of_it() {
    let (count, good) = (Count::default(), Count::default());
    let busy = Peer::serve(move |request, respond| {
        count.add();
        peer::unavailable(request, respond, "too much to do")
    });
    let (busy, good) = (busy.await, Peer::counted(&good).await);
    let nodes = [("busy", busy.address), ("good", good.address)];
    let channel = settled(fixed(nodes).strategy(Strategy::RoundRobin).health(HealthConfig::off())).await;
    let options = CallOptions::new().idempotent(true);
    // Each in turn: one of two calls begins at the busy one.
    let made = [call(&channel, options.clone()).await, call(&channel, options).await];
    let made = made.iter().find(|made| made.attempts.len() == 2).expect("a call that was made again");
    let [first, second] = &*made.attempts else { panic!("{made}") };
    assert_eq!((first.node.as_ref().unwrap().as_str(), first.why), ("busy", Why::First));
    assert_eq!(first.fate, "it answered UNAVAILABLE: too much to do");
    assert_eq!((second.node.as_ref().unwrap().as_str(), second.why), ("good", Why::Retry));
    assert_eq!((second.inflight, &*second.fate), (Some(1), "it answered"));
    assert!(first.lost.unwrap() <= made.outcome.as_ref().unwrap().elapsed, "{made}");
    assert_eq!(made.outcome.as_ref().unwrap().status.as_deref(), Some("OK"));
    let ending = "since busy failed: it answered UNAVAILABLE: too much to do";
    assert!(made.summary.starts_with("good took the call and answered after "), "{made}");
    assert!(made.summary.ends_with(ending), "{made}");
    let tried = made.nodes.iter().find(|node| node.node.id() == "busy").unwrap();
    assert_eq!(tried.obstacle.as_ref().map(|obstacle| obstacle.code()), Some("tried"));
}

#[tokio::test]
async fn a_choice_that_looks_at_a_node_again_sees_that_it_was_tried() {
    let busy = Peer::serve(|request, respond| peer::unavailable(request, respond, "too much to do")).await;
    let good = Peer::counted(&Count::default()).await;
    let nodes = fixed([("busy", busy.address), ("good", good.address)])
        .strategy(Strategy::LeastRequest { choices: 2 });
    let channel = settled(nodes.health(HealthConfig::off())).await;
    // Chance has one of two calls begin at the busy one.
    let again = loop {
        let made = call(&channel, CallOptions::new().idempotent(true)).await;
        if made.attempts.len() == 2 {
            break made;
        }
        assert!(made.id < CallId::new(100).unwrap(), "none began at the busy node");
    };
    let seen = again.attempts[1].seen.iter().find(|seen| seen.node.as_str() == "busy");
    assert_eq!(seen.expect("both were compared").against, Some(PassedOver::Tried), "{again}");
}

#[tokio::test]
async fn times_are_told_from_the_start_of_the_call() {
    let busy = Peer::serve(|request, respond| peer::unavailable(request, respond, "too much to do")).await;
    let channel = settled(fixed([("busy", busy.address)])).await;
    let made = call(&channel, CallOptions::new().idempotent(true)).await;
    let [first, second, ..] = &made.attempts[..] else { panic!("it is repeated: {made}") };
    assert_eq!(first.after, Duration::ZERO, "the first choice is the start: {made}");
    let told = [first.lost.unwrap(), second.after, made.outcome.as_ref().unwrap().elapsed, made.ago];
    assert!(Duration::ZERO < told[0] && told.is_sorted(), "{made}");
}

#[tokio::test]
async fn an_attempt_that_another_one_overtook_says_so() {
    let deaf = Peer::serve(|request, respond| async move {
        peer::read(request.into_body()).await;
        let _held = respond;
        std::future::pending::<()>().await;
    });
    let (deaf, good) = (deaf.await, Peer::counted(&Count::default()).await);
    let hedge = HedgePolicy::new().delay(Duration::from_millis(20)).share(10.0).unwrap();
    let policy = MethodPolicy::new().idempotent(true).hedge(hedge);
    let nodes = fixed([("deaf", deaf.address), ("good", good.address)]).method("*", policy).unwrap();
    let channel = settled(nodes.strategy(Strategy::RoundRobin).health(HealthConfig::off())).await;
    let made = [call(&channel, CallOptions::new()).await, call(&channel, CallOptions::new()).await];
    let made = made.iter().find(|made| made.attempts.len() == 2).expect("a call that was hedged");
    let [first, second] = &*made.attempts else { panic!("{made}") };
    assert_eq!((first.node.as_ref().unwrap().as_str(), &*first.fate), ("deaf", "it was called off"));
    assert_eq!((second.node.as_ref().unwrap().as_str(), second.why), ("good", Why::Hedge));
    assert_eq!(second.fate, "it answered");
}

#[tokio::test]
async fn a_call_that_its_caller_drops_says_where_it_was() {
    let server = server().await;
    let channel = settled(fixed([("a", server.handle.local_addr())])).await;
    let mut client = GreeterClient::new(channel.clone());
    let under_way = tokio::spawn(async move { client.hello(with(CallOptions::new(), "slow")).await });
    soon("the call arrives", server.greeter.arrived.notified()).await;
    let made = channel.explain_call(CallRef::Last).unwrap();
    assert_eq!((made.summary.as_str(), made.outcome.is_none()), ("a has the call, which is under way", true));
    under_way.abort();
    assert!(soon("the call is dropped", under_way).await.unwrap_err().is_cancelled());
    let made = channel.explain_call(CallRef::Last).unwrap();
    assert!(made.summary.starts_with("the caller gave the call at a up after "), "{made}");
    assert_eq!(made.outcome.unwrap().word, "cancelled");
}

#[tokio::test]
async fn a_call_that_reaches_nobody_says_what_its_caller_was_told() {
    let channel = settled(fixed([("away", nowhere(1))])).await;
    let made = call(&channel, CallOptions::new()).await;
    assert!(made.summary.contains("the one node of greeter cannot be reached: away: "), "{made}");
    assert_eq!(made.nodes[0].obstacle.as_ref().map(|obstacle| obstacle.code()), Some("not-ready"));
    assert!(made.attempts.iter().all(|attempt| attempt.node.is_none()), "{made}");
}

#[tokio::test]
async fn a_channel_that_remembers_nothing_puts_no_id_on_replies() {
    let server = server().await;
    let channel = settled(fixed([("a", server.handle.local_addr())]).remembered_calls(0)).await;
    let mut client = GreeterClient::new(channel.clone());
    let reply = soon("the reply", client.hello(with(CallOptions::new(), "x"))).await.unwrap();
    assert!(reply.metadata().get("callsign-call-id").is_none());
    assert!(channel.explain_call(CallRef::Last).is_none());
}
