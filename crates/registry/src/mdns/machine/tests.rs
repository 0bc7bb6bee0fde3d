//! Machines on a link that is not there: packets take their time, get lost, come twice and overtake each other, all of it
//! drawn from a seed.

mod chaos;
mod foreign;
mod link;
mod looking;
mod owning;

use std::{sync::Arc, time::Duration};

use callsign_core::{ErrorKind, registry::Removal};

use self::link::{Link, node};
use super::*;
