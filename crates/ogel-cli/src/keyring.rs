//! The keyring of the system: Secret Service on Linux, Keychain on macOS, the Credential Manager on Windows.
//!
//! It may be locked and ask its person, or be there and never answer: so it is asked on a thread of its own, for a limited time.

use keyring_core::{CredentialStore, Entry, Error};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// How long a person may take to unlock it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What entries of ours are filed under; the other half of their name is the configuration file they belong to, so that
/// two configurations keep two logins.
const SERVICE: &str = "ogel";

/// One entry of a keyring. What goes wrong is said in a sentence.
#[derive(Clone)]
pub(crate) struct Keyring {
    open: fn() -> Result<Arc<CredentialStore>, String>,
    account: PathBuf,
}

impl Keyring {
    /// The entry of the configuration file at `path`. Nothing is asked yet.
    pub(crate) fn of(path: &Path) -> Self {
        Self { open: of_this_system, account: path.to_owned() }
    }

    /// What was kept; none, if nothing was.
    pub(crate) fn get(&self) -> Result<Option<String>, String> {
        self.with(|entry| match entry.get_password() {
            Ok(text) => Ok(Some(text)),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(error),
        })
    }

    pub(crate) fn set(&self, text: String) -> Result<(), String> {
        self.with(move |entry| entry.set_password(&text))
    }

    /// It is no mistake if there is nothing.
    pub(crate) fn remove(&self) -> Result<(), String> {
        self.with(|entry| match entry.delete_credential() {
            Err(Error::NoEntry) => Ok(()),
            other => other,
        })
    }

    fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, String> {
        let (keyring, (answer, answered)) = (self.clone(), mpsc::channel());
        thread::spawn(move || {
            let done = (keyring.open)().and_then(|store| {
                let entry = Entry::new_in_store(&store, SERVICE, &keyring.account.to_string_lossy());
                entry.and_then(|entry| act(&entry)).map_err(|error| said(&error))
            });
            // Patience may have ended.
            answer.send(done).ok();
        });
        answered.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(format!("no answer in {} s", PATIENCE.as_secs())))
    }
}

fn of_this_system() -> Result<Arc<CredentialStore>, String> {
    if let Err(error) = ::keyring::Entry::store_status() {
        return Err(said(error));
    }
    keyring_core::get_default_store().ok_or_else(|| "there is none".to_owned())
}

/// One line, and the cause rather than the wrapping around it.
fn said(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    crate::plain::line(&cause.to_string())
}

#[cfg(test)]
pub(crate) mod scripted {
    //! Keyrings for tests.

    use super::*;
    use std::sync::OnceLock;

    /// One that works. All of a process are the same; entries are told apart by their path.
    pub(crate) fn working(path: &Path) -> Keyring {
        static STORE: OnceLock<Arc<CredentialStore>> = OnceLock::new();
        let open = || Ok(STORE.get_or_init(|| keyring_core::mock::Store::new().unwrap()).clone());
        Keyring { open, account: path.to_owned() }
    }

    /// A machine without any.
    pub(crate) fn absent(path: &Path) -> Keyring {
        Keyring { open: || Err("there is none".to_owned()), account: path.to_owned() }
    }
}
