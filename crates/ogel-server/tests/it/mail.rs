//! Mail over TLS with a login, to a mail server that says what it is told to; and to one that is not who it should be.

use crate::invitations::{organization, wait_for};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ogel_server::config::Secret;
use ogel_testkit::{Api, Database, TestApp, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// How the server does TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tls {
    Implicit,
    Starttls,
    /// It offers none.
    Never,
}

/// What the server was told, line by line, and whether TLS was on by then.
type Heard = Arc<Mutex<Vec<(String, bool)>>>;

struct MailServer {
    port: u16,
    heard: Heard,
    /// Handshakes that did not come to an end.
    failed: Arc<Mutex<usize>>,
    folder: tempfile::TempDir,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl MailServer {
    /// With a certificate for `name`. The file `ca.pem` has the authority that made it.
    async fn start(tls: Tls, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority();
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, heard: Heard::default(), failed: Arc::default(), folder };
        let (heard, failed) = (server.heard.clone(), server.failed.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if converse(Box::new(stream), tls, &acceptor, &heard).await.is_err() {
                    *failed.lock().unwrap() += 1;
                }
            }
        });
        server
    }

    fn ca(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    fn heard(&self) -> Vec<(String, bool)> {
        self.heard.lock().unwrap().clone()
    }

    fn mails(&self) -> usize {
        self.heard().iter().filter(|(line, _)| line == ".").count()
    }
}

/// One connection. The error is a handshake that failed.
async fn converse(stream: Box<dyn Stream>, tls: Tls, acceptor: &TlsAcceptor, heard: &Heard) -> std::io::Result<()> {
    let mut is_private = tls == Tls::Implicit;
    let stream: Box<dyn Stream> = if is_private { Box::new(acceptor.accept(stream).await?) } else { stream };
    let mut stream = BufReader::new(stream);
    let mut says = "220 mail.test".to_owned();
    let (mut is_known, mut is_mail) = (false, false);
    loop {
        if !says.is_empty() && stream.get_mut().write_all(format!("{says}\r\n").as_bytes()).await.is_err() {
            return Ok(());
        }
        let mut line = String::new();
        if !stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        heard.lock().unwrap().push((line.clone(), is_private));
        let word = line.split(' ').next().unwrap().to_ascii_uppercase();
        says = match &*word {
            "." => {
                is_mail = false;
                "250 taken".to_owned()
            }
            _ if is_mail => String::new(),
            "EHLO" if tls == Tls::Starttls && !is_private => "250-mail.test\r\n250 STARTTLS".to_owned(),
            "EHLO" => "250-mail.test\r\n250 AUTH PLAIN".to_owned(),
            "STARTTLS" => {
                stream.get_mut().write_all(b"220 go on\r\n").await?;
                stream = BufReader::new(Box::new(acceptor.accept(stream.into_inner()).await?));
                is_private = true;
                String::new()
            }
            "AUTH" => {
                let given = line.rsplit(' ').next().unwrap();
                is_known = STANDARD.decode(given).is_ok_and(|given| given == b"\0ogel\0p@ss word");
                if is_known { "235 welcome".to_owned() } else { "535 who are you".to_owned() }
            }
            "MAIL" if !is_known => "530 log in first".to_owned(),
            "DATA" => {
                is_mail = true;
                "354 go on".to_owned()
            }
            "QUIT" => return Ok(()),
            _ => "250 ok".to_owned(),
        };
    }
}

/// Somebody invited by mail that goes to `url`, with the authority of `ca`.
async fn invited(url: String, ca: String) -> (TestApp, Api, String) {
    let app = TestApp::start_with(Database::Sqlite, |config| {
        config.mail.url = Secret::new(url);
        config.mail.ca_file = ca;
    })
    .await;
    let ada = app.sign_up("ada").await;
    let path = format!("/organizations/{}/invitations", organization(&ada).await);
    ada.post(&path, json!({ "email": "ben@example.com", "role": "viewer" })).await.expect(201);
    (app, ada, path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_goes_over_tls_with_a_login() {
    for tls in [Tls::Implicit, Tls::Starttls] {
        let server = MailServer::start(tls, "localhost").await;
        let url = match tls {
            Tls::Implicit => format!("smtps://ogel:p%40ss%20word@localhost:{}", server.port),
            _ => format!("smtp://ogel:p%40ss%20word@localhost:{}?tls=required", server.port),
        };
        let (app, ada, path) = invited(url, server.ca()).await;
        wait_for(&ada, &path, "sent").await;
        let heard = server.heard();
        assert_eq!(server.mails(), 1);
        assert!(heard.iter().any(|(line, _)| line.starts_with("AUTH PLAIN ")), "{heard:?}");
        // Nothing but the greeting and the wish for TLS was said where others could listen.
        let open: Vec<_> = heard.iter().filter(|(_, is_private)| !is_private).map(|(line, _)| &line[..4]).collect();
        assert_eq!(open, if tls == Tls::Implicit { vec![] } else { vec!["EHLO", "STAR"] });
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_is_not_who_it_should_be_gets_nothing() {
    let other = MailServer::start(Tls::Implicit, "localhost").await;
    for (tls, name, is_ours) in [
        (Tls::Implicit, "localhost", false),
        (Tls::Starttls, "localhost", false),
        (Tls::Implicit, "mail.example.com", true),
        (Tls::Starttls, "mail.example.com", true),
    ] {
        let server = MailServer::start(tls, name).await;
        let url = match tls {
            Tls::Implicit => format!("smtps://ogel:secret@localhost:{}", server.port),
            _ => format!("smtp://ogel:secret@localhost:{}?tls=required", server.port),
        };
        let ca = if is_ours { server.ca() } else { other.ca() };
        let (app, ada, path) = invited(url, ca).await;
        eventually("it was tried", || async { (*server.failed.lock().unwrap() > 0).then_some(()) }).await;
        let heard = server.heard();
        assert!(heard.iter().all(|(line, _)| line.starts_with("EHLO ") || line == "STARTTLS"), "{heard:?}");
        // It may be put right: the mail waits.
        assert_eq!(ada.get(&path).await.expect(200)["invitations"][0]["mail"], "queued");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_no_password_is_said() {
    let server = MailServer::start(Tls::Never, "localhost").await;
    let url = format!("smtp://ogel:secret@localhost:{}?tls=required", server.port);
    let (app, ada, path) = invited(url, server.ca()).await;
    // A required TLS that is not offered is an answer for good: nobody is asked again.
    eventually("it was tried", || async { (!server.heard().is_empty()).then_some(()) }).await;
    eventually("the attempt is over", || async {
        (ada.get(&path).await.expect(200)["invitations"][0]["mail"] != "sent").then_some(())
    })
    .await;
    let heard = server.heard();
    assert!(heard.iter().all(|(line, _)| ["EHLO", "STAR", "QUIT", "RSET"].contains(&&line[..4])), "{heard:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_refused_sends_nothing() {
    let server = MailServer::start(Tls::Implicit, "localhost").await;
    let url = format!("smtps://ogel:wrong@localhost:{}", server.port);
    let (app, ada, path) = invited(url, server.ca()).await;
    let logins = || server.heard().iter().filter(|(line, _)| line.starts_with("AUTH ")).count();
    // The operator will put it right: the mail waits and is tried again.
    eventually("it is tried again", || async {
        app.app.world.clock.advance(chrono::TimeDelta::seconds(5));
        app.app.mailer.wake();
        (logins() > 1).then_some(())
    })
    .await;
    assert_eq!((server.mails(), &ada.get(&path).await.expect(200)["invitations"][0]["mail"]), (0, &json!("queued")));
    app.stop().await;
}
