//! Whatever happens on the way, all end up with the truth.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::mdns::tests::{unhex, vectors};

/// Long enough to look after every node several times. On a bad link a living one is missed now and then, and found again.
const QUIET: Duration = Duration::from_secs(90);

/// Nodes come, change and go at random, on three stations, one of which dies in the end; a fourth one watches everything.
fn live(seed: u64, lost: u8, doubled: u8) -> Result<(), TestCaseError> {
    let mut link = Link::new(4, seed);
    (link.lost, link.doubled) = (lost, doubled);
    let mut rng = fastrand::Rng::with_seed(seed);
    let watch = Arc::new(());
    let _listing = link.begin_to_look(3, None, Some(&watch));
    let mut held: HashMap<(usize, u8), (Registered, u16)> = HashMap::new();
    for weight in 1..80_u16 {
        let (at, id) = (rng.usize(..3), rng.u8(..4));
        let node = node(&format!("{at}-{id}"), weight);
        match held.remove(&(at, id)) {
            Some(one) if rng.u8(..3) == 0 => drop(one),
            Some((registered, _)) => {
                link.update(at, &registered, &node).unwrap();
                held.insert((at, id), (registered, weight));
            }
            None => {
                let registered = link.register(at, &node).unwrap();
                held.insert((at, id), (registered, weight));
            }
        }
        link.run(Duration::from_millis(rng.u64(..400)));
    }
    let expected = |held: &HashMap<(usize, u8), (Registered, u16)>| {
        let mut nodes: Vec<_> =
            held.iter().map(|((at, id), (_, weight))| (format!("{at}-{id}"), *weight)).collect();
        nodes.sort();
        nodes
    };
    settles(&mut link, &expected(&held))?;
    prop_assert!(held.values().all(|(registered, _)| registered.lost.borrow().is_none()));
    link.kill(0);
    held.retain(|(at, _), _| *at != 0);
    settles(&mut link, &expected(&held))
}

/// The watching station comes to see the truth.
fn settles(link: &mut Link, expected: &[(String, u16)]) -> Result<(), TestCaseError> {
    let end = link.now + QUIET;
    if !link.run_until(end, |link| seen(link) == expected) {
        prop_assert_eq!(&seen(link)[..], expected);
    }
    Ok(())
}

/// What the watching station's watchers were told.
fn seen(link: &Link) -> Vec<(String, u16)> {
    let nodes = link.stations[3].nodes.values();
    let mut nodes: Vec<_> = nodes.map(|node| (node.id().to_string(), node.weight().unwrap())).collect();
    nodes.sort();
    nodes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_ends_up_with_the_truth_on_a_bad_link(seed: u64, lost in 0..20_u8, doubled in 0..50_u8) {
        live(seed, lost, doubled)?;
    }
}

proptest! {
    #[test]
    fn whatever_is_said_nothing_breaks(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut link = Link::new(1, 1);
        let _one = link.register(0, &node("1", 1)).unwrap();
        packets.iter().for_each(|packet| link.say(0, packet));
        link.run(Duration::from_millis(10));
        prop_assert_eq!(link.look(0, Some("greeter")).unwrap(), ["1"]);
    }

    #[test]
    fn packets_with_a_few_wrong_bytes_break_nothing(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut link = Link::new(1, 1);
        let _one = link.register(0, &node("1", 1)).unwrap();
        let own: Vec<_> = link.stations[0].sent.iter().map(|packet| packet.bytes.clone()).collect();
        let vectors = vectors();
        let theirs = vectors["observed_packets"].as_object().unwrap().values().filter_map(|p| unhex(p.as_str()?));
        for mut packet in theirs.chain(own) {
            for (at, to) in &changes {
                *at.get_mut(&mut packet) = *to;
            }
            link.say(0, &packet);
            link.run(Duration::from_millis(1));
        }
    }
}
