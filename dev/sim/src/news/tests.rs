use super::*;

const TROUBLED: &str = "
title = ''
about = ''
duration = '100s'
show = ['errors']
clients = { count = 3, rate = 10.0 }
network = { rtt = '1ms' }
work = { law = 'constant', mean = '1ms' }
fleet = { count = 4, server = { model = 'delay' } }
registry = { ttl = '15s', trouble = [{ away = { at = '10s', to = '60s' } }, { wiped = { at = '80s' } }] }
policy = [{ use = 'adaptive', discovery = 'HOW' }]
";

fn heard(how: &str, seed: u64) -> Vec<News> {
    all(&Scenario::read(&TROUBLED.replace("HOW", how)).unwrap(), Seeds(seed)).unwrap()
}

#[test]
fn the_directory_keeps_all_nodes_through_an_outage_and_a_wipe() {
    let news = heard("directory", 1);
    for client in 0..3 {
        let of: Vec<_> = news.iter().filter(|news| news.client == client).collect();
        assert_eq!(of.len(), 1, "nothing changes: {of:?}");
        assert_eq!(of[0].members, [0, 1, 2, 3]);
    }
}

#[test]
fn who_takes_the_registry_at_its_word_has_no_nodes_for_a_while() {
    let news = heard("at-its-word", 1);
    let empty: Vec<_> = news.iter().filter(|news| news.client == 0 && news.members.is_empty()).collect();
    let second = 1_000_000_000;
    assert!(empty.iter().any(|news| (60 * second..62 * second).contains(&news.at)), "{empty:?}");
    let last = news.iter().rfind(|news| news.client == 0).unwrap();
    assert_eq!(last.members, [0, 1, 2, 3], "in the end all are back");
}

#[test]
fn the_same_seed_tells_the_same_news() {
    for how in ["directory", "at-its-word"] {
        assert_eq!(heard(how, 5), heard(how, 5));
    }
    assert_ne!(heard("at-its-word", 5), heard("at-its-word", 6));
}
