//! Names: labels of any bytes.

use std::{fmt, sync::Arc};

/// The longest label.
pub(super) const LABEL_BYTES_MAX: usize = 63;
/// The longest name with its lengths, without the zero at its end.
pub(super) const NAME_BYTES_MAX: usize = 254;

/// A name: its labels, each after its length, without the empty label at the end. Cheap to clone.
///
/// Bytes are compared as they are. The DNS takes upper and lower case for the same, and go-micro does not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::mdns) struct Name(Arc<[u8]>);

// === impl Name ===

impl Name {
    /// The name of these labels; `None` when one of them is empty or too long, or all of them together are.
    pub(in crate::mdns) fn of<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut bytes = Vec::with_capacity(64);
        for label in labels {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return None;
            }
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        (bytes.len() <= NAME_BYTES_MAX).then(|| Self(bytes.into()))
    }

    /// Takes what is known to be labels after their lengths.
    pub(super) fn from_wire(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes on the wire, without the zero at the end.
    pub(in crate::mdns) fn wire(&self) -> &[u8] {
        &self.0
    }

    pub(in crate::mdns) fn labels(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first()?;
            let (label, tail) = tail.split_at_checked(usize::from(*length))?;
            rest = tail;
            Some(label)
        })
    }

    /// This name within `parent`; `None` when it gets too long.
    pub(in crate::mdns) fn within(&self, parent: &Self) -> Option<Self> {
        let bytes = [&*self.0, &*parent.0].concat();
        (bytes.len() <= NAME_BYTES_MAX).then(|| Self(bytes.into()))
    }

    /// What stands before `parent`; `None` when this is not a name within it.
    pub(in crate::mdns) fn before(&self, parent: &Self) -> Option<Self> {
        let at = self.0.len().checked_sub(parent.0.len())?;
        let mut start = 0;
        while start < at {
            start += 1 + usize::from(self.0[start]);
        }
        (start == at && at > 0 && self.0[at..] == *parent.0).then(|| Self(self.0[..at].into()))
    }

    /// The labels joined by dots; `None` when that is no text.
    pub(in crate::mdns) fn text(&self) -> Option<String> {
        let labels: Vec<_> = self.labels().collect();
        String::from_utf8(labels.join(&b'.')).ok()
    }
}

/// As people write names, with a dot at the end.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.labels().try_for_each(|label| write!(f, "{}.", label.escape_ascii()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
