//! gRPC's framing of a message of our own: five bytes, then the message.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

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
