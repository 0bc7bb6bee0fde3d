//! One module a command.

mod aim;
pub(crate) mod call;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod describe;
pub(crate) mod drain;
pub(crate) mod explain;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod register;
pub(crate) mod rollout;
mod view;
pub(crate) mod watch;
