//! Why a call went where it went, for `--explain`: what the channel remembers of it.

use callsign::client::CallExplanation;

use crate::output::{Paint, Render, printable};

/// An explanation as it is printed.
#[derive(Debug)]
pub(super) struct Explained(pub(super) CallExplanation);

// === impl Explained ===

impl Render for Explained {
    type Data = CallExplanation;

    fn data(&self) -> &CallExplanation {
        &self.0
    }

    fn text(&self, _: bool, paint: Paint) -> Vec<String> {
        let text = self.0.to_string();
        let mut lines = text.lines();
        let summary = lines.next().map(|summary| paint.bold(printable(summary, false)));
        summary.into_iter().chain(lines.map(|line| printable(line, false).into_owned())).collect()
    }

    fn names(&self) -> Vec<String> {
        self.0.attempts.iter().filter_map(|attempt| attempt.node.as_ref()).map(ToString::to_string).collect()
    }
}
