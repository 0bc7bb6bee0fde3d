//! Generates the demo's `greeter` service.

fn main() -> Result<(), callsign_build::Error> {
    callsign_build::compile(&["proto/greeter.proto"], &["proto"])
}
