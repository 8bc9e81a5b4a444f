//! Mail leaves here: over SMTP, or as files in a folder for development. Nobody waits for it: a request only queues its mail,
//! in the transaction of what the mail tells about, and one task sends what is due.

use crate::{config::Config, secrets::Sealer, state::App, world::World};
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        self,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use ogel_store::Mail;
use std::{io, net::IpAddr, path::PathBuf, time::Duration};
use tokio::sync::Notify;
use url::Url;

/// Mails taken at once. Each may take [`PATIENCE`], and nobody else gets them until all could have been tried.
const BATCH: u32 = 5;
/// How long one mail may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Until mail that was taken by a process that died is tried by another.
const LEASE: chrono::TimeDelta = chrono::TimeDelta::seconds(120);
/// After so many attempts, a day and a half, it is given up.
const MOST_ATTEMPTS: i64 = 12;
/// How often it is looked whether something is due that nobody told us of.
const EVERY: Duration = Duration::from_secs(10);

/// Where mail goes.
pub struct Mailer {
    way: Way,
    from: Option<Mailbox>,
    /// Something was queued.
    queued: Notify,
}

enum Way {
    /// Not configured.
    None,
    Folder(PathBuf),
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the mail cannot be read: {0}")]
    Unreadable(String),
    #[error("the mail server: {0}")]
    Smtp(#[from] smtp::Error),
    #[error("the folder for mail: {0}")]
    Folder(#[from] io::Error),
    #[error("the mail server did not answer in time")]
    Timeout,
}

impl SendError {
    /// Whether another attempt may help.
    fn is_worth_repeating(&self) -> bool {
        match self {
            Self::Unreadable(_) => false,
            // What is wrong with our login is not the mail's fault, and somebody will put it right.
            Self::Smtp(error) => {
                !error.is_permanent() || error.status().is_some_and(|code| is_about_login(code.into()))
            }
            Self::Folder(_) | Self::Timeout => true,
        }
    }
}

/// RFC 4954, 6: the codes that refuse who sends and not what is sent.
fn is_about_login(code: u16) -> bool {
    matches!(code, 530 | 534 | 535 | 538)
}

impl Mailer {
    /// The error is a sentence about `mail.url`, `mail.ca_file` or `mail.from`.
    pub fn new(config: &Config) -> Result<Self, String> {
        let url = config.mail.url.expose();
        let way = match url.split_once(':') {
            None if url.is_empty() => Way::None,
            Some(("file", path)) if !path.is_empty() => Way::Folder(PathBuf::from(path)),
            Some(("smtp" | "smtps", _)) => Way::Smtp(over_smtp(url, &config.mail.ca_file)?),
            _ => return Err("`mail.url` takes `smtp://…`, `smtps://…` or `file:FOLDER`".to_owned()),
        };
        let from = match &*config.mail.from {
            "" if matches!(way, Way::None) => None,
            from => Some(from.parse().map_err(|error| format!("`mail.from` is `{from}`: {error}"))?),
        };
        Ok(Self { way, from, queued: Notify::new() })
    }

    /// Whether mail can be sent at all.
    pub fn is_there(&self) -> bool {
        !matches!(self.way, Way::None)
    }

    /// Something is due now.
    pub fn wake(&self) {
        self.queued.notify_one();
    }

    async fn send(&self, id: uuid::Uuid, recipient: &str, subject: &str, text: String) -> Result<(), SendError> {
        let unreadable = |error: &dyn std::fmt::Display| SendError::Unreadable(error.to_string());
        let from = self.from.clone().ok_or_else(|| unreadable(&"there is no sender"))?;
        let to: lettre::Address = recipient.parse().map_err(|error| unreadable(&error))?;
        let message = Message::builder()
            .from(from)
            .to(Mailbox::new(None, to))
            .subject(subject)
            // The same at every attempt, so that a mailbox that gets it twice shows it once.
            .message_id(Some(format!("<{id}@ogel>")))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| unreadable(&error))?;
        match &self.way {
            Way::None => Err(unreadable(&"`mail.url` is not set")),
            Way::Folder(folder) => Ok(write(folder, id, &message.formatted())?),
            Way::Smtp(transport) => {
                tokio::time::timeout(PATIENCE, transport.send(message)).await.map_err(|_| SendError::Timeout)??;
                Ok(())
            }
        }
    }
}

/// The way that `url` names, with its TLS and its login.
fn over_smtp(url: &str, ca_file: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let unusable = |error: &dyn std::fmt::Display| format!("`mail.url` cannot be used: {error}");
    let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|error| unusable(&error))?;
    let url = Url::parse(url).map_err(|error| unusable(&error))?;
    let tls = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
    // For this scheme the library reads a host as a name, whatever it is.
    let host = url.host_str().unwrap_or_default().to_owned();
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_here = host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
    let is_private = url.scheme() == "smtps" || tls.as_deref() == Some("required");
    if url.password().is_some() && !is_private && !is_here {
        let problem = "its password could travel unencrypted; write `smtps://…`, or `?tls=required` at its end";
        return Err(unusable(&problem));
    }
    let transport = transport.timeout(Some(PATIENCE));
    if ca_file.is_empty() {
        return Ok(transport.build());
    }
    let unreadable = |error: &dyn std::fmt::Display| format!("`mail.ca_file` is `{ca_file}`: {error}");
    let pem = std::fs::read(ca_file).map_err(|error| unreadable(&error))?;
    let ca = Certificate::from_pem(&pem).map_err(|error| unreadable(&error))?;
    let parameters = TlsParameters::builder(host)
        .certificate_store(CertificateStore::None)
        .add_root_certificate(ca)
        .build()
        .map_err(|error| unreadable(&error))?;
    let tls = match (url.scheme(), tls.as_deref()) {
        ("smtps", _) => Tls::Wrapper(parameters),
        (_, Some("required")) => Tls::Required(parameters),
        (_, Some(_)) => Tls::Opportunistic(parameters),
        (_, None) => return Err("`mail.ca_file` is for TLS, which `mail.url` does not ask for".to_owned()),
    };
    Ok(transport.tls(tls).build())
}

/// Whole or not at all, and for its owner's eyes only: it can hold a token.
fn write(folder: &std::path::Path, id: uuid::Uuid, bytes: &[u8]) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::DirBuilderExt as _, os::unix::fs::OpenOptionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let fresh = folder.join(format!(".{id}"));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    std::fs::rename(&fresh, folder.join(format!("{id}.eml")))
}

/// A mail to be queued. Its text is sealed, because it can hold a token.
pub(crate) fn sealed(
    world: &World,
    sealer: &Sealer,
    recipient: &str,
    subject: String,
    text: &str,
) -> Result<Mail, ogel_api::error::Error> {
    let id = world.uuid();
    let sealed_text = sealer.seal(&context(id), text.as_bytes()).map_err(ogel_api::error::Error::internal)?;
    Ok(Mail { id, recipient: recipient.to_owned(), subject, sealed_text, attempts: 0 })
}

/// What a mail's text is bound to.
pub(crate) fn context(id: uuid::Uuid) -> String {
    format!("mail {id}")
}

/// Sends what is due until the process ends. Where no mail is configured, another process may send it.
pub(crate) async fn deliver(app: &App) {
    if !app.mailer.is_there() {
        return;
    }
    loop {
        let sent = tokio::select! {
            sent = round(app) => sent,
            () = app.shutdown.cancelled() => return,
        };
        match sent {
            // There may be more.
            Ok(BATCH) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "mail cannot be read from the database; it is tried again"),
        }
        tokio::select! {
            () = app.mailer.queued.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

/// One batch; how many were taken.
async fn round(app: &App) -> Result<u32, ogel_store::StoreError> {
    let now = app.world.now();
    let taken = app.store.take_due_mails(now, now + LEASE, BATCH).await?;
    let count = u32::try_from(taken.len()).unwrap_or(BATCH);
    let tries = taken.into_iter().map(|mail| async move { attempt(app, &mail).await });
    for outcome in futures_util::future::join_all(tries).await {
        outcome?;
    }
    Ok(count)
}

async fn attempt(app: &App, mail: &Mail) -> Result<(), ogel_store::StoreError> {
    let opened = app.sealer.open(&context(mail.id), &mail.sealed_text).map_err(|error| error.to_string());
    let text = opened.and_then(|text| String::from_utf8(text).map_err(|error| error.to_string()));
    let sent = match text {
        Ok(text) => app.mailer.send(mail.id, &mail.recipient, &mail.subject, text).await,
        Err(error) => Err(SendError::Unreadable(error)),
    };
    let now = app.world.now();
    match sent {
        Ok(()) => app.store.mail_is_sent(mail.id).await,
        Err(error) if error.is_worth_repeating() && mail.attempts < MOST_ATTEMPTS => {
            let next = now + wait_after(mail.attempts);
            tracing::warn!(mail.id = %mail.id, %error, attempts = mail.attempts, %next, "mail could not be sent");
            app.store.mail_is_not_sent(mail.id, Some(next), now).await
        }
        Err(error) => {
            tracing::error!(mail.id = %mail.id, %error, attempts = mail.attempts, "mail was given up");
            app.store.mail_is_not_sent(mail.id, None, now).await
        }
    }
}

/// 15 s, 1 min, 4 min, and so on to six hours.
fn wait_after(attempts: i64) -> chrono::TimeDelta {
    let doublings = u32::try_from((attempts - 1).clamp(0, 8) * 2).unwrap_or(0);
    chrono::TimeDelta::seconds((15_i64 << doublings).min(6 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        let with = |url: &str, from: &str| {
            let mut config = Config::default();
            (config.mail.url, config.mail.from) = (Secret::new(url), from.to_owned());
            Mailer::new(&config).map(|mailer| mailer.is_there())
        };
        assert_eq!(with("", ""), Ok(false));
        assert_eq!(with("smtp://mail.example.com:2525", "Ogel <no-reply@example.com>"), Ok(true));
        assert_eq!(with("smtps://u:p@mail.example.com", "a@b.c"), Ok(true));
        assert_eq!(with("smtp://u:p@127.0.0.1:25", "a@b.c"), Ok(true));
        for open in ["smtp://u:secret@mail.example.com", "smtp://u:secret@mail.example.com?tls=opportunistic"] {
            let error = with(open, "a@b.c").unwrap_err();
            assert!(error.contains("could travel unencrypted") && !error.contains("secret"), "{error}");
        }
        assert!(with("pigeon://x", "a@b.c").unwrap_err().contains("`mail.url`"));
        assert!(with("file:/tmp/x", "nobody").unwrap_err().contains("`mail.from`"));
    }

    #[test]
    fn a_ca_that_cannot_be_used_is_named() {
        let with = |url: &str, ca_file: &str| over_smtp(url, ca_file).map(drop).unwrap_err();
        assert!(with("smtps://h.org", "/nonexistent").contains("`mail.ca_file` is `/nonexistent`"));
        assert!(with("smtp://h.org", "/dev/null").contains("does not ask for"));
    }

    #[test]
    fn attempts_are_spread_over_more_than_a_day() {
        let total: i64 = (1..MOST_ATTEMPTS).map(|attempts| wait_after(attempts).num_seconds()).sum();
        assert_eq!((wait_after(1).num_seconds(), wait_after(2).num_seconds()), (15, 60));
        assert!(total > 86_400 && total < 3 * 86_400, "{total}");
    }
}
