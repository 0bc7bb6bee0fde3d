//! What there is to be run: the scenarios of `dev/sim/scenarios`, the studies, and files of one's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    scenario::Scenario,
    study::{self, Study},
};

pub(crate) struct Item {
    pub(crate) name: String,
    /// What it is made from.
    pub(crate) source: String,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Scenario(Box<Scenario>),
    Study(Study),
}

// === impl Item ===

impl Item {
    pub(crate) fn title(&self) -> &str {
        match &self.kind {
            Kind::Scenario(scenario) => &scenario.title,
            Kind::Study(study) => study.title,
        }
    }

    fn of(study: Study) -> Self {
        Self { name: study.name.to_owned(), source: study.source.to_owned(), kind: Kind::Study(study) }
    }

    fn read(path: &Path) -> Result<Self, String> {
        let source =
            fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let scenario = Scenario::read(&source).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { name, source, kind: Kind::Scenario(Box::new(scenario)) })
    }
}

/// Those of the names given, or all without a name. What looks like a file is one.
pub(crate) fn choose(names: &[String]) -> Result<Vec<Item>, String> {
    let all = paths()?;
    if names.is_empty() {
        let studies = study::ALL.into_iter().map(|study| Ok(Item::of(study)));
        return all.iter().map(|path| Item::read(path)).chain(studies).collect();
    }
    names
        .iter()
        .map(|name| {
            if name.ends_with(".toml") {
                return Item::read(Path::new(name));
            }
            if let Some(study) = study::ALL.into_iter().find(|study| study.name == name) {
                return Ok(Item::of(study));
            }
            let path = all.iter().find(|path| path.file_stem().is_some_and(|stem| *stem == **name));
            path.map_or_else(|| Err(unknown(name, &all)), |path| Item::read(path))
        })
        .collect()
}

/// The files of `dev/sim/scenarios`, by name.
fn paths() -> Result<Vec<PathBuf>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let wrong = |error: std::io::Error| format!("cannot list {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unknown(name: &str, all: &[PathBuf]) -> String {
    let stems =
        all.iter().filter_map(|path| path.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    let names: Vec<_> = stems.chain(study::ALL.map(|study| study.name.to_owned())).collect();
    format!("there is no scenario {name:?}: choose from {}, or name a file", names.join(", "))
}
