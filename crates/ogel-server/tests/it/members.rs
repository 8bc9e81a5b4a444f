//! Members: seen, given other roles, removed; and the last owner, who stays.

use crate::on_both;
use ogel_api::organizations::Role;
use ogel_testkit::Api;
use serde_json::json;

async fn organization(api: &Api) -> String {
    api.get("/organizations").await.expect(200)["organizations"][0]["id"].as_str().unwrap().to_owned()
}

async fn id(api: &Api) -> String {
    api.get("/users/me").await.expect(200)["id"].as_str().unwrap().to_owned()
}

on_both! {
    async fn members_are_seen_changed_and_removed(app: TestApp) {
        let (ada, ben, eve) = (app.sign_up("ada").await, app.sign_up("ben").await, app.sign_up("eve").await);
        let path = format!("/organizations/{}/members", organization(&ada).await);
        app.add_member(&ada, &ben, Role::Admin).await;
        app.add_member(&ada, &eve, Role::Developer).await;
        let list = eve.get(&path).await.expect(200);
        let mut roles: Vec<_> = list["members"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
        roles.sort_unstable();
        assert_eq!(roles, ["admin", "developer", "owner"]);
        let (ada_id, ben_id, eve_id) = (id(&ada).await, id(&ben).await, id(&eve).await);
        let at = |user: &str| format!("{path}/{user}");

        // An admin gives and takes what is no owner's.
        ben.patch(&at(&eve_id), json!({ "role": "viewer" })).await.expect(200);
        for (user, role) in [(&eve_id, "owner"), (&ada_id, "viewer"), (&ben_id, "owner")] {
            ben.patch(&at(user), json!({ "role": role })).await.expect_error(403, "FORBIDDEN");
        }
        ben.delete(&at(&ada_id)).await.expect_error(403, "FORBIDDEN");
        eve.patch(&at(&ben_id), json!({ "role": "viewer" })).await.expect_error(403, "FORBIDDEN");
        ben.patch(&at(&eve_id), json!({ "role": "emperor" })).await.expect_error(400, "INVALID_VALUE");

        // Only one version of a membership is meant.
        let tag = ada.get(&at(&ben_id)).await.headers["etag"].clone();
        ada.patch(&at(&ben_id), json!({ "role": "developer" })).await.expect(200);
        let late = ada.request(http::Method::PATCH, &at(&ben_id)).header("if-match", tag).json(&json!({ "role": "owner" }));
        ada.send(late).await.expect_error(412, "PRECONDITION_FAILED");

        ada.delete(&at(&eve_id)).await.expect(204);
        eve.get(&path).await.expect_error(404, "NOT_FOUND");
        ada.get(&at(&eve_id)).await.expect_error(404, "NOT_FOUND");
        ben.delete(&at("me")).await.expect(204);
        ben.get(&path).await.expect_error(404, "NOT_FOUND");
        let log = ada.get(&path.replace("/members", "/audit-log?action=member.removed")).await.expect(200);
        assert_eq!(log["entries"].as_array().unwrap().len(), 2);
    }

    async fn the_last_owner_stays_whoever_tries(app: TestApp) {
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        let path = format!("/organizations/{}/members", organization(&ada).await);
        app.add_member(&ada, &ben, Role::Owner).await;
        let (ada_id, ben_id) = (id(&ada).await, id(&ben).await);
        for round in 0..6 {
            // Each demotes the other at the same moment; one of them must stay.
            let demote = |who: &Api, whom: &str| {
                let (who, at) = (who.clone(), format!("{path}/{whom}"));
                tokio::spawn(async move {
                    if round % 2 == 0 {
                        who.patch(&at, json!({ "role": "admin" })).await.status.as_u16()
                    } else {
                        who.patch(&format!("{}/me", at.rsplit_once('/').unwrap().0), json!({ "role": "admin" })).await.status.as_u16()
                    }
                })
            };
            let (one, other) = (demote(&ada, &ben_id), demote(&ben, &ada_id));
            let statuses = [one.await.unwrap(), other.await.unwrap()];
            assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
            let list = ada.get(&path).await.expect(200);
            let owners: Vec<_> = list["members"].as_array().unwrap().iter().filter(|one| one["role"] == "owner").collect();
            assert_eq!(owners.len(), 1, "{list}");
            let (boss, fallen) = if owners[0]["userId"] == json!(ada_id) { (&ada, &ben_id) } else { (&ben, &ada_id) };
            boss.patch(&format!("{path}/me"), json!({ "role": "admin" })).await.expect_error(409, "LAST_OWNER");
            boss.delete(&format!("{path}/me")).await.expect_error(409, "LAST_OWNER");
            boss.patch(&format!("{path}/{fallen}"), json!({ "role": "owner" })).await.expect(200);
        }
    }

    async fn a_project_moves_to_where_one_is_admin_too(app: TestApp) {
        let (ada, ben) = (app.sign_up("ada").await, app.sign_up("ben").await);
        let project = ada.project("shop").await;
        let (from, to) = (organization(&ada).await, organization(&ben).await);
        let path = format!("/projects/{project}/transfer");
        ada.post(&path, json!({ "organizationId": to })).await.expect_error(404, "NOT_FOUND");
        app.add_member(&ben, &ada, Role::Developer).await;
        ada.post(&path, json!({ "organizationId": to })).await.expect_error(403, "FORBIDDEN");
        let member = format!("/organizations/{to}/members/{}", id(&ada).await);
        ben.patch(&member, json!({ "role": "admin" })).await.expect(200);
        ben.project("shop").await;
        ada.post(&path, json!({ "organizationId": to })).await.expect_error(409, "CONFLICT");
        // The clock stands still, and entries of the audit log of one moment have no order.
        app.app.world.clock.advance(chrono::TimeDelta::seconds(1));
        let moved = ada.post(&path, json!({ "organizationId": to, "slug": "adas" })).await.expect(200);
        assert_eq!((&moved["organizationId"], &moved["slug"]), (&json!(to), &json!("adas")));
        ben.get(&format!("/projects/{project}")).await.expect(200);
        for organization in [from, to] {
            let log = ada.get(&format!("/organizations/{organization}/audit-log?target={project}")).await.expect(200);
            assert_eq!(log["entries"][0]["action"], "project.transferred", "{log}");
        }
    }

    async fn the_roles_are_those_of_the_table(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let roles = ada.get(&format!("/organizations/{}/roles", organization(&ada).await)).await.expect(200);
        let of = |role: &str| roles["roles"].as_array().unwrap().iter().find(|one| one["role"] == role).unwrap()["operations"].clone();
        assert!(of("admin").as_array().unwrap().contains(&json!("get_audit_log")));
        assert!(!of("developer").as_array().unwrap().contains(&json!("get_audit_log")));
        assert!(of("owner").as_array().unwrap().contains(&json!("delete_organization")));
    }
}
