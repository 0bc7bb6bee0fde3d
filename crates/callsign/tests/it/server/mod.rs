//! The server's side of things.

mod answers;
