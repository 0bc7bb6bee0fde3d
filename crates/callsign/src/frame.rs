//! gRPC's framing of a message of our own: five bytes, then the message.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use prost::Message;
use tonic::body::Body;

/// A flag and the length.
pub(crate) const HEAD_BYTES: usize = 5;

/// A message as it goes over the wire.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(HEAD_BYTES + length);
    out.put_u8(0);
    out.put_u32(length as u32);
    // The buffer has room for all of it, which is the only thing that could be wrong.
    let _ = message.encode(&mut out);
    out.freeze()
}

/// A whole response of one message.
pub(crate) fn reply(message: &impl Message) -> Response<Body> {
    let trailers =
        HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let message = Full::new(framed(message));
    let mut response = Response::new(Body::new(message.with_trailers(async { Some(Ok(trailers)) })));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
