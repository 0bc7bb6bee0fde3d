//! The names of headers, read once. A name given as text is read anew each time that it is looked up.

use http::HeaderName;

pub(super) static STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(super) static DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
pub(super) static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Ours, and for our side alone: which call it was.
pub(super) static CALL_ID: HeaderName = HeaderName::from_static("callsign-call-id");
pub(super) static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
