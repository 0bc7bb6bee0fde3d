//! What an operator reads of a registration: one line for each transition, and none for more of the same.
//!
//! It is alone in this file because what `tracing` records is settled for the whole process.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use callsign_core::{
    Node, Registry,
    memory::MemoryRegistry,
    registration::{Registrar, RegistrationState},
    registry::RegisterOptions,
};
use tracing::{Event, Level, Metadata, Subscriber, field::Field, span};

/// Writes down the events of registrations, as far as people look at them.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

/// The message of an event, and whether the node and the registry are named.
#[derive(Default)]
struct Line {
    message: String,
    named: usize,
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("callsign_core::registration") && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        assert_eq!(line.named, 2, "{}", line.message);
        self.0.lock().expect("no panic under this lock").push(format!(
            "{} {}",
            event.metadata().level(),
            line.message
        ));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "node" | "registry" => self.named += 1,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_transition_is_one_line_that_names_node_and_registry() {
    let recorder = Recorder::default();
    let _recording = tracing::subscriber::set_default(recorder.clone());
    let registry = MemoryRegistry::new();
    registry.set_away(true);
    let registrar = Registrar::with_rng(Arc::new(registry.clone()), fastrand::Rng::with_seed(7));
    let node = Node::builder("greeter", "1", "127.0.0.1:4000").build().unwrap();
    let registration = registrar.register(node.clone(), RegisterOptions::default());
    let mut states = registration.watch();
    let ninth =
        |state: &RegistrationState| matches!(state, RegistrationState::Registering { attempt: 9, .. });
    states.wait_for(ninth).await.unwrap();
    registry.set_away(false);
    registration.registered().await.unwrap();
    registration.update(node.to_builder().weight(1).build().unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    states.mark_unchanged();
    registry.deregister(&node.key()).await.unwrap();
    states.changed().await.unwrap();
    registration.registered().await.unwrap();
    registration.close().await.unwrap();
    assert_eq!(
        *recorder.0.lock().unwrap(),
        [
            "WARN registration failed; trying on",
            "INFO registered",
            "INFO registration updated",
            "WARN registration lost",
            "INFO registered",
            "INFO deregistered",
        ]
    );
}
