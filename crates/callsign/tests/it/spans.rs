//! What a subscriber sees of calls: their spans, by OpenTelemetry's names.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use callsign::{
    CallOptions, Channel,
    client::RetryPolicy,
    core::{memory::MemoryRegistry, select::Strategy},
};
use callsign_examples::greeter::{conversation_client::ConversationClient, greeter_client::GreeterClient};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span,
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use crate::{
    client::{
        fixed,
        peer::{self, Peer},
        until, until_ready, with,
    },
    support::{Running, hello, run, soon},
};

/// A span that was closed.
#[derive(Debug, Clone)]
struct Seen {
    name: &'static str,
    id: u64,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
}

#[derive(Clone, Default)]
struct Closed(Arc<Mutex<Vec<Seen>>>);

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Closed {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        values.record(context.span(id).unwrap().extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let parent = span.parent().map(|parent| parent.id().into_u64());
        let fields = span.extensions_mut().remove::<Fields>().unwrap().0;
        self.0.lock().unwrap().push(Seen { name: span.name(), id: id.into_u64(), parent, fields });
    }
}

impl Closed {
    /// Sees what this thread does, and with it all tasks of a test's runtime.
    fn watch() -> (Self, DefaultGuard) {
        let closed = Self::default();
        let ours = Targets::new().with_target("callsign::trace", LevelFilter::DEBUG);
        let guard =
            tracing::subscriber::set_default(Registry::default().with(closed.clone().with_filter(ours)));
        (closed, guard)
    }

    /// The spans of this name, once there are as many.
    async fn named(&self, name: &str, count: usize) -> Vec<Seen> {
        let of_name = || -> Vec<Seen> {
            self.0.lock().unwrap().iter().filter(|seen| seen.name == name).cloned().collect()
        };
        until(name, || of_name().len() >= count).await;
        of_name()
    }
}

impl Seen {
    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    fn all<const N: usize>(&self, fields: [&str; N]) -> [&str; N] {
        fields.map(|field| self.get(field))
    }
}

const STATUS: [&str; 3] = ["rpc.grpc.status_code", "error.type", "otel.status_code"];

async fn to(server: &Running) -> Channel {
    let channel = fixed([("one", server.handle.local_addr())]).build().unwrap();
    until_ready(&channel, "one").await;
    channel
}

#[tokio::test]
async fn a_call_its_attempts_and_its_handling_are_spans() {
    let bad = Peer::serve(move |request, respond| peer::unavailable(request, respond, "down")).await;
    let server = run(&MemoryRegistry::new(), |builder| builder).await;
    let nodes = fixed([("bad", bad.address), ("good", server.handle.local_addr())]);
    let channel = nodes.strategy(Strategy::RoundRobin).retry(RetryPolicy::new().attempts(2)).build().unwrap();
    until_ready(&channel, "bad").await;
    until_ready(&channel, "good").await;
    let (closed, _guard) = Closed::watch();
    let mut client = GreeterClient::new(channel);
    for _ in 0..2 {
        let options = CallOptions::new().idempotent(true);
        soon("the answer", client.hello(with(options, "World"))).await.unwrap();
    }

    let attempts = closed.named("attempt", 3).await;
    assert_eq!(attempts.len(), 3, "round robin: one of two calls falls on the bad node first");
    let lost = attempts.iter().find(|seen| seen.get("callsign.node") == "bad").unwrap();
    assert_eq!(lost.all(STATUS), ["14", "UNAVAILABLE", "ERROR"]);
    let (host, port) = (bad.address.ip().to_string(), bad.address.port().to_string());
    let asked = ["server.address", "server.port", "callsign.attempt", "callsign.hedge", "callsign.strategy"];
    assert_eq!(lost.all(asked), [&*host, &port, "1", "false", "round-robin"]);

    let calls = closed.named("call", 2).await;
    let call = calls.iter().find(|call| Some(call.id) == lost.parent).unwrap();
    let named = ["otel.name", "otel.kind", "rpc.system", "rpc.service", "rpc.method", "callsign.service"];
    let names = ["greeter.Greeter/Hello", "client", "grpc", "greeter.Greeter", "Hello", "greeter"];
    assert_eq!(call.all(named), names);
    assert_eq!(call.all(STATUS), ["0", "", ""]);
    let won = attempts.iter().find(|seen| seen.parent == lost.parent && seen.id != lost.id).unwrap();
    assert_eq!(won.all(["callsign.node", "callsign.attempt"]), ["good", "2"]);
    assert_eq!(won.all(STATUS), ["0", "", ""]);

    let handled = closed.named("handle", 2).await;
    assert_eq!(handled.len(), 2);
    let named = ["otel.name", "otel.kind", "rpc.system", "rpc.service", "rpc.method"];
    assert_eq!(
        handled[0].all(named),
        ["greeter.Greeter/Hello", "server", "grpc", "greeter.Greeter", "Hello"]
    );
    assert_eq!(handled[0].all(STATUS), ["0", "", ""]);
    assert_eq!((handled[0].parent, handled[0].get("client.address")), (None, "127.0.0.1"));
}

#[tokio::test]
async fn what_went_wrong_is_told_to_who_is_to_blame() {
    let server = run(&MemoryRegistry::new(), |builder| builder).await;
    let channel = to(&server).await;
    let mut client = GreeterClient::new(channel.clone());
    let status = |seen: &[Seen]| -> Vec<_> {
        seen.iter().map(|seen| seen.all(STATUS).map(str::to_owned).join(" ")).collect()
    };
    {
        let (closed, _guard) = Closed::watch();
        client.hello(hello("panic")).await.unwrap_err();
        assert_eq!(status(&closed.named("call", 1).await), ["13 INTERNAL ERROR"]);
        assert_eq!(status(&closed.named("attempt", 1).await), ["13 INTERNAL ERROR"]);
        assert_eq!(status(&closed.named("handle", 1).await), ["13 INTERNAL ERROR"]);
    }
    {
        let (closed, _guard) = Closed::watch();
        let call = tokio::spawn({
            let mut client = client.clone();
            async move { client.hello(hello("slow")).await }
        });
        soon("the call arrives", server.greeter.arrived.notified()).await;
        call.abort();
        assert_eq!(status(&closed.named("call", 1).await), ["1 CANCELLED ERROR"]);
        assert_eq!(status(&closed.named("attempt", 1).await), ["1 CANCELLED ERROR"]);
        assert_eq!(status(&closed.named("handle", 1).await), ["1  "], "the server did nothing wrong");
    }
    {
        let (closed, _guard) = Closed::watch();
        let request = with(CallOptions::new().group("nobody's"), "World");
        client.hello(request).await.unwrap_err();
        assert_eq!(status(&closed.named("call", 1).await), ["14 UNAVAILABLE ERROR"]);
        assert!(closed.named("attempt", 0).await.is_empty());
    }
}

#[tokio::test]
async fn a_span_lasts_as_long_as_the_reply() {
    let server = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = ConversationClient::new(to(&server).await);
    let (closed, _guard) = Closed::watch();
    let mut replies = client.listen(hello("World")).await.unwrap().into_inner();
    soon("the first reply", replies.message()).await.unwrap().unwrap();
    assert!(closed.named("call", 0).await.is_empty());
    drop(replies);
    let call = closed.named("call", 1).await;
    assert_eq!(call[0].all(STATUS), ["1", "CANCELLED", "ERROR"]);
    assert_eq!(closed.named("handle", 1).await.len(), 1);
}
