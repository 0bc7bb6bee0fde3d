//! Answers that the server gives in a handler's place, to callers of gRPC and of HTTP.

use http::{HeaderValue, Response, StatusCode, header::RETRY_AFTER};
use tonic::{Code, Status, body::Body};

use super::super::{limit::Refused, mount::plain};

/// How soon a caller may try again, in milliseconds.
pub(super) const PUSHBACK: &str = "grpc-retry-pushback-ms";

pub(super) fn panicked(grpc: bool) -> Response<Body> {
    tracing::error!("a handler panicked; its caller gets INTERNAL");
    refusal(Status::internal("the handler panicked: see the server's standard error"), grpc)
}

/// There are too many calls.
pub(super) fn overloaded(refused: Refused, grpc: bool) -> Response<Body> {
    let Refused { limit, pushback } = refused;
    let mut status = Status::resource_exhausted(format!(
        "the server has as many calls as it can answer in time (its limit is {limit} now); this one was not begun"
    ));
    status.metadata_mut().insert(PUSHBACK, u64::try_from(pushback.as_millis()).unwrap_or(u64::MAX).into());
    let mut response = refusal(status, grpc);
    if !grpc {
        // In whole seconds, of which there is no less than one.
        let seconds = pushback.as_secs() + 1;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub(super) fn refusal(status: Status, grpc: bool) -> Response<Body> {
    if grpc {
        return status.into_http();
    }
    let code = match status.code() {
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    plain(code, format!("{}\n", status.message()))
}
