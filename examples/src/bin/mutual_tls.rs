//! Mutual TLS: a server that knows its callers by their certificates, and certificates that change while it runs.
//!
//!     cargo run -p callsign-examples --features tls --bin mutual_tls
//!
//! The authority is made on the spot. Yours is elsewhere, and so is whatever puts new files into place.

#![expect(clippy::print_stdout, reason = "what an example has to show, it prints")]

use std::{error::Error, fs, path::Path, time::Duration};

use callsign::{
    Server,
    server::ConnectionInfo,
    tls::{ClientCertificates, ServerTls, TlsConfig},
};
use callsign_examples::greeter::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::{Request, Response, Status};

type Authority = CertifiedIssuer<'static, KeyPair>;

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let caller = request.extensions().get::<ConnectionInfo>();
        let names = caller.map(ConnectionInfo::peer_names).unwrap_or_default();
        Ok(Response::new(HelloReply { message: format!("Hello, {}!", names.join(", ")) }))
    }
}

fn authority() -> Result<Authority, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// Writes `name.pem` and `name.key`, for a certificate that holds `name`.
fn certify(authority: &Authority, name: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, authority)?;
    fs::write(folder.join(name).with_extension("pem"), certificate.pem())?;
    Ok(fs::write(folder.join(name).with_extension("key"), key.serialize_pem())?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let ours = authority()?;
    fs::write(file("ca.pem"), ours.pem())?;
    certify(&ours, "greeter", folder.path())?;
    certify(&ours, "billing", folder.path())?;

    let tls = ServerTls::builder()
        .identity_files(file("greeter.pem"), file("greeter.key"))
        .clients_file(file("ca.pem"), ClientCertificates::Required)
        .build()?;
    let server = Server::builder("greeter").unregistered().tls(tls).add_service(GreeterServer::new(Hello));
    let server = server.build().await?;
    let (handle, target) = (server.handle(), format!("static://{}", server.local_addr()));

    let called = async {
        // All nodes of the service show the service's name, wherever they are.
        let tls = TlsConfig::builder().roots_file(file("ca.pem")).server_name("greeter");
        let billing = tls.clone().identity_files(file("billing.pem"), file("billing.key")).build()?;
        println!("billing: {}", greet(&target, billing.clone()).await?);
        let nobody = greet(&target, tls.build()?).await;
        println!("nobody: {}", nobody.err().map(|error| error.to_string()).unwrap_or_default());

        // An authority and certificates that nobody has seen before. Who connects from now on reads them by himself.
        let theirs = authority()?;
        fs::write(file("ca.pem"), theirs.pem())?;
        certify(&theirs, "greeter", folder.path())?;
        certify(&theirs, "billing", folder.path())?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("billing, renewed: {}", greet(&target, billing).await?);
        handle.shutdown();
        Ok::<_, Box<dyn Error>>(())
    };
    let (called, served) = tokio::join!(called, server.serve_until(std::future::pending()));
    called?;
    Ok(served?)
}

/// Calls over a connection made for it.
async fn greet(target: &str, tls: TlsConfig) -> Result<String, Box<dyn Error>> {
    let channel = callsign::client::ChannelBuilder::for_target(target.parse()?)?.tls(tls).build()?;
    let mut client = GreeterClient::new(channel);
    let reply = client.hello(HelloRequest { name: String::new() }).await?;
    Ok(reply.into_inner().message)
}
