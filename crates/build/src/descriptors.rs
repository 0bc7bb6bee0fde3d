//! What each generated module has beside messages, clients and servers: `FILE_DESCRIPTOR_SET`, and `IDEMPOTENT_METHODS`.

use std::{fs, path::Path};

use prost_build::Module;

use crate::{Error, Result};

/// What prost calls the file of a package that has no name.
const NAMELESS: &str = "_";

/// Writes `descriptors` beside the module generated for `package`, makes the module include them, and lists the paths of its
/// `idempotent` methods in it.
///
/// The module names its neighbour by a relative path, so that it may be included from anywhere.
pub(crate) fn attach(out_dir: &Path, package: &str, descriptors: &[u8], idempotent: &[String]) -> Result<()> {
    let module = Module::from_protobuf_package_name(package).to_file_name_or(NAMELESS);
    let code_path = out_dir.join(&module);
    let code = match fs::read_to_string(&code_path) {
        Ok(code) => code,
        // A package whose types all come from elsewhere has no module.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::write(&code_path, error)),
    };
    let name = format!("{}.descriptors.bin", module.trim_end_matches(".rs"));
    let path = out_dir.join(&name);
    fs::write(&path, descriptors).map_err(|error| Error::write(&path, error))?;
    let code = format!(
        "{code}/// The encoded descriptors of this package's files and of all that they import.\n\
         pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!({name:?});\n\
         /// The paths of the methods that may be called twice, by their `idempotency_level`; for a channel's `idempotent_methods`.\n\
         #[allow(dead_code)]\n\
         pub const IDEMPOTENT_METHODS: &[&str] = &{idempotent:?};\n"
    );
    fs::write(&code_path, code).map_err(|error| Error::write(&code_path, error))
}
