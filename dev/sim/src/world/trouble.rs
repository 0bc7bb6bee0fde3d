//! What befalls the nodes, and what clients hear of it.

use callsign_core::select::Outcome;

use super::{World, agenda::Event, call::Stage};
use crate::{
    clock::{Nanos, SECOND},
    news::News,
    scenario::Trouble,
};

// === impl World ===

impl World<'_> {
    pub(super) fn plan_troubles(&mut self) {
        for (index, fault) in self.scenario.fault.iter().enumerate() {
            let index = index as u32;
            self.agenda.push(fault.from.nanos(), Event::Trouble { index, on: true });
            self.agenda.push(fault.to.nanos(), Event::Trouble { index, on: false });
        }
        for (index, change) in self.scenario.change.iter().enumerate() {
            self.agenda.push(change.at.nanos(), Event::Change { index: index as u32 });
        }
    }

    /// A fault begins or ends.
    pub(super) fn trouble(&mut self, index: usize, on: bool) {
        let fault = &self.scenario.fault[index];
        for node in fault.nodes(&self.scenario.fleet) {
            let machine = self.fleet.get_mut(node);
            machine.trouble = on.then_some((fault.what, fault.share));
            match fault.what {
                Trouble::Slow(times) => {
                    machine.slow(if on { times } else { 1.0 / times }, self.now);
                    self.plan(node);
                }
                // Connections come back within a second, each when its client tries the next time.
                Trouble::Gone(noticed) => {
                    let (after, spread) = if on { (noticed.nanos(), SECOND / 100) } else { (0, SECOND) };
                    self.tell_all(node, after, spread, !on);
                }
                Trouble::Delay(_) | Trouble::Fail(_) | Trouble::Hang => {}
            }
        }
    }

    fn tell_all(&mut self, node: usize, after: Nanos, spread: Nanos, ready: bool) {
        for client in 0..self.clients.len() {
            let at = self.now + after + self.network.u64(..spread);
            self.agenda.push(at, Event::Notice { client: client as u32, node: node as u32, ready });
        }
    }

    /// A client's connection to a node is gone, or is there again. With it goes what was under way on it.
    pub(super) fn notice(&mut self, client: usize, node: usize, ready: bool) {
        self.clients[client].notice(node, ready, self.now);
        if ready {
            return;
        }
        let lost = self.calls.iter().filter(|(_, call)| {
            call.client as usize == client && call.node == node && call.stage != Stage::Pausing
        });
        let lost: Vec<u32> = lost.map(|(slot, _)| slot).collect();
        for slot in lost {
            match self.calls.get(slot).stage {
                Stage::Held => self.fleet.get_mut(node).release(self.now),
                Stage::AtWork => self.fleet.get_mut(node).drop_job(self.now),
                Stage::Away | Stage::Pausing => {}
            }
            self.end_attempt(slot, Outcome::Failure);
            if !self.repeat(slot) {
                self.end_call(slot, false);
            }
        }
        self.plan(node);
    }

    /// Nodes come and go.
    pub(super) fn change(&mut self, index: usize) {
        let change = &self.scenario.change[index];
        for _ in 0..change.add {
            let node = self.fleet.len();
            self.add_node();
            self.tally.watch(node);
            if change.cold != 1.0 {
                self.fleet.get_mut(node).slow(change.cold, self.now);
                let warm = Event::Warm { node: node as u32, times: change.cold };
                self.agenda.push(self.now + change.cold_for.nanos(), warm);
            }
        }
        self.members.retain(|node| !change.remove.contains(node));
        for client in 0..self.clients.len() {
            let spread = self.scenario.network.propagation.nanos().max(1);
            let at = self.now + self.network.u64(..spread);
            self.agenda.push(at, Event::Learn { client: client as u32 });
        }
    }

    /// A client's directory has published.
    pub(super) fn hear(&mut self, index: usize) {
        let News { at: _, client, members } = &self.news[index];
        self.clients[*client].learn(self.scenario, members, self.now);
    }

    /// A client hears of the members.
    pub(super) fn learn(&mut self, client: usize) {
        self.clients[client].learn(self.scenario, &self.members, self.now);
    }
}
