//! Waits until somebody listens at an address.

use std::time::Duration;

use callsign::core::model::Address;
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior},
};

/// A port is tried this often, and each try gets no longer than this.
const EVERY: Duration = Duration::from_millis(100);
const TRY_MAX: Duration = Duration::from_secs(1);

/// Patience is spoken of this often.
const REMIND_EVERY: Duration = Duration::from_secs(10);

/// Returns once a connection to `address` could be made; `remind` is told now and then how long it has been.
///
/// The system has no event for "a port is open", so it has to be tried.
pub(super) async fn answering(address: &Address, remind: impl Fn(Duration)) {
    let started = Instant::now();
    let mut reminded = Duration::ZERO;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let connect = TcpStream::connect((address.host(), address.port()));
        if let Ok(Ok(_)) = tokio::time::timeout(TRY_MAX, connect).await {
            return;
        }
        let waited = started.elapsed();
        if waited >= reminded + REMIND_EVERY {
            reminded = waited;
            remind(waited);
        }
    }
}
