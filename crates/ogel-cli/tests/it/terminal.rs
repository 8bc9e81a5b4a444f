//! What the command asks a person at a terminal: a pseudo-terminal that is the process's own, as a shell gives it one.

use crate::{
    ogel::{Ogel, session},
    server::{Reply, Seen, Server},
};
use ogel_testkit::eventually;
use rustix::termios;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

/// `ogel` with a terminal of its own.
struct AtTerminal {
    child: tokio::process::Child,
    terminal: pty_process::Pty,
    /// What stands on the screen.
    screen: String,
}

impl AtTerminal {
    fn start(ogel: &Ogel, url: &str, token: Option<&str>, args: &[&str]) -> Self {
        let (terminal, line) = pty_process::open().unwrap();
        terminal.resize(pty_process::Size::new(24, 200)).unwrap();
        let mut command = pty_process::Command::new(env!("CARGO_BIN_EXE_ogel")).args(args).env_clear();
        command = command.env("HOME", ogel.home.path()).env("OGEL_API_URL", url).env("OGEL_TOKEN_STORE", "file");
        // The browser of whoever runs the tests is theirs.
        command = command.env("CI", "true").env("PATH", "/usr/bin:/bin").env("TERM", "dumb").kill_on_drop(true);
        if let Some(token) = token {
            command = command.env("OGEL_TOKEN", token);
        }
        let child = command.current_dir(ogel.home.path()).spawn(line).unwrap();
        Self { child, terminal, screen: String::new() }
    }

    /// Waits until `text` stands on the screen.
    async fn shows(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.screen.contains(text) {
            let read = timeout(Duration::from_secs(60), self.terminal.read(&mut bytes)).await;
            let count = read.unwrap_or_else(|_| panic!("`{text}` is not on the screen: {}", self.screen));
            let count = count.unwrap_or_else(|error| panic!("{error} before `{text}`: {}", self.screen));
            self.screen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }

    /// Waits until what is typed no longer shows.
    async fn hides(&mut self, prompt: &str) {
        self.shows(prompt).await;
        let echoes = || termios::tcgetattr(&self.terminal).unwrap().local_modes.contains(termios::LocalModes::ECHO);
        eventually("the terminal does not echo", || async { (!echoes()).then_some(()) }).await;
    }

    async fn types(&mut self, line: &str) {
        self.terminal.write_all(line.as_bytes()).await.unwrap();
        self.terminal.write_all(b"\n").await.unwrap();
    }

    /// The exit code and all that stood on the screen.
    async fn ends(mut self) -> (Option<i32>, String) {
        let mut bytes = [0; 4096];
        // A terminal whose last program has ended answers with an error.
        while let Ok(Ok(count @ 1..)) = timeout(Duration::from_secs(60), self.terminal.read(&mut bytes)).await {
            self.screen.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        (self.child.wait().await.unwrap().code(), self.screen)
    }
}

fn script(seen: &Seen) -> Reply {
    match seen.operation().as_str() {
        "POST auth/device/code" => Reply::Json(
            200,
            json!({
                "device_code": "dev_secret", "user_code": "BCDF-GHJK", "verification_uri": "http://studio.test/device",
                "verification_uri_complete": "http://studio.test/device?user_code=BCDF-GHJK", "expires_in": 600, "interval": 1,
            }),
        ),
        "POST auth/token" => Reply::Json(
            200,
            json!({
                "access_token": "ogels_access_secret", "refresh_token": "ogelr_refresh_secret", "token_type": "Bearer",
                "expires_in": 3600, "scope": "users:read",
            }),
        ),
        "GET auth/session" => {
            let mut own = session();
            own["method"] = "session".into();
            Reply::Json(200, own)
        }
        "POST users/me/password" => Reply::Text(204, ""),
        "DELETE users/me" | "DELETE auth/sessions" => Reply::Text(204, ""),
        _ => Reply::Error(404, "ROUTE_NOT_FOUND", 0),
    }
}

fn sent(server: &Server, operation: &str) -> Vec<Value> {
    server.seen().into_iter().filter(|seen| seen.operation() == operation).map(|seen| seen.body).collect()
}

#[tokio::test]
async fn a_person_at_a_terminal_is_shown_where_to_let_the_program_in() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    let mut login = AtTerminal::start(&ogel, &server.url, None, &["login"]);
    login.shows("http://studio.test/device?user_code=BCDF-GHJK").await;
    login.shows("Logged in").await;
    let (code, screen) = login.ends().await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("as Ada <ada@example.com>") && !screen.contains("secret"), "{screen}");
    assert!(std::fs::read_to_string(ogel.config()).unwrap().contains("ogels_access_secret"));
}

#[tokio::test]
async fn a_password_is_asked_for_twice_and_never_shown() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    let change = async |again: &str| {
        let mut password = AtTerminal::start(&ogel, &server.url, Some("ogels_secret"), &["password"]);
        password.hides("Current password: ").await;
        password.types("correct horse").await;
        password.hides("New password: ").await;
        password.types("battery staple").await;
        password.hides("New password again: ").await;
        password.types(again).await;
        password.ends().await
    };
    let (code, screen) = change("battery stable").await;
    assert_eq!(code, Some(2), "{screen}");
    assert!(screen.contains("differ") && sent(&server, "POST users/me/password").is_empty(), "{screen}");
    let (code, screen) = change("battery staple").await;
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("horse") && !screen.contains("battery"), "{screen}");
    let change = json!({ "currentPassword": "correct horse", "newPassword": "battery staple" });
    assert_eq!(sent(&server, "POST users/me/password"), [change]);
}

#[tokio::test]
async fn what_cannot_be_taken_back_waits_for_a_yes() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    let end = ["sessions", "end", "--all-others"];
    let ended = || sent(&server, "DELETE auth/sessions").len();
    for (typed, expected, done) in [("", Some(1), 0), ("no", Some(1), 0), ("y", Some(0), 1)] {
        let mut ending = AtTerminal::start(&ogel, &server.url, Some("ogels_secret"), &end);
        ending.shows("[y/N]").await;
        ending.types(typed).await;
        let (code, screen) = ending.ends().await;
        assert_eq!((code, ended()), (expected, done), "`{typed}`: {screen}");
    }
    // For a program nobody is asked, terminal or not; and without a terminal nobody is there.
    let as_json = AtTerminal::start(&ogel, &server.url, Some("ogels_secret"), &[&end[..], &["--json"]].concat());
    let (code, screen) = as_json.ends().await;
    assert!(code == Some(2) && screen.contains("NOT_CONFIRMED"), "{screen}");
    let ran = Ogel::at(&server).run(&end).await;
    assert!(ran.code == Some(2) && ran.stderr.contains("--yes"), "{ran:?}");
    assert_eq!(ended(), 1);
}

#[tokio::test]
async fn an_account_goes_once_its_address_is_typed() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    let gone = || sent(&server, "DELETE users/me").len();
    for (typed, done) in [("y", 0), ("ben@example.com", 0), ("ada@example.com", 1)] {
        let mut delete = AtTerminal::start(&ogel, &server.url, Some("ogels_secret"), &["account", "delete"]);
        delete.shows("Type the e-mail address to go on:").await;
        assert_eq!(gone(), 0);
        delete.types(typed).await;
        let (code, screen) = delete.ends().await;
        assert_eq!((code == Some(0), gone()), (done == 1, done), "`{typed}`: {screen}");
    }
    let ran = Ogel::at(&server).run(&["account", "delete"]).await;
    assert!(ran.code == Some(2) && ran.stderr.contains("--yes"), "{ran:?}");
    assert_eq!(gone(), 1);
}
