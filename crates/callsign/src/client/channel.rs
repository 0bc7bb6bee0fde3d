//! The channel: what a program calls a service through.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use callsign_core::{
    Error, ErrorKind, NodeId, Result, ServiceName, Tasks,
    retry::{RetryBudget, Throttle},
    select::{Filters, Member, Outcome},
};
use http::{Request, Response};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::{
    AttemptCounts, CallExplanation, CallOptions, CallRef, ChannelBuilder, ChannelMeter, Explanation, HashBy,
    NodeStatus, ResponseBody, RetryPolicy, Target, call, explain,
    link::Link,
    methods::Methods,
    pool::Pool,
    roster::{Parts, Roster},
    source::Source,
    spans,
};
use crate::{BoxError, trace::span};

/// Calls a service by its name. Always ready, cheap to clone; all clones share connections and what was learnt.
///
/// It takes any [`http::Request`], so generated tonic clients and `tower` layers take it unchanged. Options of one call are
/// [`CallOptions`](super::CallOptions) in the request's extensions. Dropping the last clone closes the connections, once the
/// calls in flight have ended.
///
/// ```no_run
/// # async fn example(registry: std::sync::Arc<dyn callsign::core::Registry>) -> callsign::Result<()> {
/// let channel = callsign::Channel::builder("greeter").registry(registry).build()?;
/// // let mut client = GreeterClient::new(channel);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

/// A channel that somebody else keeps alive.
#[derive(Clone)]
pub(crate) struct WeakChannel(Weak<Inner>);

struct Inner {
    roster: Arc<Roster>,
    settings: Settings,
    tasks: Tasks,
}

/// How a channel's calls behave unless they say otherwise.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The time that every call has, told to the node.
    pub(crate) timeout: Option<Duration>,
    /// The time until the head of the response, where nobody has set a time.
    pub(crate) default_timeout: Option<Duration>,
    pub(crate) wait_for_ready: bool,
    /// Where calls without a key get one.
    pub(crate) hash_by: Option<HashBy>,
    pub(crate) budget: RetryBudget,
    /// When calls are made again whose method says nothing else.
    pub(crate) retry: RetryPolicy,
    pub(crate) methods: Methods,
    pub(crate) pool: Arc<Pool>,
    pub(crate) throttle: Option<Throttle>,
}

/// The call on its way.
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Result<Response<ResponseBody>>> + Send>>);

// === impl Channel ===

impl Channel {
    /// Starts a channel to the service `name`.
    pub fn builder(name: impl Into<String>) -> ChannelBuilder {
        ChannelBuilder::new(name.into())
    }

    /// A channel to a [`Target`], such as `registry://greeter?group=blue` or `static://127.0.0.1:4000`; a plain name stands
    /// for itself in the default registry.
    ///
    /// # Errors
    ///
    /// What is wrong with the target, or why its registry cannot be opened.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn from_target(target: &str) -> Result<Self> {
        ChannelBuilder::for_target(target.parse::<Target>()?)?.build()
    }

    /// A channel to a target, once a node of it can be called.
    ///
    /// # Errors
    ///
    /// As [`from_target`](Self::from_target); and why no node could be called, if that is so.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn connect(target: &str) -> Result<Self> {
        let channel = Self::from_target(target)?;
        channel.ready(CONNECT_TIMEOUT).await?;
        Ok(channel)
    }

    pub(super) fn start(parts: Parts, settings: Settings, source: impl FnOnce() -> Source) -> Self {
        let tasks = Tasks::new();
        let roster = Arc::new(Roster::new(parts, tasks.downgrade()));
        tasks.spawn("roster", roster.clone().run(source()));
        if let Some(prober) = roster.prober() {
            tasks.spawn("prober", prober.clone().run(roster.clone()));
        }
        Self(Arc::new(Inner { roster, settings, tasks }))
    }

    /// Waits until some node can be called.
    ///
    /// # Errors
    ///
    /// Why none can: at once if waiting is of no use, else after `timeout`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ready(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut published = self.0.roster.published();
        loop {
            // Each time: the links may have been told to rest while we waited.
            self.0.roster.stir();
            let shortage = {
                let state = self.0.roster.state();
                match state.slate.pick(&Default::default(), &mut self.0.roster.rng()) {
                    Ok(_) => return Ok(()),
                    Err(why) => explain::shortage(&self.0.roster, &state, &Filters::default(), &why),
                }
            };
            let fail = |kind| Err(Error::new(kind, "reach service", shortage.message.clone()));
            let stopped = self.0.tasks.stopped();
            if !shortage.hopeful || stopped.is_cancelled() {
                return fail(ErrorKind::Unavailable);
            }
            let change = stopped.run_until_cancelled(published.changed());
            if tokio::time::timeout_at(deadline, change).await.is_err() {
                return fail(ErrorKind::DeadlineExceeded);
            }
        }
    }

    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.0.roster.service
    }

    /// The nodes as this channel sees them, in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        let now = Instant::now();
        let state = self.0.roster.state();
        let health = self.0.roster.health();
        let status = |member: &Member<Arc<Link>>| {
            member.handle.status(member.node.clone(), health.verdict(&member.node.key()), now)
        };
        state.slate.members().iter().map(status).collect()
    }

    /// Says of each node whether the next call with these options may go to it, and why not: the answer to "why did my call go there?".
    ///
    /// It takes no place on any node. For people: it looks at all nodes, and allocates.
    ///
    /// ```no_run
    /// # async fn example(channel: callsign::Channel) {
    /// let explanation = channel.explain(&callsign::CallOptions::new().group("blue"));
    /// println!("{explanation}");
    /// // 1 of 2 nodes may take the next call: greeter-1; greeter-2 may not: group=blue is asked for, and it has green
    /// # }
    /// ```
    #[must_use]
    pub fn explain(&self, options: &CallOptions) -> Explanation {
        explain::explain(&self.0.roster, options, Instant::now())
    }

    /// Says why a call that was made went where it went, or failed: the nodes that were chosen, what came of each, and what was against
    /// the others. `None` for a call that is remembered no more ([`ChannelBuilder::remembered_calls`]).
    ///
    /// A response has its call's id: [`CallId::of`](super::CallId::of). What is said is as it was when the node was chosen; what a choice saw
    /// of the nodes is found by making it again from what was noted of it. Details of a node's connection and health, such as an error's
    /// words, are those of now.
    ///
    /// ```no_run
    /// # async fn example(channel: callsign::Channel, response: http::Response<()>) {
    /// use callsign::client::{CallId, CallRef};
    ///
    /// let call = CallId::of(response.headers()).map_or(CallRef::Last, CallRef::Id);
    /// if let Some(explanation) = channel.explain_call(call) {
    ///     println!("{explanation}");
    ///     // greeter-1 took the call and answered after 842 µs; greeter-2 was passed over: it is ejected: 5 calls failed in a row
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn explain_call(&self, call: CallRef) -> Option<CallExplanation> {
        explain::explain_call(&self.0.roster, call, Instant::now())
    }

    /// The same of the last calls that are remembered, up to `most` of them, the latest first.
    #[must_use]
    pub fn explain_calls(&self, most: usize) -> Vec<CallExplanation> {
        let calls = self.0.roster.decisions.latest().map(CallRef::Id);
        calls.filter_map(|call| self.explain_call(call)).take(most).collect()
    }

    /// How often something was not written down of calls that can be asked about, since a place was in use.
    #[must_use]
    pub fn unremembered(&self) -> u64 {
        self.0.roster.decisions.missed()
    }

    /// Waits until it is known who there is, and each node has been tried: until [`nodes`](Self::nodes) and
    /// [`explain`](Self::explain) have nothing provisional to say. Whether that is so after `within`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn settled(&self, within: Duration) -> bool {
        let mut published = self.0.roster.published();
        let settled = async {
            loop {
                self.0.roster.stir();
                if self.0.roster.is_settled() {
                    return true;
                }
                let stopped = self.0.tasks.stopped();
                if stopped.run_until_cancelled(published.changed()).await.is_none() {
                    return false;
                }
            }
        };
        tokio::time::timeout(within, settled).await.unwrap_or(false)
    }

    /// How many calls went to other nodes than the channel's [shape](callsign_core::select::Shape) asks for, since none of those could
    /// be called. It should stand still: a canary that nobody reaches is seen here.
    #[must_use]
    pub fn fallbacks(&self) -> u64 {
        self.0.roster.state().slate.fallbacks()
    }

    /// How many calls went to a farther zone than they might have, since the nodes nearer by were far busier.
    #[must_use]
    pub fn spills(&self) -> u64 {
        self.0.roster.state().slate.spills()
    }

    /// How many attempts its calls have made, and how many of them failed: at all nodes there have been, those that are gone included.
    #[must_use]
    pub fn attempts(&self) -> AttemptCounts {
        self.0.roster.attempts()
    }

    /// Counts what its calls have led to beyond their nodes.
    #[must_use]
    pub fn meter(&self) -> &ChannelMeter {
        &self.0.roster.meter
    }

    /// How many attempts the retry budget would allow at this moment, hedges included.
    #[must_use]
    pub fn retry_budget(&self, now: Instant) -> u64 {
        self.0.settings.budget.balance(now)
    }

    /// The chance that the next call is held back since the service refuses most of them; zero where there is no
    /// [throttle](ChannelBuilder::throttle).
    #[must_use]
    pub fn held_back(&self, now: Instant) -> f64 {
        self.0.settings.throttle.as_ref().map_or(0.0, |throttle| throttle.chance(now))
    }

    /// Whether so few nodes can be used that verdicts on their [health](callsign_core::health) are ignored.
    #[must_use]
    pub fn is_in_panic(&self) -> bool {
        self.0.roster.state().slate.is_in_panic()
    }

    /// For how long the registry has not stood by what it last said of the nodes; zero while it does. `None` where there is no
    /// registry, and while it has said nothing.
    #[must_use]
    pub fn view_age(&self, now: Instant) -> Option<Duration> {
        self.0.roster.state().freshness.as_ref().map(|freshness| freshness.age(now))
    }

    /// Tells how a call to a node went that was not made through this channel, as go-micro's selectors have it: it counts for
    /// the node's health and for the strategy like one that was. Whether there is a node of that id.
    #[expect(clippy::must_use_candidate, reason = "most callers know that there is")]
    pub fn mark(&self, node: &NodeId, outcome: Outcome, elapsed: Duration) -> bool {
        let state = self.0.roster.state();
        let mut known = state.slate.members().iter().filter(|member| member.node.id() == node).peekable();
        let found = known.peek().is_some();
        known.for_each(|member| {
            member.handle.mark_foreign(&member.load.ticket(), outcome, elapsed, Instant::now())
        });
        found
    }

    /// Forgets all verdicts on the health of nodes, and what led to them; a blacklist too.
    pub fn reset(&self) {
        self.0.roster.reset();
    }

    /// Leaves a node alone for this long. Afterwards it gets one call at a time until one has been answered. Whether there is a
    /// node of that id.
    ///
    /// Should less than half of the nodes be left, calls go to it all the same: to shut a node out for good, filter it out.
    #[expect(clippy::must_use_candidate, reason = "most callers know that there is")]
    pub fn blacklist(&self, node: &NodeId, period: Duration) -> bool {
        self.0.roster.blacklist(node, period)
    }

    /// Closes the connections at once; calls in flight fail. Dropping all clones lets them finish instead.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: everything has been told to stop.
    pub async fn close(self) {
        self.0.tasks.close().await;
    }

    /// The channel, without keeping it alive.
    pub(crate) fn downgrade(&self) -> WeakChannel {
        WeakChannel(Arc::downgrade(&self.0))
    }

    pub(crate) fn roster(&self) -> &Arc<Roster> {
        &self.0.roster
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }
}

impl<B> Service<Request<B>> for Channel
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Error;
    type Future = ResponseFuture;

    /// Always ready: the waiting is inside the call, under its deadline.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        if span::is_wanted() {
            return ResponseFuture(Box::pin(spans::seen(self.clone(), request)));
        }
        ResponseFuture(Box::pin(call::call(self.clone(), request)))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("service", &self.0.roster.service).finish_non_exhaustive()
    }
}

// === impl WeakChannel ===

impl WeakChannel {
    pub(crate) fn upgrade(&self) -> Option<Channel> {
        self.0.upgrade().map(Channel)
    }
}

/// How long [`Channel::connect`] waits for a first node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

// === impl ResponseFuture ===

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
