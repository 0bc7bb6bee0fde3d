//! What the process tells its caller by its exit code.

use std::process::ExitCode;

/// How a command ended. The numbers are part of the interface: scripts decide by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Ok,
    /// Something failed that has no number of its own.
    Other,
    /// The command line or a setting makes no sense.
    Usage,
    /// The registry does not answer.
    RegistryUnreachable,
    /// There is no such service or method.
    NotFound,
    /// The service is known, and no node of it can be called.
    NoNode,
    /// The time given ran out.
    Deadline,
    /// Not allowed: by the registry, the file system or a token.
    NotAllowed,
    /// What was to be checked is not so.
    CheckFailed,
    /// The service answered with this gRPC status.
    Status(tonic::Code),
    /// Ctrl-C.
    Interrupted,
    /// The code of a program that ran on our behalf.
    Program(u8),
}

/// The gRPC statuses start here: status 5 (not found) is exit code 69.
const STATUS_BASE: u8 = 64;

// === impl Exit ===

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::RegistryUnreachable => 3,
            Self::NotFound => 4,
            Self::NoNode => 5,
            Self::Deadline => 6,
            Self::NotAllowed => 7,
            Self::CheckFailed => 8,
            Self::Status(status) => STATUS_BASE + status as i32 as u8,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The table of exit codes, for the help text and the manual page.
pub(crate) const TABLE: &str = "\
Exit codes:
  0  ok                    4  no such service or method  8     a check failed
  1  anything else         5  no node can be called      64+n  gRPC status n
  2  bad usage             6  out of time                130   interrupted
  3  registry unreachable  7  not allowed
  register: as the program; 126, 127 if it cannot run";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_end_has_its_own_number() {
        let all = [
            Exit::Ok,
            Exit::Other,
            Exit::Usage,
            Exit::RegistryUnreachable,
            Exit::NotFound,
            Exit::NoNode,
            Exit::Deadline,
            Exit::NotAllowed,
            Exit::CheckFailed,
            Exit::Status(tonic::Code::NotFound),
            Exit::Interrupted,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 7, 8, 69, 130]);
    }
}
