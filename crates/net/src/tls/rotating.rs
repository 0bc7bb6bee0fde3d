//! Settings that are made anew when the files they come from change.
//!
//! The files are looked at when a handshake needs them, at most once a second, so that nothing runs while nobody connects.
//! It is their text that is compared, not their times: these stand still for two writings within one tick of the kernel's
//! clock, and say nothing where a link is turned to another folder, as Kubernetes does with its secrets.
//!
//! Files that cannot be used, such as a certificate that was written while its key was not, leave what was there in force.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::pem::{Material, Sources};
use crate::error::Error;

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A value made of PEM, as new as its files.
pub(super) struct Rotating<T> {
    sources: Sources,
    make: Make<T>,
    state: Mutex<State<T>>,
}

type Make<T> = Box<dyn Fn(&Material) -> Result<T, Error> + Send + Sync>;

struct State<T> {
    current: T,
    /// What `current` was made of.
    material: Material,
    looked: Instant,
    /// What the files hold now cannot be used, and that has been said.
    is_stale: bool,
}

// === impl Rotating ===

impl<T: Clone> Rotating<T> {
    /// Reads the sources a first time.
    pub(super) fn new(
        sources: Sources,
        make: impl Fn(&Material) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let material = sources.read()?;
        let current = make(&material)?;
        let state = State { current, material, looked: Instant::now(), is_stale: false };
        Ok(Self { sources, make: Box::new(make), state: Mutex::new(state) })
    }

    /// What to use for a handshake that begins now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses a look at the files; the next one comes a second later.
    pub(super) async fn current(&self) -> T {
        if self.is_due() {
            let sources = self.sources.clone();
            // Work on the blocking pool ends only with the runtime; then nobody needs the answer.
            if let Ok(read) = tokio::task::spawn_blocking(move || sources.read()).await {
                self.take(read);
            }
        }
        self.lock().current.clone()
    }

    fn is_due(&self) -> bool {
        if !self.sources.are_files() {
            return false;
        }
        let mut state = self.lock();
        let due = state.looked.elapsed() >= LOOK_EVERY;
        if due {
            state.looked = Instant::now();
        }
        due
    }

    /// Puts what was read in force, if it is new and can be used.
    fn take(&self, read: Result<Material, Error>) {
        let mut state = self.lock();
        let fault = match read {
            Ok(material) if material == state.material => {
                state.is_stale = false;
                return;
            }
            Ok(material) => match (self.make)(&material) {
                Ok(made) => {
                    *state = State { current: made, material, looked: state.looked, is_stale: false };
                    tracing::info!("certificates were read anew, and are used from now on");
                    return;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !mem::replace(&mut state.is_stale, true) {
            tracing::warn!(%fault, "changed certificates cannot be used; going on with those from before");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::tls::pem::{Pem, settings};

    /// Made of text that begins with `good`.
    fn rotating(roots: &Path) -> Rotating<String> {
        let sources = Sources { roots: Some(Pem::File(roots.to_owned())), identity: None };
        let make = |material: &Material| {
            let text = String::from_utf8(material.roots.clone().unwrap()).unwrap();
            if text.starts_with("good") { Ok(text) } else { Err(settings("not good")) }
        };
        Rotating::new(sources, make).unwrap()
    }

    async fn a_moment_later(rotating: &Rotating<String>) -> String {
        tokio::time::advance(LOOK_EVERY).await;
        rotating.current().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_after_a_second_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        fs::write(&file, "good 1").unwrap();
        let rotating = rotating(&file);

        // Of the same length, and maybe within the same tick of the clock.
        fs::write(&file, "good 2").unwrap();
        assert_eq!(rotating.current().await, "good 1", "it was looked at just now");
        assert_eq!(a_moment_later(&rotating).await, "good 2");

        fs::write(&file, "bad").unwrap();
        assert_eq!(a_moment_later(&rotating).await, "good 2");
        assert!(rotating.lock().is_stale);
        fs::remove_file(&file).unwrap();
        assert_eq!(a_moment_later(&rotating).await, "good 2");
        assert!(rotating.lock().is_stale);

        fs::write(&file, "good 3").unwrap();
        assert_eq!(a_moment_later(&rotating).await, "good 3");
        assert!(!rotating.lock().is_stale);
    }
}
