use super::*;

fn plain() -> NodeBuilder {
    Node::builder("greeter", "greeter-1", "127.0.0.1:1")
}

#[test]
fn weights_are_unknown_zero_or_a_number_and_nothing_else() {
    let node = |weight: Option<&str>| match weight {
        Some(weight) => plain().metadata(keys::WEIGHT, weight),
        None => plain(),
    };
    assert_eq!(node(None).build().unwrap().weight(), None);
    assert_eq!(node(Some("0")).build().unwrap().weight(), Some(0));
    assert_eq!(node(Some("65535")).build().unwrap().weight(), Some(65535));
    for bad in ["-1", "+5", "NaN", "1.5", "65536", "", " 1", "inf", "１"] {
        let error = node(Some(bad)).build().unwrap_err();
        assert!(error.to_string().contains("not a whole number from 0 to 65535"), "{bad}: {error}");
        assert_eq!(node(Some(bad)).build_as_read().unwrap().weight(), None);
    }
}

#[test]
fn metadata_has_bounds_and_the_last_that_fits_does_fit() {
    let many = |n: usize| plain().metadata_of(&(0..n).map(|n| (format!("k{n}"), "")).collect());
    many(64).build().unwrap();
    assert!(many(65).build().unwrap_err().to_string().contains("65 pairs"));
    let value = |n: usize| plain().metadata("k", "x".repeat(n));
    value(4096).build().unwrap();
    assert!(value(4097).build().unwrap_err().to_string().contains("4097 bytes under k"));
    let key = |n: usize| plain().service_metadata("é".repeat(n / 2), "");
    key(128).build().unwrap();
    assert!(key(130).build().unwrap_err().to_string().contains("of 130 bytes"));
    assert!(plain().metadata("", "x").build().unwrap_err().to_string().contains("empty key"));
}

#[test]
fn nothing_is_registered_in_all_domains() {
    let error = plain().domain("*").build().unwrap_err();
    assert!(error.to_string().contains("stands for all domains"), "{error}");
}

#[test]
fn a_later_word_takes_the_place_of_an_earlier_one() {
    let more = Metadata::from([("zone", "b"), ("k", "v")]);
    let node = plain().zone("a").group("blue").metadata_of(&more).build().unwrap();
    assert_eq!((node.zone(), node.group(), node.metadata().get("k")), (Some("b"), Some("blue"), Some("v")));
}
