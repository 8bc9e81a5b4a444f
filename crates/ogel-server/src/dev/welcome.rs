//! What `ogeld dev` prints: a page for a person, or one line for a machine.

use super::Account;
use ogel_api::deployments::DeploymentStatus;
use ogel_store::Deployment;
use std::{io::Write as _, time::Duration};

/// One line on standard output once requests are answered.
pub(super) fn machine(base_url: &str, account: &Account, ghost_url: &str) {
    let line = serde_json::json!({
        "baseUrl": base_url,
        "apiKey": account.api_key,
        "email": account.email,
        "password": account.password,
        "organizationId": account.organization_id,
        "projectId": account.project_id,
        "ghostUrl": ghost_url,
    });
    print(&format!("{line}\n"));
}

pub(super) fn person(base_url: &str, account: &Account, mail: &std::path::Path, took: Duration) {
    let Account { email, password, api_key, .. } = account;
    let api = format!("{base_url}{}", ogel_api::BASE_PATH);
    let millis = took.as_millis();
    print(&format!(
        "\n  \x1b[1mOgel Unified API\x1b[0m {version}  ready in {millis} ms\n\n\
         \x20 API       {api}\n\
         \x20 Key       {api_key}\n\
         \x20 Account   {email}  password {password}\n\
         \x20 Mail      {mail}  (nothing is sent)\n\n\
         \x20 \x1b[1mTry it\x1b[0m, in another terminal:\n\n\
         \x20   export OGEL_API_URL={base_url} OGEL_TOKEN={api_key}\n\
         \x20   curl -H \"Authorization: Bearer $OGEL_TOKEN\" {api}/deployments\n\
         \x20   cargo ogel deploy PATH-OF-A-GIT-REPOSITORY\n\n\
         \x20 Ctrl-C stops everything.\n",
        mail = mail.display(),
        version = env!("CARGO_PKG_VERSION"),
    ));
}

/// Before the example's first deployment.
pub(super) fn deploying() {
    print("\n  Deploying the example site ...\n");
}

/// How the example did, or, in later runs, the newest site there is.
pub(super) fn site(what: &str, row: &Deployment) {
    match (row.status, &row.preview_url) {
        (DeploymentStatus::Success, Some(url)) => print(&format!("  {what} is live:  \x1b[1m{url}\x1b[0m\n")),
        (status, _) => {
            let reason = row.error.as_deref().unwrap_or("no reason was given");
            print(&format!("  {what} is not live ({status}): {reason}\n"));
        }
    }
}

pub(super) fn goodbye() {
    print("\n  Stopping ...\n");
}

/// To standard output, without colours where it is no terminal. Nobody listening is no reason to stop.
fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
