//! Leases kept alive: one stream for all of a handle's leases, opened when it is needed.
//!
//! etcd answers each renewal with the lease's number, in the order in which they were asked for. A renewal that is not answered
//! for a while ends the stream, and whoever waits is told, so that the next one goes over another connection.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    select,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{Call, Client, Fault, LEASE_KEEP_ALIVE, api};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a stream that nobody uses stays open.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Renewals that may wait to be sent.
const WAITING_MAX: usize = 1024;

/// Renews leases.
#[derive(Debug)]
pub(crate) struct KeepAlives {
    client: Client,
    stream: Mutex<Option<mpsc::Sender<Renewal>>>,
}

struct Renewal {
    id: i64,
    reply: oneshot::Sender<Result<i64, Fault>>,
}

/// What is asked and not answered.
#[derive(Default)]
struct Waiting {
    by_lease: HashMap<i64, VecDeque<oneshot::Sender<Result<i64, Fault>>>>,
    /// When each was asked, the oldest first.
    asked: VecDeque<(Instant, i64)>,
}

// === impl KeepAlives ===

impl KeepAlives {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, stream: Mutex::new(None) }
    }

    /// Renews a lease and says how many seconds it lives on; `None` when there is no such lease any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the lease renewed.
    pub(crate) async fn renew(&self, id: i64) -> Result<Option<i64>, Fault> {
        let (reply, answer) = oneshot::channel();
        let gone = || Fault::Ended { endpoint: self.client.endpoints().to_owned() };
        self.stream().send(Renewal { id, reply }).await.map_err(|_| gone())?;
        let ttl = answer.await.map_err(|_| gone())??;
        Ok((ttl > 0).then_some(ttl))
    }

    /// The stream's task, started if there is none.
    fn stream(&self) -> mpsc::Sender<Renewal> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = stream.as_ref().filter(|stream| !stream.is_closed()) {
            return stream.clone();
        }
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        self.client.0.tasks.spawn("etcd lease stream", run(self.client.clone(), inbox));
        *stream = Some(sender.clone());
        sender
    }
}

async fn run(client: Client, mut inbox: mpsc::Receiver<Renewal>) {
    let mut waiting = Waiting::default();
    let fault = match client.stream(LEASE_KEEP_ALIVE).await {
        Ok(mut call) => {
            let fault = serve(&mut call, &mut inbox, &mut waiting).await;
            client.stream_failed(call.live(), &fault);
            fault
        }
        Err(fault) => fault,
    };
    // No more renewals; those that came are told.
    inbox.close();
    while let Ok(Renewal { id: _, reply }) = inbox.try_recv() {
        let _ = reply.send(Err(fault.clone()));
    }
    waiting.fail(&fault);
}

/// Asks and hears until the stream fails.
async fn serve(
    call: &mut Call<api::LeaseKeepAliveResponse>,
    inbox: &mut mpsc::Receiver<Renewal>,
    waiting: &mut Waiting,
) -> Fault {
    let ended = |call: &Call<_>| Fault::Ended { endpoint: call.live().endpoint().to_owned() };
    loop {
        let patience = match waiting.asked.front() {
            Some((asked, _)) => *asked + ANSWER_MAX,
            None => Instant::now() + IDLE_MAX,
        };
        select! {
            // Answers before new questions before giving up: a late answer is an answer.
            biased;
            answer = call.next() => match answer {
                Ok(Some(api::LeaseKeepAliveResponse { header: _, id, ttl })) => waiting.answered(id, ttl),
                Ok(None) => return ended(call),
                Err(fault) => return fault,
            },
            renewal = inbox.recv() => {
                let Some(Renewal { id, reply }) = renewal else { return Fault::Closed };
                call.send(&api::LeaseKeepAliveRequest { id });
                waiting.asks(id, reply, Instant::now());
            }
            () = sleep_until(patience) => {
                if waiting.asked.is_empty() {
                    return ended(call);
                }
                return Fault::Late { endpoints: call.live().endpoint().to_owned(), limit: ANSWER_MAX };
            }
        }
    }
}

// === impl Waiting ===

impl Waiting {
    fn asks(&mut self, id: i64, reply: oneshot::Sender<Result<i64, Fault>>, now: Instant) {
        self.by_lease.entry(id).or_default().push_back(reply);
        self.asked.push_back((now, id));
    }

    fn answered(&mut self, id: i64, ttl: i64) {
        let Some(replies) = self.by_lease.get_mut(&id) else { return };
        if let Some(reply) = replies.pop_front() {
            let _ = reply.send(Ok(ttl));
        }
        if replies.is_empty() {
            self.by_lease.remove(&id);
        }
        if let Some(at) = self.asked.iter().position(|(_, asked)| *asked == id) {
            self.asked.remove(at);
        }
    }

    fn fail(self, fault: &Fault) {
        for reply in self.by_lease.into_values().flatten() {
            let _ = reply.send(Err(fault.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_answer_finds_who_asked_and_a_failure_finds_the_rest() {
        let mut waiting = Waiting::default();
        let mut ask = |id| {
            let (reply, answer) = oneshot::channel();
            waiting.asks(id, reply, Instant::now());
            answer
        };
        let (first, other, second) = (ask(1), ask(2), ask(1));
        waiting.answered(1, 30);
        waiting.answered(7, 30);
        assert_eq!(first.await.unwrap().unwrap(), 30);
        assert_eq!(waiting.asked.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [2, 1]);
        waiting.fail(&Fault::Closed);
        assert!(matches!(other.await.unwrap(), Err(Fault::Closed)));
        assert!(matches!(second.await.unwrap(), Err(Fault::Closed)));
    }
}
