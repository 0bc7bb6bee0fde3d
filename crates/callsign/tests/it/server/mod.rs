//! The server's side of things.

mod answers;
mod deadlines;
mod drain;
mod limits;
mod overload;
mod process;
mod registration;

use std::net::SocketAddr;

use callsign_examples::greeter::greeter_client::GreeterClient;

use crate::support::Connection;

/// A client of whoever listens there.
async fn greeter_client(address: SocketAddr) -> GreeterClient<Connection> {
    GreeterClient::new(Connection::open(address).await)
}
