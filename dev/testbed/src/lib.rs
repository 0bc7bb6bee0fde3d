//! What tests stand on that is not ours: certificates, and whatever else has to be real.

pub mod certs;
