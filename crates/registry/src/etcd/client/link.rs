//! The one connection to the cluster: made when somebody needs it, to whichever member answers, with a token if the cluster
//! wants one.
//!
//! One task does all of that (there is never more than one dialling), and everybody waits for what it publishes. A round of
//! attempts begins with the member that was good last. The next one is tried as soon as one has failed, or after a moment of
//! silence; a member that stays silent is dialled anew each second while the older attempts go on, since the first packets
//! through a network that comes back may be a long time coming. The round is lost when every member has failed, and whoever
//! waits is told. There are no rounds unless somebody waits: callers wait between their attempts, so this need not.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use callsign_core::WeakTasks;
use callsign_net::{Bundle, Connection, Driver, Status as ConnectionStatus};
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::HeaderValue;
use tokio::{
    select,
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    api, call,
    endpoint::{Endpoint, Order},
    fault::Fault,
};
use crate::etcd::config::Credentials;

/// How long a member is waited for before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);
/// How long after an attempt that is still under way the same member is dialled once more.
const REDIAL: Duration = Duration::from_secs(1);
/// The rest between two lost rounds.
const REST: Duration = Duration::from_millis(50);
/// A token is a few dozen bytes; a signed one some hundred.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// What a handle's calls go through.
#[derive(Debug)]
pub(crate) struct Link {
    state: watch::Receiver<State>,
    orders: Arc<Orders>,
    limit: Duration,
    endpoints: String,
}

/// A connection that works, as far as anybody knows.
#[derive(Debug)]
pub(crate) struct Live {
    wire: Arc<Wire>,
    token: Option<HeaderValue>,
    /// Somebody found it wanting; no new call is to use it.
    spoilt: AtomicBool,
}

/// A connection and whom it leads to.
#[derive(Debug)]
struct Wire {
    connection: Connection,
    bundle: Arc<Bundle>,
    index: usize,
    endpoint: String,
    scheme: &'static str,
}

/// What the dialler publishes.
#[derive(Debug, Clone, Default)]
struct State {
    live: Option<Arc<Live>>,
    /// Rounds lost so far, and how the last of them was.
    lost: u64,
    fault: Option<Fault>,
}

/// What the dialler is told.
#[derive(Debug, Default)]
struct Orders {
    wanted: Notify,
    renew_token: AtomicBool,
    skip: AtomicBool,
}

/// The task that dials.
pub(super) struct Dialler {
    endpoints: Vec<Endpoint>,
    credentials: Option<Credentials>,
    config: callsign_net::Config,
    order: Order,
    orders: Arc<Orders>,
    state: watch::Sender<State>,
    attempts: FuturesUnordered<Attempt>,
    token: Option<HeaderValue>,
    tasks: WeakTasks,
}

type Attempt = Pin<Box<dyn Future<Output = (usize, Dialled)> + Send>>;
type Dialled = Result<(Wire, Driver), callsign_net::Error>;

// === impl Link ===

impl Link {
    /// The link, and the task that is to run for it.
    pub(super) fn new(
        endpoints: Vec<Endpoint>,
        credentials: Option<Credentials>,
        config: callsign_net::Config,
        tasks: WeakTasks,
        mut rng: fastrand::Rng,
    ) -> (Self, Dialler) {
        let (sender, state) = watch::channel(State::default());
        let orders = Arc::new(Orders::default());
        let names: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
        let link = Self {
            state,
            orders: orders.clone(),
            limit: config.connect_timeout,
            endpoints: names.join(", "),
        };
        let dialler = Dialler {
            order: Order::new(endpoints.len(), &mut rng),
            endpoints,
            credentials,
            config,
            orders,
            state: sender,
            attempts: FuturesUnordered::new(),
            token: None,
            tasks,
        };
        (link, dialler)
    }

    /// A connection to call over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn connected(&self, deadline: Instant) -> Result<Arc<Live>, Fault> {
        let mut state = self.state.clone();
        let lost_before = state.borrow().lost;
        loop {
            {
                let now = state.borrow_and_update();
                if let Some(live) = now.live.as_ref().filter(|live| live.is_usable()) {
                    return Ok(live.clone());
                }
                if let Some(fault) = now.fault.as_ref().filter(|_| now.lost > lost_before) {
                    return Err(fault.clone());
                }
            }
            self.orders.wanted.notify_one();
            match timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Fault::Closed),
                Err(_) => {
                    return Err(Fault::Late { endpoints: self.endpoints.clone(), limit: self.limit });
                }
            }
        }
    }

    /// The connection does not do what it is for: the next call goes to another member, or at least over another connection.
    pub(crate) fn suspect(&self, live: &Live) {
        if !live.spoilt.swap(true, Ordering::AcqRel) {
            tracing::debug!(endpoint = live.endpoint(), "etcd connection suspected");
            // If the peer is dead, whoever still waits on it is to learn that soon.
            live.connection().probe();
            self.orders.skip.store(true, Ordering::Release);
        }
    }

    /// The token is no longer good: the next call waits for another one.
    pub(crate) fn token_refused(&self, live: &Live) {
        if !live.spoilt.swap(true, Ordering::AcqRel) {
            self.orders.renew_token.store(true, Ordering::Release);
        }
    }

    /// All endpoints, for messages.
    pub(crate) fn endpoints(&self) -> &str {
        &self.endpoints
    }
}

// === impl Live ===

impl Live {
    fn new(wire: Arc<Wire>, token: Option<HeaderValue>) -> Arc<Self> {
        Arc::new(Self { wire, token, spoilt: AtomicBool::new(false) })
    }

    fn is_usable(&self) -> bool {
        !self.spoilt.load(Ordering::Acquire) && self.wire.is_open()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.wire.connection
    }

    pub(super) fn bundle(&self) -> &Arc<Bundle> {
        &self.wire.bundle
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.wire.endpoint
    }

    pub(super) fn scheme(&self) -> &'static str {
        self.wire.scheme
    }

    pub(super) fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    pub(super) fn broken(&self, cause: callsign_net::Error) -> Fault {
        Fault::Broken { endpoint: self.wire.endpoint.clone(), cause }
    }

    /// Why the connection takes no more streams.
    pub(super) fn gone(&self) -> Fault {
        match self.wire.connection.error() {
            Some(cause) => self.broken(cause.clone()),
            None => Fault::Ended { endpoint: self.wire.endpoint.clone() },
        }
    }
}

// === impl Wire ===

impl Wire {
    fn is_open(&self) -> bool {
        self.connection.status() == ConnectionStatus::Open
    }
}

// === impl Dialler ===

impl Dialler {
    /// Dials whenever a connection is wanted and none is usable.
    pub(super) async fn run(mut self) {
        loop {
            self.orders.wanted.notified().await;
            let current = self.state.borrow().live.clone();
            if current.as_ref().is_some_and(|live| live.is_usable()) {
                continue;
            }
            let renew = self.orders.renew_token.swap(false, Ordering::AcqRel);
            let skip = self.orders.skip.swap(false, Ordering::AcqRel);
            if renew {
                self.token = None;
            }
            if let (true, Some(live)) = (skip, &current) {
                self.order.skip(live.wire.index);
            }
            let made = match current {
                // Only the token is bad: the connection can stay.
                Some(live) if renew && !skip && live.wire.is_open() => self.admit(live.wire.clone()).await,
                _ => self.connect().await,
            };
            match made {
                Ok(live) => {
                    tracing::debug!(endpoint = live.endpoint(), "connected to etcd");
                    self.state.send_modify(|state| state.live = Some(live));
                }
                Err(fault) => {
                    tracing::debug!(%fault, "no connection to etcd");
                    self.state.send_modify(|state| {
                        (state.live, state.lost, state.fault) = (None, state.lost + 1, Some(fault));
                    });
                    sleep(REST).await;
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<Arc<Live>, Fault> {
        let (wire, driver) = self.round().await.map_err(Fault::Away)?;
        self.tasks.spawn("etcd connection", async move {
            let _ = driver.await;
        });
        let index = wire.index;
        self.order.prefer(index);
        let admitted = self.admit(Arc::new(wire)).await;
        if admitted.is_err() {
            self.order.skip(index);
        }
        admitted
    }

    /// Tries the members until one answers, or all of them have failed.
    async fn round(&mut self) -> Result<(Wire, Driver), Vec<(String, callsign_net::Error)>> {
        let count = self.endpoints.len();
        let mut failed: Vec<Option<callsign_net::Error>> = vec![None; count];
        let mut begun: Vec<Option<Instant>> = vec![None; count];
        let mut step = 0;
        let mut due = Instant::now();
        loop {
            select! {
                // What has been achieved comes first.
                biased;
                Some((index, dialled)) = self.attempts.next(), if !self.attempts.is_empty() => match dialled {
                    Ok(made) => {
                        self.attempts.clear();
                        return Ok(made);
                    }
                    Err(cause) => {
                        failed[index] = Some(cause);
                        if failed.iter().all(Option::is_some) {
                            let named = self.endpoints.iter().map(ToString::to_string);
                            return Err(named.zip(failed.into_iter().flatten()).collect());
                        }
                        if step < count {
                            due = Instant::now();
                        }
                    }
                },
                () = sleep_until(due) => {
                    let (index, now) = (self.order.at(step), Instant::now());
                    step += 1;
                    let again = begun[index].map_or(now, |before| before + REDIAL);
                    if now >= again {
                        begun[index] = Some(now);
                        self.attempts.push(self.dial(index));
                    }
                    due = now + STAGGER;
                }
            }
        }
    }

    fn dial(&self, index: usize) -> Attempt {
        let (endpoint, config) = (self.endpoints[index].clone(), self.config.clone());
        Box::pin(async move {
            let bundle = Arc::<Bundle>::default();
            let dialled = callsign_net::connect(endpoint.host(), &config, &bundle).await;
            let made = dialled.map(|(connection, driver)| {
                let scheme = if config.tls.is_some() { "https" } else { "http" };
                (Wire { connection, bundle, index, endpoint: endpoint.to_string(), scheme }, driver)
            });
            (index, made)
        })
    }

    /// Gets a token if there is need of one.
    async fn admit(&mut self, wire: Arc<Wire>) -> Result<Arc<Live>, Fault> {
        if let (Some(Credentials { user, password }), None) = (&self.credentials, &self.token) {
            let request = api::AuthenticateRequest { name: user.clone(), password: password.clone() };
            let stranger = Live::new(wire.clone(), None);
            self.token = authenticate(&stranger, &request, self.config.connect_timeout).await?;
        }
        Ok(Live::new(wire, self.token.clone()))
    }
}

/// A token; none where users and passwords are not in use.
async fn authenticate(
    live: &Arc<Live>,
    request: &api::AuthenticateRequest,
    limit: Duration,
) -> Result<Option<HeaderValue>, Fault> {
    let deadline = Instant::now() + limit;
    let asked =
        pin!(call::unary(live, "/etcdserverpb.Auth/Authenticate", request, deadline, TOKEN_BYTES_MAX));
    let answer: Result<api::AuthenticateResponse, Fault> = timeout_at(deadline, asked)
        .await
        .unwrap_or_else(|_| Err(Fault::Late { endpoints: live.endpoint().to_owned(), limit }));
    match answer {
        Ok(answer) => HeaderValue::from_str(&answer.token)
            .map(|mut token| {
                token.set_sensitive(true);
                Some(token)
            })
            .map_err(|_| Fault::NotEtcd("its token cannot be sent in a header".into())),
        Err(fault) if fault.is_auth_off() => {
            tracing::debug!("etcd does not use users and passwords; going on without");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}
