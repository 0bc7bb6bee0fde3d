//! The process that is called: a server of tonic's own, the same for every client.

use std::{io::Read, pin::Pin};

use futures_util::{Stream, stream};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use super::pb::{
    FlowRequest, Payload,
    bench_server::{Bench, BenchServer},
};

/// Over the size of the largest message sent here.
const MESSAGE_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, Clone, Copy)]
struct Echo;

#[tonic::async_trait]
impl Bench for Echo {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    type FlowStream = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

    async fn flow(&self, request: Request<FlowRequest>) -> Result<Response<Self::FlowStream>, Status> {
        let FlowRequest { messages, bytes, pause_ms: _ } = request.into_inner();
        let payloads = (0..messages).map(move |_| Ok(Payload { data: vec![b'x'; bytes as usize] }));
        Ok(Response::new(Box::pin(stream::iter(payloads))))
    }
}

/// Serves until the standard input ends, having said where on the standard output.
pub(crate) fn main() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("its address"));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder()
            .add_service(BenchServer::new(Echo).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .serve_with_incoming(incoming)
            .await
            .expect("the server serves");
    });
}
