//! A call that Callsign itself could not make, as its caller sees it.

use callsign_core::{Error, ErrorKind};
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{Code, names, pushback, repeat::message, response::ResponseBody};

/// A call that failed on our side.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// All was done that repetition can do: those above are not to repeat the call either.
    pub(crate) last: bool,
    /// What a node has said beyond its message (`grpc-status-details-bin`), as it came.
    pub(crate) details: Option<Box<HeaderValue>>,
}

/// What gRPC leaves as it is in `grpc-message`: printable ASCII but the percent sign.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

// === impl Failure ===

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), last: false, details: None }
    }

    /// What a node has said.
    pub(crate) fn said(code: Code, headers: &HeaderMap) -> Self {
        let details = headers.get(&names::DETAILS).cloned().map(Box::new);
        Self { details, ..Self::new(code, message(headers)) }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// A response without a body that carries the status in its head, as gRPC allows.
    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        self.write(headers);
        response
    }

    pub(crate) fn into_trailers(self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        self.write(&mut trailers);
        trailers
    }

    pub(crate) fn into_error(self) -> Error {
        let kind = match self.code {
            Code::InvalidArgument => ErrorKind::InvalidInput,
            Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Code::Unavailable => ErrorKind::Unavailable,
            Code::ResourceExhausted => ErrorKind::ResourceExhausted,
            _ => ErrorKind::Internal,
        };
        Error::new(kind, "call service", self.message)
    }

    fn write(self, headers: &mut HeaderMap) {
        headers.insert(&names::STATUS, HeaderValue::from(self.code as u16));
        let message = utf8_percent_encode(&self.message, MESSAGE).to_string();
        // Percent-encoded text is always a valid header.
        if let Ok(message) = HeaderValue::try_from(message) {
            headers.insert(&names::MESSAGE, message);
        }
        if let Some(details) = self.details {
            headers.insert(&names::DETAILS, *details);
        }
        if self.last {
            headers.insert(&names::PUSHBACK, pushback::NEVER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_survives_the_header() {
        let failure = Failure::unavailable("100 % of «nodes»\nrefuse");
        let headers = failure.into_trailers();
        assert_eq!(headers["grpc-status"], "14");
        let text = percent_encoding::percent_decode(headers["grpc-message"].as_bytes());
        assert_eq!(text.decode_utf8().unwrap(), "100 % of «nodes»\nrefuse");
    }
}
