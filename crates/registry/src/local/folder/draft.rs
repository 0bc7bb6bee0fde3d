//! Making an entry: written and locked under another name first, then given its own in one step.
//!
//! So a name never leads to a file that is half written, and never, not for a moment, to a file that its living owner does
//! not hold.

use std::{fs::File, io::Write};

use callsign_core::error::{Error, ErrorKind, Result};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FlockOperation, Mode, OFlags},
    io::Errno,
};

use super::{Dir, Stamp, fault, read, scratch_name};

/// A file that is written, and locked by us, but has not got its name yet. Dropping it removes it.
#[derive(Debug)]
pub(in crate::local) struct Draft {
    scratch: Scratch,
    file: File,
    stamp: Stamp,
}

/// An entry in its place, ours as long as this is held.
///
/// The file stays open for writing: only of such a file does the kernel tell watchers when its last holder is gone.
#[derive(Debug)]
pub(in crate::local) struct Placed {
    _file: File,
    pub(in crate::local) stamp: Stamp,
}

/// What became of the try to give a draft its name.
#[derive(Debug)]
pub(in crate::local) enum Placing {
    /// It has it.
    Placed(Placed),
    /// Somebody is just looking at a dead owner's entry under that name, or removing it.
    Busy(Draft),
    /// Somebody holds the entry under that name, whose content is this.
    Held(Draft, Vec<u8>),
}

/// A name among the unfinished files, removed when this is dropped.
#[derive(Debug)]
struct Scratch {
    dir: OwnedFd,
    name: Option<String>,
}

// === impl Draft ===

impl Draft {
    /// Writes `content` to a new file of ours.
    ///
    /// # Errors
    ///
    /// Why it cannot be written: no room, most often.
    pub(in crate::local) fn write(op: &'static str, dir: &Dir<'_>, content: &[u8]) -> Result<Self> {
        let fault = |errno| fault(op, dir.folder.path(), errno);
        loop {
            let (scratch, file) = Scratch::create(dir).map_err(fault)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Somebody who clears away what crashed processes left took it for that, before we could lock it.
                Err(Errno::WOULDBLOCK) => continue,
                locked => locked.map_err(fault)?,
            }
            if rustix::fs::fstat(&file).map_err(fault)?.st_nlink == 0 {
                continue;
            }
            (&file)
                .write_all(content)
                .map_err(|error| fault(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
            let stamp = Stamp::of(&rustix::fs::fstat(&file).map_err(fault)?);
            return Ok(Self { scratch, file, stamp });
        }
    }

    /// Tries to give the draft its name.
    ///
    /// # Errors
    ///
    /// What will not be better at the next try.
    pub(in crate::local) fn place(self, op: &'static str, dir: &Dir<'_>, name: &str) -> Result<Placing> {
        let fault = |errno| fault(op, dir.folder.path(), errno);
        match self.scratch.rename(|scratch, own| rename_new(scratch, own, &dir.fd, name)) {
            Ok(()) => return Ok(Placing::Placed(self.placed())),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(fault(errno)),
        }
        let file = match dir.open(name) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Placing::Busy(self)),
            Err(errno) => return Err(obstacle(op, dir, name, &format!("it cannot be opened: {errno}"))),
        };
        let stat = rustix::fs::fstat(&file).map_err(fault)?;
        if let Some(problem) = dir.strange(&stat) {
            return Err(obstacle(op, dir, name, &problem));
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // As we hold the dead owner's lock, nobody else may change what the name leads to.
            Ok(()) if dir.leads_to(name, Stamp::of(&stat)) => {
                self.replace(op, dir, name).map(Placing::Placed)
            }
            Ok(()) => Ok(Placing::Busy(self)),
            // Readers share the lock, owners do not: where it can be shared, nobody owns it.
            Err(Errno::WOULDBLOCK)
                if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok() =>
            {
                Ok(Placing::Busy(self))
            }
            Err(Errno::WOULDBLOCK) => Ok(Placing::Held(self, read(&file, stat.st_size).unwrap_or_default())),
            Err(errno) => Err(fault(errno)),
        }
    }

    /// Gives the draft the name of an entry that the caller holds, instead of that entry.
    ///
    /// # Errors
    ///
    /// Why it cannot be done; the entry is as it was.
    pub(in crate::local) fn replace(self, op: &'static str, dir: &Dir<'_>, name: &str) -> Result<Placed> {
        self.scratch
            .rename(|scratch, own| rustix::fs::renameat(scratch, own, &dir.fd, name))
            .map_err(|errno| fault(op, dir.folder.path(), errno))?;
        Ok(self.placed())
    }

    fn placed(self) -> Placed {
        let Self { mut scratch, file, stamp } = self;
        scratch.name = None;
        Placed { _file: file, stamp }
    }
}

// === impl Scratch ===

impl Scratch {
    fn create(dir: &Dir<'_>) -> Result<(Self, File), Errno> {
        let scratch = dir.scratch()?;
        let name = scratch_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&scratch, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok((Self { dir: scratch, name: Some(name) }, File::from(file)))
    }

    fn rename(&self, rename: impl FnOnce(&OwnedFd, &str) -> Result<(), Errno>) -> Result<(), Errno> {
        rename(&self.dir, self.name.as_deref().unwrap_or_default())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            // What stays behind is cleared away by whoever looks through the folder next.
            let _ = rustix::fs::unlinkat(&self.dir, &name, AtFlags::empty());
        }
    }
}

/// Renames without replacing anything: [`Errno::EXIST`] when the new name is taken.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_new(from: &OwnedFd, old: &str, to: &OwnedFd, new: &str) -> Result<(), Errno> {
    rustix::fs::renameat_with(from, old, to, new, rustix::fs::RenameFlags::NOREPLACE)
}

/// Elsewhere a second name is given, which is never done over another file, and the first one taken away.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_new(from: &OwnedFd, old: &str, to: &OwnedFd, new: &str) -> Result<(), Errno> {
    rustix::fs::linkat(from, old, to, new, AtFlags::empty())?;
    rustix::fs::unlinkat(from, old, AtFlags::empty())
}

fn obstacle(op: &'static str, dir: &Dir<'_>, name: &str, problem: &str) -> Error {
    let path = dir.folder.path().join(name);
    let message = format!("something else is in the place of its entry {}: {problem}", path.display());
    Error::new(ErrorKind::Conflict, op, message).with_hint(format!("remove it: `rm {}`", path.display()))
}
