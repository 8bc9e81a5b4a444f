//! Invitations: by mail, for one address, once; and the mail itself, over a real SMTP conversation.

use crate::on_both;
use ogel_api::organizations::Role;
use ogel_server::config::Secret;
use ogel_testkit::{Api, Database, TestApp, eventually};
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

pub(crate) async fn organization(api: &Api) -> String {
    api.get("/organizations").await.expect(200)["organizations"][0]["id"].as_str().unwrap().to_owned()
}

/// The token that a mail carries.
pub(crate) fn token(mail: &str) -> String {
    let mail = mail.replace("=\r\n", "");
    let start = mail.find("ogeli_").unwrap();
    mail[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

on_both! {
    async fn who_is_invited_joins_and_nobody_else(app: TestApp) {
        let (ada, ben, eve) = (app.sign_up("ada").await, app.sign_up("ben").await, app.sign_up("eve").await);
        let organization = organization(&ada).await;
        let path = format!("/organizations/{organization}/invitations");
        // The clock stands still, and entries of the audit log of one moment have no order.
        app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
        let invited = ada.post(&path, json!({ "email": "Ben@example.com", "role": "developer" })).await.expect(201);
        assert_eq!((&invited["email"], &invited["role"]), (&json!("ben@example.com"), &json!("developer")));
        let mail = app.mails_to("ben@example.com", 1).await.remove(0);
        let token = token(&mail);
        assert!(!invited.to_string().contains(&token));
        eventually("the list says that it was sent", || async {
            (ada.get(&path).await.expect(200)["invitations"][0]["mail"] == "sent").then_some(())
        }).await;
        ada.post(&path, json!({ "email": "ben@example.com", "role": "viewer" })).await.expect_error(409, "CONFLICT");

        let accept = format!("/invitations/{token}/accept");
        let error = eve.post(&accept, json!({})).await.expect_error(404, "NOT_FOUND");
        assert!(!error.to_string().contains(&token), "{error}");
        app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
        let joined = ben.post(&accept, json!({})).await.expect(200);
        assert_eq!((&joined["id"], &joined["role"]), (&json!(organization), &json!("developer")));
        // Once more, because the answer may have been lost: the same, for the same person, and nothing happens.
        assert_eq!(ben.post(&accept, json!({})).await.expect(200), joined);
        eve.post(&accept, json!({})).await.expect_error(404, "NOT_FOUND");
        assert_eq!(ada.get(&path).await.expect(200)["invitations"], json!([]));
        ada.post(&path, json!({ "email": "ben@example.com", "role": "viewer" })).await.expect_error(409, "CONFLICT");
        let log = ada.get(&format!("/organizations/{organization}/audit-log")).await.expect(200);
        let actions: Vec<_> = log["entries"].as_array().unwrap().iter().take(3).map(|one| one["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["member.added", "invitation.accepted", "invitation.created"]);
        assert!(!log.to_string().contains(&token));
        // Whoever was removed does not come back by it.
        let member = format!("/organizations/{organization}/members/{}", ben.get("/users/me").await.expect(200)["id"].as_str().unwrap());
        ada.delete(&member).await.expect(204);
        ben.post(&accept, json!({})).await.expect_error(404, "NOT_FOUND");
    }

    async fn an_invitation_lapses_is_sent_again_and_taken_back(app: TestApp) {
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        let path = format!("/organizations/{}/invitations", organization(&ada).await);
        let body = json!({ "email": "ben@example.com", "role": "viewer", "expiresInDays": 1 });
        let invited = ada.post(&path, body).await.expect(201);
        let one = format!("{path}/{}", invited["id"].as_str().unwrap());
        let first = token(&app.mails_to("ben@example.com", 1).await[0]);
        ada.post(&format!("{one}/resend"), json!({})).await.expect_error(429, "RATE_LIMITED");
        app.app.world.clock.advance(chrono::TimeDelta::hours(25));
        ben.post(&format!("/invitations/{first}/accept"), json!({})).await.expect_error(404, "NOT_FOUND");
        ada.post(&format!("{one}/resend"), json!({})).await.expect(200);
        let second = token(&app.mails_to("ben@example.com", 2).await[1]);
        ben.post(&format!("/invitations/{first}/accept"), json!({})).await.expect_error(404, "NOT_FOUND");
        ada.delete(&one).await.expect(204);
        ben.post(&format!("/invitations/{second}/accept"), json!({})).await.expect_error(404, "NOT_FOUND");
        ada.delete(&one).await.expect_error(404, "NOT_FOUND");
    }

    async fn only_an_owner_invites_owners(app: TestApp) {
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        app.add_member(&ada, &ben, Role::Admin).await;
        let path = format!("/organizations/{}/invitations", organization(&ada).await);
        let owner = json!({ "email": "new@example.com", "role": "owner" });
        ben.post(&path, owner.clone()).await.expect_error(403, "FORBIDDEN");
        let invited = ada.post(&path, owner).await.expect(201);
        app.app.world.clock.advance(chrono::TimeDelta::minutes(2));
        let resend = format!("{path}/{}/resend", invited["id"].as_str().unwrap());
        ben.post(&resend, json!({})).await.expect_error(403, "FORBIDDEN");
        ada.post(&path, json!({ "email": "no address", "role": "viewer" })).await.expect_error(400, "INVALID_VALUE");
        let long = json!({ "email": "a@b.c", "role": "viewer", "expiresInDays": 31 });
        ada.post(&path, long).await.expect_error(400, "INVALID_VALUE");
    }
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) {
    // A client that has hung up hears nothing more.
    let _ = stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await;
}

/// A mail server that says what it is told to: each connection answers `MAIL FROM` with the next line, then takes the mail.
async fn smtp(answers: &'static [&'static str]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let taken = Arc::<Mutex<Vec<String>>>::default();
    let mails = taken.clone();
    tokio::spawn(async move {
        for n in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            let mut stream = BufReader::new(stream);
            say(&mut stream, "220 mail.test").await;
            let mut line = String::new();
            while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                match &*line.split([' ', '\r']).next().unwrap().to_ascii_uppercase() {
                    "MAIL" => say(&mut stream, answers.get(n).unwrap_or(&"250 ok")).await,
                    "DATA" => {
                        say(&mut stream, "354 go on").await;
                        let mut mail = String::new();
                        while !mail.ends_with("\r\n.\r\n") && stream.read_line(&mut mail).await.unwrap() > 0 {}
                        mails.lock().unwrap().push(mail);
                        say(&mut stream, "250 taken").await;
                    }
                    "QUIT" => break,
                    _ => say(&mut stream, "250 mail.test").await,
                }
                line.clear();
            }
        }
    });
    (url, taken)
}

/// A server whose mail goes over SMTP, and somebody invited; answers with the path of the invitations.
async fn invited_over(url: String) -> (TestApp, Api, String) {
    let app = TestApp::start_with(Database::Sqlite, |config| config.mail.url = Secret::new(url)).await;
    let ada = app.sign_up("ada").await;
    let path = format!("/organizations/{}/invitations", organization(&ada).await);
    ada.post(&path, json!({ "email": "ben@example.com", "role": "viewer" })).await.expect(201);
    (app, ada, path)
}

pub(crate) async fn wait_for(ada: &Api, path: &str, state: &str) {
    eventually("the mail is in that state", || async {
        (ada.get(path).await.expect(200)["invitations"][0]["mail"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_that_a_server_puts_off_is_sent_later_once() {
    let (url, taken) = smtp(&["451 come back later"]).await;
    let (app, ada, path) = invited_over(url).await;
    eventually("the clock is turned and the mail is sent", || async {
        app.app.world.clock.advance(chrono::TimeDelta::seconds(5));
        app.app.mailer.wake();
        (!taken.lock().unwrap().is_empty()).then_some(())
    })
    .await;
    wait_for(&ada, &path, "sent").await;
    let mails = taken.lock().unwrap().clone();
    assert_eq!(mails.len(), 1);
    let ben = app.sign_up("ben").await;
    ben.post(&format!("/invitations/{}/accept", token(&mails[0])), json!({})).await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_that_a_server_refuses_is_given_up() {
    let (url, taken) = smtp(&["550 never"]).await;
    let (app, ada, path) = invited_over(url).await;
    wait_for(&ada, &path, "failed").await;
    assert!(taken.lock().unwrap().is_empty());
    app.stop().await;
}
