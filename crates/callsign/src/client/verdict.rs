//! What the caller is told when a call comes to nothing: what was waited for, and what was tried.

use std::time::Duration;

use callsign_net::Disposition;

use super::{
    failure::{Code, Failure},
    journey::{Journey, Phase},
    link::Link,
    roster::Roster,
    timeout::Readable,
};

impl Journey {
    /// The call's time is over.
    pub(super) fn expire(mut self, roster: &Roster, timeout: Duration) -> Failure {
        let waited_for = match (&self.phase, self.berth.take()) {
            (Phase::Reply, Some(berth)) => {
                berth.expired();
                format!("waiting for the reply of {}", berth.link)
            }
            (Phase::Room, Some(berth)) => {
                format!(
                    "waiting for other calls to {} to end: it allows no more at the same time",
                    berth.link
                )
            }
            (Phase::Pause, _) => "waiting to try another node".to_owned(),
            (Phase::Node(why), _) if why.is_empty() => "picking a node".to_owned(),
            (Phase::Node(why), _) => format!("waiting for a node: {why}"),
            (Phase::Reply | Phase::Room, None) => "between two attempts".to_owned(),
        };
        let service = &roster.service;
        let message = format!("no answer from {service} within {}, {waited_for}", Readable(timeout));
        Failure { code: Code::DeadlineExceeded, message: self.with_history(message) }
    }

    pub(super) fn given_up(&self, link: &Link, disposition: Disposition, reason: &str, why: &str) -> Failure {
        let what = match disposition {
            Disposition::Unsent | Disposition::Refused => "did not take the request",
            Disposition::Unknown => "failed with the request in hand",
        };
        Failure::unavailable(self.with_history(format!("{link} {what}: {reason}; {why}")))
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
