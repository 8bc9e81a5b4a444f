//! The client against a scripted server, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(unreachable_pub, reason = "the scripted server is shared with the command's tests")]

mod calls;
mod server;
mod streams;

use ogel_client::{Client, ClientConfig};
use server::Server;

fn client(server: &Server) -> Client {
    client_with(server, |_| ())
}

fn client_with(server: &Server, change: impl FnOnce(&mut ClientConfig)) -> Client {
    let mut config = ClientConfig { token: Some("ogel_t".to_owned()), ..ClientConfig::new(&server.url) };
    change(&mut config);
    Client::new(config).unwrap()
}
