//! Why a call that was made went where it went: what the channel remembers of it, in words.
//!
//! What is said of the nodes that were passed over is what [`explain`](super::explain) says of the next call, as they were when this
//! one was made.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use callsign_core::{
    NodeId,
    select::{Notes, Outcome},
};
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::{
    NodeExplanation,
    replay::{NodeSeen, ReplayedChoice},
    summary::passed_over,
};
use crate::client::{
    CallId, Code, Why,
    decisions::{Choice, End, Fate, Record},
    roster::Roster,
    timeout::Readable,
};

/// Why a call went where it went: [`Channel::explain_call`](crate::Channel::explain_call). Displayed, it is the summary and a line
/// for each attempt and each node.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CallExplanation {
    /// The one thing that matters, in a sentence: who answered, and why not another node; or why nobody did.
    pub summary: String,
    /// Which call.
    pub id: CallId,
    /// The service.
    pub service: Arc<str>,
    /// The path of its request: `/package.Service/Method` for gRPC.
    pub method: String,
    /// The conditions that the call itself makes, if any.
    pub filters: Option<String>,
    /// The hash of its key, if it has one.
    pub key: Option<u64>,
    /// The strategy's name.
    pub strategy: Arc<str>,
    /// How long ago it began.
    #[serde(rename = "ago_us", serialize_with = "micros")]
    pub ago: Duration,
    /// The nodes that were chosen for it, in the order of choosing; only the last ones if there are many.
    pub attempts: Vec<AttemptExplanation>,
    /// How many there were before those.
    pub forgotten: u32,
    /// What came of it; none while it is under way.
    pub outcome: Option<CallOutcome>,
    /// How each node stood with the last choice, when it was made; none if the snapshot that it was made by is kept no more.
    pub nodes: Vec<NodeExplanation>,
}

/// One choice of a node for a call.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct AttemptExplanation {
    /// What a node was wanted for.
    pub why: Why,
    /// The node; none if there was none.
    #[serde(serialize_with = "text_if_any")]
    pub node: Option<NodeId>,
    /// When it was chosen, from the start of the call.
    #[serde(rename = "after_us", serialize_with = "micros")]
    pub after: Duration,
    /// What the strategy's random numbers followed from; zero if it was not asked.
    pub seed: u64,
    /// This client's calls in flight at the node then, with this one.
    pub inflight: Option<u32>,
    /// Why it is another node than the channel's [shape](callsign_core::select::Shape) asks for, if it is.
    pub instead: Option<Arc<str>>,
    /// What came of it, in words.
    pub fate: String,
    /// When, from the start of the call, the attempt ended without being the call's answer.
    #[serde(rename = "lost_us", serialize_with = "micros_if_any")]
    pub lost: Option<Duration>,
    /// The nodes that the choice looked at, as it saw them, in the order of looking. It comes out of making the choice again from what was
    /// noted of it, which has led to the same node.
    pub seen: Vec<NodeSeen>,
    /// Why that could not be done, if so.
    pub unseen: Option<String>,
}

/// What came of a call.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct CallOutcome {
    /// In a word: `answered`, `failed`, `overloaded`, `deadline` or `cancelled`.
    pub word: &'static str,
    /// gRPC's name of the status, if there is one: `NOT_FOUND`.
    pub status: Option<String>,
    /// What was said with it.
    pub message: String,
    /// How long the call took, reply stream included.
    #[serde(rename = "elapsed_us", serialize_with = "micros")]
    pub elapsed: Duration,
}

// === impl CallExplanation ===

impl CallExplanation {
    /// Puts a record into words.
    pub(super) fn new(
        roster: &Roster,
        record: &Record,
        replays: &[ReplayedChoice],
        nodes: Vec<NodeExplanation>,
    ) -> Option<Self> {
        let Record { id, since, path, asked, end, .. } = record;
        Some(Self {
            summary: summary(record, &nodes),
            id: (*id)?,
            service: roster.service.as_str().into(),
            method: path.as_ref().map(|path| path.path().to_owned()).unwrap_or_default(),
            filters: (!asked.filters.is_empty()).then(|| asked.filters.to_string()),
            key: asked.hash,
            strategy: roster.strategy.name().into(),
            ago: since.map(|since| Instant::now() - since).unwrap_or_default(),
            attempts: record
                .choices()
                .zip(replays)
                .map(|made| AttemptExplanation::new(record, made))
                .collect(),
            forgotten: record.forgotten(),
            outcome: end.as_ref().map(|end| CallOutcome::new(record, end)),
            nodes,
        })
    }
}

impl fmt::Display for CallExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { summary, id, method, strategy, .. } = self;
        write!(f, "{summary}\n  call {id}: {method}, {strategy}")?;
        self.attempts.iter().try_for_each(|attempt| write!(f, "\n  * {attempt}"))?;
        self.nodes.iter().try_for_each(|node| write!(f, "\n  {node}"))
    }
}

// === impl AttemptExplanation ===

impl AttemptExplanation {
    fn new(record: &Record, (choice, replay): (&Choice, &ReplayedChoice)) -> Self {
        let (taken, rare) = (choice.taken.as_ref(), choice.rare.as_ref());
        Self {
            why: choice.why,
            node: taken.map(|taken| taken.id.clone()),
            after: choice.at.map(|at| record.until(at)).unwrap_or_default(),
            seed: choice.notes.as_ref().map_or(0, Notes::seed),
            inflight: taken.map(|taken| taken.inflight),
            instead: rare.and_then(|rare| rare.instead.clone()),
            fate: fate(choice).into_owned(),
            lost: match &choice.fate {
                Fate::Lost(lost) => Some(record.until(lost.at)),
                _ => None,
            },
            seen: replay.seen.clone(),
            unseen: replay.failure.clone(),
        }
    }
}

impl fmt::Display for AttemptExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::First => "first",
            Why::Retry => "again",
            Why::Hedge => "beside it",
        };
        write!(f, "{why}, after {}: ", Readable(self.after))?;
        match (&self.node, self.inflight) {
            (Some(node), Some(inflight)) => write!(f, "{node}, {inflight} in flight there: {}", self.fate)?,
            _ => write!(f, "no node: {}", self.fate)?,
        }
        self.seen.iter().try_for_each(|seen| {
            let sign = if seen.chosen { '>' } else { ' ' };
            write!(f, "\n    {sign} {seen}")
        })
    }
}

// === impl CallOutcome ===

impl CallOutcome {
    fn new(record: &Record, end: &End) -> Self {
        let word = match end.outcome {
            Outcome::Success => "answered",
            Outcome::Overloaded { .. } => "overloaded",
            Outcome::DeadlineExceeded => "deadline",
            Outcome::Cancelled => "cancelled",
            _ => "failed",
        };
        let status = end.code.map(|code| code.to_string());
        Self { word, status, message: end.message.clone(), elapsed: record.until(end.at) }
    }
}

/// What came of a choice.
fn fate(choice: &Choice) -> Cow<'_, str> {
    match (&choice.fate, &choice.taken) {
        (_, None) => Cow::Borrowed(choice.rare.as_ref().map_or("", |rare| &rare.shortage)),
        (Fate::Lost(lost), _) => Cow::Borrowed(&lost.reason),
        (Fate::Unused(why), _) => Cow::Owned(format!("nothing was sent, since {why}")),
        (Fate::Answered, _) => Cow::Borrowed("it answered"),
        (Fate::UnderWay, _) => Cow::Borrowed("it has the request"),
    }
}

/// Who answered and why not another node, or why nobody did.
fn summary(record: &Record, nodes: &[NodeExplanation]) -> String {
    let sent = || record.choices().filter(|choice| !matches!(choice.fate, Fate::Unused(_)));
    let id_of = |choice: &Choice| choice.taken.as_ref().map(|taken| taken.id.clone());
    let answered = sent().find(|choice| matches!(choice.fate, Fate::Answered)).and_then(id_of);
    let at = sent().next_back().and_then(id_of);
    let mut text = match (&record.end, answered, at) {
        (None, _, Some(node)) => format!("{node} has the call, which is under way"),
        (None, _, None) => match record.choices().next_back().map(fate) {
            Some(why) => format!("the call waits for a node: {why}"),
            None => "the call has only just begun".to_owned(),
        },
        (Some(end @ End { outcome: Outcome::Cancelled, code: None, .. }), _, at) => {
            let at = at.map_or(String::new(), |node| format!(" at {node}"));
            format!("the caller gave the call{at} up after {}", Readable(record.until(end.at)))
        }
        (Some(end), Some(node), _) => format!("{node} took the call and {}", said(record, end)),
        (Some(end), None, _) => match end.code {
            // What the caller was told, with all that was tried.
            Some(code) => return format!("the call failed with {code}: {}", end.message),
            None => return "the call failed".to_owned(),
        },
    };
    let lost = sent().filter_map(|choice| match &choice.fate {
        Fate::Lost(lost) if lost.outcome != Outcome::Cancelled => Some((id_of(choice)?, &lost.reason)),
        _ => None,
    });
    let lost: Vec<_> = lost.collect();
    if let Some((node, reason)) = lost.last() {
        text.push_str(&format!(", since {node} failed: {reason}"));
        if lost.len() > 1 {
            text.push_str(&format!(" (and {} before it)", lost.len() - 1));
        }
    }
    text + &passed_over(nodes, "was passed over")
}

fn said(record: &Record, end: &End) -> String {
    let after = Readable(record.until(end.at));
    match (end.code, end.outcome) {
        (None | Some(Code::Ok), Outcome::Success) => format!("answered after {after}"),
        (Some(code), _) if end.message.is_empty() => format!("answered {code} after {after}"),
        (Some(code), _) => format!("answered {code} after {after}: {}", end.message),
        (None, _) => format!("failed after {after}"),
    }
}

/// A time as programs get it.
pub(super) fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn micros<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(whole_micros(*duration))
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn text_if_any<S: Serializer>(node: &Option<NodeId>, serializer: S) -> Result<S::Ok, S::Error> {
    node.as_ref().map(NodeId::as_str).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn micros_if_any<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => micros(duration, serializer),
        None => serializer.serialize_none(),
    }
}
