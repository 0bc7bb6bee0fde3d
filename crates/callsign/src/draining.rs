//! How those who are connected learn that a server leaves: from a header of its replies, before the registry tells them.
//!
//! HTTP/2's own word for it, GOAWAY, comes last and not first: a client whose registry still lists the node would connect anew.

use http::HeaderName;

/// On every reply of a server that leaves.
pub(crate) static DRAINING: HeaderName = HeaderName::from_static("callsign-draining");
