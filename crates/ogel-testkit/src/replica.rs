//! One more `ogeld` on a test's database and Ghost, with a control plane of its own, so that it can be killed: everything it
//! was doing stops where it stands, nothing is released, nobody is told.

use crate::{Api, Network, TestApp};
use ogel_server::{
    config::Config,
    run::{self, Running},
    state::App,
};
use tokio::runtime::Runtime;

pub struct Replica {
    pub app: App,
    pub network: Network,
    running: Running,
    /// Taken out when it ends: a runtime must not be dropped inside another one.
    runtime: Option<Runtime>,
}

impl TestApp {
    /// Another replica beside this one. They share the clock.
    pub async fn replica(&self) -> Replica {
        let config = Config::clone(&self.app.config());
        let world = self.app.world.clone();
        let network = Network::default();
        let connector = network.connector();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let started = runtime.spawn(async move {
            let app = run::assemble(config, world, connector).await.unwrap();
            let running = run::start(&app, Vec::new()).await.unwrap();
            (app, running)
        });
        let (app, running) = started.await.unwrap();
        Replica { app, network, running, runtime: Some(runtime) }
    }
}

impl Replica {
    /// The same caller at this replica.
    pub fn api(&self, who: &Api) -> Api {
        who.at(format!("http://{}/api/v2", self.running.edge.address))
    }

    /// What operators see at `path`, as text.
    pub async fn operations(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.running.operations.unwrap());
        crate::http_client().get(url).send().await.unwrap().text().await.unwrap()
    }

    /// As `kill -9` does it.
    pub async fn kill(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        // Only now, when nobody is left on the control plane to hear it: the data plane's threads must end.
        self.app.closing.cancel();
        self.app.shutdown.cancel();
        tokio::task::spawn_blocking(move || self.running.edge.join()).await.unwrap();
    }

    /// As SIGTERM does it.
    pub async fn stop(mut self) {
        let (app, running) = (self.app.clone(), self.running);
        if let Some(runtime) = self.runtime.take() {
            runtime.spawn(async move { run::stop(&app, running).await }).await.unwrap();
            runtime.shutdown_background();
        }
    }
}
