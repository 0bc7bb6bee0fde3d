//! What the caller is told when a call comes to nothing: what was waited for, and what was tried.

use callsign_core::select::Outcome;

use super::{
    Code,
    failure::Failure,
    journey::{Journey, Phase},
    link::Link,
    plan::Plan,
    repeat::Refusal,
    roster::Roster,
    timeout::Readable,
};

impl Journey {
    /// The call's time is over.
    pub(super) fn expire(mut self, plan: &Plan) -> Failure {
        let (roster, timeout) = (plan.channel.roster(), plan.time.timeout);
        let waited_for = match (&self.phase, self.berth.take()) {
            (Phase::Reply, Some(berth)) => {
                berth.mark(Outcome::DeadlineExceeded);
                plan.lost(&berth, Outcome::DeadlineExceeded, "it did not answer in the time of the call");
                format!("waiting for the reply of {}", berth.link)
            }
            (Phase::Room, Some(berth)) => {
                format!(
                    "waiting for other calls to {} to end: it allows no more at the same time",
                    berth.link
                )
            }
            (Phase::Race, _) => format!(
                "waiting for the replies of {}",
                self.exclude().iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
            ),
            (Phase::Pause, _) => "waiting to try another node".to_owned(),
            (Phase::Node(why), _) if why.is_empty() => "picking a node".to_owned(),
            (Phase::Node(why), _) => format!("waiting for a node: {why}"),
            (Phase::Reply | Phase::Room, None) => "between two attempts".to_owned(),
        };
        let service = &roster.service;
        let message = format!("no answer from {service} within {}, {waited_for}", Readable(timeout));
        let message = self.with_history(message);
        match self.past_mut().last_said.take() {
            // What a node has said tells more than that its successor said nothing.
            Some(said) => Failure { message: format!("{}; then {message}", said.message), ..said },
            None => Failure::new(Code::DeadlineExceeded, message),
        }
    }

    pub(super) fn given_up(&self, link: &Link, outcome: Outcome, reason: &str, why: &Refusal) -> Failure {
        let what = match outcome {
            Outcome::NotSent => "did not take the request",
            _ => "failed with the request in hand",
        };
        let Refusal { why, last } = why;
        let message = self.with_history(format!("{link} {what}: {reason}; {why}"));
        Failure { last: *last, ..Failure::unavailable(message) }
    }

    pub(super) fn closed(&self, roster: &Roster) -> Failure {
        Failure::unavailable(self.with_history(format!("the channel to {} was closed", roster.service)))
    }

    /// Lists the attempts that led to further ones.
    pub(super) fn with_history(&self, mut message: String) -> String {
        let Some(past) = self.past() else { return message };
        for tried in past.tried.iter().rev() {
            message.push_str(&format!("; before that {} ({}): {}", tried.node, tried.address, tried.reason));
        }
        if past.forgotten > 0 {
            message.push_str(&format!("; and {} attempts before", past.forgotten));
        }
        message
    }
}
