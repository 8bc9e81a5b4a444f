//! The keyring: a real one, and none.
#![cfg(target_os = "linux")]

use crate::{
    login::device,
    ogel::{Ogel, ran},
    server::Server,
};
use std::process::Stdio;

/// A machine without a session bus has no Secret Service.
const NO_BUS: (&str, &str) = ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");

#[tokio::test]
async fn without_a_keyring_the_login_is_in_the_file_and_it_is_said_once() {
    let server = Server::start(device).await;
    let ogel = Ogel::new();
    let run = |args: &'static [&'static str]| {
        let mut command = ogel.command(args);
        command.env_remove("OGEL_TOKEN_STORE").env(NO_BUS.0, NO_BUS.1).env("OGEL_API_URL", &server.url);
        ran(command.spawn().unwrap())
    };
    let refused = run(&["login", "--token", "ogel_good", "--token-store", "keyring"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("the keyring did not take the token: "), "{}", refused.stderr);
    assert!(!ogel.config().exists());
    let login = run(&["login"]).await;
    assert_eq!(login.code, Some(0), "{login:?}");
    assert!(login.stderr.contains("no keyring took the token ("), "{}", login.stderr);
    assert!(login.stderr.trim_end().ends_with(&format!("so it is in {}", ogel.config().display())), "{}", login.stderr);
    let listed = run(&["projects", "list"]).await;
    assert_eq!((listed.code, listed.stderr.as_str()), (Some(0), ""));
    assert!(std::fs::read_to_string(ogel.config()).unwrap().contains("ogels_second"));
}

#[tokio::test]
async fn a_keyring_that_is_gone_is_named_when_the_token_is_missed() {
    let server = Server::start(device).await;
    let ogel = Ogel::new();
    std::fs::create_dir_all(ogel.config().parent().unwrap()).unwrap();
    std::fs::write(ogel.config(), format!("api_url = \"{}\"\ntoken_store = \"keyring\"\n", server.url)).unwrap();
    let refusing = Server::start(|_| crate::server::Reply::Error(401, "UNAUTHENTICATED", 0)).await;
    let mut command = ogel.command(&["projects", "list", "--api-url", &refusing.url]);
    let missed = ran(command.env(NO_BUS.0, NO_BUS.1).spawn().unwrap()).await;
    assert_eq!(missed.code, Some(4), "{missed:?}");
    assert!(missed.stderr.contains("the keyring did not hand out the token ("), "{}", missed.stderr);
    // And a token that was named needs no keyring.
    let mut command = ogel.command(&["projects", "list", "--token", "ogel_good"]);
    assert_eq!(ran(command.env(NO_BUS.0, NO_BUS.1).spawn().unwrap()).await.code, Some(0));
}

/// GNOME's Secret Service on a session bus of its own, unlocked, in the test's home.
const SCRIPT: &str = r#"
set -eu
printf pw | gnome-keyring-daemon --unlock --components=secrets >/dev/null
"$OGEL" login --no-browser
echo "file: $(cat "$CONFIG")" | tr '\n' ' '
# The token is over: it is renewed in the keyring, too.
"$OGEL" projects list
"$OGEL" whoami
"$OGEL" logout
echo "file: $(cat "$CONFIG")"
"$OGEL" logout
"#;

#[tokio::test]
async fn a_real_keyring_keeps_the_login_renews_it_and_forgets_it() {
    let server = Server::start(device).await;
    let ogel = Ogel::new();
    let mut like_ours = ogel.command(&[]);
    let mut command = tokio::process::Command::new("dbus-run-session");
    for (name, value) in like_ours.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    like_ours.stdin(Stdio::null());
    command.args(["--", "sh", "-c", SCRIPT]).env_remove("OGEL_TOKEN_STORE").env_remove("XDG_DATA_HOME");
    command.env("XDG_RUNTIME_DIR", ogel.home.path()).env("OGEL_API_URL", &server.url);
    command.env("OGEL", env!("CARGO_BIN_EXE_ogel")).env("CONFIG", ogel.config()).current_dir(ogel.home.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().expect("this test needs `dbus-run-session` and `gnome-keyring-daemon`");
    let ran = ran(child).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("the token is in the keyring"), "{}", ran.stderr);
    let in_file = format!("file: api_url = \"{}\" token_store = \"keyring\"", server.url);
    assert!(ran.stdout.contains(&in_file), "{}", ran.stdout);
    assert!(ran.stdout.contains("from `ogel login`, kept in the keyring"), "{}", ran.stdout);
    let sent: Vec<_> =
        server.asked("GET projects").iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer ogels_first", "Bearer ogels_second"]);
    assert_eq!(server.asked("GET auth/session").last().unwrap().header("authorization"), Some("Bearer ogels_second"));
    assert!(server.asked("POST auth/revoke")[0].body["token"] == "ogelr_second");
    assert!(ran.stderr.contains("Logged out") && ran.stderr.contains("Not logged in"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("ogels_") && !ran.stderr.contains("ogels_"), "{ran:?}");
}
