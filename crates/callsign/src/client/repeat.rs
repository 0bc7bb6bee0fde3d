//! Whether a call is made once more: which failures a repetition can mend, and who has to agree to it.

use std::time::Duration;

use callsign_net::{Disposition, Incoming};
use http::{HeaderMap, Response};
use tokio::time::Instant;

use super::{
    Code,
    failure::Failure,
    journey::Journey,
    names,
    plan::Plan,
    pushback::{self, Pushback},
    replay::Replay,
};

/// Attempts that never reached an application are made at once and for free up to this many; after that with a pause in
/// between, and out of the retry budget.
const PROMPT_ATTEMPTS_MAX: u32 = 4;

/// Why a request is not sent again.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// Whether those above are not to repeat it either: we have, or there is no budget for it.
    pub(super) last: bool,
}

const BODY_GONE: &str = "too much of its body was sent to be sent again";
const NO_BUDGET: &str = "the retry budget is used up";
const NO_TIME: &str = "there is no time left for another attempt";
const NOT_FIRST: &str = "the call that it is made for is being repeated already";

// === impl Journey ===

impl Journey {
    /// Decides whether the request is sent once more after an attempt that failed, and after which pause. The error says why not.
    pub(super) fn try_again<B>(
        &mut self,
        disposition: Disposition,
        plan: &Plan,
        body: &mut Replay<B>,
    ) -> Result<Duration, Refusal> {
        match disposition {
            Disposition::Unknown if !plan.retry().allows(Code::Unavailable, plan.is_idempotent()) => {
                let why = "it may have been processed, so it was not repeated (declare the call idempotent to have it \
                    repeated)";
                Err(Refusal { why: why.to_owned(), last: false })
            }
            Disposition::Unknown => {
                plan.channel.settings().budget.failed();
                self.repeat(plan, body, Pushback::Unsaid)
            }
            Disposition::Unsent | Disposition::Refused if !body.rewind() => Err(Refusal::new(BODY_GONE)),
            Disposition::Unsent | Disposition::Refused => {
                if self.attempts <= PROMPT_ATTEMPTS_MAX {
                    return Ok(Duration::ZERO);
                }
                let pause = self.pause(plan);
                if !plan.allows(pause, Instant::now()) {
                    Err(Refusal::new(NO_TIME))
                } else if !plan.channel.settings().budget.withdraw(Instant::now()) {
                    Err(Refusal::last(NO_BUDGET))
                } else {
                    Ok(pause)
                }
            }
        }
    }

    /// Whether the head of a response is a failure that another attempt may mend: then after which pause. `None` hands the response on,
    /// marked if those who called for it are not to try again either.
    pub(super) fn weigh<B>(
        &mut self,
        response: &mut Response<Incoming>,
        plan: &Plan,
        body: &mut Replay<B>,
    ) -> Option<Duration> {
        if let Some(berth) = &self.berth {
            berth.hear(response.headers());
        }
        let budget = &plan.channel.settings().budget;
        // Nearly all calls: what they are answered changes nothing here.
        if !plan.is_idempotent() && plan.retry().refusals.is_empty() && !budget.counts_outcomes() {
            return None;
        }
        let code = match Code::of(response.headers()) {
            None | Some(Code::Ok) => {
                budget.succeeded();
                return None;
            }
            Some(code) => code,
        };
        let said = Pushback::of(response.headers());
        let by_pushback =
            code == Code::ResourceExhausted && plan.is_idempotent() && matches!(said, Pushback::After(_));
        if said == Pushback::Never {
            budget.failed();
            return None;
        }
        if !by_pushback && !plan.retry().allows(code, plan.is_idempotent()) {
            budget.succeeded();
            return None;
        }
        budget.failed();
        match self.repeat(plan, body, said) {
            Ok(pause) => {
                self.past_mut().last_said = Some(Failure::said(code, response.headers()));
                Some(pause)
            }
            Err(Refusal { why, last }) => {
                tracing::debug!(%code, why, "not tried again");
                if last {
                    response.headers_mut().insert(&names::PUSHBACK, pushback::NEVER);
                }
                None
            }
        }
    }

    /// The same for a request that may have been processed and may be repeated.
    pub(super) fn repeat<B>(
        &mut self,
        plan: &Plan,
        body: &mut Replay<B>,
        said: Pushback,
    ) -> Result<Duration, Refusal> {
        let attempts = plan.retry().attempts;
        if plan.options.previous_attempts() > 0 {
            return Err(Refusal::new(NOT_FIRST));
        }
        if self.repeats() + 1 >= attempts {
            return Err(match attempts {
                // Somebody above may have a better policy.
                1 => Refusal::new("one attempt is the most"),
                _ => Refusal::last(&format!("{attempts} attempts are the most")),
            });
        }
        if !body.is_whole() {
            return Err(Refusal::new(BODY_GONE));
        }
        let pause = match said {
            Pushback::After(pause) => pause,
            // The first goes to another node, which has not been asked yet.
            _ if self.repeats() == 0 => Duration::ZERO,
            _ => self.pause(plan),
        };
        let now = Instant::now();
        if !plan.allows(pause, now) {
            return Err(Refusal::new(NO_TIME));
        }
        if !plan.channel.settings().budget.withdraw(now) {
            return Err(Refusal::last(NO_BUDGET));
        }
        self.past_mut().repeats += 1;
        body.rewind();
        Ok(pause)
    }

    fn pause(&mut self, plan: &Plan) -> Duration {
        let backoff = self.past_mut().backoff.get_or_insert_with(|| plan.retry().backoff.clone());
        backoff.next(&mut plan.channel.roster().rng())
    }
}

// === impl Refusal ===

impl Refusal {
    fn new(why: &str) -> Self {
        Self { why: format!("it was not tried again, since {why}"), last: false }
    }

    fn last(why: &str) -> Self {
        Self { last: true, ..Self::new(why) }
    }
}

/// What a node says with a failure, for people.
pub(super) fn said(headers: &HeaderMap) -> String {
    let code = Code::of(headers).unwrap_or(Code::Unknown);
    format!("it answered {code}: {}", message(headers))
}

pub(super) fn message(headers: &HeaderMap) -> String {
    let message = headers.get(&names::MESSAGE).map(|message| message.as_bytes()).unwrap_or_default();
    percent_encoding::percent_decode(message).decode_utf8_lossy().into_owned()
}
