//! Where the folder is, and how often it is looked through. The only place here that reads the environment.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the folder of a [`LocalRegistry`](super::LocalRegistry) is, and how it is followed.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    pub(super) folder: PathBuf,
    pub(super) rescan: Duration,
    pub(super) kernel_events: bool,
}

impl LocalConfig {
    /// How often the whole folder is looked through although the kernel reports its changes.
    pub const RESCAN_DEFAULT: Duration = Duration::from_secs(30);
    /// How often it is where the kernel does not.
    pub(super) const RESCAN_WITHOUT_EVENTS: Duration = Duration::from_secs(1);
    /// The shortest time between two looks.
    const RESCAN_MIN: Duration = Duration::from_millis(10);

    /// The registry in `folder`, which is made when it is not there. Its last part may not be a symbolic link.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), rescan: Self::RESCAN_DEFAULT, kernel_events: true }
    }

    /// `$CALLSIGN_LOCAL_DIR`, else [`default_dir`](Self::default_dir) of `$XDG_RUNTIME_DIR` and the temp directory.
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self::new(variable("CALLSIGN_LOCAL_DIR").unwrap_or_else(|| {
            let uid = rustix::process::geteuid().as_raw();
            Self::default_dir(variable("XDG_RUNTIME_DIR").as_deref(), &std::env::temp_dir(), uid)
        }))
    }

    /// The folder of the user `uid`: `callsign` in its runtime directory, else `callsign-<uid>` in the temp directory.
    ///
    /// A runtime directory that is not there, or that belongs to somebody else (as after `sudo`), is passed over.
    #[must_use]
    pub fn default_dir(runtime_dir: Option<&Path>, temp: &Path, uid: u32) -> PathBuf {
        let own = |dir: &&Path| {
            dir.is_absolute() && dir.metadata().is_ok_and(|found| found.is_dir() && found.uid() == uid)
        };
        match runtime_dir.filter(own) {
            Some(dir) => dir.join("callsign"),
            None => temp.join(format!("callsign-{uid}")),
        }
    }

    /// Sets how often the whole folder is looked through, at least 10 ms: the safety net under the kernel's events.
    #[must_use]
    pub fn with_rescan(self, rescan: Duration) -> Self {
        Self { rescan: rescan.max(Self::RESCAN_MIN), ..self }
    }

    /// Does without the kernel's file events, as on kernels that have none: every look is a look through the folder.
    #[must_use]
    pub fn without_kernel_events(self) -> Self {
        Self { kernel_events: false, rescan: self.rescan.min(Self::RESCAN_WITHOUT_EVENTS), ..self }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_is_taken_only_if_it_is_there_and_ours() {
        let runtime = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let temp = Path::new("/tmp");
        let dir = |runtime: Option<&Path>, uid| LocalConfig::default_dir(runtime, temp, uid);
        assert_eq!(dir(Some(runtime.path()), uid), runtime.path().join("callsign"));
        let elsewhere = temp.join(format!("callsign-{uid}"));
        assert_eq!(dir(None, uid), elsewhere);
        assert_eq!(dir(Some(Path::new("relative")), uid), elsewhere);
        assert_eq!(dir(Some(&runtime.path().join("missing")), uid), elsewhere);
        assert_eq!(dir(Some(runtime.path()), uid + 1), temp.join(format!("callsign-{}", uid + 1)));
    }
}
