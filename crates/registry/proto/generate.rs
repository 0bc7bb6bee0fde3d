//! From `etcd.proto` to Rust, without protoc: for the example that writes the result and the test that compares it.

use std::error::Error;

/// Where the generated code is kept.
pub(crate) const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/etcd/client/api.rs");

/// The messages as Rust code.
pub(crate) fn api() -> Result<String, Box<dyn Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let descriptors = protox::compile(["etcd.proto"], [folder])?;
    let out = tempfile::tempdir()?;
    prost_build::Config::new().bytes(["."]).out_dir(out.path()).compile_fds(descriptors)?;
    let code = std::fs::read_to_string(out.path().join("etcdserverpb.rs"))?;
    Ok(format!("// @generated from proto/etcd.proto by examples/etcd-api.rs\n\n{code}"))
}
