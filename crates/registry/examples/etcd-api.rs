//! Writes `src/etcd/client/api.rs` anew from `proto/etcd.proto`: to be run after the latter was changed. A test sees to it that
//! this was not forgotten.

#[path = "../proto/generate.rs"]
mod generate;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::fs::write(generate::TARGET, generate::api()?)?;
    Ok(())
}
