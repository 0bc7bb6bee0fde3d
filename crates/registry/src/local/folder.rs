//! The folder: entering it safely, and looking at one entry in it.
//!
//! It is entered anew for each piece of work, never held open: a folder that is held open is not reported as deleted. Each
//! entering checks that it is ours alone, and everything is done relative to what was entered, so that nobody can swap it
//! for another in between.

mod draft;

use std::{
    fs::{DirBuilder, File},
    io::Read,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use callsign_core::error::{Error, ErrorKind, Result};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat},
    io::Errno,
};

pub(super) use self::draft::{Draft, Placed, Placing};
use super::{entry::ENTRY_BYTES_MAX, fault::fault};

/// Where files are made before they get their name, and end after they lost it. Nobody watches it.
const SCRATCH: &str = ".tmp";

/// A folder of entries, by its path.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    uid: u32,
}

/// The folder as it was found when it was entered.
#[derive(Debug)]
pub(super) struct Dir<'a> {
    folder: &'a Folder,
    fd: OwnedFd,
    /// Tells this folder from one made later under the same path.
    pub(super) id: (u64, u64),
}

/// Tells one content of an entry from another: entries are replaced by new files, never written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// What is found under an entry's name.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing.
    Absent,
    /// A file whose owner lives. The content is there unless it has the stamp that is known already.
    Held { stamp: Stamp, content: Option<Vec<u8>> },
    /// A file whose owner is dead.
    Dead { content: Vec<u8>, corpse: Corpse },
    /// Something that no owner of ours made.
    Strange(String),
}

/// A dead owner's file, known to be dead as long as this is held.
#[derive(Debug)]
pub(super) struct Corpse {
    file: File,
    pub(super) stamp: Stamp,
}

// === impl Folder ===

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, uid: rustix::process::geteuid().as_raw() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Enters the folder.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when it is not there, [`PermissionDenied`](ErrorKind::PermissionDenied) when
    /// it is not ours alone.
    pub(super) fn enter(&self, op: &'static str) -> Result<Dir<'_>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&self.path, flags, Mode::empty())
            .map_err(|errno| fault(op, &self.path, errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| fault(op, &self.path, errno))?;
        self.check_ours(op, &stat)?;
        Ok(Dir { folder: self, fd, id: (as_u64(stat.st_dev), as_u64(stat.st_ino)) })
    }

    /// Enters the folder, and makes it first if it is not there.
    ///
    /// # Errors
    ///
    /// Those of [`enter`](Self::enter), or why it cannot be made.
    pub(super) fn enter_or_make(&self, op: &'static str) -> Result<Dir<'_>> {
        match self.enter(op) {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                DirBuilder::new().mode(0o700).recursive(true).create(&self.path).map_err(|error| {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                    fault(op, &self.path, errno)
                })?;
                self.enter(op)
            }
            entered => entered,
        }
    }

    fn check_ours(&self, op: &'static str, stat: &Stat) -> Result<()> {
        let path = self.path.display();
        let problem = if stat.st_uid != self.uid {
            format!("{path} belongs to the user {}, and this process runs as {}", stat.st_uid, self.uid)
        } else if stat.st_mode & 0o022 != 0 {
            format!("others than its owner can write in {path} (mode {:03o})", stat.st_mode & 0o777)
        } else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::PermissionDenied,
            op,
            format!("{problem}, so its entries cannot be trusted"),
        )
        .with_hint(format!(
            "run `chmod 700 {path}` if it is yours, or set CALLSIGN_LOCAL_DIR to a folder of your own"
        )))
    }
}

// === impl Dir ===

impl Dir<'_> {
    /// The names in the folder that could be entries.
    pub(super) fn names(&self, op: &'static str) -> Result<Vec<String>> {
        let fault = |errno| fault(op, &self.folder.path, errno);
        let mut names = Vec::new();
        for found in rustix::fs::Dir::read_from(&self.fd).map_err(fault)? {
            if let Ok(name) = found.map_err(fault)?.file_name().to_str()
                && !name.starts_with('.')
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Looks at the entry called `name`, reading it only if it is not the `known` one.
    ///
    /// # Errors
    ///
    /// Only what says nothing about the entry: no more files can be opened, for instance.
    pub(super) fn look(&self, op: &'static str, name: &str, known: Option<Stamp>) -> Result<Look> {
        loop {
            let file = match self.open(name) {
                Ok(file) => file,
                Err(Errno::NOENT) => return Ok(Look::Absent),
                Err(errno @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                    return Err(fault(op, &self.folder.path, errno));
                }
                Err(Errno::LOOP) => return Ok(Look::Strange("it is a symbolic link".into())),
                Err(errno) => return Ok(Look::Strange(format!("it cannot be opened: {errno}"))),
            };
            let stat = rustix::fs::fstat(&file).map_err(|errno| fault(op, &self.folder.path, errno))?;
            if let Some(problem) = self.strange(&stat) {
                return Ok(Look::Strange(problem));
            }
            let stamp = Stamp::of(&stat);
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
                Err(Errno::WOULDBLOCK) if known == Some(stamp) => {
                    return Ok(Look::Held { stamp, content: None });
                }
                Err(Errno::WOULDBLOCK) => {
                    return Ok(match read(&file, stat.st_size) {
                        Ok(content) => Look::Held { stamp, content: Some(content) },
                        Err(error) => Look::Strange(format!("it cannot be read: {error}")),
                    });
                }
                Err(errno) => return Err(fault(op, &self.folder.path, errno)),
                // An owner that replaced its entry in the meantime let go of the old file. It held the new one before
                // that got its name: if the name still leads here now that we hold the lock, there is no owner.
                Ok(()) if !self.leads_to(name, stamp) => continue,
                Ok(()) => {
                    return Ok(match read(&file, stat.st_size) {
                        Ok(content) => Look::Dead { content, corpse: Corpse { file, stamp } },
                        Err(error) => Look::Strange(format!("it cannot be read: {error}")),
                    });
                }
            }
        }
    }

    /// Whether `name` is the file with this stamp.
    pub(super) fn leads_to(&self, name: &str, stamp: Stamp) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| Stamp::of(&stat) == stamp)
    }

    /// Removes a dead owner's entry, unless somebody else is doing so.
    ///
    /// Whoever takes an entry's name away or gives it to another file holds the exclusive lock of the file that has it: so
    /// what was true of the name stays true until we are done.
    pub(super) fn bury(&self, name: &str, corpse: &Corpse) -> Result<(), Errno> {
        match rustix::fs::flock(&corpse.file, FlockOperation::NonBlockingLockExclusive) {
            // Of several who try this at once, the last one gets it: a failed try lets go of the shared lock as well.
            Err(Errno::WOULDBLOCK) => Ok(()),
            Err(errno) => Err(errno),
            Ok(()) if self.leads_to(name, corpse.stamp) => {
                rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Takes an entry away on purpose: moving it out tells watchers so, where unlinking would leave them guessing.
    pub(super) fn withdraw(&self, op: &'static str, name: &str) -> Result<()> {
        let fault = |errno| fault(op, &self.folder.path, errno);
        let scratch = self.scratch().map_err(fault)?;
        let last = scratch_name();
        match rustix::fs::renameat(&self.fd, name, &scratch, &last) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(fault(errno)),
            Ok(()) => match rustix::fs::unlinkat(&scratch, &last, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(fault(errno)),
            },
        }
    }

    /// Removes what crashed processes left among the unfinished files.
    pub(super) fn sweep(&self) -> Result<(), Errno> {
        let scratch = match self.open_scratch() {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        for found in rustix::fs::Dir::read_from(&scratch)? {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let Ok(file) = rustix::fs::openat(&scratch, name, flags, Mode::empty()) else { continue };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                rustix::fs::unlinkat(&scratch, name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// The folder of unfinished files, made when it is not there.
    fn scratch(&self) -> Result<OwnedFd, Errno> {
        match self.open_scratch() {
            Err(Errno::NOENT) => match rustix::fs::mkdirat(&self.fd, SCRATCH, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => self.open_scratch(),
                Err(errno) => Err(errno),
            },
            opened => opened,
        }
    }

    fn open_scratch(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, SCRATCH, flags, Mode::empty())
    }

    fn open(&self, name: &str) -> Result<File, Errno> {
        // Not blocking: opening a pipe that somebody put here would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map(File::from)
    }

    fn strange(&self, stat: &Stat) -> Option<String> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            Some("it is no regular file".into())
        } else if stat.st_uid != self.folder.uid {
            Some(format!("it belongs to the user {}", stat.st_uid))
        } else if stat.st_mode & 0o022 != 0 {
            Some(format!("others than its owner can write it (mode {:03o})", stat.st_mode & 0o777))
        } else if as_u64(stat.st_size) > ENTRY_BYTES_MAX {
            Some(format!("it has {} bytes, and {ENTRY_BYTES_MAX} is the most", stat.st_size))
        } else {
            None
        }
    }
}

// === impl Stamp ===

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: as_u64(stat.st_ino),
            size: as_u64(stat.st_size),
            modified: (as_i64(stat.st_mtime), as_i64(stat.st_mtime_nsec)),
        }
    }
}

/// The whole content: an entry's size never changes.
fn read(mut file: &File, size: impl TryInto<usize>) -> std::io::Result<Vec<u8>> {
    let mut content = vec![0; size.try_into().unwrap_or_default()];
    file.read_exact(&mut content)?;
    Ok(content)
}

/// A name that nobody else makes up: it only has to be new among the few unfinished files.
fn scratch_name() -> String {
    format!("{}-{:016x}", std::process::id(), fastrand::u64(..))
}

/// The fields of `stat` have other widths and signs on each kernel.
fn as_u64(value: impl TryInto<u64>) -> u64 {
    value.try_into().unwrap_or_default()
}

fn as_i64(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or_default()
}
