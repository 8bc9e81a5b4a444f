//! How often Ghost is asked for a token that acts as a caller.

use std::path::Path;

use serde_json::json;

use super::super::gateway::Gateway;
use super::super::report::{Section, figure};
use super::super::{Bench, Result};
use super::{CALLERS, studio};
use crate::http::text;

/// 10,000 requests of 50 callers that Ghost answers, and the tokens it was asked for meanwhile.
pub(super) fn measure(bench: &Bench<'_>, gateway: &Gateway, folder: &Path) -> Result<Section> {
    let requests = bench.options.size(10_000, 500);
    let mut connection = gateway.connect()?;
    let mut callers = Vec::new();
    for line in studio::minted(folder, &studio::BEARER, CALLERS)? {
        let headers = [line];
        let project = connection.json("POST", "/api/v2/projects", &headers, Some(&json!({ "name": "bench" })))?;
        let id = text(&project, "/id")?.to_owned();
        callers.push((headers, format!("/api/v2/sites?projectId={id}"), id));
    }
    let before = gateway.metric("ogel_ghost_tokens_minted_total")?;
    for (headers, _, id) in &callers {
        connection.json("POST", "/api/v2/sites", headers, Some(&json!({ "projectId": id, "name": "bench" })))?;
    }
    for n in 0..requests - CALLERS {
        let (headers, path, _) = &callers[n % CALLERS];
        let (status, _) = connection.call("GET", path, headers, &[])?;
        if status != 200 {
            return Err(format!("`{path}` answered {status}"));
        }
    }
    let minted = gateway.metric("ogel_ghost_tokens_minted_total")? - before;
    let mut section = Section::new(
        format!("Tokens that Ghost was asked for: {requests} requests of {CALLERS} callers"),
        &["requests", "tokens"],
    );
    section.row([requests.to_string(), figure(minted)]);
    // One each, and one more where the change that made the account was heard of only afterwards.
    section.at_most("tokens minted", minted, 2.0 * CALLERS as f64, "");
    Ok(section)
}
