//! The codec for messages whose types are known at run time only.

use bytes::Buf as _;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Encodes what it is given, and decodes messages of one type.
#[derive(Debug, Clone)]
pub(crate) struct DynamicCodec {
    reply: MessageDescriptor,
}

/// One direction of [`DynamicCodec`].
#[derive(Debug)]
pub(crate) struct Encode;

/// The other direction of [`DynamicCodec`].
#[derive(Debug)]
pub(crate) struct Decode(MessageDescriptor);

// === impl DynamicCodec ===

impl DynamicCodec {
    /// A codec whose replies are of the type `reply`.
    pub(crate) fn new(reply: MessageDescriptor) -> Self {
        Self { reply }
    }
}

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Encode;
    type Decoder = Decode;

    fn encoder(&mut self) -> Encode {
        Encode
    }

    fn decoder(&mut self) -> Decode {
        Decode(self.reply.clone())
    }
}

impl Encoder for Encode {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Decode {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), &mut *buffer).map_err(|error| {
            Status::internal(format!("the reply is not a {}: {error}", self.0.full_name()))
        })?;
        debug_assert!(!buffer.has_remaining());
        Ok(Some(message))
    }
}
