//! The word to those who are connected that the server leaves, which an operator may take back.
//!
//! Each connection has the word as a token, for handlers to wait on; what was said cannot be unsaid there. So when it is taken
//! back, connections that have heard it are told to go (GOAWAY), and their clients ask anew.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Says it, and takes it back.
#[derive(Debug, Clone)]
pub(crate) struct Notice(Arc<watch::Sender<CancellationToken>>);

// === impl Notice ===

impl Notice {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(CancellationToken::new())))
    }

    /// The server leaves, or is to get no calls for now.
    pub(crate) fn give(&self) {
        self.0.borrow().cancel();
    }

    /// It stays after all. Nothing happens if nothing was said.
    pub(crate) fn take_back(&self) {
        self.0.send_if_modified(|token| {
            let said = token.is_cancelled();
            if said {
                *token = CancellationToken::new();
            }
            said
        });
    }

    /// For a new connection: the word, and the news that it was taken back.
    pub(crate) fn hear(&self) -> (CancellationToken, watch::Receiver<CancellationToken>) {
        let mut news = self.0.subscribe();
        let token = news.borrow_and_update().clone();
        (token, news)
    }
}
