//! This workspace as cargo describes it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Result, shell::Step};

/// The members of this workspace.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, seen from the root.
    pub(crate) dir: PathBuf,
    pub(crate) features: Vec<String>,
    /// All that it depends on, for whatever purpose.
    pub(crate) dependencies: Vec<String>,
    /// Those of its dependencies that are members too.
    pub(crate) edges: Vec<Edge>,
    /// The file that each of its targets begins with, seen from the root.
    pub(crate) targets: Vec<PathBuf>,
}

/// One member's dependency on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) to: String,
    /// Whether only its tests and benchmarks need it.
    pub(crate) dev: bool,
}

// === impl Workspace ===

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self> {
        let json = Step::cargo(&["metadata", "--format-version", "1", "--no-deps"]).output()?;
        Self::read(&serde_json::from_str(&json)?, root())
    }

    /// The member of this name.
    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        let found = self.packages.iter().find(|package| package.name == name);
        found.ok_or_else(|| format!("no package {name} in this workspace").into())
    }

    fn read(metadata: &Value, root: &Path) -> Result<Self> {
        let mut packages = list(metadata, "packages")
            .map(|package| Package::read(package, root))
            .collect::<Result<Vec<_>>>()?;
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { packages })
    }
}

// === impl Package ===

impl Package {
    fn read(package: &Value, root: &Path) -> Result<Self> {
        let manifest = relative(text(package, "manifest_path")?, root);
        let features = package["features"].as_object().into_iter().flat_map(serde_json::Map::keys).cloned();
        let dependencies = list(package, "dependencies")
            .map(|dependency| {
                // A crate whose library has another name is best called by that.
                let named = if dependency["rename"].is_string() { "rename" } else { "name" };
                Ok(text(dependency, named)?.to_owned())
            })
            .collect::<Result<_>>()?;
        let edges = list(package, "dependencies")
            .filter(|dependency| dependency["path"].is_string())
            .map(|dependency| {
                let dev = dependency["kind"] == "dev";
                Ok(Edge { to: text(dependency, "name")?.to_owned(), dev })
            })
            .collect::<Result<_>>()?;
        let targets = list(package, "targets")
            .map(|target| Ok(relative(text(target, "src_path")?, root)))
            .collect::<Result<_>>()?;
        Ok(Self {
            name: text(package, "name")?.to_owned(),
            dir: manifest.parent().map(Path::to_owned).unwrap_or_default(),
            features: features.collect(),
            dependencies,
            edges,
            targets,
        })
    }
}

// === free functions ===

/// The workspace's root: two levels above this crate, fixed when it was compiled.
pub(crate) fn root() -> &'static Path {
    let this = Path::new(env!("CARGO_MANIFEST_DIR"));
    this.parent().and_then(Path::parent).expect("dev/xtask lies two levels below the root")
}

/// A field that must be text.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().ok_or_else(|| format!("cargo's metadata has no text under {field:?}").into())
}

/// A field that is a list, or absent.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn relative(path: &str, root: &Path) -> PathBuf {
    let path = Path::new(path);
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_read_and_knows_its_members() {
        let workspace = Workspace::load().unwrap();
        let xtask = workspace.package("xtask").unwrap();
        assert_eq!(xtask.dir, Path::new("dev/xtask"));
        assert!(xtask.targets.contains(&PathBuf::from("dev/xtask/src/main.rs")), "{:?}", xtask.targets);
        let registry = workspace.package("callsign-registry").unwrap();
        assert!(registry.features.iter().any(|feature| feature == "local"));
        assert!(registry.edges.contains(&Edge { to: "callsign-core".into(), dev: false }));
        let error = workspace.package("nobody").unwrap_err().to_string();
        assert!(error.contains("nobody"), "{error}");
    }
}
