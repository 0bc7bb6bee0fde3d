//! One line in `build.rs` turns `.proto` files into tonic clients and servers. No `protoc` is needed: the files are
//! compiled in this process by `protox`.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), callsign_build::Error> {
//!     callsign_build::compile(&["proto/greeter.proto"], &["proto"])
//! }
//! ```
//!
//! The program then takes the generated code in by its *package* name:
//!
//! ```text
//! pub mod greeter {
//!     callsign::include_proto!("greeter");
//! }
//! use greeter::{FILE_DESCRIPTOR_SET, greeter_client::GreeterClient, greeter_server::GreeterServer};
//! ```
//!
//! Beside what tonic generates, each module has a `FILE_DESCRIPTOR_SET`: the encoded descriptors of the package's files
//! and of everything they import, comments stripped. Server reflection and the endpoints in the registry are made of it.
//!
//! And it has `IDEMPOTENT_METHODS`: the paths of the methods whose `idempotency_level` is `NO_SIDE_EFFECTS` or `IDEMPOTENT`. A
//! channel that is given them (`ChannelBuilder::idempotent_methods`) may make their calls again:
//!
//! ```text
//! rpc Find(FindRequest) returns (FindReply) {
//!   option idempotency_level = NO_SIDE_EFFECTS;
//! }
//! ```
//!
//! The generated code has no transport in it (`Client::connect` of tonic): channels and servers are Callsign's. The crate
//! that includes it needs `callsign`, `tonic` (feature `codegen`), `tonic-prost` and `prost`.

mod descriptors;
mod error;
mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tonic_prost_build::FileDescriptorSet;

pub use self::error::Error;
use self::sources::Sources;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The code generator with its choices. Made by [`configure`].
#[derive(Debug, Clone)]
#[must_use = "nothing is generated until `compile` is called"]
pub struct Builder {
    client: bool,
    server: bool,
    out_dir: Option<PathBuf>,
    attributes: Vec<(String, String)>,
    externs: Vec<(String, String)>,
}

/// Generates clients and servers for `protos`, whose imports are looked up in `includes`.
///
/// Paths are relative to the package's folder, where cargo runs build scripts. The files of `google/protobuf` are built in.
///
/// # Errors
///
/// A file or folder that is not there, a mistake in a file (with its line and column), an import that is in none of the
/// folders (with the folders that were searched), or output that cannot be written. The error's `Debug` is made for people,
/// because that is what cargo shows when `main` returns it.
pub fn compile(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<()> {
    configure().compile(protos, includes)
}

/// Starts a configured generation.
///
/// ```no_run
/// callsign_build::configure()
///     .server(false)
///     .type_attribute("greeter.HelloRequest", "#[derive(Hash)]")
///     .compile(&["proto/greeter.proto"], &["proto"])?;
/// # Ok::<(), callsign_build::Error>(())
/// ```
pub fn configure() -> Builder {
    Builder { client: true, server: true, out_dir: None, attributes: Vec::new(), externs: Vec::new() }
}

// === impl Builder ===

impl Builder {
    /// Whether clients are generated; yes when not called.
    pub fn client(self, client: bool) -> Self {
        Self { client, ..self }
    }

    /// Whether servers are generated; yes when not called.
    pub fn server(self, server: bool) -> Self {
        Self { server, ..self }
    }

    /// Where the code goes; cargo's `OUT_DIR` when not called.
    pub fn out_dir(self, folder: impl Into<PathBuf>) -> Self {
        Self { out_dir: Some(folder.into()), ..self }
    }

    /// Puts `attribute` on the messages, enums and oneofs that `path` matches: `.` for all, else a package or a full name.
    pub fn type_attribute(mut self, path: impl Into<String>, attribute: impl Into<String>) -> Self {
        self.attributes.push((path.into(), attribute.into()));
        self
    }

    /// Uses the Rust path `rust` for what is called `proto` (`.shop.money`), instead of generating it.
    pub fn extern_path(mut self, proto: impl Into<String>, rust: impl Into<String>) -> Self {
        self.externs.push((proto.into(), rust.into()));
        self
    }

    /// Generates the code, and tells cargo which files to watch.
    ///
    /// # Errors
    ///
    /// As [`compile`](crate::compile()).
    pub fn compile(self, protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> Result<()> {
        let out_dir = match &self.out_dir {
            Some(folder) => folder.clone(),
            None => std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(Error::no_out_dir)?,
        };
        let protos: Vec<&Path> = protos.iter().map(AsRef::as_ref).collect();
        let includes: Vec<&Path> = includes.iter().map(AsRef::as_ref).collect();
        // Said before anything can fail: a mended file must not go unnoticed.
        watch(&protos);
        let sources = Sources::open(&protos, &includes)?;
        watch(&sources.paths());

        fs::create_dir_all(&out_dir).map_err(|error| Error::write(&out_dir, error))?;
        self.generate(&out_dir, sources.files())?;
        for package in sources.packages() {
            descriptors::attach(
                &out_dir,
                package,
                &sources.descriptors(package)?,
                &sources.idempotent(package),
            )?;
        }
        Ok(())
    }

    fn generate(self, out_dir: &Path, files: FileDescriptorSet) -> Result<()> {
        let Self { client, server, out_dir: _, attributes, externs } = self;
        let mut generator = tonic_prost_build::configure()
            .build_client(client)
            .build_server(server)
            .build_transport(false)
            .out_dir(out_dir);
        for (path, attribute) in attributes {
            generator = generator.type_attribute(path, attribute);
        }
        for (proto, rust) in externs {
            generator = generator.extern_path(proto, rust);
        }
        generator.compile_fds(files).map_err(|error| Error::write(out_dir, error))
    }
}

/// Tells cargo to run the build script again when one of these changes; silent outside of cargo.
#[expect(clippy::print_stdout, reason = "it is how a build script talks to cargo")]
fn watch(paths: &[impl AsRef<Path>]) {
    if std::env::var_os("CARGO").is_some() {
        for path in paths {
            println!("cargo:rerun-if-changed={}", path.as_ref().display());
        }
    }
}
