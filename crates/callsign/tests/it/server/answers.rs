//! What a running server answers.

use std::time::Duration;

use callsign::core::{Registry as _, ServiceName, memory::MemoryRegistry, registry::GetOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::greeter_client;
use crate::support::{Connection, TestGreeter, builder, hello, run, soon};

#[tokio::test]
async fn all_four_shapes_of_a_call_are_answered() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;

    let reply = client.hello(hello("World")).await.unwrap().into_inner();
    assert_eq!(reply.message, "Hello, World!");

    let mut client = running.conversation().await;
    let mut replies = client.listen(hello("x")).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap().unwrap().message, "Hello, one!");

    let names = futures_util::stream::iter([hello("Ann"), hello("Bob")]);
    let reply = client.tell(names).await.unwrap().into_inner();
    assert_eq!(reply.message, "Hello, Ann and Bob!");

    let names = futures_util::stream::iter([hello("Ann"), hello("Bob")]);
    let mut replies = client.chat(names).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap().unwrap().message, "Hello, Ann!");
    assert_eq!(replies.message().await.unwrap().unwrap().message, "Hello, Bob!");
    assert!(replies.message().await.unwrap().is_none());
}

#[tokio::test]
async fn the_entry_in_the_registry_says_who_it_is_and_what_it_offers() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, |builder| {
        builder.version("1.2.0").id("greeter-1").weight(10).group("blue").zone("a").metadata("team", "hello")
    })
    .await;
    soon("the registration", running.handle.registered()).await.unwrap();

    let greeter = ServiceName::new("greeter").unwrap();
    let listing = registry.get(&greeter, &GetOptions::default()).await.unwrap();
    let [node] = &*listing.nodes else { panic!("one node: {listing:?}") };
    assert_eq!(node.id(), &"greeter-1");
    assert_eq!(node.version(), "1.2.0");
    assert_eq!(node.address(), running.handle.local_addr().to_string());
    assert_eq!((node.weight(), node.group(), node.zone()), (Some(10), Some("blue"), Some("a")));
    for (key, value) in [
        ("team", "hello"),
        ("protocol", "grpc"),
        ("transport", "grpc"),
        ("server", "grpc"),
        ("registry", "memory"),
    ] {
        assert_eq!(node.metadata().get(key), Some(value), "{key}");
    }
    assert!(node.started().unwrap() > Duration::from_secs(1_700_000_000));

    let endpoints: Vec<_> = node.endpoints().iter().map(|endpoint| &*endpoint.name).collect();
    assert_eq!(
        endpoints,
        [
            "Conversation.Ask",
            "Conversation.Chat",
            "Conversation.Listen",
            "Conversation.Tell",
            "Greeter.Hello"
        ]
    );
    let request = node.endpoints()[4].request.as_ref().unwrap();
    assert_eq!(
        (&*request.name, &*request.values[0].name, &*request.values[0].kind),
        ("HelloRequest", "name", "string")
    );
}

#[tokio::test]
async fn health_follows_what_the_application_says_and_so_does_the_registration() {
    let registry = MemoryRegistry::new();
    let running = run(&registry, |builder| builder).await;
    soon("the registration", running.handle.registered()).await.unwrap();
    let mut health = HealthClient::new(Connection::open(running.handle.local_addr()).await);
    let request = HealthCheckRequest { service: "greeter.Greeter".to_owned() };
    let mut statuses = health.watch(request.clone()).await.unwrap().into_inner();
    let mut next = async || soon("a status", statuses.message()).await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);

    running.handle.health().set_healthy(false);
    assert_eq!(next().await, ServingStatus::NotServing);
    soon("the node leaves the registry", async {
        let greeter = ServiceName::new("greeter").unwrap();
        while !registry.get(&greeter, &GetOptions::default()).await.unwrap().nodes.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Not well is not gone: who calls is answered.
    assert!(running.client().await.hello(hello("World")).await.is_ok());

    running.handle.health().set_healthy(true);
    assert_eq!(next().await, ServingStatus::Serving);
    soon("the registration", running.handle.registered()).await.unwrap();

    let unknown = health.check(HealthCheckRequest { service: "nobody".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_answers_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};

    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let connection = Connection::open(running.handle.local_addr()).await;

    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(connection.clone());
    let mut answers =
        client.server_reflection_info(futures_util::stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("a list of services: {answer:?}")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "greeter.Conversation",
            "greeter.Greeter",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection"
        ]
    );

    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "greeter.HelloRequest".to_owned(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(connection);
    let mut answers =
        client.server_reflection_info(futures_util::stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(
        answer,
        v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)
    ));
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_that_call_only() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut client = running.client().await;
    let status = client.hello(hello("panic")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(client.hello(hello("World")).await.is_ok());
}

#[tokio::test]
async fn a_handler_can_ask_who_calls() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let reply = running.client().await.hello(hello("who am I")).await.unwrap().into_inner();
    assert!(reply.message.starts_with("Hello, 127.0.0.1:"), "{}", reply.message);
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented_with_a_suggestion() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let mut connection = Connection::open(running.handle.local_addr()).await;
    let request = http::Request::post("/greeter.Greter/Hello")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::empty())
        .unwrap();
    let response = tower_service::Service::call(&mut connection, request).await.unwrap();
    let status = tonic::Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "unknown service greeter.Greter: did you mean greeter.Greeter?");
}

#[tokio::test]
async fn a_service_is_found_by_its_last_part_as_go_micros_clients_name_it() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let connection = Connection::open(running.handle.local_addr()).await;
    for (path, code) in [
        ("/go.micro.srv.greeter.Greeter/Hello", Code::Ok),
        ("/Greeter/Hello", Code::Ok),
        ("/Greeter/Goodbye", Code::Unimplemented),
        ("/greeter.Health/Check", Code::Unimplemented),
    ] {
        let mut client = tonic::client::Grpc::new(connection.clone());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<_, callsign_examples::greeter::HelloReply>::default();
        let called = client.unary(tonic::Request::new(hello("Go")), path.parse().unwrap(), codec).await;
        assert_eq!(called.map_or_else(|status| status.code(), |_| Code::Ok), code, "{path}");
    }
}

#[tokio::test]
async fn interceptors_wrap_a_service_as_in_tonic() {
    use callsign_examples::greeter::greeter_server::GreeterServer;

    let guarded =
        GreeterServer::with_interceptor(TestGreeter::default(), |request: tonic::Request<()>| match request
            .metadata()
            .get("x-token")
        {
            Some(_) => Ok(request),
            None => Err(tonic::Status::unauthenticated("no token")),
        });
    let server =
        callsign::Server::builder("greeter").unregistered().add_service(guarded).build().await.unwrap();
    let address = server.local_addr();
    let served = tokio::spawn(server.serve_until(std::future::pending()));
    let mut client = greeter_client(address).await;
    assert_eq!(client.hello(hello("World")).await.unwrap_err().code(), Code::Unauthenticated);
    let mut request = tonic::Request::new(hello("World"));
    request.metadata_mut().insert("x-token", "1".parse().unwrap());
    assert!(client.hello(request).await.is_ok());
    served.abort();
}

/// Sends a request over HTTP/1 and gives the whole answer.
async fn http1(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer over HTTP/1", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn http_1_on_the_grpc_port_gets_an_answer_in_words() {
    let running = run(&MemoryRegistry::new(), |builder| builder).await;
    let address = running.handle.local_addr();

    let answer = http1(address, "GET /index.html HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("the service greeter has no HTTP route /index.html; it speaks gRPC"), "{answer}");

    let answer =
        http1(address, "GET /greeter.Greeter/Hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");

    let grpc = "POST /greeter.Greeter/Hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\
                content-type: application/grpc\r\n\r\n";
    let answer = http1(address, grpc).await;
    assert!(answer.starts_with("HTTP/1.1 505"), "{answer}");
    assert!(answer.contains("gRPC needs HTTP/2"), "{answer}");

    let answer = http1(address, "this is no HTTP at all\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn http_routes_and_grpc_share_the_port_and_unknown_methods_stay_readable() {
    let routes = axum::Router::new().route("/hello", axum::routing::get(async || "hello over HTTP\n"));
    let running = run(&MemoryRegistry::new(), |builder| builder.routes(routes)).await;
    let address = running.handle.local_addr();

    let answer = http1(address, "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello over HTTP\n"), "{answer}");
    let answer = http1(address, "GET /other HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");

    assert!(running.client().await.hello(hello("World")).await.is_ok());
    let mut connection = Connection::open(address).await;
    let request = http::Request::post("/other.Service/Method")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::empty())
        .unwrap();
    let response = tower_service::Service::call(&mut connection, request).await.unwrap();
    assert_eq!(tonic::Status::from_header_map(response.headers()).unwrap().code(), Code::Unimplemented);
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_a_port_is_taken() {
    use callsign::{Server, core::registry::RegisterOptions, server::DrainConfig};

    let registry = MemoryRegistry::new();
    let bad =
        |change: fn(callsign::server::Builder) -> callsign::server::Builder| change(builder(&registry).0);
    for (builder, said) in [
        (Server::builder("").routes(axum::Router::new()), "not a service name"),
        (Server::builder("greeter").unregistered(), "nothing to serve"),
        (bad(|b| b.id("a\nb")), "not a node id"),
        (bad(|b| b.domain("*")), "domain *"),
        (bad(|b| b.metadata("weight", "-1")), "weight"),
        (bad(|b| b.metadata("protocol", "mucp")), "metadata key protocol"),
        (bad(|b| b.bind("localhost")), "no port"),
        (bad(|b| b.advertise("0.0.0.0")), "nobody could call it"),
        (bad(|b| b.descriptors(b"rubbish")), "no protobuf file descriptors"),
        (bad(|b| b.register_timeout(Duration::ZERO)), "register timeout is zero"),
        (
            bad(|b| b.register(RegisterOptions::default().with_interval(Duration::from_secs(60)))),
            "renewing it every 60s",
        ),
        (bad(|b| b.drain(DrainConfig::default().with_deadline(Duration::from_secs(1)))), "deadline"),
    ] {
        let error = soon("an error", builder.build()).await.unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert_eq!(error.kind(), callsign::ErrorKind::InvalidInput, "{error}");
    }
}
