use proptest::prelude::*;

use callsign_core::select::Strategy;

use super::*;

/// A config with all that is known, as a team might have it.
const WHOLE: &str = r#"{
  "loadBalancingConfig": [{"my_own": {"a": 1}}, {"round_robin": {}}],
  "methodConfig": [
    {
      "name": [{"service": "shop.Cart", "method": "Get"}, {"service": "shop.Stock"}],
      "timeout": "1.5s",
      "waitForReady": true,
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "aborted", 8],
        "perAttemptRecvTimeout": "0.5s"
      }
    },
    {
      "name": [{}],
      "hedgingPolicy": {"maxAttempts": 9, "hedgingDelay": "0.05s", "nonFatalStatusCodes": ["INTERNAL"]}
    }
  ],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
  "healthCheckConfig": {"serviceName": "shop"}
}"#;

fn policy<'a>(config: &'a ServiceConfig, scope: &str) -> &'a MethodPolicy {
    let scope = Scope::parse(scope).unwrap();
    &config.methods.iter().find(|(other, _)| *other == scope).unwrap().1
}

fn error(text: &str) -> String {
    let error = text.parse::<ServiceConfig>().unwrap_err();
    format!("{error}; {}", error.hint().unwrap_or_default())
}

#[test]
fn all_that_is_known_is_read() {
    let config: ServiceConfig = WHOLE.parse().unwrap();
    assert_eq!(config.strategy.as_ref().map(Strategy::name), Some("round-robin"));
    assert_eq!(config.health_check, Some(HealthCheck::of("shop")));
    assert!(config.budget.is_some());
    let get = policy(&config, "shop.Cart/Get");
    assert_eq!(get, policy(&config, "shop.Stock"));
    assert_eq!((get.timeout, get.wait_for_ready), (Some(Duration::from_millis(1500)), Some(true)));
    assert_eq!(get.idempotent, Some(true), "UNAVAILABLE is to be repeated");
    let retry = get.retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.try_timeout), (4, Some(Duration::from_millis(500))));
    assert_eq!(retry.backoff.bound(), Duration::from_millis(100));
    for (code, allowed) in [
        (Code::Unavailable, true),
        (Code::Aborted, true),
        (Code::ResourceExhausted, true),
        (Code::Internal, false),
    ] {
        assert_eq!(retry.allows(code, false), allowed, "{code}");
    }
    let others = policy(&config, "*");
    let hedge = others.hedge.as_ref().unwrap();
    assert_eq!((hedge.attempts, hedge.delay), (5, Delay::Fixed(Duration::from_millis(50))));
    assert_eq!((others.idempotent, others.timeout, &others.retry), (Some(true), None, &None));
}

#[test]
fn an_empty_config_says_nothing() {
    let config: ServiceConfig = "{}".parse().unwrap();
    assert!(config.methods.is_empty() && config.strategy.is_none() && config.budget.is_none());
}

/// Each line of `WHOLE` made wrong in one way, with the line and the words that are to be in the error.
#[test]
fn what_is_wrong_is_named_with_its_line_and_its_field() {
    for (good, bad, line, said) in [
        ("\"1.5s\"", "\"-1.5s\"", 6, "methodConfig[0].timeout must not be negative"),
        ("\"1.5s\"", "\"0s\"", 6, "methodConfig[0].timeout must be above zero"),
        ("\"1.5s\"", "1.5", 6, "methodConfig[0].timeout must be a string, and is 1.5"),
        ("\"1.5s\"", "\"1.5\"", 6, "must be a duration such as"),
        ("\"1.5s\"", "\"1.s\"", 6, "must be a duration such as"),
        ("\"1.5s\"", "\"1.0123456789s\"", 6, "must be a duration such as"),
        ("\"1.5s\"", "\"999999999999999999999s\"", 6, "must be a duration such as"),
        ("true", "\"yes\"", 7, "methodConfig[0].waitForReady must be true or false, and is \"yes\""),
        ("4,", "1,", 9, "retryPolicy.maxAttempts must be two or more, and is 1"),
        ("4,", "-4,", 9, "retryPolicy.maxAttempts must be a whole number"),
        ("4,", "2.5,", 9, "retryPolicy.maxAttempts must be a whole number"),
        ("\"0.1s\"", "\"0s\"", 10, "retryPolicy.initialBackoff must be above zero"),
        (
            "\"backoffMultiplier\": 2",
            "\"backoffMultiplier\": 0",
            12,
            "backoffMultiplier must be from 1 to 100, and is 0",
        ),
        (
            "aborted",
            "unavalable",
            13,
            "retryableStatusCodes[1] is \"unavalable\", which is no status code of gRPC; did you mean UNAVAILABLE?",
        ),
        (", 8]", ", 17]", 13, "retryableStatusCodes[2] is 17"),
        ("\"UNAVAILABLE\", \"aborted\", 8", "", 8, "has no retryableStatusCodes"),
        ("\"maxBackoff\"", "\"maxBackof\"", 8, "methodConfig[0].retryPolicy lacks maxBackoff"),
        (
            "\"perAttemptRecvTimeout\"",
            "\"perAttemptTimeout\"",
            14,
            "retryPolicy.perAttemptTimeout is not known; what is known here: maxAttempts",
        ),
        ("\"method\": \"Get\"", "\"methd\": \"Get\"", 5, "methodConfig[0].name[0].methd is not known"),
        ("\"service\": \"shop.Cart\", ", "", 5, "methodConfig[0].name[0] has a method without its service"),
        ("shop.Cart", "shop/Cart", 5, "methodConfig[0].name[0] names no method"),
        ("[{}]", "[{\"service\": \"shop.Stock\"}]", 18, "methodConfig[1].name[0] is named a second time"),
        (
            "\"hedgingPolicy\"",
            "\"retryPolicy\": {}, \"hedgingPolicy\"",
            19,
            "hedgingPolicy contradicts the retryPolicy",
        ),
        ("\"0.05s\"", "\"-0.05s\"", 19, "hedgingPolicy.hedgingDelay must not be negative"),
        (
            "\"maxTokens\": 10",
            "\"maxTokens\": 0",
            22,
            "retryThrottling cannot be: set up a retry budget: there must be 1 to 1000 tokens",
        ),
        ("\"tokenRatio\": 0.1", "\"tokenRatio\": -1", 22, "the ratio of tokens"),
        ("\"serviceName\"", "\"service\"", 23, "healthCheckConfig.service is not known"),
        (
            "\"retryThrottling\"",
            "\"retryThrotling\"",
            22,
            "retryThrotling is not known; what is known here: methodConfig",
        ),
        ("\"waitForReady\": true", "\"timeout\": \"1s\"", 7, "methodConfig[0].timeout is there twice"),
        (
            "{\"round_robin\": {}}",
            "{\"round_robin\": {}, \"random\": {}}",
            2,
            "loadBalancingConfig[1] must have one field",
        ),
        ("{\"round_robin\": {}}", "[]", 2, "loadBalancingConfig[1] must be an object"),
    ] {
        assert!(WHOLE.contains(good), "{good}");
        let said_so = error(&WHOLE.replacen(good, bad, 1));
        assert!(said_so.contains(said) && said_so.contains(&format!("line {line}: ")), "{bad}: {said_so}");
    }
}

#[test]
fn strategies_that_are_not_there_are_named() {
    let said = error(r#"{"loadBalancingConfig": [{"grpclb": {}}, {"xds": {}}]}"#);
    assert!(said.contains("grpclb, xds") && said.contains("round_robin"), "{said}");
    let said = error(r#"{"loadBalancingPolicy": "grpclb"}"#);
    assert!(said.contains("line 1: loadBalancingPolicy") && said.contains("grpclb"), "{said}");
    let config: ServiceConfig = r#"{"loadBalancingPolicy": "ROUND_ROBIN"}"#.parse().unwrap();
    assert_eq!(config.strategy.as_ref().map(Strategy::name), Some("round-robin"));
}

#[test]
fn a_text_that_is_no_json_is_told_its_line_and_column() {
    let said = error("{\n  \"methodConfig\": [,]\n}");
    assert!(said.contains("line 2 column 20"), "{said}");
    for text in ["", "[]", "null", "{} {}", "{\"methodConfig\": {}}"] {
        assert!(error(text).starts_with("cannot read service config: "), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}") {
        let _ = text.parse::<ServiceConfig>();
    }

    /// Cut, doubled or overwritten anywhere, it is read or refused with a line.
    #[test]
    fn no_damage_makes_it_panic(from in 0..WHOLE.len(), length in 0_usize..40, by in "[ -~]{0,8}") {
        let to = (from + length).min(WHOLE.len());
        let damaged = format!("{}{by}{}", &WHOLE[..from], &WHOLE[to..]);
        if let Err(error) = damaged.parse::<ServiceConfig>() {
            let said = error.to_string();
            prop_assert!(said.contains("line ") || said.contains("loadBalancingConfig"), "{said}");
        }
    }

    #[test]
    fn every_duration_of_protobuf_is_read(seconds in 0_u64..1_000_000_000, nanos in 0_u32..1_000_000_000) {
        let text = format!(r#"{{"methodConfig": [{{"name": [{{}}], "hedgingPolicy": {{"maxAttempts": 2, "hedgingDelay": "{seconds}.{nanos:09}s"}}}}]}}"#);
        let config: ServiceConfig = text.parse().unwrap();
        let hedge = config.methods[0].1.hedge.as_ref().unwrap();
        prop_assert_eq!(hedge.delay, Delay::Fixed(Duration::new(seconds, nanos)));
    }
}
