//! What the kernel says happened in the folder.
//!
//! On Linux this is inotify itself and not the `notify` crate, for two reasons. `notify` subscribes to the opening of files
//! as well and cannot be told not to: as every reader opens the entries that it looks at, readers would wake each other
//! for ever. And it does not ask for `IN_EXCL_UNLINK`, with which a close event means just one thing here: the last holder
//! of the file that the name leads to is gone.
//!
//! Other kernels report the closing of files to nobody; there the folder is looked through every second.

use std::collections::HashMap;

use rustix::io::Errno;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod inotify;
#[cfg(any(target_os = "linux", target_os = "android"))]
use self::inotify as kernel;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod none;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use self::none as kernel;

pub(super) use self::kernel::{Queue, Ready};

/// What happened last to one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(dead_code, reason = "nobody tells"))]
pub(super) enum Fate {
    /// It was given to a file.
    Placed,
    /// The file's last holder let go of it: its owner is dead.
    Closed,
    /// It was taken away on purpose.
    Withdrawn,
    /// The file was unlinked by somebody who is not its owner.
    Unlinked,
}

/// What happened since the last time.
#[derive(Debug, Default)]
pub(super) struct Happened {
    /// The names that something happened to.
    pub(super) fates: HashMap<String, Fate>,
    /// Something may have been missed: look at everything.
    pub(super) missed: bool,
    /// The folder itself was deleted or moved.
    pub(super) gone: bool,
}

impl Happened {
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "nobody tells")
    )]
    fn note(&mut self, name: &str, fate: Fate) {
        let last = self.fates.entry(name.to_owned()).or_insert(fate);
        // A dead owner's file is unlinked by whoever finds it: it died all the same.
        if (*last, fate) != (Fate::Closed, Fate::Unlinked) {
            *last = fate;
        }
    }
}

/// The events of the kernel, if there are any to be had.
///
/// # Errors
///
/// Why there are none: the user has too many watches already, most often.
pub(super) fn open() -> Result<(Queue, Ready), Errno> {
    kernel::open()
}
