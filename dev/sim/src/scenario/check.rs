//! What makes no sense in a scenario is said before it is run.

use std::collections::HashSet;

use super::{Plot, Scenario, Server, Trouble, Variable};
use crate::balancer;

// === impl Scenario ===

impl Scenario {
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_load()?;
        self.check_fleet()?;
        self.check_troubles()?;
        self.check_policies()?;
        self.check_results()
    }

    fn check_load(&self) -> Result<(), String> {
        ensure(self.clients.count > 0, || "[clients] count must be at least 1".to_owned())?;
        ensure(self.warmup < self.duration, || "the warm-up must be shorter than the run".to_owned())?;
        ensure(self.seeds > 0, || "seeds must be at least 1".to_owned())?;
        ensure(self.work.mean.seconds() > 0.0, || "[work] mean must be above zero".to_owned())?;
        let swept = self.sweep.as_ref().map(|sweep| sweep.by);
        let has = |value: Option<f64>, by| value.is_some() || swept == Some(by);
        let (rate, load) = (has(self.clients.rate, Variable::Rate), has(self.clients.load, Variable::Load));
        ensure(rate != load, || "[clients] wants either rate or load, not both".to_owned())?;
        for value in [self.clients.rate, self.clients.load].into_iter().flatten() {
            ensure(value > 0.0 && value.is_finite(), || {
                format!("[clients] rate and load must be above zero: {value}")
            })?;
        }
        let delay = matches!(self.fleet.server, Server::Delay);
        ensure(!(load && delay), || {
            "nodes of the model \"delay\" are never full: say rate in place of load".to_owned()
        })
    }

    fn check_fleet(&self) -> Result<(), String> {
        let fleet = &self.fleet;
        ensure(fleet.count > 0 && fleet.zones > 0, || {
            "[fleet] count and zones must be at least 1".to_owned()
        })?;
        ensure(self.clients.zones.iter().all(|zone| *zone < fleet.zones), || {
            format!("[clients] live in zones that there are: {}, counted from 0", fleet.zones)
        })?;
        let positive = |value: &f64| *value > 0.0 && value.is_finite();
        ensure(!fleet.speeds.is_empty() && fleet.speeds.iter().all(positive), || {
            "[fleet] speeds must be above zero".to_owned()
        })?;
        match fleet.server {
            Server::Delay => Ok(()),
            Server::Queue { workers } => ensure(workers > 0, || "a queue needs a worker".to_owned()),
            Server::Shared { cores, free, contended, contended_share, dwell } => {
                ensure([cores, free, contended].iter().all(positive), || {
                    "[fleet.server] cores, free and contended must be above zero".to_owned()
                })?;
                ensure((0.0..1.0).contains(&contended_share) && dwell.seconds() > 0.0, || {
                    "[fleet.server] contended_share must be from 0 to below 1, and dwell above zero"
                        .to_owned()
                })
            }
        }
    }

    fn check_troubles(&self) -> Result<(), String> {
        for fault in &self.fault {
            ensure(fault.from < fault.to, || "a fault must end after it begins".to_owned())?;
            ensure((0.0..=1.0).contains(&fault.share), || "a fault's share must be from 0 to 1".to_owned())?;
            ensure(fault.nodes.is_empty() == fault.zone.is_some(), || {
                "a fault befalls either nodes or a zone".to_owned()
            })?;
            ensure(fault.zone.is_none_or(|zone| zone < self.fleet.zones), || {
                format!("there are {} zones, counted from 0", self.fleet.zones)
            })?;
            if let Trouble::Slow(times) = fault.what {
                ensure(times > 0.0 && times.is_finite(), || "slow must be above zero".to_owned())?;
            }
        }
        if let Some(registry) = &self.registry {
            ensure(self.change.is_empty(), || "with a [registry] no nodes come and go yet".to_owned())?;
            ensure(registry.ttl.seconds() > 0.0, || "[registry] ttl must be above zero".to_owned())?;
            let in_order = registry.trouble.is_sorted_by(|before, after| before.end() <= after.at());
            ensure(in_order && registry.trouble.iter().all(|trouble| trouble.at() <= trouble.end()), || {
                "the registry's troubles must come one after the other".to_owned()
            })?;
        }
        let mut nodes = self.fleet.count;
        for change in &self.change {
            ensure(change.at < self.duration, || "a change comes after the end".to_owned())?;
            nodes += change.add;
            ensure(change.remove.iter().all(|node| *node < nodes), || {
                format!("a node that is removed does not exist: {:?}", change.remove)
            })?;
        }
        Ok(())
    }

    fn check_policies(&self) -> Result<(), String> {
        ensure(!self.policy.is_empty(), || "there is no [[policy]]".to_owned())?;
        let labels: HashSet<_> = self.policy.iter().map(super::Policy::label).collect();
        ensure(labels.len() == self.policy.len(), || "two policies have the same label".to_owned())?;
        self.policy.iter().try_for_each(|policy| policy.budget().map(drop))?;
        self.policy.iter().try_for_each(balancer::check)
    }

    fn check_results(&self) -> Result<(), String> {
        ensure(!self.show.is_empty(), || "show names no metric".to_owned())?;
        let label = |name: &String| {
            ensure(self.policy.iter().any(|policy| policy.label() == name), || {
                format!("there is no policy {name:?}")
            })
        };
        for plot in &self.plot {
            match plot {
                Plot::Time { policies, .. } => policies.iter().try_for_each(label)?,
                Plot::Sweep { .. } => {
                    ensure(self.sweep.is_some(), || "a plot over the sweep needs a [sweep]".to_owned())?;
                }
                Plot::Bars { .. } => {
                    ensure(self.sweep.is_none(), || "bars show a single value: plot the sweep".to_owned())?;
                }
            }
        }
        for expect in &self.expect {
            label(&expect.policy)?;
            expect.times.iter().try_for_each(label)?;
            ensure(expect.least.is_some() || expect.most.is_some() || expect.near.is_some(), || {
                "[[expect]] wants least, most or near".to_owned()
            })?;
            let known = expect.at.is_none_or(|at| self.points().contains(&at));
            ensure(known, || format!("[[expect]] at {:?} is not in the sweep", expect.at))?;
        }
        Ok(())
    }
}

fn ensure(well: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if well { Ok(()) } else { Err(wrong()) }
}
