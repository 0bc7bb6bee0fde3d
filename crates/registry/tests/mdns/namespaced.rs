//! What needs network namespaces, and therefore root.

mod deaths;
mod faults;
mod hosts;
mod relay;
