//! What becomes of spans: counted for each of them, and said when that changes.
//!
//! Whoever ends a span only counts. All words come from the thread that exports, for they are traced in their turn.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use opentelemetry_sdk::error::OTelSdkResult;

/// The account of an exporter.
#[derive(Debug)]
pub(super) struct Account {
    endpoint: String,
    /// So many spans at most wait or are under way.
    room: u64,
    waiting: AtomicU64,
    /// Refused, or dropped for want of room, since the collector last kept up.
    lost: AtomicU64,
    /// Whether it has been said that there are any.
    said: AtomicBool,
    /// Why some were refused last.
    why: Mutex<Option<String>>,
}

// === impl Account ===

impl Account {
    pub(super) fn new(endpoint: &str, room: usize) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            room: room as u64,
            waiting: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            said: AtomicBool::new(false),
            why: Mutex::new(None),
        }
    }

    /// One more span, for which there may be no room.
    pub(super) fn admit(&self) -> bool {
        let fits = self.waiting.fetch_add(1, Ordering::Relaxed) < self.room;
        if !fits {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// So many spans have been sent, with this result.
    pub(super) fn settle(&self, spans: u64, result: &OTelSdkResult) {
        let waiting = self.waiting.fetch_sub(spans, Ordering::Relaxed) - spans;
        let endpoint = &*self.endpoint;
        match result {
            Ok(()) if self.lost() == 0 => {}
            Ok(()) if waiting > self.room / 2 => {
                if self.is_news() {
                    tracing::warn!(
                        endpoint,
                        "the collector is too slow for all spans; some are lost until it keeps up, which will be said, and calls go on"
                    );
                }
            }
            Ok(()) => {
                let lost = self.lost.swap(0, Ordering::Relaxed);
                if self.said.swap(false, Ordering::Relaxed) {
                    tracing::info!(endpoint, lost, "the collector takes spans again");
                } else {
                    tracing::warn!(
                        endpoint,
                        lost,
                        "the collector was too slow for all spans; it keeps up again"
                    );
                }
            }
            Err(error) => {
                self.lost.fetch_add(spans, Ordering::Relaxed);
                *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                if self.is_news() {
                    tracing::warn!(
                        endpoint,
                        %error,
                        "the collector takes no spans; they are lost until it does, which will be said, and calls go on"
                    );
                }
            }
        }
    }

    /// Spans that no collector has, now that no more are sent.
    pub(super) fn missing(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed) + self.lost()
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Why some were refused last, if any were.
    pub(super) fn why(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether it has not been said yet that spans are lost; now it is.
    fn is_news(&self) -> bool {
        !self.said.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn each_span_is_taken_or_missing() {
        let account = Account::new("http://collector", 4);
        let admitted = (0..6).filter(|_| account.admit()).count();
        assert_eq!((admitted, account.missing()), (4, 6), "two for want of room");
        account.settle(3, &Err(OTelSdkError::InternalFailure("busy".to_owned())));
        assert_eq!(account.missing(), 6);
        assert!(account.why().is_some_and(|why| why.contains("busy")));
        assert!(account.admit(), "there is room again");
        account.settle(2, &Ok(()));
        assert_eq!(account.missing(), 0, "what was lost before it kept up has been said");
    }
}
