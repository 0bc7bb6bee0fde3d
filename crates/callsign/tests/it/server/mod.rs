//! The server's side of things.

mod answers;
mod drain;
mod limits;
mod process;
mod registration;
