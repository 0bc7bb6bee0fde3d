use std::io::Write as _;

use proptest::prelude::*;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use serde_json::{Value, json};

use super::{assign, find, read, schema::Schema};
use crate::{
    exit::Exit,
    output::{Doc, Paint, Render as _},
};

const PROTO: &str = r#"
syntax = "proto3";
package shop;

import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";

service Cart {
  rpc Add(Order) returns (Order);
  rpc Follow(Order) returns (stream Order);
}
service Stock { rpc Count(Order) returns (Order); rpc Add(Order) returns (Order); }

message Order {
  string id = 1;
  repeated Item items = 2;
  map<int32, Item> by_shelf = 3;
  Colour colour = 4;
  google.protobuf.Timestamp placed_at = 5;
  google.protobuf.Duration within = 6;
  google.protobuf.Int32Value limit = 7;
  bytes token = 8;
  bool express = 9;
  uint64 total = 10;
  oneof pay { string card = 11; string invoice = 12; }
  repeated int32 codes = 13;
  optional double rate = 14;
}
message Item { string name = 1; int32 count = 2; Item part = 3; }
enum Colour { RED = 0; GREEN = 1; }
"#;

fn schema() -> Schema {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.proto");
    std::fs::File::create(&path).unwrap().write_all(PROTO.as_bytes()).unwrap();
    let files = protox::compile([&path], [dir.path()]).unwrap();
    Schema::new(&["shop.Cart".into(), "shop.Stock".into()], files.file).unwrap()
}

fn order() -> MessageDescriptor {
    pool().get_message_by_name("shop.Order").unwrap()
}

fn pool() -> DescriptorPool {
    schema().services().next().unwrap().parent_pool().clone()
}

/// What a person is told about a body.
fn told(body: &Value) -> String {
    read(&order(), body).map(|_| "fits".to_owned()).unwrap_or_else(|error| {
        assert_eq!(error.exit(), Exit::Usage);
        error.render(Paint::OFF)
    })
}

#[test]
fn a_body_that_does_not_fit_is_told_by_its_field_and_what_was_expected() {
    for (body, said) in [
        (json!([]), "the body must be an object (shop.Order), and an empty list is given"),
        (json!({"id": 5}), "`id` must be text (string), and the number 5 is given"),
        (json!({"express": "yes"}), "`express` must be true or false (bool), and the text \"yes\" is given"),
        (
            json!({"items": [{"count": 1}, {"count": 1.5}]}),
            "`items[1].count` must be a whole number from -2147483648 to 2147483647 (int32), and the number 1.5 is given",
        ),
        (
            json!({"items": {}}),
            "`items` must be a list, each of its items an object (shop.Item), and an object is given",
        ),
        (
            json!({"items": [{"part": {"name": []}}]}),
            "`items[0].part.name` must be text (string), and an empty list",
        ),
        (json!({"byShelf": {"x": {}}}), "`byShelf[\"x\"]` must be a key that is a whole number"),
        (json!({"by_shelf": {"1": {"nam": ""}}}), "there is no field `by_shelf[\"1\"].nam` in shop.Item"),
        (
            json!({"colour": "GREN"}),
            "`colour` must be one of `RED` and `GREEN` (shop.Colour), and the text \"GREN\"",
        ),
        (
            json!({"placedAt": "yesterday"}),
            "`placedAt` must be a time like \"2026-05-01T10:00:00Z\" (Timestamp)",
        ),
        (json!({"within": 5}), "`within` must be seconds like \"1.5s\" (Duration)"),
        (json!({"limit": "x"}), "`limit` must be a whole number"),
        (json!({"total": -1}), "`total` must be a whole number from 0 to 18446744073709551615 (uint64)"),
        (json!({"card": "1", "invoice": "2"}), "cannot both be set: they are one choice, `pay`"),
        (json!({"token": "%%"}), "base64"),
        (json!({"rate": "fast"}), "`rate` must be a number (double), and the text \"fast\" is given"),
    ] {
        let told = told(&body);
        assert!(told.contains(said), "{body}: {told}");
    }
}

#[test]
fn a_slip_in_a_name_is_pointed_out() {
    assert!(told(&json!({"itms": []})).contains("did you mean `items`?"));
    assert!(told(&json!({"items": [{"cuont": 1}]})).contains("did you mean `items[0].count`?"));
    assert!(told(&json!({"colour": "GREN"})).contains("did you mean `GREEN`?"));
}

#[test]
fn all_forms_that_protobuf_allows_are_taken() {
    let body = json!({
        "id": "a", "items": [{"name": "x", "count": 2}], "byShelf": {"7": {"count": "3"}}, "colour": 1,
        "placedAt": "2026-05-01T10:00:00Z", "within": "1.5s", "limit": 5, "token": "AAEC", "express": null,
        "total": "18446744073709551615", "card": "1", "codes": [1, 2], "rate": "NaN"
    });
    assert_eq!(told(&body), "fits");
}

#[test]
fn replies_show_what_was_not_sent_too_and_keep_the_order_of_the_fields() {
    let message = read(&order(), &json!({"total": 7, "id": "a"})).unwrap();
    let reply = super::Reply::new(&message).unwrap();
    let Doc::Map(pairs) = reply.data() else { panic!("not an object") };
    let names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["id", "items", "byShelf", "colour", "token", "express", "total", "codes"]);
}

#[test]
fn fields_of_the_command_line_take_the_types_of_the_schema() {
    let set = |fields: &[(&str, &str)]| {
        let fields: Vec<_> =
            fields.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut body = json!({"id": "kept"});
        assign(&order(), &mut body, &fields).map(|()| body).map_err(|error| error.render(Paint::OFF))
    };
    assert_eq!(
        set(&[("id", "5"), ("total", "5"), ("express", "true"), ("colour", "GREEN"), ("placed-at", "2026")])
            .unwrap(),
        json!({"id": "5", "total": 5, "express": true, "colour": "GREEN", "placedAt": 2026})
    );
    assert_eq!(
        set(&[("codes", "1"), ("codes", "2"), ("items", r#"[{"name":"a"}]"#), ("by_shelf", r#"{"1":{}}"#)])
            .unwrap(),
        json!({"id": "kept", "codes": [1, 2], "items": [{"name": "a"}], "byShelf": {"1": {}}})
    );
    assert_eq!(set(&[("limit", "3")]).unwrap(), json!({"id": "kept", "limit": 3}));
    let error = set(&[("expres", "true")]).unwrap_err();
    assert!(error.contains("--expres is neither an option nor a field of shop.Order"), "{error}");
    assert!(error.contains("did you mean `--express`?"), "{error}");
    assert!(set(&[("id.x", "1")]).unwrap_err().contains("`id` is not a message"));
}

#[test]
fn a_method_is_found_by_each_of_its_names() {
    let schema = schema();
    let name = |written: &str| find(&schema, written).map(|method| method.full_name().to_owned());
    for written in ["Cart.Follow", "shop.Cart.Follow", "shop.Cart/Follow", "/shop.Cart/Follow", "Follow"] {
        assert_eq!(name(written).unwrap(), "shop.Cart.Follow", "{written}");
    }
    let error = name("Add").unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(error.render(Paint::OFF).contains("could be `shop.Cart/Add` and `shop.Stock/Add`"));
    for (written, near) in
        [("Cart.Folow", "Cart.Follow"), ("Crt.Follow", "Cart.Follow"), ("cart.follow", "Cart.Follow")]
    {
        let error = name(written).unwrap_err();
        assert_eq!(error.exit(), Exit::NotFound);
        assert!(error.render(Paint::OFF).contains(&format!("did you mean `{near}`?")), "{written}");
    }
    assert!(!name("Zebra.Stripe").unwrap_err().render(Paint::OFF).contains("did you mean"));
}

/// Any JSON, with keys that the schema has more often than not.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[A-Z0-9a-z:.-]{0,12}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(
            &["id", "items", "byShelf", "colour", "placedAt", "limit", "part", "count", "codes", "card"][..]
        )
        .prop_map(str::to_owned),
        "[a-z]{0,4}",
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_body_fits_or_is_refused_with_a_reason(body in anything()) {
        // The schema is the same for all cases, and takes a while to compile.
        static ORDER: std::sync::OnceLock<MessageDescriptor> = std::sync::OnceLock::new();
        if let Err(error) = read(ORDER.get_or_init(order), &body) {
            let told = error.render(Paint::OFF);
            prop_assert!(told.contains("because: "), "{told}");
        }
    }

    #[test]
    fn every_body_survives_the_way_to_a_message_and_back(name in ".{0,20}", count in any::<i32>(), total in any::<u64>()) {
        static ORDER: std::sync::OnceLock<MessageDescriptor> = std::sync::OnceLock::new();
        let body = json!({"id": name, "items": [{"name": name, "count": count}], "total": total});
        let message = read(ORDER.get_or_init(order), &body).unwrap();
        let back = serde_json::to_value(super::Reply::new(&message).unwrap().data()).unwrap();
        prop_assert_eq!(&back["id"], &body["id"]);
        prop_assert_eq!(&back["items"][0]["count"], &body["items"][0]["count"]);
        prop_assert_eq!(&back["total"], &Value::from(total.to_string()));
    }
}
