//! The suite that every registry backend passes, those of this workspace and those of strangers.
//!
//! What a [`Registry`] promises is written on the trait; here it is checked. A backend brings a [`Harness`], which opens
//! handles on one store and can do to it what the trait has no word for, and calls [`run`], or single cases to see which of
//! them fails. A failure is a panic that names the case and what was seen in place of what was promised.
//!
//! Nothing here sleeps and looks again: every wait is for an event of a watch, and is bounded by [`Harness::settle`]. With
//! a backend that keeps to tokio's time, the suite may run with the clock paused.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use async_trait::async_trait;
//! use callsign_core::{
//!     conformance::{self, Harness}, memory::MemoryRegistry,
//!     registry::{Lease, RegisterOptions, Registry},
//! };
//!
//! struct Memory(MemoryRegistry);
//!
//! #[async_trait]
//! impl Harness for Memory {
//!     async fn open(&self) -> Arc<dyn Registry> {
//!         Arc::new(self.0.peer())
//!     }
//!
//!     async fn crash(&self, lease: Box<dyn Lease>) {
//!         std::mem::forget(lease);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! conformance::entries::a_registered_node_is_found(&Memory(MemoryRegistry::new())).await;
//! # }
//! ```

#![expect(clippy::missing_panics_doc, reason = "a panic is how a case fails")]

pub mod absences;
pub mod cancelling;
pub mod entries;
pub mod lifetimes;
mod replica;
mod scene;
#[cfg(test)]
mod tests;
pub mod watching;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use self::replica::Replica;
use crate::{
    model::ServiceName,
    registry::{Lease, RegisterOptions, Registry},
};

/// What the suite needs of a backend beside the trait.
#[async_trait]
pub trait Harness: Send + Sync {
    /// One more handle on the same store, as another process would open it: what is registered through it has an owner of
    /// its own.
    async fn open(&self) -> Arc<dyn Registry>;

    /// The owner of `lease` dies without a word: nothing keeps the entry alive any more, and nobody removes it.
    async fn crash(&self, lease: Box<dyn Lease>);

    /// Writes something among the entries of `service`, in the default domain, that cannot be understood. `false` when
    /// there is no way to do that, and then nothing is checked.
    async fn poison(&self, service: &ServiceName) -> bool {
        let _ = service;
        false
    }

    /// Makes the registry unreachable, or reachable again with its entries as they were. `false` when there is no way to do
    /// that, and then nothing is checked.
    async fn set_away(&self, away: bool) -> bool {
        let _ = away;
        false
    }

    /// Takes all entries away at once, as a registry restarted empty does. `false` when there is no way to do that, and then
    /// nothing is checked.
    async fn wipe(&self) -> bool {
        false
    }

    /// How entries are registered; a short time to live makes the suite quick.
    fn registration_options(&self) -> RegisterOptions {
        RegisterOptions::default().with_ttl(Duration::from_secs(3))
    }

    /// The longest that a change may take until a watch shows it.
    fn settle(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// What the names of the suite's services and domains begin with; to be different each time, for stores that others use
    /// or that outlive a run that was cut short.
    fn prefix(&self) -> String {
        "conformance".to_owned()
    }
}

/// Runs every case, one after the other.
///
/// # Panics
///
/// When the backend does not do what was promised, naming the case.
pub async fn run(harness: &dyn Harness) {
    crate::conformance_cases! { conformance_run { harness } }
}

/// Turns each case into a test of its own, under the given attribute and with a fresh harness.
///
/// ```
/// # use std::sync::Arc;
/// # use callsign_core::{conformance::Harness, memory::MemoryRegistry, registry::{Lease, Registry}};
/// # struct Memory(MemoryRegistry);
/// # #[async_trait::async_trait]
/// # impl Harness for Memory {
/// #     async fn open(&self) -> Arc<dyn Registry> { Arc::new(self.0.peer()) }
/// #     async fn crash(&self, lease: Box<dyn Lease>) { std::mem::forget(lease) }
/// # }
/// callsign_core::conformance_tests! {
///     #[tokio::test(start_paused = true)]
///     Memory(MemoryRegistry::new())
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    (#[$test:meta] $harness:expr) => {
        $crate::conformance_cases! { conformance_each { #[$test] $harness } }
    };
}

/// The one list of cases, handed to another macro of this crate.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            entries::a_registered_node_is_found,
            entries::an_update_takes_the_place_of_what_was_there,
            entries::everything_a_node_says_makes_the_round_trip,
            entries::two_versions_of_one_service_live_side_by_side,
            entries::a_thousand_nodes_are_all_there,
            entries::odd_names_are_kept_apart,
            entries::domains_do_not_see_each_other,
            entries::what_cannot_be_understood_spoils_nothing,
            lifetimes::a_released_node_is_gone,
            lifetimes::a_dropped_lease_removes_its_entry,
            lifetimes::deregistering_what_is_not_there_is_no_error,
            lifetimes::a_crashed_owner_leaves_nothing_for_long,
            lifetimes::a_held_entry_outlives_its_time_to_live,
            lifetimes::a_lease_notices_that_its_entry_was_removed,
            lifetimes::a_registrar_brings_back_what_was_removed,
            lifetimes::a_second_owner_is_refused_while_the_first_lives,
            lifetimes::the_same_owner_may_register_again,
            absences::an_absence_is_said_and_costs_nothing,
            absences::a_watch_may_begin_while_the_registry_is_away,
            absences::what_was_registered_comes_back_to_an_empty_registry,
            watching::a_watch_begins_with_a_snapshot,
            watching::a_watch_of_one_service_shows_no_other,
            watching::a_slow_watcher_ends_up_with_the_truth,
            watching::a_watch_under_churn_misses_and_doubles_nothing,
            cancelling::a_cancelled_call_leaves_nothing_that_the_next_does_not_put_right,
            cancelling::a_cancelled_lease_call_leaves_the_lease_usable,
            cancelling::a_cancelled_wait_loses_no_event,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_run {
    ({ $harness:expr } $($module:ident :: $case:ident,)*) => {
        $(
            tracing::info!(case = stringify!($case), "conformance");
            $module::$case($harness).await;
        )*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_each {
    ({ #[$test:meta] $harness:expr } $($module:ident :: $case:ident,)*) => {
        $(
            #[$test]
            async fn $case() {
                $crate::conformance::$module::$case(&$harness).await;
            }
        )*
    };
}
