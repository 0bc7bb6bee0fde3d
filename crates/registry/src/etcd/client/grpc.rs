//! gRPC's layer on HTTP/2: messages behind five bytes each, and the status at the end. Compression is neither offered nor
//! taken.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use percent_encoding::percent_decode;

use super::fault::Fault;

/// A flag and the length.
const HEAD_BYTES: usize = 5;

/// How a call ended: a number, which 0 means well, and etcd's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) message: String,
}

/// Takes in bytes as they come, and gives out whole messages.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: BytesMut,
    message_bytes_max: usize,
}

/// gRPC's numbers for how a call ended, as far as etcd uses them.
pub(crate) mod code {
    pub(crate) const OK: u16 = 0;
    pub(crate) const CANCELLED: u16 = 1;
    pub(crate) const UNKNOWN: u16 = 2;
    pub(crate) const INVALID_ARGUMENT: u16 = 3;
    pub(crate) const DEADLINE_EXCEEDED: u16 = 4;
    pub(crate) const NOT_FOUND: u16 = 5;
    pub(crate) const PERMISSION_DENIED: u16 = 7;
    pub(crate) const RESOURCE_EXHAUSTED: u16 = 8;
    pub(crate) const FAILED_PRECONDITION: u16 = 9;
    pub(crate) const OUT_OF_RANGE: u16 = 11;
    pub(crate) const UNIMPLEMENTED: u16 = 12;
    pub(crate) const UNAVAILABLE: u16 = 14;
    pub(crate) const UNAUTHENTICATED: u16 = 16;
}

/// A message as it goes over the wire.
pub(super) fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(HEAD_BYTES + length);
    out.put_u8(0);
    out.put_u32(length as u32);
    // The buffer has room for all of it, which is the only thing that could be wrong.
    let _ = message.encode(&mut out);
    out.freeze()
}

// === impl Status ===

impl Status {
    /// The status in trailers, or in the headers of a response without a body.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status")?.to_str().ok()?.parse().unwrap_or(code::UNKNOWN);
        let message = headers.get("grpc-message").map_or(&b""[..], |value| value.as_bytes());
        Some(Self { code, message: percent_decode(message).decode_utf8_lossy().into_owned() })
    }
}

// === impl Frames ===

impl Frames {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), message_bytes_max }
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next whole message. One that is too long is refused by what it says of its length, before it is taken in.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let Some((&[flag, a, b, c, d], rest)) = self.buffer.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if flag != 0 {
            return Err(Fault::NotEtcd("it sent a compressed message, which nobody offered to read".into()));
        }
        if length > self.message_bytes_max {
            return Err(Fault::TooBig { bytes: length, bytes_max: self.message_bytes_max });
        }
        if rest.len() < length {
            let missing = length - rest.len();
            self.buffer.reserve(missing);
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether a message was begun and not ended.
    pub(super) fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut wire = Vec::new();
        for message in messages {
            wire.push(0);
            wire.extend((message.len() as u32).to_be_bytes());
            wire.extend(message);
        }
        wire
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_bytes_came_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 1usize..20,
        ) {
            let mut frames = Frames::new(64);
            let mut seen = Vec::new();
            for piece in framed(&messages).chunks(cut) {
                frames.push(piece);
                while let Some(message) = frames.next().unwrap() {
                    seen.push(message.to_vec());
                }
            }
            prop_assert_eq!(seen, messages);
            prop_assert!(!frames.is_partial());
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_by_its_head() {
        let mut frames = Frames::new(64);
        frames.push(&[0, 0, 0, 0, 65]);
        assert!(matches!(frames.next(), Err(Fault::TooBig { bytes: 65, bytes_max: 64 })));
        let mut frames = Frames::new(64);
        frames.push(&[1, 0, 0, 0, 1, 7]);
        assert!(matches!(frames.next(), Err(Fault::NotEtcd(_))));
    }

    #[test]
    fn a_status_is_read_with_its_words() {
        let mut headers = HeaderMap::new();
        assert_eq!(Status::of(&headers), None);
        headers.insert("grpc-status", "14".parse().unwrap());
        headers.insert("grpc-message", "etcdserver: no leader%21".parse().unwrap());
        let status = Status { code: code::UNAVAILABLE, message: "etcdserver: no leader!".into() };
        assert_eq!(Status::of(&headers), Some(status));
        headers.insert("grpc-status", "what".parse().unwrap());
        assert_eq!(Status::of(&headers).map(|status| status.code), Some(code::UNKNOWN));
    }
}
