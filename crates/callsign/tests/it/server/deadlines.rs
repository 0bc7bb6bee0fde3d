//! What a server does about calls that nobody waits for any more.

use std::time::Duration;

use callsign::core::memory::MemoryRegistry;
use tonic::Code;

use crate::support::{Running, hello, run, soon};

fn within<T>(message: T, timeout: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    request
}

/// What became of calls: how many expired, how many of them unbegun, and how many were abandoned.
fn counts(running: &Running) -> (u64, u64, u64) {
    let meter = running.handle.call_meter();
    (meter.expired(), meter.expired_unbegun(), meter.abandoned())
}

#[tokio::test]
async fn the_callers_deadline_drops_the_handler_and_is_answered() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;
    // The plain client keeps no time of its own: the status is the server's.
    let slow = within(hello("slow"), Duration::from_millis(500));
    let status = soon("the deadline", client.hello(slow)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("500ms"), "{status}");
    soon("the handler is dropped", running.greeter.dropped.notified()).await;
    assert_eq!(counts(&running), (1, 0, 0));

    let mut client = running.conversation().await;
    let listen = within(hello("x"), Duration::from_secs(2));
    let mut replies = client.listen(listen).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    let status = soon("the deadline", replies.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    soon("the stream is dropped", running.greeter.dropped.notified()).await;
    assert_eq!(counts(&running), (2, 0, 0));
}

#[tokio::test]
async fn a_stream_that_always_has_more_ends_at_its_deadline_too() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.conversation().await;
    let listen = within(hello("talkative"), Duration::from_millis(100));
    let mut replies = client.listen(listen).await.unwrap().into_inner();
    let status = soon("the deadline", async {
        loop {
            match replies.message().await {
                Ok(reply) => assert!(reply.is_some(), "it has no end of its own"),
                Err(status) => return status,
            }
        }
    })
    .await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_call_whose_deadline_has_passed_is_not_run() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;
    // Its handler would panic.
    let status = client.hello(within(hello("panic"), Duration::ZERO)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("before the call could begin"), "{status}");
    assert_eq!(counts(&running), (1, 1, 0));
}

#[tokio::test]
async fn a_handler_learns_how_much_time_is_left() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;
    let minute = within(hello("how long"), Duration::from_secs(60));
    let reply = client.hello(minute).await.unwrap().into_inner();
    assert!(["Hello, Some(59)!", "Hello, Some(58)!"].contains(&&*reply.message), "{}", reply.message);
    let reply = client.hello(hello("how long")).await.unwrap().into_inner();
    assert_eq!(reply.message, "Hello, None!");
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused_by_name() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;
    for bad in ["soon", "-1S", "123456789S", "1.5S", ""] {
        let mut request = tonic::Request::new(hello("World"));
        request.metadata_mut().insert("grpc-timeout", bad.parse().unwrap());
        let status = client.hello(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{bad:?}");
        assert!(
            status.message().contains(&format!("grpc-timeout is {bad:?}, not up to eight digits")),
            "{status}"
        );
    }
    assert_eq!(running.handle.call_meter().started(), 0);
}

#[tokio::test]
async fn the_longest_deadline_there_is_does_no_harm() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut request = tonic::Request::new(hello("World"));
    request.metadata_mut().insert("grpc-timeout", "99999999H".parse().unwrap());
    assert!(running.client().await.hello(request).await.is_ok());
}

#[tokio::test]
async fn a_caller_that_cancels_ends_the_handler() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;
    let mut call = Box::pin(client.hello(hello("slow")));
    tokio::select! {
        biased;
        () = running.greeter.arrived.notified() => {}
        _ = &mut call => panic!("it is slow"),
    }
    // The connection lives on: the stream alone is reset.
    drop(call);
    soon("the handler is dropped", running.greeter.dropped.notified()).await;
    soon("it is counted", async {
        while running.handle.calls_in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(counts(&running), (0, 0, 1));
    assert!(running.client().await.hello(hello("World")).await.is_ok());

    // A stream of replies that is let go of is no different.
    let mut client = running.conversation().await;
    let mut replies = client.listen(hello("x")).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    drop(replies);
    soon("the stream is dropped", running.greeter.dropped.notified()).await;
}

#[tokio::test]
async fn calls_that_end_well_are_not_counted_among_those() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;
    for name in ["World", "panic"] {
        let _ = client.hello(hello(name)).await;
    }
    let mut client = running.conversation().await;
    let names = futures_util::stream::iter([hello("Ann"), hello("Bob")]);
    let mut replies = client.chat(names).await.unwrap().into_inner();
    while replies.message().await.unwrap().is_some() {}
    soon("the last is over", async {
        while running.handle.calls_in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(counts(&running), (0, 0, 0));
    assert_eq!(running.handle.call_meter().started(), 3);
}
