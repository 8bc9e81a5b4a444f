//! Organizations and projects.

use crate::on_both;
use serde_json::json;

on_both! {
    async fn organizations_are_made_renamed_and_deleted(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let made = ada.post("/organizations", json!({ "name": "Lovelace & Co" })).await.expect(201);
        assert_eq!((&made["slug"], &made["role"], &made["plan"]), (&json!("lovelace-co"), &json!("owner"), &json!("free")));
        let path = format!("/organizations/{}", made["id"].as_str().unwrap());
        ada.patch(&path, json!({ "name": "L & Co", "slug": "lco" })).await.expect(200);
        assert_eq!(ada.get(&path).await.expect(200)["slug"], "lco");
        assert_eq!(ada.get("/organizations").await.expect(200)["organizations"].as_array().unwrap().len(), 2);

        let project = json!({ "name": "engine", "organizationId": made["id"] });
        let project = ada.post("/projects", project).await.expect(201);
        ada.delete(&path).await.expect_error(409, "CONFLICT");
        ada.delete(&format!("/projects/{}", project["id"].as_str().unwrap())).await.expect(204);
        ada.delete(&path).await.expect(204);
        ada.get(&path).await.expect_error(404, "NOT_FOUND");
    }

    async fn a_slug_that_is_taken_is_refused_but_a_made_up_one_makes_way(app: TestApp) {
        let ada = app.sign_up("ada").await;
        ada.post("/organizations", json!({ "name": "Same", "slug": "same" })).await.expect(201);
        ada.post("/organizations", json!({ "name": "Other", "slug": "same" })).await.expect_error(409, "CONFLICT");
        let second = ada.post("/organizations", json!({ "name": "Same" })).await.expect(201);
        assert!(second["slug"].as_str().unwrap().starts_with("same-"), "{second}");
    }

    async fn projects_are_found_by_id_uuid_and_slug(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let made = ada.post("/projects", json!({ "name": "My Shop" })).await.expect(201);
        let id = made["id"].as_str().unwrap();
        let uuid = id.parse::<ogel_api::id::ProjectId>().unwrap().0;
        for name in [id.to_owned(), uuid.to_string(), "my-shop".to_owned()] {
            assert_eq!(ada.get(&format!("/projects/{name}")).await.expect(200)["id"], json!(id), "{name}");
        }
        ada.patch("/projects/my-shop", json!({ "slug": "shop" })).await.expect(200);
        ada.get("/projects/my-shop").await.expect_error(404, "NOT_FOUND");
        ada.get("/projects/shop").await.expect(200);
    }

    async fn a_slug_in_two_organizations_must_be_told_apart_by_id(app: TestApp) {
        let ada = app.sign_up("ada").await;
        let first = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].clone();
        let second = ada.post("/organizations", json!({ "name": "second" })).await.expect(201)["id"].clone();
        let error = ada.post("/projects", json!({ "name": "shop" })).await.expect_error(400, "MISSING_FIELD");
        assert_eq!(error["details"][0]["location"], "body.organizationId");
        for organization in [first, second] {
            ada.post("/projects", json!({ "name": "shop", "organizationId": organization })).await.expect(201);
        }
        ada.get("/projects/shop").await.expect_error(409, "AMBIGUOUS_SLUG");
    }

    async fn pages_are_complete_and_without_repeats(app: TestApp) {
        let ada = app.sign_up("ada").await;
        // The test's clock stands still, so all of them were made at the same time.
        for number in 0..7 {
            ada.project(&format!("p{number}")).await;
        }
        let mut seen = Vec::new();
        let mut path = "/projects?limit=3".to_owned();
        loop {
            let page = ada.get(&path).await.expect(200);
            seen.extend(page["projects"].as_array().unwrap().iter().map(|project| project["id"].to_string()));
            match page["pagination"]["nextCursor"].as_str() {
                Some(cursor) => path = format!("/projects?limit=3&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 7);
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 7);
        let cursor = ada.get("/projects?limit=3").await.expect(200)["pagination"]["nextCursor"].clone();
        let organization = ada.get("/organizations").await.expect(200)["organizations"][0]["id"].clone();
        let path = format!("/projects?cursor={}&organizationId={}", cursor.as_str().unwrap(), organization.as_str().unwrap());
        ada.get(&path).await.expect_error(400, "INVALID_CURSOR");
    }
}
