//! A pick that is made again from its notes comes to the same node, whatever has happened since.

use super::*;
use crate::select::{LoadReport, PassedOver, Probe, ReportConfig, Standing, subset};

/// Decisions in all, and how many are made by one slate.
const DECISIONS: usize = 10_000;
const ROUND: usize = 25;

const NAMES: [&str; 2] = ["one", "other"];

/// A fleet that never stands still, and a client of it.
struct Fleet {
    rng: fastrand::Rng,
    strategy: Strategy,
    shape: Shape,
    filters: Filters,
    /// How many of the nodes the client keeps to.
    subset: usize,
    members: Vec<Member<()>>,
    tickets: Vec<Ticket>,
    now: Instant,
    born: usize,
}

/// One decision: what was asked for, and what came of it.
struct Decision {
    filters: Filters,
    exclude: Vec<NodeId>,
    hash: Option<u64>,
    notes: Notes,
    index: Option<usize>,
}

// === impl Fleet ===

impl Fleet {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut all = strategies();
        let bounded = ["ring-hash", "maglev", "rendezvous"].map(|name| name.parse::<Strategy>().unwrap());
        all.extend(bounded.map(|strategy| strategy.with_max_load(1.25).unwrap()));
        all.push(Strategy::Custom(Arc::new(ByLoad)));
        let strategy = all.swap_remove(rng.usize(..all.len()));
        let named = |rng: &mut fastrand::Rng| NAMES[rng.usize(..2)];
        let shape = match rng.u8(..5) {
            0 => Shape::default().near([named(&mut rng)]),
            1 => Shape::default().split(Filter::group(named(&mut rng)), 30.0).unwrap(),
            2 => Shape::default().prefer(Filter::group(named(&mut rng))),
            _ => Shape::default(),
        };
        let filters = match rng.u8(..4) {
            0 => Filters::from(Filter::group(named(&mut rng))),
            _ => Filters::default(),
        };
        let subset = if rng.u8(..4) == 0 { 4 } else { usize::MAX };
        let mut fleet = Self {
            rng,
            strategy,
            shape,
            filters,
            subset,
            members: Vec::new(),
            tickets: Vec::new(),
            now: Instant::now(),
            born: 0,
        };
        (0..fleet.rng.usize(..24)).for_each(|_| fleet.join());
        fleet
    }

    fn join(&mut self) {
        self.born += 1;
        let rng = &mut self.rng;
        let (group, zone) = (NAMES[rng.usize(..2)], NAMES[rng.usize(..2)]);
        let weight = (rng.u8(..3) == 0).then(|| rng.u16(..9));
        let mut member = member(&format!("n{}", self.born), |node| {
            let node = node.group(group).zone(zone);
            match weight {
                Some(weight) => node.weight(weight),
                None => node,
            }
        });
        member.load = self.strategy.new_load();
        member.load.set_ready(rng.u8(..8) > 0);
        if rng.u8(..5) == 0 {
            member.load.ramp_up(Duration::from_secs(5), Duration::from_secs(1), self.now);
        }
        self.members.push(member);
    }

    /// Something happens that picks see at once.
    fn stir(&mut self, slate: &Slate<()>) {
        self.now += Duration::from_millis(self.rng.u64(..40));
        let rng = &mut self.rng;
        let Some(Member { load, .. }) = rng.choice(&self.members) else { return };
        match rng.u8(..12) {
            0 => load.set_ready(rng.u8(..3) > 0),
            1 => load.set_leaving(rng.u8(..3) == 0),
            2 => load.eject(),
            3 => load.probe(),
            4 => load.acquit(),
            5 => {
                let latency = Some(Duration::from_micros(rng.u64(1..9000)));
                slate.probed(load, Probe { inflight: rng.u32(..20), latency }, self.now, rng);
            }
            6 => {
                let report = LoadReport { cpu: rng.f64(), calls_per_second: 9.0, ..LoadReport::default() };
                if let Ok(Some(weight)) = ReportConfig::default().weight(&report) {
                    load.report(weight, self.now);
                }
            }
            7 => drop(slate.tick(self.now)),
            _ if !self.tickets.is_empty() => {
                let ticket = self.tickets.swap_remove(rng.usize(..self.tickets.len()));
                let outcome = if rng.u8(..6) == 0 { Outcome::Failure } else { Outcome::Success };
                ticket.mark(outcome, Duration::from_micros(rng.u64(50..200_000)), self.now);
            }
            _ => {}
        }
    }

    fn decide(&mut self, slate: &Slate<()>) -> Decision {
        let rng = &mut self.rng;
        let filters = match rng.u8(..4) {
            0 => Filters::from(Filter::zone(NAMES[rng.usize(..2)])),
            _ => Filters::default(),
        };
        let excluded = |_: &&Member<()>| rng.u8(..12) == 0;
        let exclude =
            slate.members().iter().filter(excluded).map(|member| member.node.id().clone()).collect();
        let hash = rng.bool().then(|| rng.u64(..));
        let mut decision = Decision { filters, exclude, hash, notes: Notes::default(), index: None };
        let mut notes = Notes::default();
        if let Ok(picked) = slate.pick_noting(&decision.request(), rng, &mut notes) {
            decision.index = Some(picked.index);
            self.tickets.push(picked.ticket);
        }
        Decision { notes, ..decision }
    }

    /// Decisions by one slate while everything changes. When they are handed over, it is all different.
    fn round(&mut self, previous: Option<&Slate<()>>) -> (Slate<()>, Vec<Decision>) {
        (0..self.rng.usize(..3)).for_each(|_| self.join());
        if self.rng.bool() && !self.members.is_empty() {
            self.members.swap_remove(self.rng.usize(..self.members.len()));
        }
        let kept = subset(self.members.iter().map(|member| &*member.node), 7, self.subset);
        let members = kept.into_iter().map(|index| self.members[index].clone()).collect();
        let slate =
            Slate::shaped(&self.strategy, &self.filters, &self.shape, members, previous, &mut self.rng);
        let mut decide = || {
            self.stir(&slate);
            self.decide(&slate)
        };
        let decisions = (0..ROUND).map(|_| decide()).collect();
        (0..ROUND).for_each(|_| self.stir(&slate));
        (slate, decisions)
    }
}

// === impl Decision ===

impl Decision {
    fn request(&self) -> PickRequest<'_> {
        PickRequest { filters: Some(&self.filters), exclude: &self.exclude, hash: self.hash }
    }

    /// Where it leads by these notes.
    fn again(&self, slate: &Slate<()>, notes: &Notes) -> Result<Option<usize>, NoReplay> {
        again(slate, &self.request(), notes)
    }
}

/// Goes by what no one else knows.
#[derive(Debug)]
struct ByLoad;

impl CustomStrategy for ByLoad {
    fn name(&self) -> &'static str {
        "by-load"
    }

    fn pick(
        &self,
        candidates: &Candidates<'_>,
        _: &PickRequest<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<usize> {
        let calls = |position: &usize| (candidates.load(*position).calls(), rng.u8(..));
        (0..candidates.len()).min_by_key(calls)
    }
}

fn again(slate: &Slate<()>, request: &PickRequest<'_>, notes: &Notes) -> Result<Option<usize>, NoReplay> {
    slate.replay(request, notes).map(|replay| replay.picked)
}

#[test]
fn ten_thousand_decisions_are_made_again_to_the_same_end() {
    let (mut made, mut found, mut otherwise_by_now, mut otherwise_if_altered) = (0, 0, 0, 0);
    for seed in 0.. {
        if made >= DECISIONS {
            break;
        }
        let mut fleet = Fleet::new(seed);
        let mut slate: Option<Slate<()>> = None;
        for _ in 0..4 {
            let (next, decisions) = fleet.round(slate.as_ref());
            for (n, decision) in decisions.iter().enumerate() {
                let Decision { notes, index, .. } = decision;
                let again = decision.again(&next, notes);
                assert_eq!(again, Ok(*index), "seed {seed}, {}, decision {n}: {notes:?}", fleet.strategy);
                made += 1;
                found += usize::from(index.is_some());
                // What is noted matters: one byte of it, or all of it, read otherwise leads elsewhere.
                let altered = notes.with_one_byte_altered(&mut fleet.rng);
                otherwise_if_altered += usize::from(decision.again(&next, &altered) != again);
                let by_now = next.pick(&decision.request(), &mut fastrand::Rng::with_seed(notes.seed()));
                otherwise_by_now += usize::from(by_now.ok().map(|picked| picked.index) != *index);
            }
            slate = Some(next);
        }
    }
    println!(
        "{made} decisions, {found} of them for a node; with one byte altered {otherwise_if_altered} would have another end, and \
         {otherwise_by_now} have by now"
    );
    assert!(
        found > DECISIONS * 3 / 4 && otherwise_if_altered > DECISIONS / 4 && otherwise_by_now > DECISIONS / 4
    );
}

#[test]
fn notes_do_not_change_what_is_picked() {
    for strategy in strategies() {
        let run = |noting: bool| {
            let (slate, mut rng, mut notes) = (slate(&strategy, members(20)), rng(), Notes::default());
            let request = PickRequest::default();
            let mut pick = || match noting {
                true => slate.pick_noting(&request, &mut rng, &mut notes).unwrap().index,
                false => slate.pick(&request, &mut rng).unwrap().index,
            };
            (0..200).map(|_| pick()).collect::<Vec<_>>()
        };
        assert_eq!(run(true), run(false), "{strategy}");
    }
}

#[test]
fn notes_of_another_pick_are_told_apart() {
    let (strategy, request) = (Strategy::default(), PickRequest::default());
    let (many, few) = (slate(&strategy, members(30)), slate(&strategy, members(2)));
    let (mut rng, mut notes) = (rng(), Notes::default());
    many.pick_noting(&request, &mut rng, &mut notes).unwrap();
    assert_eq!(again(&few, &request, &notes), Err(NoReplay::Astray));
    few.pick_noting(&request, &mut rng, &mut notes).unwrap();
    assert_eq!(again(&many, &request, &notes), Err(NoReplay::Astray));
    let blue = Filters::from(Filter::group("blue"));
    assert_eq!(again(&few, &PickRequest { filters: Some(&blue), ..request }, &notes), Err(NoReplay::Astray));
}

#[test]
fn a_pick_that_sees_more_than_notes_hold_is_known_for_it() {
    let slate = slate(&"rendezvous".parse().unwrap(), members(Notes::SEEN_MAX + 10));
    let (request, mut notes) = (PickRequest::default(), Notes::default());
    slate.pick_noting(&request, &mut rng(), &mut notes).unwrap();
    assert_eq!(again(&slate, &request, &notes), Err(NoReplay::Cut));

    // The notes can be used again for one that fits.
    let few = self::slate(&Strategy::default(), members(5));
    let picked = few.pick_noting(&request, &mut rng(), &mut notes).unwrap().index;
    assert_eq!(again(&few, &request, &notes), Ok(Some(picked)));
}

#[test]
fn a_pick_by_a_view_that_is_not_kept_is_known_for_it() {
    let slate = slate(&Strategy::default(), members(5));
    let (mut rng, mut notes) = (rng(), Notes::default());
    let replays = (0..200).map(|n| {
        let filters = Filters::from(Filter::custom(format!("f{n}"), |_| true));
        let request = PickRequest { filters: Some(&filters), ..PickRequest::default() };
        let index = slate.pick_noting(&request, &mut rng, &mut notes).unwrap().index;
        (index, again(&slate, &request, &notes))
    });
    let replays: Vec<_> = replays.collect();
    assert_eq!(replays[0].1, Ok(Some(replays[0].0)));
    assert!(
        replays
            .iter()
            .all(|(index, replay)| matches!(replay, Err(NoReplay::NoView)) || *replay == Ok(Some(*index)))
    );
    assert_eq!(replays[199].1, Err(NoReplay::NoView));
}

#[test]
fn a_replay_shows_what_was_seen_of_each_node_then() {
    let strategy = Strategy::Adaptive(AdaptiveConfig::default().choices(Choices::Fixed(2)));
    let (slate, now) = (slate(&strategy, members(3)), Instant::now());
    let mut tickets = Vec::new();
    for (Member { load, .. }, calls) in slate.members().iter().zip(1..) {
        load.ticket().mark(Outcome::Success, Duration::from_millis(calls * 10), now);
        tickets.extend((0..calls).map(|_| load.ticket()));
    }
    slate.members()[2].load.eject();
    let (request, mut notes, mut rng) = (PickRequest::default(), Notes::default(), rng());
    let mut seen = [false; 3];
    for _ in 0..40 {
        eprintln!("{:?}", slate.members().iter().map(|m| m.load.cost(now)).collect::<Vec<_>>());
        let before: Vec<_> =
            slate.members().iter().map(|Member { load, .. }| (load.cost(now), load.inflight())).collect();
        let picked = slate.pick_noting(&request, &mut rng, &mut notes).unwrap().index;
        // Whatever happens from now on, it was so.
        for member in slate.members() {
            member.load.set_ready(false);
            member.load.ticket().mark(Outcome::Success, Duration::from_millis(70), now);
        }
        let Replay { looks, .. } = slate.replay(&request, &notes).unwrap();
        assert!(looks.iter().any(|look| look.member == picked), "{looks:?}");
        for look in looks {
            let (cost, inflight) = before[look.member];
            seen[look.member] = true;
            assert_eq!((look.cost(now), look.inflight), (cost, Some(inflight)));
            assert_eq!(look.against, (look.member == 2).then_some(PassedOver::Ejected));
        }
        slate.members().iter().for_each(|member| member.load.set_ready(true));
    }
    assert_eq!(seen, [true; 3]);
}

#[test]
fn a_pick_is_explained_by_what_was_so_then() {
    let strategy = Strategy::LeastRequest { choices: 2 };
    let members = members(4);
    members[3].load.eject();
    let slate = slate(&strategy, members);
    let loads = || slate.members().iter().map(|member| &member.load);
    let (request, mut rng, mut notes) = (PickRequest::default(), rng(), Notes::default());
    let made = slate.explain(&request, &mut rng);
    assert_eq!(made[3], Standing::PassedOver(PassedOver::Ejected));
    // After the slate is made and before the pick, of which it sees a part.
    slate.members()[0].load.eject();
    let picked = slate.pick_noting(&request, &mut rng, &mut notes).unwrap().index;
    loads().for_each(|load| load.set_ready(false));

    assert_eq!(slate.explain_picked(&request, &[], &mut rng), made);
    let Replay { looks, .. } = slate.replay(&request, &notes).unwrap();
    assert_eq!(looks.len(), 2);
    for (index, standing) in slate.explain_picked(&request, &looks, &mut rng).into_iter().enumerate() {
        let looked_at = looks.iter().any(|look| look.member == index);
        match index {
            0 if looked_at => assert_eq!(standing, Standing::PassedOver(PassedOver::Ejected)),
            3 => assert_eq!(standing, Standing::PassedOver(PassedOver::Ejected)),
            _ => assert!(standing.is_candidate(), "{index}, {picked}"),
        }
    }
    let now = slate.explain(&request, &mut rng);
    assert!(now.iter().all(|standing| *standing == Standing::PassedOver(PassedOver::NotReady)));
}
