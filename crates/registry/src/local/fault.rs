//! What the file system's refusals mean: the one place that turns an `errno` into an [`Error`].

use std::path::Path;

use callsign_core::error::{Error, ErrorKind};
use rustix::io::Errno;

/// What `errno` means for `op` on `path`.
pub(super) fn fault(op: &'static str, path: &Path, errno: Errno) -> Error {
    let at = path.display();
    let (kind, message, hint) = match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => (
            ErrorKind::ResourceExhausted,
            format!("there is no room left for {at}"),
            format!(
                "free some space there (`df -h {at}; df -i {at}`), or set CALLSIGN_LOCAL_DIR to a folder elsewhere"
            ),
        ),
        Errno::MFILE | Errno::NFILE => (
            ErrorKind::ResourceExhausted,
            format!("this process may open no more files, and each node needs one, for {at}"),
            "raise the limit of open files (`ulimit -n`)".to_owned(),
        ),
        Errno::NOMEM => (
            ErrorKind::ResourceExhausted,
            format!("the kernel has no room left for {at}"),
            "free some memory".to_owned(),
        ),
        Errno::ACCESS | Errno::PERM => (
            ErrorKind::PermissionDenied,
            format!("the file system does not let this user do that in {at}"),
            format!("see who owns it (`ls -ld {at}`), or set CALLSIGN_LOCAL_DIR to a folder of your own"),
        ),
        Errno::ROFS => (
            ErrorKind::PermissionDenied,
            format!("{at} is on a read-only file system"),
            "set CALLSIGN_LOCAL_DIR to a folder that can be written".to_owned(),
        ),
        Errno::LOOP | Errno::NOTDIR => (
            ErrorKind::PermissionDenied,
            format!("{at} is a symbolic link or no folder"),
            "remove it, or set CALLSIGN_LOCAL_DIR to the real path of a folder".to_owned(),
        ),
        Errno::NOENT | Errno::STALE => (
            ErrorKind::Unavailable,
            format!("{at} is not there"),
            "nothing to do: it is made again by whoever registers next".to_owned(),
        ),
        Errno::NAMETOOLONG => (
            ErrorKind::InvalidInput,
            format!("the path {at} is too long for its file system"),
            "set CALLSIGN_LOCAL_DIR to a shorter path".to_owned(),
        ),
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::NOLCK => (
            ErrorKind::Unsupported,
            format!("the file system of {at} cannot lock files or move them without replacing others"),
            "set CALLSIGN_LOCAL_DIR to a folder on a local disk or tmpfs".to_owned(),
        ),
        _ => (
            ErrorKind::Unavailable,
            format!("{at} cannot be read or written now"),
            format!("look at the file system (`stat -f {at}`) and the kernel's log (`dmesg`)"),
        ),
    };
    Error::new(kind, op, message).with_source(errno).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_kind_and_says_where_and_what_to_do() {
        for (errno, kind, retryable) in [
            (Errno::NOSPC, ErrorKind::ResourceExhausted, true),
            (Errno::DQUOT, ErrorKind::ResourceExhausted, true),
            (Errno::MFILE, ErrorKind::ResourceExhausted, true),
            (Errno::ACCESS, ErrorKind::PermissionDenied, false),
            (Errno::ROFS, ErrorKind::PermissionDenied, false),
            (Errno::LOOP, ErrorKind::PermissionDenied, false),
            (Errno::NOENT, ErrorKind::Unavailable, true),
            (Errno::INVAL, ErrorKind::Unsupported, false),
            (Errno::NOLCK, ErrorKind::Unsupported, false),
            (Errno::IO, ErrorKind::Unavailable, true),
        ] {
            let error = fault("register node", Path::new("/run/callsign"), errno);
            assert_eq!(error.kind(), kind, "{errno}");
            assert_eq!(error.is_retryable(), retryable, "{errno}");
            assert!(error.to_string().contains("/run/callsign"), "{error}");
            assert!(!error.hint().unwrap_or_default().is_empty());
        }
    }
}
