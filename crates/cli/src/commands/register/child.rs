//! The program that a sidecar runs, and the signals between its caller and it.

use std::{ffi::OsString, io, os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{self, SignalKind};

use crate::{
    error::{CliError, Result},
    exit::Exit,
};

/// The running program.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    pid: Option<Pid>,
}

/// The signals that a service manager, a shell or a person sends.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
    last: Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// To end.
    End,
    /// Something that only the program knows.
    Other,
}

// === impl Child ===

impl Child {
    /// Starts a program with our own input and outputs.
    ///
    /// # Errors
    ///
    /// As shells have it: exit code 127 when there is no such program, 126 when it cannot be run.
    pub(super) fn start(command: &[OsString]) -> Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err(CliError::usage("there is no command to run after --"));
        };
        let process = tokio::process::Command::new(program).args(arguments).spawn().map_err(|error| {
            let shown =
                CliError::new(Exit::Other, format!("cannot run {}", program.display())).because_of(&error);
            match error.kind() {
                io::ErrorKind::NotFound => shown.exit_as(Exit::Program(127)),
                io::ErrorKind::PermissionDenied => shown.exit_as(Exit::Program(126)),
                _ => shown,
            }
        })?;
        let pid = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { process, pid })
    }

    /// Runs until the program ends, giving its exit code, or until `ours` takes a signal for itself, giving `None`.
    /// Every other signal is passed on.
    ///
    /// # Errors
    ///
    /// When the system does not say how the program ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the program goes on, and a signal that was taken has been passed on.
    pub(super) async fn run(
        &mut self,
        signals: &mut Signals,
        ours: impl Fn(Told) -> bool,
    ) -> Result<Option<u8>> {
        loop {
            tokio::select! {
                biased;
                status = self.process.wait() => {
                    let status = status.map_err(|error| {
                        CliError::new(Exit::Other, "cannot tell how the program ended").because_of(&error)
                    })?;
                    return Ok(Some(code(status)));
                }
                told = signals.next() => {
                    if ours(told) {
                        return Ok(None);
                    }
                    self.signal_last(signals);
                }
            }
        }
    }

    /// Passes the last signal on. One that the terminal has given to the whole group is not given twice.
    pub(super) fn signal_last(&self, signals: &Signals) {
        if signals.last == Signal::INT && from_terminal() {
            return;
        }
        if let Some(pid) = self.pid {
            // It may have ended just now, which its exit code will tell.
            let _ = kill_process(pid, signals.last);
        }
    }
}

// === impl Signals ===

impl Signals {
    /// Takes the signals over from their defaults.
    ///
    /// # Errors
    ///
    /// When the system does not let us.
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind| {
            unix::signal(kind)
                .map_err(|error| CliError::new(Exit::Other, "cannot listen to signals").because_of(&error))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            user1: listen(SignalKind::user_defined1())?,
            user2: listen(SignalKind::user_defined2())?,
            last: Signal::TERM,
        })
    }

    /// The next signal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn next(&mut self) -> Told {
        let (signal, told) = tokio::select! {
            biased;
            _ = self.terminate.recv() => (Signal::TERM, Told::End),
            _ = self.interrupt.recv() => (Signal::INT, Told::End),
            _ = self.hang_up.recv() => (Signal::HUP, Told::Other),
            _ = self.user1.recv() => (Signal::USR1, Told::Other),
            _ = self.user2.recv() => (Signal::USR2, Told::Other),
        };
        self.last = signal;
        told
    }

    /// Any signal to end: impatience, while something is being waited for.
    pub(super) async fn any(&mut self) {
        while self.next().await != Told::End {}
    }
}

/// Shells report a program that was killed by signal n as 128+n.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Whether Ctrl-C was pressed at a terminal whose foreground group we and the program are.
fn from_terminal() -> bool {
    rustix::termios::tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}
