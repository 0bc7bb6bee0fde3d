//! Generates the service that the benchmarks call.

fn main() -> Result<(), callsign_build::Error> {
    callsign_build::compile(&["proto/bench.proto"], &["proto"])
}
