//! The call: from a request to a response, within one deadline.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use callsign_core::{Error, select::Outcome};
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::Body;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::{
    attempt::{Answer, Head},
    channel::Channel,
    failure::Failure,
    journey::Journey,
    methods::Hedging,
    options::CallOptions,
    plan::Plan,
    replay::Replay,
    response::ResponseBody,
};
use crate::BoxError;

/// Makes one call. The error is for requests that are not gRPC; gRPC gets its status.
///
/// What needs no waiting is done at once, so that the future is made in one piece and holds nothing twice.
pub(crate) fn call<B>(
    channel: Channel,
    request: Request<B>,
) -> impl Future<Output = Result<Response<ResponseBody>, Error>> + Send
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let mut options = parts.extensions.remove::<CallOptions>().unwrap_or_default();
    if options.hash.is_none() {
        options.hash = channel.settings().hash_by.as_ref().and_then(|by| by.of(&parts));
        if options.hash.is_none() {
            channel.roster().note_keyless();
        }
    }
    channel.roster().note_call();
    let grpc = is_grpc(&parts.headers);
    let mut journey = Journey::new();
    let (plan, refusal) = Plan::new(channel, options, &parts, Instant::now());
    let mut head = Head::new(parts);
    let mut body = Replay::new(body);
    async move {
        if let Some(failure) = refusal {
            return refuse(&plan, grpc, *failure);
        }
        let abandoned = Abandoned(Some(&plan));
        let made = match plan.hedging() {
            None => {
                let travel = pin!(journey.travel(&plan, &mut head, &mut body));
                let mut timer = pin!(plan.time.head.map(sleep_until));
                tokio::select! {
                    biased;
                    made = travel => Some(made),
                    () = poll_fn(|cx| poll_timer(timer.as_mut(), cx)) => None,
                }
            }
            // Boxed, as few calls are hedged: in place it would make the future of every call larger.
            Some(hedging) => Box::pin(hedged(&plan, hedging, &mut journey, &mut head, &mut body)).await,
        };
        abandoned.end();
        plan.learn(made.as_ref().and_then(|made| made.as_ref().ok()).map(|answer| &answer.response));
        match made {
            Some(Ok(answer)) => Ok(journey.arrive(plan, grpc, answer, body)),
            Some(Err(failure)) => refuse(&plan, grpc, failure),
            None => refuse(&plan, grpc, journey.expire(&plan)),
        }
    }
}

/// A call that its caller may drop at any time: that is then written down.
struct Abandoned<'a>(Option<&'a Plan>);

// === impl Abandoned ===

impl Abandoned<'_> {
    /// It was not dropped.
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(mut record) = self.0.and_then(Plan::record) {
            record.end(Outcome::Cancelled, None, Instant::now());
        }
    }
}

/// Makes the call with further attempts beside the first. `None` when its time is over.
async fn hedged<B>(
    plan: &Plan,
    hedging: &Hedging,
    journey: &mut Journey,
    head: &mut Head,
    body: &mut Replay<B>,
) -> Option<Result<Answer, Failure>>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let hedge = journey.hedge(plan, hedging, head, body);
    match plan.time.head {
        Some(deadline) => timeout_at(deadline, hedge).await.ok(),
        None => Some(hedge.await),
    }
}

/// The call has failed on our side.
fn refuse(plan: &Plan, grpc: bool, failure: Failure) -> Result<Response<ResponseBody>, Error> {
    plan.fail(&failure);
    if !grpc {
        return Err(failure.into_error());
    }
    let mut response = failure.into_response();
    if let Some(id) = plan.channel.roster().decisions.known(plan.call) {
        id.sign(response.headers_mut());
    }
    Ok(response)
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Pending for ever without a timer.
fn poll_timer(timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    timer.as_pin_mut().map_or(Poll::Pending, |timer| timer.poll(cx))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The largest piece of memory that glibc's allocator hands out without looking for it.
    const FAST_BYTES_MAX: usize = 1032;

    #[tokio::test]
    async fn a_call_is_small_enough_for_the_fast_path_of_malloc() {
        type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;
        let body: AnyBody = Box::pin(http_body_util::Empty::new());
        let channel = Channel::from_target("static://127.0.0.1:1").unwrap();
        let bytes = size_of_val(&call(channel, Request::new(body)));
        assert!(bytes <= FAST_BYTES_MAX, "{bytes} bytes");
    }
}
