//! inotify.

use std::{mem::MaybeUninit, path::Path, sync::Arc};

use rustix::{
    fd::OwnedFd,
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};
use tokio::io::unix::AsyncFd;

use super::{Fate, Happened};

/// The events that have not been looked at yet.
#[derive(Debug)]
pub(in super::super) struct Queue {
    fd: Arc<OwnedFd>,
    watch: Option<i32>,
}

/// Tells when there are any.
#[derive(Debug)]
pub(in super::super) struct Ready(AsyncFd<Arc<OwnedFd>>);

pub(super) fn open() -> Result<(Queue, Ready), Errno> {
    let fd = Arc::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?);
    // It asks that the descriptor stays open and the same for as long as it is registered. An `Arc<OwnedFd>` does.
    #[allow(deprecated, reason = "its replacement is `unsafe`, and what that asks for is given here")]
    let ready = AsyncFd::with_interest(fd.clone(), tokio::io::Interest::READABLE)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok((Queue { fd, watch: None }, Ready(ready)))
}

// === impl Queue ===

impl Queue {
    /// Follows the folder at `path`, in place of the one before.
    pub(in super::super) fn arm(&mut self, path: &Path) -> Result<(), Errno> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let watch = inotify::add_watch(&self.fd, path, flags)?;
        if let Some(before) = self.watch.replace(watch).filter(|before| *before != watch) {
            // The watch of a deleted folder is gone already.
            let _ = inotify::remove_watch(&self.fd, before);
        }
        Ok(())
    }

    /// Takes all events that there are, without waiting for more.
    pub(in super::super) fn drain(&mut self) -> Result<Happened, Errno> {
        let mut happened = Happened::default();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(happened),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            let what = event.events();
            happened.missed |= what.contains(ReadFlags::QUEUE_OVERFLOW);
            if Some(event.wd()) != self.watch {
                continue;
            }
            happened.gone |= what.intersects(
                ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT,
            );
            let Some(Ok(name)) = event.file_name().map(std::ffi::CStr::to_str) else { continue };
            if name.starts_with('.') {
                continue;
            }
            if what.contains(ReadFlags::CLOSE_WRITE) {
                happened.note(name, Fate::Closed);
            } else if what.contains(ReadFlags::MOVED_FROM) {
                happened.note(name, Fate::Withdrawn);
            } else if what.contains(ReadFlags::DELETE) {
                happened.note(name, Fate::Unlinked);
            } else if what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                happened.note(name, Fate::Placed);
            }
        }
    }
}

// === impl Ready ===

impl Ready {
    /// Waits until there are events. Whoever waited must then drain the queue.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(in super::super) async fn wait(&self) {
        match self.0.readable().await {
            // Forgotten before the queue is drained: an event that comes in between is noticed once more, not missed.
            Ok(mut ready) => ready.clear_ready(),
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        }
    }
}
