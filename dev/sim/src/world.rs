//! One run: the events of one seed, in the order of their time.
//!
//! Calls come as they come, whether earlier ones were answered or not, so that slow answers do not slow the load. Everything
//! drawn for a call is drawn when it comes, and from a stream of its own, so that all policies face the same calls.

mod agenda;
mod call;
mod client;
mod trouble;

use std::{collections::VecDeque, fmt::Write as _};

use callsign_core::{retry::Backoff, select::Outcome};
use fastrand::Rng;

use self::{
    agenda::{Agenda, Event},
    call::{Call, Calls, Stage},
    client::Client,
};
use crate::{
    balancer::{Ask, Mark, Probe},
    clock::{Clock, Nanos, SECOND},
    fleet::{Fleet, Job, Machine},
    measure::Tally,
    news::{self, News},
    random::{Seeds, Stream, exponential},
    scenario::{Scenario, Trouble},
};

/// How often calls in flight are looked at.
pub(crate) const SAMPLE: Nanos = SECOND / 10;
/// Most attempts of a call, as the channel has it.
const ATTEMPTS_MAX: u8 = 3;

/// Everything that there is in a run.
pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    clock: Clock,
    seeds: Seeds,
    now: Nanos,
    end: Nanos,
    agenda: Agenda,
    fleet: Fleet,
    /// Nodes that are registered.
    members: Vec<usize>,
    clients: Vec<Client>,
    calls: Calls,
    /// When calls are given up, in order: all may take as long.
    deadlines: VecDeque<(Nanos, u32, u64)>,
    machines: Vec<Rng>,
    network: Rng,
    probes: Vec<usize>,
    /// What clients hear, if there is a registry that tells them.
    news: Vec<News>,
    tally: Tally,
    trace: Option<String>,
}

// === impl World ===

impl<'a> World<'a> {
    /// A world at its beginning, for a scenario with a single policy.
    pub(crate) fn new(scenario: &'a Scenario, seed: u64, clock: Clock) -> Result<Self, String> {
        let seeds = Seeds(seed);
        let clients = (0..scenario.clients.count)
            .map(|client| Client::new(scenario, client, seeds, clock))
            .collect::<Result<_, _>>()?;
        let mut world = Self {
            scenario,
            clock,
            seeds,
            now: 0,
            end: scenario.duration.nanos(),
            agenda: Agenda::default(),
            fleet: Fleet::new(),
            members: Vec::new(),
            clients,
            calls: Calls::default(),
            deadlines: VecDeque::new(),
            machines: Vec::new(),
            network: seeds.stream(Stream::Network, 0),
            probes: Vec::new(),
            news: if scenario.registry.is_some() { news::all(scenario, seeds)? } else { Vec::new() },
            tally: Tally::new(scenario),
            trace: None,
        };
        world.begin();
        Ok(world)
    }

    /// Writes down what happens to each call.
    #[cfg(test)]
    pub(crate) fn traced(mut self) -> Self {
        self.trace = Some(String::new());
        self
    }

    /// Runs to the end: until the last call is over.
    pub(crate) fn run(mut self) -> Tally {
        self.go_on();
        self.finish()
    }

    /// Runs to the end, and returns what happened to each call.
    #[cfg(test)]
    pub(crate) fn run_traced(mut self) -> String {
        self.go_on();
        self.trace.take().unwrap_or_default()
    }

    fn begin(&mut self) {
        (0..self.scenario.fleet.count).for_each(|_| self.add_node());
        for (index, news) in self.news.iter().enumerate() {
            self.agenda.push(news.at, Event::News { index: index as u32 });
        }
        for client in 0..self.clients.len() {
            self.learn(client);
            self.next_arrival(client);
            // Not all at the same moment.
            let first = self.clients[client].draws.u64(..SECOND);
            self.agenda.push(first, Event::Tick { client: client as u32 });
        }
        self.plan_troubles();
        self.agenda.push(SAMPLE, Event::Sample);
    }

    fn go_on(&mut self) {
        loop {
            let deadline = self.deadlines.front().map(|(at, ..)| *at);
            let event = self.agenda.at();
            match (deadline, event) {
                (None, None) => return,
                (Some(deadline), event) if event.is_none_or(|event| deadline < event) => {
                    self.now = deadline;
                    self.give_up_first();
                }
                _ => {
                    let Some((at, event)) = self.agenda.pop() else { return };
                    self.now = at;
                    self.handle(event);
                }
            }
        }
    }

    fn finish(mut self) -> Tally {
        let (end, events) = (self.end, self.agenda.handled());
        for node in 0..self.fleet.len() {
            self.fleet.get_mut(node).meter.settle(end.max(self.now));
        }
        self.tally.finish(&self.fleet, events);
        self.tally
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive { client } => self.arrive(client as usize),
            Event::Reach(job) => self.reach(job),
            Event::Served { node, job } => {
                self.answer(job, false);
                let next =
                    self.fleet.get_mut(node as usize).next_in_queue(self.now, self.calls.generations());
                if let Some((job, done)) = next {
                    self.agenda.push(done, Event::Served { node, job });
                }
            }
            Event::Finish { node, version } => {
                let machine = self.fleet.get_mut(node as usize);
                if let Some(job) = machine.finish_shared(version, self.now, self.calls.generations()) {
                    self.answer(job, false);
                    self.plan(node as usize);
                }
            }
            Event::Held { job, failed } => self.answer(job, failed),
            Event::Reply { job, failed } => self.reply(job, failed),
            Event::Again(job) => {
                if self.calls.is_live(job) {
                    self.send(job.call);
                }
            }
            Event::Tick { client } => self.tick(client),
            Event::Sample => self.sample(),
            Event::Probe { client, node } => self.probe(client, node as usize),
            Event::Probed { client, probe } => {
                self.clients[client as usize].balancer.probed(probe, self.now);
            }
            Event::Switch { node } => self.switch(node as usize),
            Event::Trouble { index, on } => self.trouble(index as usize, on),
            Event::Notice { client, node, ready } => self.notice(client as usize, node as usize, ready),
            Event::Change { index } => self.change(index as usize),
            Event::Learn { client } => self.learn(client as usize),
            Event::News { index } => self.hear(index as usize),
            Event::Warm { node, times } => {
                self.fleet.get_mut(node as usize).slow(1.0 / times, self.now);
                self.plan(node as usize);
            }
        }
    }

    // The life of a call.

    fn next_arrival(&mut self, client: usize) {
        let gap =
            exponential(self.clients.len() as f64 / self.scenario.rate(), &mut self.clients[client].arrivals);
        let at = self.now + crate::clock::nanos(gap);
        if at < self.end {
            self.agenda.push(at, Event::Arrive { client: client as u32 });
        }
    }

    fn arrive(&mut self, client: usize) {
        let network = self.scenario.network;
        let draws = &mut self.clients[client].draws;
        let work = call::draw_work(&self.scenario.work, draws);
        let luck = draws.f64();
        let wire = network.rtt.nanos() / 2 + (network.jitter.nanos() as f64 * draws.f64()) as Nanos;
        let slot = self.calls.begin(Call::new(client as u32, self.now, work, luck, wire));
        let serial = self.calls.get(slot).serial;
        self.deadlines.push_back((self.now + self.scenario.clients.timeout.nanos(), slot, serial));
        if self.scenario.policy[0].retries {
            self.clients[client].budget.deposit(self.clock.instant(self.now));
        }
        self.next_arrival(client);
        self.send(slot);
    }

    /// Sends the next attempt of a call.
    fn send(&mut self, slot: u32) {
        let call = self.calls.get_mut(slot);
        let client = &mut self.clients[call.client as usize];
        let ask = Ask {
            now: self.now,
            exclude: &call.tried,
            work: call.work,
            is_long: call.is_long,
            fleet: &self.fleet,
        };
        let Some(choice) = client.balancer.pick(&ask, &mut client.rng) else {
            self.end_call(slot, false);
            return;
        };
        (call.node, call.ticket, call.sent) = (choice.node, choice.ticket, self.now);
        call.stage = Stage::Away;
        call.attempts += 1;
        self.tally.sent(choice.node, self.now);
        let at = self.now + call.wire;
        self.agenda.push(at, Event::Reach(self.calls.job(slot)));
        client.balancer.probes(&mut client.rng, &mut self.probes);
        for node in self.probes.drain(..) {
            let wire = self.scenario.network.rtt.nanos() / 2;
            let jitter = (self.scenario.network.jitter.nanos() as f64 * self.network.f64()) as Nanos;
            let event = Event::Probe { client: self.calls.get(slot).client, node: node as u32 };
            self.agenda.push(self.now + wire + jitter, event);
            self.tally.probes += 1;
        }
    }

    /// An attempt comes to its node.
    fn reach(&mut self, job: Job) {
        if !self.calls.is_live(job) {
            return;
        }
        let call = self.calls.get_mut(job.call);
        let machine = self.fleet.get_mut(call.node);
        call.reached = self.now;
        call.among = machine.inflight();
        if let Some((trouble, share)) = machine.trouble
            && call.luck < share
        {
            let (after, failed) = match trouble {
                Trouble::Delay(span) => (Some(span), false),
                Trouble::Fail(span) => (Some(span), true),
                Trouble::Hang | Trouble::Gone(_) => (None, false),
                Trouble::Slow(_) => return self.work_on(job),
            };
            call.stage = Stage::Held;
            machine.hold(self.now);
            if let Some(span) = after {
                self.agenda.push(self.now + span.nanos(), Event::Held { job, failed });
            }
            return;
        }
        self.work_on(job);
    }

    fn work_on(&mut self, job: Job) {
        let call = self.calls.get_mut(job.call);
        call.stage = Stage::AtWork;
        let node = call.node;
        let done = self.fleet.get_mut(node).take(job, call.work, self.now);
        match done {
            Some(done) => self.agenda.push(done, Event::Served { node: node as u32, job }),
            None => self.plan(node),
        }
    }

    /// Plans when the machine is done with the next of its calls.
    fn plan(&mut self, node: usize) {
        let plan = self.fleet.get_mut(node).next_of_shared(self.now, self.calls.generations());
        if let Some((at, version)) = plan {
            self.agenda.push(at, Event::Finish { node: node as u32, version });
        }
    }

    /// The node is done with an attempt.
    fn answer(&mut self, job: Job, failed: bool) {
        if !self.calls.is_live(job) {
            return;
        }
        let call = self.calls.get_mut(job.call);
        let machine = self.fleet.get_mut(call.node);
        machine.answered(self.now - call.reached, call.among, failed, self.now);
        call.stage = Stage::Away;
        if !matches!(machine.trouble, Some((Trouble::Gone(_), _))) {
            self.agenda.push(self.now + call.wire, Event::Reply { job, failed });
        }
    }

    /// The answer comes to the client.
    fn reply(&mut self, job: Job, failed: bool) {
        if self.calls.is_live(job) {
            let outcome = if failed { Outcome::Failure } else { Outcome::Success };
            self.end_attempt(job.call, outcome);
            if !failed {
                self.end_call(job.call, true);
            } else if !self.repeat(job.call) {
                self.end_call(job.call, false);
            }
        }
    }

    fn give_up_first(&mut self) {
        let Some((_, slot, serial)) = self.deadlines.pop_front() else { return };
        if !self.calls.is_same(slot, serial) {
            return;
        }
        let call = self.calls.get(slot);
        let (node, stage) = (call.node, call.stage);
        match stage {
            Stage::Held => self.fleet.get_mut(node).release(self.now),
            Stage::AtWork => self.fleet.get_mut(node).drop_job(self.now),
            Stage::Away | Stage::Pausing => {}
        }
        if stage != Stage::Pausing {
            self.end_attempt(slot, Outcome::DeadlineExceeded);
        }
        self.end_call(slot, false);
        self.plan(node);
    }

    /// From here on nothing that is under way for this attempt counts.
    fn end_attempt(&mut self, slot: u32, outcome: Outcome) {
        self.calls.next_generation(slot);
        let call = self.calls.get_mut(slot);
        call.stage = Stage::Pausing;
        let mark = Mark {
            node: call.node,
            ticket: call.ticket.take(),
            is_long: call.is_long,
            outcome,
            elapsed: std::time::Duration::from_nanos(self.now - call.sent),
            now: self.now,
            fleet: &self.fleet,
        };
        self.clients[call.client as usize].balancer.done(mark);
        if let Some(trace) = &mut self.trace {
            let Call { client, node, began, .. } = call;
            let _ = writeln!(trace, "{} client {client} node {node} began {began} {outcome:?}", self.now);
        }
    }

    /// Sends a failed call once more, if that is allowed: at once the first time, later after a pause.
    fn repeat(&mut self, slot: u32) -> bool {
        let call = self.calls.get_mut(slot);
        let client = &mut self.clients[call.client as usize];
        let may = self.scenario.policy[0].retries && call.attempts < ATTEMPTS_MAX;
        if !may || !client.budget.withdraw(self.clock.instant(self.now)) {
            return false;
        }
        call.tried.push(call.node);
        if call.attempts == 1 {
            self.send(slot);
        } else {
            let pause = call.pause.get_or_insert_with(Backoff::calls).next(&mut client.rng);
            self.agenda.push(self.now + pause.as_nanos() as Nanos, Event::Again(self.calls.job(slot)));
        }
        true
    }

    fn end_call(&mut self, slot: u32, well: bool) {
        let call = self.calls.end(slot);
        let timed_out = self.now - call.began >= self.scenario.clients.timeout.nanos();
        self.tally.call(call.began, self.now - call.began, well, timed_out, call.attempts);
    }

    // What else goes on.

    fn tick(&mut self, client: u32) {
        let at = &mut self.clients[client as usize];
        at.balancer.tick(self.now, &self.fleet, &mut at.rng);
        if self.now + SECOND < self.end {
            self.agenda.push(self.now + SECOND, Event::Tick { client });
        }
    }

    fn sample(&mut self) {
        for node in 0..self.fleet.len() {
            self.fleet.get_mut(node).meter.settle(self.now);
        }
        self.tally.sample(&self.fleet, &self.members, self.now);
        if self.now + SAMPLE <= self.end {
            self.agenda.push(self.now + SAMPLE, Event::Sample);
        }
    }

    fn probe(&mut self, client: u32, node: usize) {
        let machine = self.fleet.get(node);
        if matches!(machine.trouble, Some((Trouble::Hang | Trouble::Gone(_), _))) {
            return;
        }
        let (inflight, latency) = machine.probe();
        let back = self.now + self.scenario.network.rtt.nanos() / 2;
        self.agenda.push(back, Event::Probed { client, probe: Probe { node, inflight, latency } });
    }

    /// The neighbour of a machine takes its cores, or gives them back.
    fn switch(&mut self, node: usize) {
        let dwell = self.fleet.get_mut(node).switch(self.scenario.fleet.server, self.now);
        self.plan(node);
        self.plan_switch(node, dwell);
    }

    fn plan_switch(&mut self, node: usize, dwell: Option<f64>) {
        let Some(dwell) = dwell else { return };
        let at = self.now + crate::clock::nanos(exponential(dwell, &mut self.machines[node]));
        if at < self.end {
            self.agenda.push(at, Event::Switch { node: node as u32 });
        }
    }

    fn add_node(&mut self) {
        let node = self.fleet.len();
        let mut rng = self.seeds.stream(Stream::Machines, node);
        let machine = Machine::new(self.scenario, node, self.now, &mut rng);
        let dwell = machine.first_dwell(self.scenario.fleet.server);
        self.machines.push(rng);
        self.fleet.push(machine);
        self.members.push(node);
        self.plan_switch(node, dwell);
    }
}

#[cfg(test)]
mod tests;
