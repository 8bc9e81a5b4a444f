//! Logging in and out, the configuration file, and which setting wins.

use crate::{
    ogel::{Ogel, healthy, ran, session},
    server::{Reply, Seen, Server},
};

fn script(seen: &Seen) -> Reply {
    match seen.header("authorization") {
        None => Reply::Error(401, "UNAUTHENTICATED", 0),
        Some("Bearer ogel_bad") => Reply::Error(401, "INVALID_CREDENTIAL", 0),
        Some("Bearer ses_token") if seen.path == "auth/session" => {
            let mut own = session();
            own["method"] = "session".into();
            Reply::Json(200, own)
        }
        _ if seen.operation() == "POST auth/logout" => Reply::Text(204, ""),
        _ => healthy(seen, "success"),
    }
}

#[cfg(unix)]
fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[cfg(unix)]
#[tokio::test]
async fn a_checked_token_is_kept_for_its_owner_alone() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    let ran = ogel.run_with_input(&["login", "--token", "-", "--api-url", &server.url], "ogel_good\n").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("as Ada <ada@example.com>"), "{}", ran.stderr);
    assert_eq!((mode(&ogel.config()), mode(ogel.config().parent().unwrap())), (0o600, 0o700));
    let text = std::fs::read_to_string(ogel.config()).unwrap();
    assert_eq!(text, format!("api_url = \"{}\"\ntoken = \"ogel_good\"\ntoken_store = \"file\"\n", server.url));

    // From here on nothing needs to be said.
    assert_eq!(ogel.run(&["projects", "list"]).await.code, Some(0));
    assert_eq!(server.asked("GET projects")[0].header("authorization"), Some("Bearer ogel_good"));
}

#[tokio::test]
async fn a_refused_token_changes_nothing() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    let ran = ogel.run(&["login", "--token", "ogel_bad", "--api-url", &server.url]).await;
    assert_eq!(ran.code, Some(4));
    assert!(!ogel.config().exists());
    for (args, input) in [(&["login", "--token", "-"][..], " \n"), (&["login", "--token", "-"], "a b")] {
        assert_eq!(ogel.run_with_input(args, input).await.code, Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    std::fs::create_dir_all(ogel.config().parent().unwrap()).unwrap();
    std::fs::write(ogel.config(), format!("api_url = \"{}/api/v2\"\ntoken = \"ogel_file\"\n", server.url)).unwrap();
    let whoami = |args: &[&str], token: Option<&str>| {
        let mut command = ogel.command(&[&["whoami"], args].concat());
        if let Some(token) = token {
            command.env("OGEL_TOKEN", token);
        }
        ran(command.spawn().unwrap())
    };
    let file = whoami(&[], None).await;
    whoami(&[], Some("ogel_env")).await;
    whoami(&["--token", "ogel_flag"], Some("ogel_env")).await;
    let tokens: Vec<String> =
        server.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["Bearer ogel_file", "Bearer ogel_env", "Bearer ogel_flag"]);
    // It was made with the usual mode.
    assert!(file.stderr.starts_with("warning: others can read the token in"), "{}", file.stderr);
}

#[tokio::test]
async fn the_files_token_is_not_shown_to_another_server() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    let folder = ogel.home.path().join("own");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), "api_url = \"https://h.org\"\ntoken = \"ogel_file\"\n").unwrap();
    let mut command = ogel.command(&["whoami", "--api-url", &server.url]);
    let ran = ran(command.env("OGEL_CONFIG_DIR", &folder).spawn().unwrap()).await;
    assert_eq!(ran.code, Some(4));
    assert_eq!(server.seen()[0].header("authorization"), None);
    assert!(ran.stderr.contains("you are logged in to `https://h.org`; log in here with"), "{}", ran.stderr);
}

#[tokio::test]
async fn logging_out_ends_a_session_and_spares_a_key() {
    let server = Server::start(script).await;
    let ogel = Ogel::new();
    for (token, ended) in [("ses_token", 1), ("ogel_key", 1)] {
        ogel.run(&["login", "--token", token, "--api-url", &server.url]).await;
        let ran = ogel.run(&["logout"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(server.asked("POST auth/logout").len(), ended, "{token}");
        assert!(!std::fs::read_to_string(ogel.config()).unwrap().contains("token ="));
    }
    let ran = ogel.run(&["logout", "--json"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "{\"loggedOut\":false}\n"));
}

#[tokio::test]
async fn a_token_on_an_open_road_is_warned_of() {
    let ran = Ogel::new().run(&["whoami", "--api-url", "http://192.0.2.1.invalid", "--token", "t"]).await;
    assert!(ran.stderr.starts_with("warning: the token goes to `http://192.0.2.1.invalid` unencrypted"), "{ran:?}");
}

/// Lets the device in at its third question, and renews its token once.
pub fn device(seen: &Seen) -> Reply {
    let said = |error: &str| Reply::Json(400, serde_json::json!({"error": error, "error_description": "as it is"}));
    let tokens = |access: &str, refresh: &str| {
        let scope = "users:read";
        Reply::Json(
            200,
            serde_json::json!({"access_token": access, "token_type": "Bearer", "expires_in": 3600,
            "refresh_token": refresh, "scope": scope}),
        )
    };
    match seen.operation().as_str() {
        "POST auth/device/code" => Reply::Json(
            200,
            serde_json::json!({"device_code": "ogeld_x", "user_code": "BCDF-GHJK",
            "verification_uri": "http://h/device", "verification_uri_complete": "http://h/device?user_code=BCDF-GHJK",
            "expires_in": 900, "interval": 1}),
        ),
        "POST auth/token" if seen.body["refresh_token"] == "ogelr_first" => tokens("ogels_second", "ogelr_second"),
        "POST auth/token" if seen.body["refresh_token"].is_string() => said("invalid_grant"),
        "POST auth/token" => match seen.nth {
            0 | 1 => said("authorization_pending"),
            _ => tokens("ogels_first", "ogelr_first"),
        },
        "POST auth/revoke" => Reply::Text(200, ""),
        "GET projects" if seen.header("authorization") == Some("Bearer ogels_first") => {
            Reply::Error(401, "CREDENTIAL_EXPIRED", 0)
        }
        _ => healthy(seen, "success"),
    }
}

#[tokio::test]
async fn a_person_lets_the_program_in_and_its_token_is_renewed_by_itself() {
    let server = Server::start(device).await;
    let ogel = Ogel::new();
    let ran = ogel.run(&["login", "--api-url", &server.url]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert!(
        ran.stderr.contains("http://h/device?user_code=BCDF-GHJK") && ran.stderr.contains("as Ada"),
        "{}",
        ran.stderr
    );
    let text = || std::fs::read_to_string(ogel.config()).unwrap();
    assert!(text().contains("token = \"ogels_first\"\nrefresh_token = \"ogelr_first\"\n"), "{}", text());
    // The token is over: nobody notices.
    assert_eq!(ogel.run(&["projects", "list"]).await.code, Some(0));
    assert!(text().contains("ogels_second") && text().contains("ogelr_second"), "{}", text());
    let sent: Vec<_> =
        server.asked("GET projects").iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer ogels_first", "Bearer ogels_second"]);

    assert_eq!(ogel.run(&["logout"]).await.code, Some(0));
    assert!(server.asked("POST auth/revoke")[0].body["token"] == "ogelr_second");
    assert!(!text().contains("ogel"), "{}", text());
}

/// A browser that writes down what it was told to open.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_page_is_opened_in_a_browser_unless_nobody_would_see_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start(device).await;
    let ogel = Ogel::new();
    let (browser, opened) = (ogel.home.path().join("browser"), ogel.home.path().join("opened"));
    std::fs::write(&browser, format!("#!/bin/sh\necho \"$1\" >> {}\n", opened.display())).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    // The first of them is let in at the third question, the others at once.
    for (flag, ci, ssh) in
        [("--no-browser", false, false), ("--quiet", true, false), ("--quiet", false, true), ("--quiet", false, false)]
    {
        let mut command = ogel.command(&["login", "--api-url", &server.url, flag]);
        for variable in ["CI", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"] {
            command.env_remove(variable);
        }
        command.env("BROWSER", &browser);
        if ci {
            command.env("CI", "true");
        }
        if ssh {
            command.env("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22");
        }
        assert!(!opened.exists(), "{flag} {ci} {ssh}");
        let ran = ran(command.spawn().unwrap()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        // Printed in every case.
        assert!(ran.stderr.contains("http://h/device?user_code=BCDF-GHJK\n  BCDF-GHJK"), "{}", ran.stderr);
    }
    ogel_testkit::eventually("the browser is told", || async {
        std::fs::read_to_string(&opened).ok().filter(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(std::fs::read_to_string(&opened).unwrap(), "http://h/device?user_code=BCDF-GHJK\n");
}
