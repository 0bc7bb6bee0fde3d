//! gRPC's [service config](https://github.com/grpc/grpc/blob/master/doc/service_config.md), for teams that have one.
//!
//! What is not known is an error that names it: a setting that is passed over is found out in the worst hour. What gRPC
//! treats so differs in two things. A method with a `retryPolicy` for UNAVAILABLE, or with a `hedgingPolicy`, counts as idempotent, since
//! gRPC repeats its calls when a connection breaks; and in `loadBalancingConfig` the strategies' names of Callsign may stand
//! as well.

use std::{path::Path, str::FromStr, time::Duration};

use callsign_core::{
    Error, Result,
    retry::{Backoff, Jitter, RetryBudget},
    select::Strategy,
};

use self::{
    duration::positive,
    tree::{Tree, wrong},
};
use super::{
    Code, HealthCheck, HedgePolicy, MethodPolicy, RetryPolicy,
    code::Codes,
    methods::Scope,
    policy::{ATTEMPTS_MAX, Delay},
};

mod duration;
#[cfg(test)]
mod tests;
mod tree;

/// How much longer or shorter gRPC's pauses are than what is asked for, at most.
const JITTER: f64 = 0.2;

/// What a service config says. Read with [`str::parse`], given to a channel with
/// [`ChannelBuilder::service_config`](super::ChannelBuilder::service_config).
#[derive(Debug, Default)]
pub struct ServiceConfig {
    pub(super) methods: Vec<(Scope, MethodPolicy)>,
    pub(super) strategy: Option<Strategy>,
    pub(super) budget: Option<RetryBudget>,
    pub(super) health_check: Option<HealthCheck>,
}

// === impl ServiceConfig ===

impl FromStr for ServiceConfig {
    type Err = Error;

    /// Reads the JSON.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput), with the line and the field that is wrong.
    fn from_str(text: &str) -> Result<Self> {
        let mut root = Tree::read(text)?.object()?;
        let mut config = Self::default();
        for method in root.take("methodConfig").map_or(Ok(Vec::new()), Tree::list)? {
            config.add_method(method)?;
        }
        if let Some(policies) = root.take("loadBalancingConfig") {
            config.strategy = Some(first_known(policies)?);
        }
        // What the list replaced; it counts where there is no list.
        if let Some(policy) = root.take("loadBalancingPolicy")
            && config.strategy.is_none()
        {
            let name = policy.string()?;
            let strategy = strategy(&name.to_ascii_lowercase());
            config.strategy =
                Some(strategy.ok_or_else(|| policy.error(format!("names no known strategy: {name}")))?);
        }
        config.budget = root.take("retryThrottling").map(budget).transpose()?;
        config.health_check = root.take("healthCheckConfig").map(health_check).transpose()?;
        root.end()?;
        Ok(config)
    }
}

impl ServiceConfig {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](callsign_core::ErrorKind::InvalidInput), with the file and why it cannot be read, or the line and the field
    /// that is wrong.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong(format!("{} cannot be opened", path.display())).with_source(error))?;
        text.parse().map_err(|error: Error| {
            let said = error.to_string();
            let said = said.strip_prefix("cannot read service config: ").unwrap_or(&said);
            let named = wrong(format!("{}: {said}", path.display()));
            match error.hint() {
                Some(hint) => named.with_hint(hint.to_owned()),
                None => named,
            }
        })
    }

    fn add_method(&mut self, method: Tree<'_>) -> Result<()> {
        let mut fields = method.object()?;
        let names = fields.need("name")?;
        let mut policy = MethodPolicy {
            timeout: fields.take("timeout").map(|timeout| positive(&timeout)).transpose()?,
            wait_for_ready: fields.take("waitForReady").map(|wait| wait.bool()).transpose()?,
            ..MethodPolicy::default()
        };
        let (retry, hedge) = (fields.take("retryPolicy"), fields.take("hedgingPolicy"));
        if let (Some(_), Some(hedge)) = (&retry, &hedge) {
            return Err(hedge.error("contradicts the retryPolicy beside it: a method has one of them"));
        }
        if let Some(retry) = retry {
            let retry = retry_policy(retry)?;
            policy.idempotent = retry.codes.contains(Code::Unavailable).then_some(true);
            policy.retry = Some(RetryPolicy { refusals: retry.codes, ..retry });
        }
        if let Some(hedge) = hedge {
            policy.hedge = Some(hedge_policy(hedge)?);
            policy.idempotent = Some(true);
        }
        fields.end()?;
        for name in names.list()? {
            let (scope, place) = scope(name)?;
            if self.methods.iter().any(|(other, _)| *other == scope) {
                return Err(place.error("is named a second time: each has one methodConfig"));
            }
            self.methods.push((scope, policy.clone()));
        }
        Ok(())
    }
}

/// `{}` for all methods, a service alone for all of its own.
fn scope(name: Tree<'_>) -> Result<(Scope, Tree<'_>)> {
    let mut fields = name.object()?;
    let named = |field: Option<Tree<'_>>| match field {
        None => Ok(None),
        Some(field) => field.string().map(|name| Some(name).filter(|name| !name.is_empty())),
    };
    let (service, method) = (named(fields.take("service"))?, named(fields.take("method"))?);
    let place = fields.end()?;
    let scope = match (service, method) {
        (None, None) => Ok(Scope::All),
        (None, Some(_)) => return Err(place.error("has a method without its service")),
        (Some(service), None) => Scope::parse(&service),
        (Some(service), Some(method)) => Scope::parse(&format!("{service}/{method}")),
    };
    match scope {
        Ok(scope) => Ok((scope, place)),
        Err(error) => Err(place.error(format!("names no method: {error}"))),
    }
}

fn retry_policy(retry: Tree<'_>) -> Result<RetryPolicy> {
    let mut fields = retry.object()?;
    let attempts = attempts(&fields.need("maxAttempts")?)?;
    let initial = positive(&fields.need("initialBackoff")?)?;
    let max = positive(&fields.need("maxBackoff")?)?;
    let growth = fields.need("backoffMultiplier")?;
    let multiplier = growth.number()?;
    let backoff = Backoff::new(initial.min(max), max, multiplier, Jitter::Around(JITTER))
        .map_err(|_| growth.error(format!("must be from 1 to 100, and is {multiplier}")))?;
    let listed = fields.need("retryableStatusCodes")?;
    let codes = codes(listed)?;
    let try_timeout = fields.take("perAttemptRecvTimeout").map(|timeout| positive(&timeout)).transpose()?;
    let place = fields.end()?;
    if codes.is_empty() {
        return Err(place.error("has no retryableStatusCodes: there must be one at least"));
    }
    Ok(RetryPolicy { attempts, codes, refusals: Codes::default(), backoff, try_timeout })
}

fn hedge_policy(hedge: Tree<'_>) -> Result<HedgePolicy> {
    let mut fields = hedge.object()?;
    let attempts = attempts(&fields.need("maxAttempts")?)?;
    let delay = fields.take("hedgingDelay").map(|delay| duration::read(&delay)).transpose()?;
    let codes = fields.take("nonFatalStatusCodes").map(codes).transpose()?;
    fields.end()?;
    Ok(HedgePolicy {
        delay: Delay::Fixed(delay.unwrap_or(Duration::ZERO)),
        attempts,
        // gRPC knows no such bound; the budget of retries holds both.
        share: f64::from(ATTEMPTS_MAX - 1),
        not_fatal: codes.unwrap_or_default(),
    })
}

/// From two on; what is above five counts as five, as gRFC A6 has it.
fn attempts(field: &Tree<'_>) -> Result<u32> {
    match field.count()? {
        attempts @ 0..=1 => Err(field.error(format!("must be two or more, and is {attempts}"))),
        attempts => Ok(attempts.min(ATTEMPTS_MAX)),
    }
}

/// By name, in any case, or by number.
fn codes(list: Tree<'_>) -> Result<Codes> {
    list.list()?
        .iter()
        .map(|item| {
            if !item.is_string() {
                let number = item.count()?;
                let code = Code::from_number(u64::from(number));
                return code
                    .ok_or_else(|| item.error(format!("is {number}, and gRPC's status codes end at 16")));
            }
            let name = item.string()?;
            name.to_ascii_uppercase().parse().map_err(|error: Error| {
                let wrong = item.error(format!("is {name:?}, which is no status code of gRPC"));
                match error.hint() {
                    Some(hint) => wrong.with_hint(hint.to_owned()),
                    None => wrong,
                }
            })
        })
        .collect()
}

fn budget(throttling: Tree<'_>) -> Result<RetryBudget> {
    let mut fields = throttling.object()?;
    let (max, ratio) = (fields.need("maxTokens")?.count()?, fields.need("tokenRatio")?.number()?);
    let place = fields.end()?;
    RetryBudget::tokens(max, ratio).map_err(|error| {
        place.error(format!("cannot be: {}", error.to_string().trim_start_matches("cannot ")))
    })
}

fn health_check(check: Tree<'_>) -> Result<HealthCheck> {
    let mut fields = check.object()?;
    let service = fields.take("serviceName").map(|name| name.string()).transpose()?;
    fields.end()?;
    Ok(HealthCheck::of(service.unwrap_or_default()))
}

/// The first strategy of a list that there is.
fn first_known(policies: Tree<'_>) -> Result<Strategy> {
    let mut unknown = Vec::new();
    for policy in policies.list()? {
        let (name, _) = policy.object()?.only()?;
        match strategy(&name) {
            Some(strategy) => return Ok(strategy),
            None => unknown.push(name),
        }
    }
    Err(wrong(format!("loadBalancingConfig names no known strategy: {}", unknown.join(", "))).with_hint(
        format!(
            "known are round_robin, least_request, weighted_round_robin, ring_hash, and {}",
            Strategy::NAMES.join(", ")
        ),
    ))
}

/// gRPC's strategies by its names, and ours by their own.
fn strategy(name: &str) -> Option<Strategy> {
    name.trim_end_matches("_experimental").replace('_', "-").parse().ok()
}
