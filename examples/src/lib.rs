//! What the examples share: the code generated from `proto/greeter.proto`. The programs are in `src/bin`.

/// The greeter service: messages, client, server, descriptors.
#[allow(missing_docs, clippy::missing_errors_doc, reason = "generated code")]
pub mod greeter {
    callsign::include_proto!("greeter");
}
