//! What a node says of itself: that it serves or does not, when it is asked, and that it leaves, on its replies.

use super::Link;
use crate::client::health_check::Word;

// === impl Link ===

impl Link {
    /// The node, which is connected, says this of itself.
    pub(in crate::client) fn hear(&self, word: Word) {
        let serving = word == Word::Serving;
        let before = {
            let mut phase = self.lock();
            if phase.word == word {
                return;
            }
            if let Word::Not(why) = &word {
                tracing::info!(node = %self.id, why, "node does not serve: it gets no more calls");
            }
            std::mem::replace(&mut phase.word, word)
        };
        if serving && before != Word::Awaited {
            tracing::info!(node = %self.id, "node serves again");
        }
        self.load.set_ready(serving);
        self.news.readiness.notify_one();
        self.news.wording.notify_one();
    }

    /// The node says on a reply that it leaves. It is called where there is no other, until it takes no more calls.
    pub(in crate::client) fn hear_leaving(&self) {
        if !self.load.is_leaving() {
            self.load.set_leaving(true);
            tracing::info!(node = %self.id, "node leaves: it gets no more calls while there are others");
            self.news.readiness.notify_one();
        }
    }
}
