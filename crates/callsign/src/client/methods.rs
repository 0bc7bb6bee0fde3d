//! The policy of each method, found by the path of a request: that of the method itself, else of its service, else the channel's.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use callsign_core::{
    Error, Result,
    retry::{Latencies, RetryBudget, Surge},
};

use super::policy::{Delay, HedgePolicy, MethodPolicy};

/// Methods whose latency is followed apart. Those that come later share one record: paths come from callers, who may make them up.
const FOLLOWED_MAX: usize = 256;
/// What stands for all others once there are too many.
const OTHERS: &str = "";

/// The policies of a channel.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    /// By `/package.Service/Method`.
    methods: HashMap<Box<str>, Arc<Rule>>,
    /// By `package.Service`.
    services: HashMap<Box<str>, Arc<Rule>>,
    /// For all others.
    others: Option<Arc<Rule>>,
}

/// A policy, and what is known of the methods that it governs.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) policy: MethodPolicy,
    pub(crate) hedge: Option<Hedging>,
}

/// What hedging a rule's calls takes.
#[derive(Debug)]
pub(crate) struct Hedging {
    pub(crate) policy: HedgePolicy,
    /// Shared by the rule's methods.
    pub(crate) budget: RetryBudget,
    pub(crate) surge: Surge,
    /// By path. Made on first use.
    latencies: ArcSwap<HashMap<Box<str>, Arc<Latencies>>>,
}

/// What a policy is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Method(Box<str>),
    Service(Box<str>),
    All,
}

// === impl Methods ===

impl Methods {
    /// Of two policies for the same, the later one counts. Methods that are `idempotent` by their descriptor are, unless their own policy
    /// says that they are not.
    pub(crate) fn new(policies: Vec<(Scope, MethodPolicy)>, idempotent: Vec<Box<str>>) -> Result<Self> {
        let mut methods = Self::default();
        let mut own = HashMap::new();
        for (scope, policy) in policies {
            own.insert(scope, policy);
        }
        let find = |own: &HashMap<Scope, MethodPolicy>, path: &str| {
            let service = Scope::Service(service_of(path).into());
            [Scope::Method(path.into()), service, Scope::All].iter().find_map(|scope| own.get(scope).cloned())
        };
        for path in idempotent {
            let mut policy = find(&own, &path).unwrap_or_default();
            policy.idempotent.get_or_insert(true);
            own.insert(Scope::Method(path), policy);
        }
        for (scope, policy) in own {
            let rule = Arc::new(Rule::new(policy)?);
            match scope {
                Scope::Method(path) => drop(methods.methods.insert(path, rule)),
                Scope::Service(name) => drop(methods.services.insert(name, rule)),
                Scope::All => methods.others = Some(rule),
            }
        }
        Ok(methods)
    }

    /// The rule for a request's path.
    pub(crate) fn of(&self, path: &str) -> Option<&Arc<Rule>> {
        if !self.methods.is_empty()
            && let Some(rule) = self.methods.get(path)
        {
            return Some(rule);
        }
        if !self.services.is_empty()
            && let Some(rule) = self.services.get(service_of(path))
        {
            return Some(rule);
        }
        self.others.as_ref()
    }
}

fn service_of(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').map_or(path, |(service, _)| service)
}

// === impl Scope ===

impl Scope {
    /// Reads `package.Service/Method`, with or without a slash before it, `package.Service`, or `*`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Err(Error::invalid("set a method's policy", format!("{text:?} {what}"))
                .with_hint("write package.Service/Method, package.Service, or * for all"))
        };
        if text == "*" {
            return Ok(Self::All);
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        if name.chars().any(|char| char.is_whitespace() || char == '*' || char == '?') {
            return wrong("is no name of a method or a service");
        }
        match name.split_once('/') {
            Some(("", _) | (_, "")) => wrong("lacks a part of its name"),
            Some((_, method)) if method.contains('/') => wrong("has more parts than a method's name has"),
            Some(_) => Ok(Self::Method(format!("/{name}").into())),
            None if name.is_empty() => wrong("names nothing"),
            None => Ok(Self::Service(name.into())),
        }
    }
}

// === impl Rule ===

impl Rule {
    pub(crate) fn new(policy: MethodPolicy) -> Result<Self> {
        let hedge = policy.hedge.clone().map(Hedging::new).transpose()?;
        Ok(Self { policy, hedge })
    }
}

// === impl Hedging ===

impl Hedging {
    pub(crate) fn new(policy: HedgePolicy) -> Result<Self> {
        let budget = RetryBudget::new(policy.share, 0)?;
        Ok(Self { policy, budget, surge: Surge::new(), latencies: ArcSwap::default() })
    }

    /// What calls of this path take, where the delay follows from it.
    pub(crate) fn latencies(&self, path: &str) -> Option<Arc<Latencies>> {
        let Delay::Quantile(quantile) = self.policy.delay else { return None };
        let known = self.latencies.load();
        if let Some(known) = known.get(path) {
            return Some(known.clone());
        }
        if known.len() > FOLLOWED_MAX {
            return known.get(OTHERS).cloned();
        }
        drop(known);
        // Two that come at once may both make one; the map keeps one of them.
        let fresh = Arc::new(Latencies::new(quantile).ok()?);
        self.latencies.rcu(|known| {
            let mut known = HashMap::clone(known);
            let path = if known.len() < FOLLOWED_MAX { path } else { OTHERS };
            known.entry(path.into()).or_insert_with(|| fresh.clone());
            known
        });
        let known = self.latencies.load();
        known.get(path).or_else(|| known.get(OTHERS)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn timeout(seconds: u64) -> MethodPolicy {
        MethodPolicy::new().timeout(Duration::from_secs(seconds))
    }

    fn methods(policies: &[(&str, MethodPolicy)], idempotent: &[&str]) -> Methods {
        let policies = policies.iter().map(|(scope, policy)| (Scope::parse(scope).unwrap(), policy.clone()));
        Methods::new(policies.collect(), idempotent.iter().map(|&path| path.into()).collect()).unwrap()
    }

    fn seconds(methods: &Methods, path: &str) -> Option<u64> {
        methods.of(path).and_then(|rule| rule.policy.timeout).map(|timeout| timeout.as_secs())
    }

    #[test]
    fn the_method_counts_more_than_the_service_and_that_more_than_all() {
        let methods = methods(&[("*", timeout(1)), ("a.B", timeout(2)), ("a.B/C", timeout(3))], &[]);
        assert_eq!(seconds(&methods, "/a.B/C"), Some(3));
        assert_eq!(seconds(&methods, "/a.B/D"), Some(2));
        assert_eq!(seconds(&methods, "/x.Y/C"), Some(1));
        assert_eq!(seconds(&methods, ""), Some(1));
    }

    #[test]
    fn the_later_of_two_counts() {
        assert_eq!(seconds(&methods(&[("a.B", timeout(1)), ("a.B", timeout(2))], &[]), "/a.B/C"), Some(2));
    }

    #[test]
    fn a_method_that_is_idempotent_keeps_the_policy_of_its_service() {
        let no = timeout(9).idempotent(false);
        let methods = methods(&[("a.B", timeout(2)), ("a.B/Not", no)], &["/a.B/C", "/a.B/Not", "/x.Y/Z"]);
        let idempotent = |path| methods.of(path).and_then(|rule| rule.policy.idempotent);
        assert_eq!((idempotent("/a.B/C"), seconds(&methods, "/a.B/C")), (Some(true), Some(2)));
        assert_eq!((idempotent("/a.B/D"), seconds(&methods, "/a.B/D")), (None, Some(2)));
        assert_eq!((idempotent("/a.B/Not"), seconds(&methods, "/a.B/Not")), (Some(false), Some(9)));
        assert_eq!(idempotent("/x.Y/Z"), Some(true));
    }

    #[test]
    fn names_that_name_nothing_are_refused() {
        for text in ["", "/", "a.B/", "/a.B/", "//C", "a.B/C/D", "a.*", "a b", "*/C"] {
            assert!(Scope::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn paths_beyond_the_bound_share_one_record() {
        let hedging = Hedging::new(HedgePolicy::new()).unwrap();
        for index in 0..FOLLOWED_MAX * 2 {
            assert!(hedging.latencies(&format!("/a.B/{index}")).is_some());
        }
        assert!(hedging.latencies.load().len() <= FOLLOWED_MAX + 1);
        let [one, other] = ["/x/y", "/x/z"].map(|path| hedging.latencies(path).unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        let [known, again] = ["/a.B/0"; 2].map(|path| hedging.latencies(path).unwrap());
        assert!(Arc::ptr_eq(&known, &again) && !Arc::ptr_eq(&known, &one));
    }
}
