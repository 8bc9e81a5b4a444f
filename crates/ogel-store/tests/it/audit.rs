//! The audit log: written with the change or not at all, read by members only, and filtered.

use crate::support::*;
use ogel_api::{audit::AuditAction, id::SiteId};
use ogel_store::{
    Act, AuditFilter, AuditRecord, Entry, GhostObject, Hold, ObjectChange, ObjectKind, ObjectOutcome, Refusal,
};
use serde_json::json;

fn site(seconds: i64) -> uuid::Uuid {
    uuid::Uuid::from_u128(seconds.unsigned_abs().into())
}

/// Somebody changes a site, which is Ghost's: an entry of its own.
async fn write_entry(bench: &Bench, person: &Person, act: &Act, seconds: i64) {
    let object = GhostObject {
        id: site(seconds),
        project_id: person.project.id,
        kind: ObjectKind::Site,
        ghost_id: "x".to_owned(),
    };
    let entry = Entry::new(person.organization.id, AuditAction::SiteUpdated, "");
    let change = ObjectChange::new(act, &object, person.organization.id, &entry);
    let job = bench.store.begin_object_change(&change, Hold { owner: id(), until: at(60) }).await.unwrap();
    assert!(bench.store.end_object_change(&job, &change, ObjectOutcome::Done, act.at).await.unwrap());
    assert!(!bench.store.end_object_change(&job, &change, ObjectOutcome::Done, act.at).await.unwrap(), "it has ended");
}

on_both! {
    async fn a_change_and_its_entry_are_one(bench: Bench) {
        let person = bench.person().await;
        let (eyes, id) = (person.viewer(), person.organization.id);
        let act = act(&person.user, 1);
        let change = (Some("Difference"), None);
        bench.store.update_organization(&act, &eyes, id, change, at(9), &any()).await.unwrap().unwrap();
        let all = AuditFilter::default();
        let log = bench.store.audit_log(&eyes, id, &all, &first(10)).await.unwrap().rows;
        let actions: Vec<_> = log.iter().map(|entry| entry.action).collect();
        let made = [AuditAction::OrganizationUpdated, AuditAction::ProjectCreated, AuditAction::OrganizationCreated];
        assert_eq!(actions, made);
        let entry = &log[0];
        assert_eq!((entry.id.0, entry.created_at, entry.actor_user), (act.id, at(1), Some(person.user.id)));
        assert_eq!((entry.actor_name.as_deref(), entry.target.as_str()), (Some("Ada"), id.to_string().as_str()));
        // Only what has changed.
        assert_eq!(json!(entry.before_fields), json!({ "name": "Analytical" }));
        assert_eq!(json!(entry.after_fields), json!({ "name": "Difference" }));

        // What is refused leaves no entry; and where no entry can be written, nothing is changed.
        let refused = bench.store.delete_organization(&due(2), &eyes, id, &any()).await.unwrap();
        assert_eq!(refused, Err(Refusal::InUse));
        let error = bench.store.update_organization(&act, &eyes, id, (Some("x"), None), at(9), &any()).await;
        assert!(error.is_err(), "an act has one entry only");
        assert_eq!(bench.store.organization(&eyes, id).await.unwrap().unwrap().0.name, "Difference");
        assert_eq!(bench.store.audit_log(&eyes, id, &all, &first(10)).await.unwrap().rows, log);
    }

    async fn the_log_is_for_members_and_by_filter(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let (eyes, id) = (person.viewer(), person.organization.id);
        let key = ogel_api::id::ApiKeyId(crate::support::id());
        for seconds in 1..=5 {
            let actor = ogel_store::Actor::Key(person.user.id, key);
            write_entry(&bench, &person, &ogel_store::Act { actor, ..due(seconds) }, seconds).await;
        }
        let ids = |filter: AuditFilter| {
            let (store, eyes) = (bench.store.clone(), eyes.clone());
            async move {
                let page = store.audit_log(&eyes, id, &filter, &first(10)).await.unwrap();
                page.rows.into_iter().map(|entry| entry.target).collect::<Vec<_>>()
            }
        };
        let all = AuditFilter::default();
        let target = |seconds: i64| SiteId(site(seconds)).to_string();
        assert_eq!(ids(AuditFilter { target: Some(target(3)), ..all.clone() }).await, [target(3)]);
        let between = AuditFilter { created_after: Some(at(1)), created_before: Some(at(4)), ..all.clone() };
        assert_eq!(ids(between).await, [target(3), target(2)]);
        assert_eq!(ids(AuditFilter { actor: Some(person.user.id), ..all.clone() }).await.len(), 7);
        assert_eq!(ids(AuditFilter { actor: Some(stranger.user.id), ..all.clone() }).await.len(), 0);
        assert_eq!(ids(AuditFilter { action: Some(AuditAction::ProjectCreated), ..all.clone() }).await.len(), 1);
        let nothing = bench.store.audit_log(&stranger.viewer(), id, &all, &first(10)).await.unwrap();
        assert!(nothing.rows.is_empty());

        let log = bench.store.audit_log(&eyes, id, &all, &first(100)).await.unwrap().rows;
        assert_eq!(log[0].actor_key, Some(key));
        let expected: Vec<_> = log.iter().map(|entry| entry.id.0).collect();
        let list = |request| {
            let (store, eyes, all) = (bench.store.clone(), eyes.clone(), all.clone());
            async move { store.audit_log(&eyes, id, &all, &request).await }
        };
        assert_pages(&expected, 2, |entry: &AuditRecord| entry.id.0, list).await;
        // Two that were made at noon, and one at each second up to the third.
        assert_eq!(bench.store.delete_old_audit_entries(at(3), 2).await.unwrap(), 2);
        bench.store.delete_old_audit_entries(at(3), 100).await.unwrap();
        assert_eq!(ids(all).await, [target(5), target(4), target(3)]);
    }
}

/// What belongs to an organization or is how a person gets in, and the functions that may change it without an entry, with
/// the reason.
const AUDITED: &[&str] =
    &["organizations", "organization_members", "projects", "invitations", "api_keys", "sessions", "webhooks"];
const EXEMPT: &[(&str, &str)] = &[
    ("purge_organizations", "the log goes with the organization"),
    ("delete_lapsed_invitations", "what can no longer be accepted goes by itself, long after"),
    ("touch_api_keys", "when it was last used is no change of it"),
    ("touch_sessions", "when it was last used is no change of it"),
    ("delete_expired_sessions", "has ended by itself"),
    ("begin_purge", "the deletion it carries out was written down when it was asked for"),
    ("promote", "holds the project's row and changes nothing of it"),
];

/// A function that changes such a table takes an `Act`, or is exempt; and one that takes an `Act` uses it.
#[test]
fn nothing_of_an_organization_is_changed_without_an_act() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let files: Vec<_> = paths.map(|path| (std::fs::read_to_string(&path).unwrap(), path)).collect();
    let mut seen = 0;
    for (text, path) in &files {
        for function in text.split("    pub async fn ").skip(1) {
            let name = function.split('(').next().unwrap();
            let body = function.split("\n    }\n").next().unwrap();
            // Statements that have a name are in the same file, or in the one that they are taken from.
            let named = body.split("query(").skip(1).filter_map(|rest| {
                let name = rest.split(')').next().unwrap();
                let statement = |text: &str| {
                    Some(text.split_once(&format!("const {name}: &str ="))?.1.split_once(';')?.0.to_owned())
                };
                statement(text).or_else(|| files.iter().find_map(|(text, _)| statement(text)))
            });
            let statements = named.fold(body.to_owned(), |all, statement| all + &statement);
            let changes = AUDITED.iter().any(|table| {
                ["UPDATE ", "INSERT INTO ", "DELETE FROM "]
                    .iter()
                    .any(|verb| statements.contains(&format!("{verb}{table} ")))
            });
            if !changes || EXEMPT.iter().any(|(exempt, _)| *exempt == name) {
                continue;
            }
            seen += 1;
            let writes = ["audited!(self, act", "write_down!(tx, act,", "write_down!(tx, &act.by("];
            let audited = body.contains("act: &Act") && writes.iter().any(|writes| body.contains(writes));
            assert!(audited || path.ends_with("ghost.rs"), "`{name}` in {} takes no act", path.display());
        }
    }
    assert!(seen >= 20, "only {seen} were found; does this test still read the sources?");
}
