//! What is repeated, what is not, and what "exists already" means the second time.

use crate::{
    DEPLOYMENT, config, ctx, ghost, ghost_with,
    scripted::{Reply, Scripted, Seen, answer},
};
use ogel_api::{deployments::DeploymentStatus, error::ErrorCode};
use ogel_ghost::{CallContext, CreateDeployment, Credential, GhostErrorKind};
use std::time::Duration;
use tokio::time::Instant;

fn error(status: u16, kind: &str) -> Reply {
    let body = format!(r#"{{"message":"m","code":{status},"type":"{kind}","version":"1"}}"#);
    answer(status, "application/json", &body)
}

fn document(body: &str) -> Reply {
    answer(200, "application/json", body)
}

/// Answers by the request's number, the last reply again for those after it.
fn in_turn(replies: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Scripted {
    Scripted::new(move |seen| replies(seen, seen.number))
}

fn lines(scripted: &Scripted) -> Vec<String> {
    scripted.seen().iter().map(|seen| seen.line().to_owned()).collect()
}

fn deployment() -> CreateDeployment {
    CreateDeployment { deployment_id: "d1".into(), repo_url: "https://r".into(), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_get_survives_two_failures_of_any_kind() {
    let scripted = in_turn(|_, number| match number {
        1 => error(503, "general_server_error"),
        2 => Reply::Close,
        _ => document(DEPLOYMENT),
    });
    let document = ghost(&scripted).get_deployment(ctx(), Credential::Platform, "p1", "d1").await.unwrap();
    assert_eq!((document.build_id.as_str(), scripted.seen().len()), ("b1", 3));
}

#[tokio::test(start_paused = true)]
async fn three_attempts_are_all_there_are() {
    let scripted = in_turn(|_, _| error(500, "general_server_error"));
    let error = ghost(&scripted).get_project(ctx(), "p1").await.unwrap_err();
    assert_eq!((error.code, error.attempts, scripted.seen().len()), (ErrorCode::UpstreamError, 3, 3));
    assert!(error.may_have_been_processed);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_repeated() {
    for (status, kind, code) in [
        (404, "project_not_found", ErrorCode::NotFound),
        (401, "user_unauthorized", ErrorCode::UpstreamAuth),
        (400, "general_argument_invalid", ErrorCode::ValidationFailed),
    ] {
        let scripted = in_turn(move |_, _| error(status, kind));
        let failure = ghost(&scripted).get_project(ctx(), "p1").await.unwrap_err();
        assert_eq!((failure.code, failure.kind.as_str(), scripted.seen().len()), (code, kind, 1));
        assert!(!failure.may_have_been_processed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_project_key_is_never_asked_for_twice_once_the_request_left() {
    let scripted = in_turn(|_, _| Reply::Close);
    let failure = ghost(&scripted).create_project_key(ctx(), "p1", "studio", &[]).await.unwrap_err();
    assert_eq!((failure.kind, scripted.seen().len()), (GhostErrorKind::RESET, 1));
    assert!(failure.may_have_been_processed);

    let scripted = in_turn(|_, _| document(r#"{"$id":"k","secret":"s"}"#));
    scripted.refuse(2);
    ghost(&scripted).create_project_key(ctx(), "p1", "studio", &[]).await.unwrap();
    assert_eq!(scripted.seen().len(), 1, "refused connections were tried again, the request was sent once");
}

#[tokio::test(start_paused = true)]
async fn a_deployment_whose_answer_was_lost_is_found_and_not_made_twice() {
    let scripted = in_turn(|_, number| if number == 1 { Reply::Close } else { document(DEPLOYMENT) });
    let made = ghost(&scripted).create_deployment(ctx(), Credential::Jwt("t"), "p1", &deployment()).await.unwrap();
    assert_eq!(made.id, "d1");
    assert_eq!(lines(&scripted), ["POST /v1/projects/p1/deployments", "GET /v1/projects/p1/deployments/d1"]);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_sent_again_only_when_ghost_says_that_it_is_not_there() {
    let (post, get) = ("POST /v1/projects/p1/deployments", "GET /v1/projects/p1/deployments/d1");
    let scripted = in_turn(|seen, number| match (number, seen.line()) {
        (1, _) => Reply::Close,
        (_, line) if line.starts_with("GET") => error(404, "deployment_not_found"),
        _ => document(DEPLOYMENT),
    });
    ghost(&scripted).create_deployment(ctx(), Credential::Jwt("t"), "p1", &deployment()).await.unwrap();
    assert_eq!(lines(&scripted), [post, get, post]);
    // Whoever cannot ask does not try.
    let scripted = in_turn(|_, _| Reply::Close);
    let lost = ghost(&scripted).create_deployment(ctx(), Credential::Jwt("t"), "p1", &deployment()).await.unwrap_err();
    assert!(lost.may_have_been_processed);
    assert_eq!(lines(&scripted).iter().filter(|line| *line == post).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_taken_before_the_call_is_a_conflict_even_after_a_connection_was_refused() {
    let scripted = in_turn(|_, _| error(409, "deployment_already_exists"));
    scripted.refuse(1);
    let failure =
        ghost(&scripted).create_deployment(ctx(), Credential::Jwt("t"), "p1", &deployment()).await.unwrap_err();
    assert_eq!((failure.code, failure.attempts, scripted.seen().len()), (ErrorCode::Conflict, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_dies_under_a_create_is_a_retry_that_we_know_of() {
    // The replay on a fresh connection would hide that Ghost had already made it.
    let scripted = in_turn(|_, number| if number == 2 { Reply::Close } else { document(DEPLOYMENT) });
    let ghost = ghost(&scripted);
    ghost.get_deployment(ctx(), Credential::Platform, "p1", "d1").await.unwrap();
    ghost.create_deployment(ctx(), Credential::Jwt("t"), "p1", &deployment()).await.unwrap();
    let posts = lines(&scripted).iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!((posts, scripted.seen().len()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn an_account_made_by_a_lost_attempt_is_told_from_a_taken_address() {
    for is_ours in [true, false] {
        let scripted = in_turn(move |seen, number| match (number, seen.line()) {
            (1, _) => Reply::Close,
            (_, "POST /v1/users") => error(409, "user_already_exists"),
            _ if is_ours => document(r#"{"jwt":"t"}"#),
            _ => error(404, "user_not_found"),
        });
        let result = ghost(&scripted).create_user(ctx(), "u1", "e@example.test", "E").await;
        match result {
            Ok(user) => assert!(is_ours && user.id == "u1"),
            Err(failure) => assert!(!is_ours && failure.code == ErrorCode::Conflict, "{failure}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_and_a_cancel_that_got_through_the_first_time_are_successes() {
    let scripted = in_turn(|_, number| if number == 1 { Reply::Close } else { error(404, "deployment_not_found") });
    ghost(&scripted).delete_deployment(ctx(), Credential::Platform, "p1", "d1").await.unwrap();
    let scripted = in_turn(|_, _| error(404, "project_not_found"));
    assert_eq!(ghost(&scripted).delete_project(ctx(), "p1").await.unwrap_err().code, ErrorCode::NotFound);

    for (status, is_canceled) in [("canceled", true), ("success", false)] {
        let scripted = in_turn(move |seen, number| match (number, seen.line()) {
            (1, _) => Reply::Close,
            (_, line) if line.starts_with("PATCH") => error(409, "deployment_not_cancelable"),
            _ => document(&DEPLOYMENT.replace("pending", status)),
        });
        match ghost(&scripted).cancel_deployment(ctx(), Credential::Platform, "p1", "d1").await {
            Ok(document) => assert!(is_canceled && document.status == DeploymentStatus::Canceled),
            Err(failure) => assert!(!is_canceled && failure.code == ErrorCode::NotCancelable, "{failure}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_deadline_and_retries_share_it() {
    let scripted = in_turn(|_, _| Reply::Hang);
    let mut config = config();
    config.call_timeout = Duration::from_secs(4);
    let ghost = ghost_with(config, scripted.connector());
    let started = Instant::now();
    let failure = ghost.get_project(CallContext::within(Duration::from_secs(10)), "p1").await.unwrap_err();
    assert_eq!((failure.code, failure.kind), (ErrorCode::UpstreamTimeout, GhostErrorKind::TIMEOUT));
    assert_eq!((scripted.seen().len(), started.elapsed().as_secs()), (3, 10));
}

#[tokio::test(start_paused = true)]
async fn a_busy_ghost_is_given_the_time_it_asks_for_or_reported_at_once() {
    let busy = "HTTP/1.1 429 X\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n";
    let scripted =
        in_turn(
            move |_, number| {
                if number == 1 { Reply::Raw(busy.to_owned()) } else { document(r#"{"$id":"k","secret":"s"}"#) }
            },
        );
    let started = Instant::now();
    // Even a call that is not repeated: a 429 was not acted on.
    ghost(&scripted).create_project_key(ctx(), "p1", "studio", &[]).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 3);
    let scripted = in_turn(move |_, _| Reply::Raw(busy.to_owned()));
    let failure = ghost(&scripted).get_project(CallContext::within(Duration::from_secs(2)), "p1").await.unwrap_err();
    assert_eq!((failure.code, failure.retry_after), (ErrorCode::UpstreamBusy, Some(Duration::from_secs(3))));
    assert_eq!((scripted.seen().len(), started.elapsed().as_secs()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_ghost_that_is_not_there_is_unavailable() {
    let scripted = in_turn(|_, _| Reply::Hang);
    scripted.refuse(usize::MAX);
    let failure = ghost(&scripted).get_project(ctx(), "p1").await.unwrap_err();
    assert_eq!((failure.code, failure.kind.clone()), (ErrorCode::UpstreamUnavailable, GhostErrorKind::UNREACHABLE));
    assert!(!failure.may_have_been_processed && std::error::Error::source(&failure).is_some());
}

#[tokio::test(start_paused = true)]
async fn many_failing_calls_make_few_retries() {
    let scripted = in_turn(|_, _| error(500, "general_server_error"));
    let ghost = ghost(&scripted);
    let calls = (0..200).map(|_| ghost.get_project(ctx(), "p1"));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap_err().code, ErrorCode::UpstreamError);
    }
    let attempts = scripted.seen().len();
    // 200 calls, a fifth of them again, the floor of 10, and what a few milliseconds of waiting add.
    assert!((240..=260).contains(&attempts), "200 calls made {attempts} attempts");
}

#[tokio::test(start_paused = true)]
async fn a_ghost_that_fails_again_and_again_is_left_alone_and_asked_again_later() {
    let scripted = in_turn(|_, number| if number <= 10 { Reply::Close } else { document(DEPLOYMENT) });
    let ghost = ghost(&scripted);
    let get = || ghost.get_deployment(ctx(), Credential::Platform, "p1", "d1");
    while get().await.unwrap_err().kind != GhostErrorKind::RESTING {}
    let failure = get().await.unwrap_err();
    assert_eq!((failure.code, failure.attempts), (ErrorCode::UpstreamUnavailable, 1));
    assert!(failure.retry_after.is_some() && !failure.may_have_been_processed);
    assert_eq!(scripted.seen().len(), 10);
    tokio::time::advance(failure.retry_after.unwrap()).await;
    get().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_in_the_log_of_the_call() {
    let scripted = in_turn(|_, number| match number {
        1 => error(503, "general_server_error"),
        _ => document(DEPLOYMENT),
    });
    let log = ogel_proxy::AttemptLog::new();
    let context = CallContext { attempts: Some(&log), ..ctx() };
    ghost(&scripted).get_deployment(context, Credential::Platform, "p1", "d1").await.unwrap();
    let outcomes: Vec<_> = log.attempts().iter().map(|attempt| (attempt.outcome, attempt.reused)).collect();
    let answered = |status: u16| ogel_proxy::Outcome::Answered(status.try_into().unwrap());
    assert_eq!(outcomes, [(answered(503), false), (answered(200), true)]);
    assert!(log.to_string().starts_with("ghost.test:80 503 "), "{log}");
}

#[tokio::test(start_paused = true)]
async fn several_addresses_are_one_ghost() {
    let scripted = in_turn(|_, _| document(DEPLOYMENT));
    let mut config = config();
    config.more_base_urls = vec!["http://other.test:8080".to_owned()];
    let ghost = ghost_with(config.clone(), scripted.connector());
    scripted.refuse(1);
    ghost.get_deployment(ctx(), Credential::Jwt("t"), "p1", "d1").await.unwrap();
    let seen = scripted.seen();
    assert_eq!((seen.len(), seen[0].headers("x-appwrite-jwt")), (1, vec!["t"]));
    assert!(seen[0].headers("x-appwrite-key").is_empty());
    assert_eq!(format!("{:?}", Credential::Jwt("t")), "Jwt(…)");
    for wrong in ["https://other.test", "http://other.test/base", "other.test", "http://other.test/v1"] {
        config.more_base_urls = vec![wrong.to_owned()];
        let made = ogel_ghost::Ghost::new(config.clone(), scripted.connector(), std::sync::Arc::new(|| 0));
        assert!(made.is_err(), "{wrong}");
    }
}
