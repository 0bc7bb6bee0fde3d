//! The `.proto` files of one generation, read and checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use prost_types::method_options::IdempotencyLevel;
use protox::Compiler;
use tonic_prost_build::FileDescriptorSet;

use crate::{Error, Result};

/// Everything in this package has a ready-made Rust type, so no code is generated for it.
const WELL_KNOWN: &str = "google.protobuf";

/// The files asked for and all that they import.
pub(crate) struct Sources {
    compiler: Compiler,
    includes: Vec<PathBuf>,
    /// Package to the names of its files.
    packages: BTreeMap<String, Vec<String>>,
}

// === impl Sources ===

impl Sources {
    /// Reads `protos`, looking imports up in `includes`.
    pub(crate) fn open(protos: &[&Path], includes: &[&Path]) -> Result<Self> {
        if let Some(folder) = includes.iter().find(|folder| !folder.is_dir()) {
            return Err(Error::no_folder(folder));
        }
        if protos.is_empty() {
            return Err(Error::nothing_to_do());
        }
        let mut compiler = compiler(includes)?;
        compiler.include_source_info(true);
        for proto in protos {
            let there = proto.exists() || includes.iter().any(|folder| folder.join(proto).exists());
            if !there {
                return Err(Error::no_file(proto, includes, &neighbours(proto, includes)));
            }
            compiler.open_file(proto).map_err(|error| Error::source(&error, proto, includes))?;
        }
        let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in compiler.file_descriptor_set().file {
            if file.package() != WELL_KNOWN {
                packages.entry(file.package().to_owned()).or_default().push(file.name().to_owned());
            }
        }
        let includes = includes.iter().map(|&folder| folder.to_owned()).collect();
        Ok(Self { compiler, includes, packages })
    }

    /// The files on disk, imports included.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        self.compiler.files().filter_map(|file| file.path()).collect()
    }

    /// What the code is generated from.
    pub(crate) fn files(&self) -> FileDescriptorSet {
        self.compiler.file_descriptor_set()
    }

    /// The packages that code is generated for.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &str> {
        self.packages.keys().map(String::as_str)
    }

    /// The paths of a package's methods that may be called twice, as they say themselves.
    pub(crate) fn idempotent(&self, package: &str) -> Vec<String> {
        let files = self.compiler.file_descriptor_set().file;
        let services = files.iter().filter(|file| file.package() == package).flat_map(|file| &file.service);
        let dot = if package.is_empty() { "" } else { "." };
        let mut paths = Vec::new();
        for service in services {
            for method in &service.method {
                let level = method.options.as_ref().map(prost_types::MethodOptions::idempotency_level);
                if matches!(level, Some(IdempotencyLevel::NoSideEffects | IdempotencyLevel::Idempotent)) {
                    paths.push(format!("/{package}{dot}{}/{}", service.name(), method.name()));
                }
            }
        }
        paths
    }

    /// The encoded descriptors of one package's files and of their imports: without comments, with custom options.
    pub(crate) fn descriptors(&self, package: &str) -> Result<Vec<u8>> {
        let mut compiler = compiler(&self.includes)?;
        for name in self.packages.get(package).into_iter().flatten() {
            compiler.open_file(name).map_err(|error| Error::source(&error, Path::new(name), &[]))?;
        }
        Ok(compiler.encode_file_descriptor_set())
    }
}

fn compiler(includes: &[impl AsRef<Path>]) -> Result<Compiler> {
    let mut compiler = Compiler::new(includes).map_err(|error| Error::source(&error, Path::new("."), &[]))?;
    compiler.include_imports(true);
    Ok(compiler)
}

/// The `.proto` files where a missing one was looked for.
fn neighbours(proto: &Path, includes: &[&Path]) -> BTreeSet<String> {
    let parent = proto.parent().map(Path::to_owned).into_iter();
    parent
        .chain(includes.iter().map(|&folder| folder.to_owned()))
        .map(|folder| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder })
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect()
}
