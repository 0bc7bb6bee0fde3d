use callsign_core::{
    ErrorKind,
    select::{AdaptiveConfig, Aperture, Choices, PrequalConfig, ReportConfig, Strategy},
};
use proptest::prelude::*;

use super::{options::KEYS, *};

fn parse(text: &str) -> Target {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn each_form_is_read() {
    assert_eq!(parse("greeter").service(), "greeter");
    assert!(parse("registry://a%2Fb").registry().is_none());
    assert_eq!(parse("registry://a%2Fb").service(), "a/b");
    assert_eq!(parse("local://greeter").registry().unwrap().to_string(), "local:");
    let folder = parse("local:///run/shop/greeter");
    assert_eq!((folder.service().as_str(), folder.registry().unwrap().path()), ("greeter", "/run/shop"));
    let etcd = parse("etcd://10.0.0.1:2379,10.0.0.2:2379/user-server");
    assert_eq!(etcd.service(), "user-server");
    assert_eq!(etcd.registry().unwrap().authority(), "10.0.0.1:2379,10.0.0.2:2379");
    let secure = parse("etcd://https://10.0.0.1:2379/a%2Fb?group=A");
    assert_eq!(secure.service(), "a/b");
    assert_eq!(secure.registry().unwrap().authority(), "https://10.0.0.1:2379");
    for scheme in ["etcd", "mdns", "local"] {
        let target = parse(&format!("{scheme}:///greeter"));
        assert_eq!(target.service(), "greeter");
        assert_eq!(target.registry().unwrap().to_string(), format!("{scheme}:"));
    }
    assert_eq!(parse("mdns://greeter").service(), "greeter");
}

#[test]
fn options_are_read() {
    let target = parse(
        "registry://user-server?group=A&version=1.2&label.team=shop%20floor&strategy=random&timeout=250ms\
         &domain=eu&wait_for_ready=true",
    );
    assert_eq!(target.filters.iter().count(), 3);
    assert_eq!(target.strategy.unwrap().name(), "random");
    assert_eq!(target.timeout, Some(Duration::from_millis(250)));
    assert_eq!(target.domain.unwrap().as_str(), "eu");
    assert!(target.wait_for_ready);
}

#[test]
fn a_strategy_has_its_settings() {
    let target = parse("greeter?max_load=1.25&strategy=maglev&hash=header:x-user");
    let expected = "maglev".parse::<callsign_core::select::Strategy>().unwrap().with_max_load(1.25).unwrap();
    assert_eq!(format!("{:?}", target.strategy.unwrap()), format!("{expected:?}"));
    assert_eq!(target.hash_by.unwrap().to_string(), "header:x-user");
}

#[test]
fn what_is_set_in_code_is_set_in_the_target_too() {
    let text = "greeter?subset=20&slow_start=30s&choices=3&aperture=all&decay=5s&error_charge=off&floor=2ms\
                &health.consecutive=3&health.deviations=2.5&health.failed_percent=50&health.interval=5s\
                &health.ejection=10s,2m&health.ejected_percent_max=20";
    let Target { subset, slow_start, strategy, health, .. } = parse(text);
    assert_eq!((subset, slow_start), (Some(20), Some(Duration::from_secs(30))));
    let adaptive = AdaptiveConfig::default().choices(Choices::Fixed(3)).aperture(Aperture::All);
    let adaptive = adaptive.decay(Duration::from_secs(5)).unwrap().error_charge(Duration::ZERO).unwrap();
    let adaptive = adaptive.floor(Duration::from_millis(2)).unwrap();
    assert!(matches!(strategy, Some(Strategy::Adaptive(config)) if config == adaptive), "{strategy:?}");
    let expected = HealthConfig::default().consecutive(3).unwrap().deviations(2.5).unwrap();
    let expected = expected.failed_share(0.5).unwrap().interval(Duration::from_secs(5)).unwrap();
    let expected = expected.ejection(Duration::from_secs(10), Duration::from_secs(120)).unwrap();
    assert_eq!(health, Some(expected.ejected_percent_max(20).unwrap()));

    let Target { slow_start, health, strategy, .. } =
        parse("greeter?slow_start=off&health=off&strategy=least-request&choices=4");
    assert_eq!((slow_start, health), (Some(Duration::ZERO), Some(HealthConfig::off())));
    assert!(matches!(strategy, Some(Strategy::LeastRequest { choices: 4 })));
    let reports = ReportConfig::default().blackout(Duration::ZERO).unwrap().expiry(Duration::from_secs(60));
    let reports = reports.unwrap().error_penalty(2.0).unwrap().metrics(["gpu", "disk"]);
    let text = "greeter?strategy=load-reports&blackout=off&expiry=1m&error_penalty=2&metrics=gpu,disk";
    assert!(matches!(parse(text).strategy, Some(Strategy::LoadReports(config)) if config == reports));
    let prequal = PrequalConfig::default().probes(1.5).unwrap().hot(0.6).unwrap();
    let text = "greeter?strategy=prequal&probes=1.5&hot=0.6";
    assert!(matches!(parse(text).strategy, Some(Strategy::Prequal(config)) if config == prequal));
    let clients = AdaptiveConfig::default().clients(300);
    assert!(matches!(parse("a?clients=300").strategy, Some(Strategy::Adaptive(config)) if config == clients));
}

/// Each of the options that there are is read by somebody, or `expect_none_left` would not have it.
#[test]
fn every_option_has_a_reader() {
    for key in KEYS {
        let key = if key == "label." { "label.team" } else { key };
        for value in
            ["1", "2s", "off", "maglev", "group:a", "version:1@5", "header:a", "true", "1s,2s", "1.5"]
        {
            let _ = format!("static://a:1?{key}={value}").parse::<Target>();
        }
    }
}

#[test]
fn nodes_are_asked_for_their_health() {
    assert_eq!(parse("greeter").check, None);
    assert_eq!(parse("greeter?health.check=grpc").check, Some(HealthCheck::default()));
    let one = Some(HealthCheck::of("greeter.Greeter"));
    assert_eq!(parse("greeter?health.check=grpc:greeter.Greeter").check, one);
    assert_eq!(parse("greeter?health=off&health.check=grpc").health, Some(HealthConfig::off()));
}

#[test]
fn calls_have_a_shape() {
    let target = parse("greeter?split=version:2@10&prefer=group:blue,version:1,none&near=eu-1a,eu-1b");
    assert_eq!(
        target.shape.to_string(),
        "10 % to version=2, rather group=blue, rather version=1, nobody else, near eu-1a, near eu-1b"
    );
    assert!(parse("greeter").shape.is_plain());
}

#[test]
fn fixed_addresses_have_weights() {
    let Origin::Nodes(nodes) = parse("static://127.0.0.1:1,[::1]:2?weight=0,3&name=greeter").origin else {
        panic!("not a list")
    };
    let seen: Vec<_> = nodes.iter().map(|node| (node.address(), node.weight())).collect();
    assert_eq!(seen, [("127.0.0.1:1", Some(0)), ("[::1]:2", Some(3))]);
}

#[test]
fn what_is_wrong_is_said() {
    for (text, said) in [
        ("", "it is empty"),
        ("registry://", "it is empty"),
        ("registry://a/b", "name alone"),
        ("registry:greeter", "two slashes"),
        ("127.0.0.1:80", "two slashes"),
        ("etcd://10.0.0.1:2379", "name of the service is missing"),
        ("etcd://https://10.0.0.1:2379", "name of the service is missing"),
        ("etcd://10.0.0.1:2379/", "name of the service is missing"),
        ("mdns:///", "name of the service is missing"),
        ("etcd://shop:s3cret@10.0.0.1:2379/greeter", "user or a password"),
        ("registry://a?x=1", "no option \"x\""),
        ("registry://a?group", "has no value"),
        ("registry://a?group=1&group=2", "given twice"),
        ("registry://a?weight=1", "static:// only"),
        ("registry://a?timeout=0s", "not like"),
        ("registry://a?timeout=5", "not like"),
        ("registry://a?wait_for_ready=yes", "not true or false"),
        ("registry://%ff", "not UTF-8"),
        ("registry://a?strategy=maglef", "no strategy \"maglef\""),
        ("registry://a?split=version:2@120", "not 120"),
        ("registry://a?prefer=group", "no `=`"),
        ("registry://a?near=,", "has no name"),
        ("registry://a?hash=x-user", "does not say what a call is about"),
        ("registry://a?strategy=maglev&max_load=NaN", "not NaN"),
        ("registry://a?strategy=maglev&max_load=much", "not a number"),
        ("registry://a?strategy=random&max_load=2", "the strategy random has no bound"),
        ("static://a:1,b", "no port"),
        ("static://a:1,a:1", "given twice"),
        ("static://a:1?weight=1,2", "1 addresses and 2 weights"),
        ("static://a:1?weight=-1", "not a whole number"),
    ] {
        let error = text.parse::<Target>().expect_err(text);
        assert!(error.to_string().contains(said), "{text}: {error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
    }
    for (query, said) in [
        ("subset=0", "subset is \"0\", not a whole number from 1"),
        ("subset=-3", "not a whole number"),
        ("slow_start=0s", "not like 250ms"),
        ("slow_start=-5s", "not like 250ms"),
        ("health=on", "not off"),
        ("health=off&health.consecutive=3", "health.consecutive contradicts health=off"),
        ("health.check=http", "not grpc, or grpc:SERVICE"),
        ("health.check=grpc:", "not grpc, or grpc:SERVICE"),
        ("health.consecutive=0", "not a whole number from 1"),
        ("health.deviations=NaN", "not NaN"),
        ("health.failed_percent=-5", "from 0.01 to 1"),
        ("health.interval=10ms", "the interval must be"),
        ("health.ejection=30s", "two times like 30s,5m"),
        ("health.ejection=5m,30s", "an ejection lasts"),
        ("health.ejected_percent_max=60", "from 0 to 50"),
        ("strategy=maglev&choices=2", "means nothing to the strategy maglev"),
        ("choices=9", "not a whole number from 2 to 8"),
        ("strategy=least-request&choices=0", "not a whole number from 2 to 8"),
        ("strategy=random&decay=1s", "means nothing to the strategy random"),
        ("decay=1ms", "the decay must be from"),
        ("floor=1h", "the floor must be from"),
        ("error_charge=1h", "the error charge must be from"),
        ("aperture=1", "not a whole number from 2"),
        ("aperture=12&clients=300", "contradicts aperture"),
        ("blackout=5s", "means nothing to the strategy adaptive"),
        ("strategy=load-reports&expiry=10ms", "believed for 1 s to a day"),
        ("strategy=load-reports&error_penalty=-1", "from 0 to 100, not -1"),
        ("strategy=load-reports&metrics=gpu,", "not names with commas"),
        ("probes=3", "means nothing to the strategy adaptive"),
        ("strategy=prequal&probes=NaN", "0.1 to 10 probes, not NaN"),
        ("strategy=prequal&hot=84", "from 0 to 1, not 84"),
        ("clients=0", "not a whole number from 1"),
        ("max_load=1.25", "the strategy adaptive has no bound"),
    ] {
        let error = format!("registry://a?{query}").parse::<Target>().expect_err(query);
        assert!(error.to_string().contains(said), "{query}: {error}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{query}");
    }
    let error = "registry://a?health.consecutve=3".parse::<Target>().unwrap_err();
    assert_eq!(error.hint(), Some("did you mean `health.consecutive`?"));
    let error = "registry://a?stratgy=random".parse::<Target>().unwrap_err();
    assert_eq!(error.hint(), Some("did you mean `strategy`?"));
}

#[test]
fn a_password_is_refused_and_not_repeated() {
    for place in
        ["etcd://me:s3cret@a:1/greeter", "etcd://me:s3cret@a:1", "etcd://https://me:s3cret@a:1/x?y=z"]
    {
        let error = place.parse::<Target>().unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = text.parse::<Target>();
    }

    #[test]
    fn no_query_makes_it_panic(query in "([a-z._]{0,9}[=&,:%0-9a-z]{0,9}){0,6}") {
        let _ = format!("static://a:1?{query}").parse::<Target>();
    }
}

#[test]
fn tls_is_asked_for_by_name_or_by_saying_how() {
    let always = |text| parse(text).tls.map(|tls| tls.is_always());
    assert_eq!(always("registry://greeter"), None);
    assert_eq!(always("registry://greeter?tls=on"), Some(true));
    assert_eq!(always("registry://greeter?ca=/etc/a%26b.pem"), Some(true));
    assert_eq!(always("registry://greeter?server_name=greeter&tls=published"), Some(false));
    for (text, said) in [
        ("registry://greeter?tls=off", "not on, nor published"),
        ("registry://greeter?cert=/a", "cert needs its key"),
        ("registry://greeter?key=/a", "key needs its certificate"),
    ] {
        let error = text.parse::<Target>().unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
