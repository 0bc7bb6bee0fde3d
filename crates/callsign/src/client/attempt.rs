//! One attempt: the request goes to one node, and the head of its response comes back.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use callsign_core::{
    Node,
    select::{MethodId, Outcome, Ticket},
};
use callsign_net::{Connection, Disposition, Incoming, Outgoing, Slot, Status};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header::USER_AGENT};
use http_body::Body;
use tokio::time::Instant;

use super::{
    link::{Link, describe},
    names,
    plan::Plan,
    replay::Replay,
    spans, timeout,
};
use crate::{BoxError, draining::DRAINING, previous_attempts, trace::span::CallSpan};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("callsign/", env!("CARGO_PKG_VERSION")));

/// The head of a request, from which each attempt makes its own.
pub(crate) struct Head {
    method: Method,
    /// For the first attempt. Most calls make no other.
    headers: Option<HeaderMap>,
    /// The same for the others, as a list: a map costs several times as much to copy.
    spare: Vec<(HeaderName, HeaderValue)>,
    /// How often the call was made before, for the node to know.
    pub(crate) previous_attempts: u32,
}

/// A call's place on a node. Dropped without a word, it tells nothing about the node.
pub(crate) struct Berth {
    /// For those who want to know more of it. Boxed, since hardly anybody does.
    pub(crate) aside: Option<Box<Aside>>,
    pub(crate) link: Arc<Link>,
    pub(crate) ticket: Ticket,
    /// What is called, since the one takes longer than the other.
    pub(crate) method: MethodId,
    pub(crate) since: Instant,
    /// Which of the call's choices it is.
    pub(crate) choice: u32,
    /// What the request went out on.
    pub(crate) connection: Option<Arc<Connection>>,
}

/// What is of interest to few.
#[derive(Default)]
pub(crate) struct Aside {
    /// For the report, if the caller wants one.
    pub(crate) told: Option<Told>,
    /// Of the attempt, if somebody wants to see it.
    pub(crate) span: Option<Box<CallSpan>>,
}

/// What a report tells of a berth.
pub(crate) struct Told {
    pub(crate) node: Arc<Node>,
    /// Why it is another node than the shape asks for.
    pub(crate) instead: Option<Arc<str>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    Net(callsign_net::Error),
    /// It did not come in the time that an attempt has.
    Late,
}

/// The head of a response, and what is still to be sent.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) outgoing: Outgoing,
    pub(crate) at: Instant,
}

// === impl Head ===

impl Head {
    pub(crate) fn new(parts: http::request::Parts) -> Self {
        let http::request::Parts { method, mut headers, .. } = parts;
        headers.entry(USER_AGENT).or_insert(AGENT);
        let spare = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { method, headers: Some(headers), spare, previous_attempts: 0 }
    }

    /// One for another attempt beside those of this one.
    pub(crate) fn another(&self, previous_attempts: u32) -> Self {
        let Self { method, headers: _, spare, previous_attempts: _ } = self;
        Self { method: method.clone(), headers: None, spare: spare.clone(), previous_attempts }
    }

    fn request(&mut self, link: &Link, now: Instant, plan: &Plan) -> Request<()> {
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(link.scheme.clone());
        uri.authority = Some(link.authority.clone());
        uri.path_and_query = Some(plan.path.clone());
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers.take().unwrap_or_else(|| self.spare.iter().cloned().collect());
        // All three parts are there, which is all that is asked of them.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        // When the node is to give up, if the caller has set a time.
        if let Some(deadline) = plan.time.whole() {
            let left = timeout::format(deadline.saturating_duration_since(now));
            request.headers_mut().insert(&names::TIMEOUT, left);
        }
        if self.previous_attempts > 0 {
            request.headers_mut().insert(&previous_attempts::NAME, self.previous_attempts.into());
        }
        request
    }
}

// === impl Berth ===

impl Berth {
    /// Sends the request and waits for the head of the response.
    pub(crate) async fn send<B>(
        &mut self,
        connection: Arc<Connection>,
        slot: Slot,
        head: &mut Head,
        body: &mut Replay<B>,
        plan: &Plan,
    ) -> Result<Answer, Fault>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let request = self.request(head, plan);
        let connection = self.connection.insert(connection);
        let (mut stream, mut outgoing) =
            slot.open(connection, request, body.is_end_stream()).map_err(Fault::Net)?;
        let mut timer = plan.try_timer();
        let response = poll_fn(|cx| {
            if !outgoing.is_done() {
                if let Poll::Ready(Err(error)) = outgoing.poll_send(cx, Pin::new(&mut *body)) {
                    return Poll::Ready(Err(Fault::Net(error)));
                }
                body.account(&plan.channel.settings().pool);
            }
            match stream.poll_response(cx) {
                Poll::Pending if timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) => {
                    Poll::Ready(Err(Fault::Late))
                }
                answer => answer.map_err(Fault::Net),
            }
        })
        .await?;
        Ok(Answer { response, outgoing, at: Instant::now() })
    }

    pub(crate) fn span(&self) -> Option<&CallSpan> {
        self.aside.as_ref()?.span.as_deref()
    }

    /// Has the attempt seen, if anybody wants to.
    pub(crate) fn show(&mut self, plan: &Plan, number: u32, hedge: bool) {
        if let Some(span) = spans::of_attempt(plan, &self.link, number, hedge) {
            self.aside.get_or_insert_default().span = Some(span);
        }
    }

    /// Not in place: what is changed there would stay in the future of every call.
    fn request(&self, head: &mut Head, plan: &Plan) -> Request<()> {
        let mut request = head.request(&self.link, self.since, plan);
        spans::tell(self.span(), plan, request.headers_mut());
        request
    }

    /// Takes in what the head of an answer says of the node itself.
    pub(crate) fn hear(&self, headers: &HeaderMap) {
        if let Some(span) = self.span() {
            span.hear(headers);
        }
        if !headers.contains_key(&DRAINING) {
            return;
        }
        // A node that has said GOAWAY since may have taken it back: the next connection tells.
        if self.connection.as_ref().is_some_and(|connection| connection.status() == Status::Open) {
            self.link.hear_leaving();
        }
    }

    /// The attempt ended so, without being the call's answer.
    pub(crate) fn mark(&self, outcome: Outcome) {
        let now = Instant::now();
        if let Some(span) = self.span() {
            spans::end(span, outcome);
        }
        self.link.mark(&self.ticket, self.method, outcome, now - self.since, now);
        if outcome == Outcome::DeadlineExceeded
            && let Some(connection) = &self.connection
        {
            connection.probe();
        }
    }
}

// === impl Fault ===

impl Fault {
    /// Whether the request may have been processed.
    pub(crate) fn disposition(&self) -> Disposition {
        match self {
            Self::Net(error) => error.disposition(),
            Self::Late => Disposition::Unknown,
        }
    }

    /// What it says of the node.
    pub(crate) fn outcome(&self) -> Outcome {
        match (self, self.disposition()) {
            (Self::Late, _) => Outcome::DeadlineExceeded,
            (Self::Net(_), Disposition::Unsent | Disposition::Refused) => Outcome::NotSent,
            (Self::Net(_), Disposition::Unknown) => Outcome::Failure,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(error) => f.write_str(&describe(error)),
            Self::Late => f.write_str("it did not answer in the time that an attempt has"),
        }
    }
}
