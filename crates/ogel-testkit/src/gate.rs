//! A way to a server that a test can shut: what is open breaks, and nothing new gets through.

use std::sync::Arc;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    is_shut: Arc<watch::Sender<bool>>,
}

impl Gate {
    pub fn open() -> Self {
        Self { is_shut: Arc::new(watch::Sender::new(false)) }
    }

    pub fn shut(&self) {
        self.is_shut.send_replace(true);
    }

    pub fn unshut(&self) {
        self.is_shut.send_replace(false);
    }

    /// The same URL through the gate.
    pub fn through(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let gate = self.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                if *gate.is_shut.borrow() {
                    continue;
                }
                tokio::spawn(gate.clone().pass(client, server.clone()));
            }
        });
        url.into()
    }

    async fn pass(self, mut client: TcpStream, server: (String, u16)) {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        let mut is_shut = self.is_shut.subscribe();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
            _ = is_shut.wait_for(|shut| *shut) => {}
        }
    }
}
