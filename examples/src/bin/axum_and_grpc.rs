//! HTTP routes and gRPC on one port: a page for browsers beside the service for programs.
//!
//!     cargo run -p callsign-examples --bin axum_and_grpc
//!     curl http://127.0.0.1:4080/hello/World
//!
//! Requests with a gRPC content type go to the gRPC services, all others to the router; HTTP/1 and HTTP/2 both work.

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use axum::{Router, extract::Path, routing::get};
use callsign_examples::greeter::{
    FILE_DESCRIPTOR_SET, HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};
use tonic::{Request, Response, Status};

struct Hello;

fn text(name: &str) -> String {
    format!("Hello, {name}!")
}

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply { message: text(&request.into_inner().name) }))
    }
}

#[tokio::main]
async fn main() -> callsign::Result<()> {
    let routes = Router::new()
        .route("/hello/{name}", get(async |Path(name): Path<String>| text(&name) + "\n"))
        // What load balancers and Kubernetes ask, when they cannot speak gRPC health.
        .route("/healthz", get(async || "ok\n"));
    let server = callsign::Server::builder("greeter")
        .bind("127.0.0.1:4080-4089")
        .add_service(GreeterServer::new(Hello))
        .descriptors(FILE_DESCRIPTOR_SET)
        .routes(routes)
        .build()
        .await?;
    println!("try: curl http://{}/hello/World", server.local_addr());
    server.run().await
}
