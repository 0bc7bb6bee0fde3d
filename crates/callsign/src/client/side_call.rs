//! A gRPC call that the channel makes for its own ends, to one node: one small message there, small messages back.
//!
//! It takes no part in what calls of the program do: it is counted nowhere, marks nothing and is never repeated.

use std::{future::poll_fn, pin::Pin};

use bytes::{Buf as _, Bytes, BytesMut};
use callsign_net::{Connection, Incoming, Outgoing, Stream};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version,
    header::{CONTENT_TYPE, TE},
    uri::PathAndQuery,
};
use http_body::Body as _;
use http_body_util::Full;
use prost::Message;

use super::{
    link::{Link, describe},
    names,
};
use crate::frame::{HEAD_BYTES, framed};

/// Nobody whom we ask has more to say than this.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// A call under way. Dropping it resets its stream.
pub(super) struct SideCall {
    stream: Option<Stream>,
    outgoing: Outgoing,
    body: Full<Bytes>,
    incoming: Option<Incoming>,
    buffer: BytesMut,
}

/// Why there is no further message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The node ended the call: gRPC's number for how.
    Status(u16),
    /// There was no room for a stream on the connection: nothing was asked.
    NoRoom,
    /// What went wrong.
    Broken(String),
}

impl End {
    pub(super) const OK: Self = Self::Status(0);
    pub(super) const NOT_FOUND: Self = Self::Status(5);
    pub(super) const UNIMPLEMENTED: Self = Self::Status(12);
}

// === impl SideCall ===

impl SideCall {
    /// Opens a stream for `path`, such as `/grpc.health.v1.Health/Watch`, and sends `message` with the first poll.
    pub(super) fn open(
        connection: &Connection,
        link: &Link,
        path: &'static str,
        message: &impl Message,
    ) -> Result<Self, End> {
        let slot = connection.try_slot().ok_or(End::NoRoom)?;
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(link.scheme.clone());
        uri.authority = Some(link.authority.clone());
        uri.path_and_query = Some(PathAndQuery::from_static(path));
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        // All three parts are there, which is all that is asked of them.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        let (stream, outgoing) = slot.open(connection, request, false).map_err(|error| broken(&error))?;
        let body = Full::new(framed(message));
        Ok(Self { stream: Some(stream), outgoing, body, incoming: None, buffer: BytesMut::new() })
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// Why there is none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has come of a message is kept.
    pub(super) async fn message<M: Message + Default>(&mut self) -> Result<M, End> {
        loop {
            if let Some(message) = self.take()? {
                return M::decode(message)
                    .map_err(|error| End::Broken(format!("its reply is garbled: {error}")));
            }
            let Some(incoming) = &mut self.incoming else {
                self.begin().await?;
                continue;
            };
            let frame = poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx)).await;
            let Some(frame) = frame else { return Err(End::Broken("its reply has no status".to_owned())) };
            match frame.map_err(|error| broken(&error))?.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let said = status_of(&trailers);
                    return Err(said.unwrap_or_else(|| End::Broken("its reply has no status".to_owned())));
                }
            }
        }
    }

    /// Sends the request, and waits for the head of the response.
    async fn begin(&mut self) -> Result<(), End> {
        let Self { stream, outgoing, body, .. } = self;
        let Some(waiting) = stream else { return Err(End::Broken("it is over".to_owned())) };
        let response = poll_fn(|cx| {
            if !outgoing.is_done()
                && let std::task::Poll::Ready(Err(error)) = outgoing.poll_send(cx, Pin::new(&mut *body))
            {
                return std::task::Poll::Ready(Err(error));
            }
            waiting.poll_response(cx)
        })
        .await;
        let response = response.map_err(|error| broken(&error))?;
        *stream = None;
        if let Some(end) = status_of(response.headers()) {
            return Err(end);
        }
        match response.status() {
            StatusCode::OK => {}
            // As gRPC reads the answers of servers that do not speak it.
            StatusCode::NOT_FOUND => return Err(End::UNIMPLEMENTED),
            status => return Err(End::Broken(format!("it answered with HTTP status {status}"))),
        }
        self.incoming = Some(response.into_body());
        Ok(())
    }

    /// A message that has come whole.
    fn take(&mut self) -> Result<Option<Bytes>, End> {
        let Some((&[flag, a, b, c, d], rest)) = self.buffer.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if flag != 0 || length > MESSAGE_BYTES_MAX {
            return Err(End::Broken(format!(
                "it sent {length} bytes, compressed or not, and is not read on"
            )));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

fn status_of(headers: &HeaderMap) -> Option<End> {
    let code = headers.get(&names::STATUS)?.to_str().ok()?.parse().ok()?;
    Some(End::Status(code))
}

fn broken(error: &callsign_net::Error) -> End {
    End::Broken(describe(error))
}
