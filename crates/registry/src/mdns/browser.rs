//! What is asked on the link, and when. No sockets here, and no clock.
//!
//! Somebody's interest in a service, or in all of them, becomes questions. A question is asked a few times in short order,
//! because packets get lost, and then again and again at a leisurely pace: nodes that crash say nothing, and the only way
//! to notice is that they do not answer. A node that was not heard of after it was asked for is asked for five times more,
//! and then it is gone. go-micro's clients never notice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Weak,
    time::Duration,
};

use callsign_core::{Domain, ServiceName};
use tokio::time::Instant;

use super::{
    cache::{Cache, Unheard},
    dns::{Name, kind},
    names,
};

/// When a new question is asked, counted from its beginning.
const OPENING: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(120),
    Duration::from_millis(400),
    Duration::from_millis(1000),
    Duration::from_millis(2500),
];
/// How long is waited for an answer each time that a silent node is asked for. Where one packet of ten is lost, one living
/// node of twenty thousand does not get a word in.
const PATIENCE: [Duration; 6] = [
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_millis(500),
    Duration::from_millis(750),
    Duration::from_millis(750),
    Duration::from_millis(1000),
];
/// So many silent nodes are asked for by name; when there are more, all nodes of their service are.
const ASKED_BY_NAME_MAX: usize = 16;
/// The time between any two questions that are asked for ever.
const PACE: Duration = Duration::from_millis(50);
/// How long a service that is on the list, and has no nodes, is asked for.
const LISTED_FOR: Duration = Duration::from_secs(60);
/// How long somebody who asked once is taken to be still interested.
const INTEREST: Duration = Duration::from_secs(60);
/// The most questions and domains. Who lists more services than this does not know what they are.
const QUESTIONS_MAX: usize = 20_000;
const DOMAINS_MAX: usize = 256;

/// The questions under way, and on whose account.
#[derive(Debug)]
pub(super) struct Browser {
    /// How long a first answer is waited for.
    lookup: Duration,
    /// How often nodes are looked after.
    check: Duration,
    rng: fastrand::Rng,
    interests: HashMap<(Domain, Option<ServiceName>), Interest>,
    domains: BTreeSet<Name>,
    questions: BTreeMap<Name, Asked>,
}

#[derive(Debug)]
struct Interest {
    watches: Vec<Weak<()>>,
    until: Instant,
}

/// One question.
#[derive(Debug)]
struct Asked {
    about: About,
    since: Instant,
    step: Step,
    next: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    Domains,
    Services {
        domain: Name,
    },
    /// `listed` is when somebody last had it on a list.
    Service {
        domain: Name,
        listed: Instant,
    },
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// To be asked for the nth time in short order.
    Opening(usize),
    Resting,
    /// Asked at `since`, and for the silent ones so often since then.
    Checking {
        since: Instant,
        tries: usize,
    },
}

// === impl Browser ===

impl Browser {
    pub(super) fn new(lookup: Duration, check: Duration, rng: fastrand::Rng) -> Self {
        Self {
            lookup,
            check,
            rng,
            interests: HashMap::new(),
            domains: BTreeSet::from([names::domain(&Domain::default())]),
            questions: BTreeMap::new(),
        }
    }

    /// Somebody wants to know of a service, or of all; for as long as `watch` lives, or else for a while.
    pub(super) fn interest(
        &mut self,
        domain: &Domain,
        service: Option<&ServiceName>,
        watch: Option<Weak<()>>,
        cache: &mut Cache,
        now: Instant,
    ) {
        // A service in all domains may be in any of them.
        let service = service.filter(|_| !domain.is_all());
        let key = (domain.clone(), service.cloned());
        let interest =
            self.interests.entry(key).or_insert_with(|| Interest { watches: Vec::new(), until: now });
        interest.until = now + INTEREST;
        interest.watches.extend(watch);
        match service {
            Some(service) => {
                let about = About::Service { domain: names::domain(domain), listed: now };
                self.ask(names::service(domain, service), about, cache, now);
            }
            None if domain.is_all() => {
                self.ask(names::domains(), About::Domains, cache, now);
                for domain in self.domains.clone() {
                    self.list(&domain, cache, now);
                }
            }
            None => self.list(&names::domain(domain), cache, now),
        }
    }

    /// There are nodes of a service.
    pub(super) fn learn_service(&mut self, domain: &Name, service: &Name, cache: &mut Cache, now: Instant) {
        self.learn_domain(domain, cache, now);
        if self.questions.contains_key(&names::services(domain)) {
            let about = About::Service { domain: domain.clone(), listed: now };
            self.ask(service.clone(), about, cache, now);
        }
    }

    /// There is a domain.
    pub(super) fn learn_domain(&mut self, domain: &Name, cache: &mut Cache, now: Instant) {
        if self.domains.len() < DOMAINS_MAX && self.domains.insert(domain.clone()) {
            let all = self.interests.contains_key(&(Domain::all(), None));
            if all {
                self.list(domain, cache, now);
            }
        }
    }

    /// When what was found out about a service, or about all, is the whole of it, as far as one can know.
    pub(super) fn ready_at(&self, domain: &Domain, service: Option<&ServiceName>, now: Instant) -> Instant {
        let after = |name: &Name, wait| self.questions.get(name).map_or(now, |asked| asked.since + wait);
        let list = |domain: &Name| {
            let listed = after(&names::services(domain), self.lookup);
            let services = self.questions.values().filter_map(|asked| match &asked.about {
                About::Service { domain: of, .. } if of == domain => Some(asked.since + OPENING[1]),
                _ => None,
            });
            services.chain([listed]).max().unwrap_or(listed).min(listed + self.lookup * 2)
        };
        match service.filter(|_| !domain.is_all()) {
            Some(service) => after(&names::service(domain, service), self.lookup),
            None if domain.is_all() => self.domains.iter().map(list).max().unwrap_or(now),
            None => list(&names::domain(domain)),
        }
    }

    /// Whether something so called would answer a question that was asked.
    pub(super) fn is_asked_for(&self, instance: &Name) -> bool {
        self.questions.iter().any(|(name, asked)| match &asked.about {
            About::Service { .. } => instance.before(name).is_some(),
            About::Services { domain } => instance.before(domain).is_some(),
            About::Domains => false,
        })
    }

    /// Asks what is due, by the name and the type of the question, and takes out of `cache` what did not answer.
    pub(super) fn poll(&mut self, cache: &mut Cache, now: Instant, mut ask: impl FnMut(&Name, u16)) {
        let pace = PACE * self.questions.len().try_into().unwrap_or(u32::MAX);
        let rest = self.check.max(pace);
        for (name, asked) in &mut self.questions {
            while asked.next <= now {
                let jitter = 0.8 + 0.4 * self.rng.f64();
                asked.advance(name, cache, now, rest.mul_f64(jitter), &mut ask);
            }
        }
    }

    /// When there is something to ask.
    pub(super) fn next(&self) -> Option<Instant> {
        self.questions.values().map(|asked| asked.next).min()
    }

    /// Stops asking what nobody wants to know any more.
    pub(super) fn sweep(&mut self, cache: &Cache, now: Instant) {
        self.interests.retain(|_, interest| {
            interest.watches.retain(|watch| watch.strong_count() > 0);
            interest.until > now || !interest.watches.is_empty()
        });
        let interests = &self.interests;
        let has = |domain: Domain| interests.contains_key(&(domain, None));
        let all = has(Domain::all());
        let whole: BTreeSet<Name> = interests
            .keys()
            .filter(|(_, service)| service.is_none())
            .map(|(d, _)| names::domain(d))
            .collect();
        let single: BTreeSet<Name> = interests
            .keys()
            .filter_map(|(domain, service)| Some(names::service(domain, service.as_ref()?)))
            .collect();
        self.questions.retain(|name, asked| match &asked.about {
            About::Domains => all,
            About::Services { domain } => all || whole.contains(domain),
            About::Service { domain, listed } => {
                let is_there = cache.nodes_of(name) > 0 || now < *listed + LISTED_FOR;
                single.contains(name) || (all || whole.contains(domain)) && is_there
            }
        });
    }

    /// Asks everything anew, as after the link has changed.
    pub(super) fn restart(&mut self, now: Instant) {
        for asked in self.questions.values_mut() {
            (asked.step, asked.next) = (Step::Opening(0), now);
        }
    }

    fn list(&mut self, domain: &Name, cache: &mut Cache, now: Instant) {
        self.ask(names::services(domain), About::Services { domain: domain.clone() }, cache, now);
        let known: Vec<_> = cache
            .services()
            .filter(|(_, of)| names::domain(of) == *domain)
            .map(|(service, _)| service.clone())
            .collect();
        for service in known {
            self.ask(service, About::Service { domain: domain.clone(), listed: now }, cache, now);
        }
    }

    fn ask(&mut self, name: Name, about: About, cache: &mut Cache, now: Instant) {
        if let Some(asked) = self.questions.get_mut(&name) {
            asked.about = about;
            return;
        }
        if self.questions.len() >= QUESTIONS_MAX {
            tracing::debug!(%name, "more services than are asked for; passed over");
            return;
        }
        if matches!(about, About::Service { .. }) {
            // Nobody looked after these meanwhile. Those who are there say so again at once.
            let long_ago = now.checked_sub(self.check).unwrap_or(now);
            cache.unheard(&name, long_ago).iter().for_each(|unheard| cache.expire(&unheard.key));
        }
        self.questions.insert(name, Asked { about, since: now, step: Step::Opening(0), next: now });
    }
}

// === impl Asked ===

impl Asked {
    fn advance(
        &mut self,
        name: &Name,
        cache: &mut Cache,
        now: Instant,
        rest: Duration,
        ask: &mut impl FnMut(&Name, u16),
    ) {
        match self.step {
            Step::Opening(nth) => {
                ask(name, kind::PTR);
                (self.step, self.next) = match OPENING.get(nth + 1) {
                    Some(wait) => (Step::Opening(nth + 1), now + (*wait - OPENING[nth])),
                    None => (Step::Resting, now + rest),
                };
            }
            Step::Resting => {
                ask(name, kind::PTR);
                (self.step, self.next) = match self.about {
                    About::Service { .. } => (Step::Checking { since: now, tries: 0 }, now + PATIENCE[0]),
                    About::Domains | About::Services { .. } => (Step::Resting, now + rest),
                };
            }
            Step::Checking { since, tries } => {
                let silent = cache.unheard(name, since);
                match PATIENCE.get(tries + 1) {
                    Some(wait) if !silent.is_empty() => {
                        ask_again(name, &silent, ask);
                        (self.step, self.next) = (Step::Checking { since, tries: tries + 1 }, now + *wait);
                    }
                    _ => {
                        for Unheard { key, .. } in silent {
                            tracing::debug!(node = %key, "a node does not answer any more");
                            cache.expire(&key);
                        }
                        (self.step, self.next) = (Step::Resting, now + rest);
                    }
                }
            }
        }
    }
}

/// Asks for those who are silent, and not for those who have just answered.
fn ask_again(service: &Name, silent: &[Unheard], ask: &mut impl FnMut(&Name, u16)) {
    if silent.len() > ASKED_BY_NAME_MAX {
        ask(service, kind::PTR);
    } else {
        silent.iter().for_each(|unheard| ask(&unheard.instance, kind::ANY));
    }
}
