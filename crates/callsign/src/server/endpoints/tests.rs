use super::*;

fn field(name: &str, r#type: Type, type_name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        r#type: Some(r#type.into()),
        type_name: (!type_name.is_empty()).then(|| type_name.to_owned()),
        ..FieldDescriptorProto::default()
    }
}

fn repeated(field: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto { label: Some(Label::Repeated.into()), ..field }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..DescriptorProto::default() }
}

fn schema(messages: Vec<DescriptorProto>) -> Schema {
    let method = prost_types::MethodDescriptorProto {
        name: Some("Hello".to_owned()),
        input_type: Some(".greeter.Request".to_owned()),
        output_type: Some(".greeter.Reply".to_owned()),
        server_streaming: Some(true),
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("greeter.proto".to_owned()),
        package: Some("greeter".to_owned()),
        message_type: messages,
        service: vec![ServiceDescriptorProto {
            name: Some("Greeter".to_owned()),
            method: vec![method],
            ..Default::default()
        }],
        ..Default::default()
    };
    let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
    Schema::decode(&[&set, &set]).unwrap()
}

/// `name:type{children}`, for reading.
fn show(value: &Value) -> String {
    let children: Vec<_> = value.values.iter().map(show).collect();
    let children = if children.is_empty() { String::new() } else { format!("{{{}}}", children.join(" ")) };
    format!("{}:{}{children}", value.name, value.kind)
}

fn request(messages: Vec<DescriptorProto>) -> String {
    let endpoints = schema(messages).endpoints(["greeter.Greeter"].into_iter());
    show(endpoints[0].request.as_ref().unwrap())
}

#[test]
fn an_endpoint_is_named_as_in_go_and_says_that_it_streams() {
    let schema = schema(vec![message("Request", vec![]), message("Reply", vec![])]);
    assert!(schema.describes("greeter.Greeter"));
    let endpoints = schema.endpoints(["greeter.Greeter", "greeter.Unknown"].into_iter());
    assert_eq!(endpoints.len(), 1);
    assert_eq!(endpoints[0].name, "Greeter.Hello");
    assert_eq!(endpoints[0].metadata.get("stream").map(AsRef::as_ref), Some("true"));
    assert_eq!(show(endpoints[0].response.as_ref().unwrap()), "Reply:Reply");
}

#[test]
fn scalars_have_gos_names() {
    let fields = vec![
        field("a", Type::String, ""),
        field("b", Type::Sint64, ""),
        field("c", Type::Double, ""),
        field("d", Type::Bytes, ""),
        field("e", Type::Bool, ""),
        field("f", Type::Enum, ".greeter.Request.Mood"),
    ];
    assert_eq!(
        request(vec![message("Request", fields)]),
        "Request:Request{a:string b:int64 c:float64 d:[]uint8 e:bool f:Request_Mood}"
    );
}

#[test]
fn messages_are_shown_three_levels_deep_and_cycles_end() {
    let fields = vec![field("name", Type::String, ""), field("next", Type::Message, ".greeter.Request")];
    assert_eq!(
        request(vec![message("Request", fields)]),
        "Request:Request{name:string next:Request{name:string next:Request}}"
    );
}

#[test]
fn repeated_fields_are_slices_of_their_element_and_maps_have_no_type() {
    let mut entry = message("LabelsEntry", vec![]);
    entry.options = Some(prost_types::MessageOptions { map_entry: Some(true), ..Default::default() });
    let mut top = message(
        "Request",
        vec![
            repeated(field("names", Type::String, "")),
            repeated(field("items", Type::Message, ".greeter.Item")),
            repeated(field("labels", Type::Message, ".greeter.Request.LabelsEntry")),
        ],
    );
    top.nested_type = vec![entry];
    assert_eq!(
        request(vec![top, message("Item", vec![field("n", Type::Int32, "")])]),
        "Request:Request{names:[]string{string:string} items:[]Item{Item:Item} labels:}"
    );
}

#[test]
fn a_message_that_is_too_large_is_shown_less_deep() {
    let wide =
        |name: &str| message(name, (0..30).map(|n| field(&format!("f{n}"), Type::String, "")).collect());
    let top = |fields: usize| {
        let fields = (0..fields).map(|n| field(&format!("f{n}"), Type::Message, ".greeter.Item")).collect();
        let schema = schema(vec![message("Request", fields), wide("Item")]);
        let endpoints = schema.endpoints(["greeter.Greeter"].into_iter());
        count(endpoints[0].request.as_ref().unwrap())
    };
    assert_eq!(top(10), 1 + 10 * 31);
    assert_eq!(top(100), 1 + 100, "the second level goes");
    assert_eq!(top(1000), 1, "then the first");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = Schema::decode(&[&bytes]);
    }
}

#[test]
fn what_is_no_descriptor_set_is_refused_with_advice() {
    let error = Schema::decode(&[b"not descriptors"]).unwrap_err();
    assert!(error.hint().unwrap().contains("callsign-build"), "{error:?}");
}
