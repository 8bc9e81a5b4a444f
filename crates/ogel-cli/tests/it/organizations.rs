//! Organizations, members, invitations and the audit log, at the real service.

use crate::end_to_end::ogel;
use ogel_testkit::{Database, TestApp};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_are_made_listed_deleted_and_restored() {
    let app = TestApp::start(Database::Sqlite).await;
    let ada = app.sign_up("ada").await;
    let made = ogel(&ada, &["orgs", "create", "Shop & Co", "--slug", "shop-co"]).await;
    assert_eq!((made.code, made.stderr.as_str()), (Some(0), "Created organization shop-co\n"));
    let id = made.stdout.trim_end();
    assert!(id.starts_with("org_"), "{made:?}");
    assert_eq!(ogel(&ada, &["orgs", "create", "Another", "--slug", "shop-co"]).await.code, Some(1));
    let table = ogel(&ada, &["orgs", "list"]).await.stdout;
    let line = table.lines().find(|line| line.starts_with("shop-co ")).expect(&table);
    assert!(line.contains("Shop & Co") && line.contains("owner") && line.ends_with(id), "{table}");
    // Two of them now: which one is meant must be said.
    let several = ogel(&ada, &["members", "list"]).await;
    assert_eq!(several.code, Some(2));
    assert!(several.stderr.contains("there are several organizations"), "{}", several.stderr);

    let unasked = ogel(&ada, &["orgs", "delete", "shop-co", "--json"]).await;
    assert_eq!((unasked.code, &unasked.json()["error"]["code"]), (Some(2), &json!("NOT_CONFIRMED")));
    let deleted = ogel(&ada, &["orgs", "delete", "shop-co", "--yes", "--json"]).await;
    assert_eq!((deleted.code, deleted.json()), (Some(0), json!({ "id": id })));
    assert_eq!(ogel(&ada, &["orgs", "delete", "shop-co", "--yes"]).await.code, Some(3));
    assert_eq!(ogel(&ada, &["orgs", "list", "--json"]).await.json().as_array().unwrap().len(), 1);
    let restored = ogel(&ada, &["orgs", "restore", id]).await;
    assert_eq!((restored.code, restored.stdout.trim_end()), (Some(0), id));
    assert_eq!(ogel(&ada, &["orgs", "restore", "nothing"]).await.code, Some(2));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_invited_join_change_their_role_and_leave() {
    let app = TestApp::start(Database::Sqlite).await;
    let (ada, ben, eve) = (app.sign_up("ada").await, app.sign_up("ben").await, app.sign_up("eve").await);
    let organization = ogel(&ada, &["orgs", "list", "--json"]).await.json()[0]["id"].as_str().unwrap().to_owned();
    let sent = ogel(&ada, &["invite", "send", "ben@example.com", "--role", "viewer", "--days", "3"]).await;
    assert_eq!((sent.code, sent.stderr.as_str()), (Some(0), "Invited ben@example.com as viewer\n"));
    let invitation = sent.stdout.trim_end();
    assert!(invitation.starts_with("inv"), "{sent:?}");
    assert_eq!(ogel(&ada, &["invite", "send", "ben@example.com"]).await.code, Some(1), "he is invited already");
    assert_eq!(ogel(&ada, &["invite", "send", "x@example.com", "--role", "king"]).await.code, Some(2));
    let listed = ogel(&ada, &["invite", "list"]).await.stdout;
    assert!(listed.contains("ben@example.com  viewer"), "{listed}");
    assert_eq!(ogel(&ada, &["invite", "resend", invitation]).await.code, Some(6), "one has just been sent");
    app.app.world.clock.advance(chrono::TimeDelta::minutes(5));
    assert_eq!(ogel(&ada, &["invite", "resend", invitation]).await.code, Some(0));
    let mails = app.mails_to("ben@example.com", 2).await;
    let token = |mail: &String| {
        let mail = mail.replace("=\r\n", "");
        let from = mail.find("ogeli_").unwrap();
        mail[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
    };
    // The one of the first mail is over; an invitation is for its address.
    let (first, second) = (token(&mails[0]), token(&mails[1]));
    assert_eq!(ogel(&ben, &["invite", "accept", &first]).await.code, Some(3));
    assert_eq!(ogel(&eve, &["invite", "accept", &second]).await.code, Some(3));
    let joined = ogel(&ben, &["invite", "accept", &second]).await;
    assert_eq!((joined.code, joined.stdout.trim_end()), (Some(0), organization.as_str()), "{joined:?}");

    let members = ogel(&ada, &["members", "list"]).await.stdout;
    let roles: Vec<_> = members.lines().skip(1).map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(roles.len(), 2, "{members}");
    let role = ogel(&ada, &["members", "role", "Ben@example.com", "admin"]).await;
    assert_eq!((role.code, role.stderr.as_str()), (Some(0), "ben@example.com is admin now\n"));
    assert_eq!(ogel(&ada, &["members", "role", "nobody@example.com", "admin"]).await.code, Some(3));
    // The last owner stays one.
    let last = ogel(&ada, &["members", "leave", "--yes"]).await;
    assert_eq!(last.code, Some(1), "{last:?}");
    assert_eq!(ogel(&ada, &["members", "remove", "ben@example.com"]).await.code, Some(2), "not unasked");
    let own = ["members", "leave", "--organization", &organization];
    assert_eq!(ogel(&ben, &own).await.code, Some(2), "not unasked");
    assert_eq!(ogel(&ben, &[&own[..], &["--yes"]].concat()).await.code, Some(0));
    assert_eq!(ogel(&ada, &["members", "list", "--json"]).await.json().as_array().unwrap().len(), 1);

    let sent = ogel(&ada, &["invite", "send", "eve@example.com", "--json"]).await.json();
    let id = sent["id"].as_str().unwrap();
    assert_eq!((&sent["role"], ogel(&ada, &["invite", "revoke", id]).await.code), (&json!("developer"), Some(0)));
    assert_eq!(ogel(&ada, &["invite", "list", "--json"]).await.json(), json!([]));
    app.add_member(&ada, &eve, ogel_api::organizations::Role::Developer).await;
    assert_eq!(ogel(&ada, &["members", "remove", "eve@example.com", "--yes"]).await.code, Some(0));

    let log = ogel(&ada, &["audit-log", "--limit", "200", "--json"]).await.json();
    let actions: Vec<_> = log.as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    for action in ["invitation.created", "invitation.accepted", "member.added", "member.removed", "invitation.revoked"]
    {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
    let short = ogel(&ada, &["audit-log", "-n", "2"]).await.stdout;
    assert_eq!(short.lines().count(), 3, "{short}");
    // The clock stands still: which of the entries are the newest is not said.
    assert!(short.starts_with("WHEN ") && short.lines().skip(1).all(|line| line.contains("127.0.0.1")), "{short}");
    app.stop().await;
}
