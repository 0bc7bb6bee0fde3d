//! Calls without generated code: the schema by server reflection, messages as JSON.

mod codec;
mod fields;
mod message;
mod method;
mod misfit;
mod schema;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use self::codec::DynamicCodec;
pub(crate) use self::fields::assign;
pub(crate) use self::message::{Reply, read};
pub(crate) use self::method::{Shape, find, signature};
pub(crate) use self::schema::Schema;
pub(crate) use self::session::Session;
