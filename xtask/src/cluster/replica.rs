//! One `ogeld serve` that can be killed and started again at the same address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::service::{Service, free_address};

pub(crate) struct Replica {
    name: String,
    ogeld: PathBuf,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
    /// Where operators look.
    pub(crate) operations: SocketAddr,
    /// None while it is dead.
    running: Option<Service>,
    /// Put before the program, such as `env NAME=VALUE`.
    under: Vec<String>,
}

impl Replica {
    /// Writes its configuration and starts it. `settings` are keys with values as TOML writes them; `under` stands before
    /// the program.
    pub(crate) fn start_under(
        number: usize,
        ogeld: &Path,
        folder: &Path,
        settings: &[(&str, String)],
        under: &[String],
    ) -> Result<Self> {
        let mut replica = Self {
            name: format!("replica-{number}"),
            ogeld: ogeld.to_owned(),
            folder: folder.to_owned(),
            address: free_address()?,
            operations: free_address()?,
            running: None,
            under: under.to_vec(),
        };
        let own = [
            ("server.listen", replica.address.to_string()),
            ("server.operations_listen", replica.operations.to_string()),
            ("log.access", replica.file("access.log").display().to_string()),
        ];
        let mut lines: String = own.iter().map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
        lines.extend(settings.iter().map(|(key, value)| format!("{key} = {value}\n")));
        std::fs::write(replica.file("toml"), lines).map_err(|error| error.to_string())?;
        replica.start_again()?;
        Ok(replica)
    }

    fn file(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}.{ending}", self.name))
    }

    /// Starts it after it was killed or stopped.
    pub(crate) fn start_again(&mut self) -> Result {
        let (ogeld, config) = (self.ogeld.display().to_string(), self.file("toml").display().to_string());
        let under: Vec<&str> = self.under.iter().map(String::as_str).collect();
        let command = [&*under, &[&*ogeld, "serve", "--config", &*config]].concat();
        self.running = Some(Service::start(&self.name, self.file("log"), &command)?.listening(self.address)?);
        Ok(())
    }

    /// What the kernel calls it, while it runs.
    pub(crate) fn process(&self) -> Option<u32> {
        self.running.as_ref().map(|service| service.process.number())
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result {
        match self.running.take() {
            Some(service) => service.kill(),
            None => Ok(()),
        }
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        drop(self.running.take());
    }
}
