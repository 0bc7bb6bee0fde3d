//! What the roster makes of what its source says, without a connection: nodes are said to be ready by hand, and time is paused.

use callsign_core::{Tasks, select::Load};
use tokio::time::advance;

use super::*;
use crate::client::speech::Wish;

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes, of which one may be drained, and what calls make of them.
struct Pair {
    roster: Roster,
    seats: Vec<Seat>,
    rng: fastrand::Rng,
    _tasks: Tasks,
}

// === impl Pair ===

impl Pair {
    fn new() -> Self {
        let tasks = Tasks::new();
        let parts = Parts {
            service: ServiceName::new("greeter").unwrap(),
            origin: "a test".to_owned(),
            strategy: Strategy::Random,
            filters: Filters::default(),
            shape: Shape::default(),
            speech: Speech::new(callsign_net::Config::default(), Wish::Nothing),
            idle_after: Duration::MAX,
            check: None,
            health: HealthConfig::off(),
            slow_start: Load::RAMP,
            subset: None,
            remembered: 0,
            seed: 7,
        };
        let roster = Roster::new(parts, tasks.downgrade());
        Self { roster, seats: Vec::new(), rng: fastrand::Rng::with_seed(7), _tasks: tasks }
    }

    /// The registry shows `a` with this weight, and `b` as ever.
    fn show(&mut self, weight: Option<u16>) {
        let node = |id: &str, weight: Option<u16>| {
            let node = Node::builder("greeter", id, "127.0.0.1:1");
            Arc::new(weight.map_or(node.clone(), |weight| node.weight(weight)).build().unwrap())
        };
        let source = Source::Fixed([node("a", weight), node("b", None)].into());
        let mut unfit = Vec::new();
        self.roster.reconcile(&source, &mut self.seats, &mut unfit);
        self.seats.iter().for_each(|(_, link)| link.load.set_ready(true));
        self.roster.publish(&source, &self.seats, &unfit, &mut self.rng);
    }

    async fn pass(&self, time: Duration) {
        advance(time).await;
        self.roster.state().slate.tick(Instant::now());
    }

    /// Which part of the calls goes to `a`, in percent.
    fn share(&mut self) -> f64 {
        let state = self.roster.state();
        let picks = 10_000;
        let taken = (0..picks).filter(|_| {
            let picked = state.slate.pick(&Default::default(), &mut self.rng).unwrap();
            picked.member.node.id().as_str() == "a"
        });
        taken.count() as f64 / f64::from(picks) * 100.0
    }
}

#[track_caller]
fn assert_near(share: f64, expected: f64) {
    assert!((share - expected).abs() < 2.0, "{share} %, not {expected} %");
}

/// With a chance of c, a node that is drawn is taken, and else it is drawn again: of two nodes it gets c / (1 + c).
#[tokio::test(start_paused = true)]
async fn a_node_that_was_drained_and_is_back_gets_its_share_little_by_little() {
    let mut pair = Pair::new();
    pair.show(None);
    assert_near(pair.share(), 50.0);
    pair.show(Some(0));
    assert_eq!(pair.share(), 0.0);
    pair.pass(60 * SECOND).await;

    pair.show(None);
    assert_near(pair.share(), 9.1);
    pair.pass(Load::RAMP / 2).await;
    assert_near(pair.share(), 33.3);
    // What the registry says meanwhile does not begin it anew, unless it is drained again.
    pair.show(Some(1));
    assert_near(pair.share(), 33.3);
    pair.pass(Load::RAMP / 2).await;
    assert_near(pair.share(), 50.0);
}
