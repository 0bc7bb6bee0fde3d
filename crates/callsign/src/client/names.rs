//! The names of gRPC's headers, read once. A name given as text is read anew each time that it is looked up.

use http::HeaderName;

pub(super) static STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(super) static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(super) static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
