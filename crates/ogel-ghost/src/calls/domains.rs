//! Calls about domains.

use super::Result;
use crate::{
    answer::Answer,
    client::{Call, Ghost, Repeat},
    config::{CallContext, Credential},
    model::{CreateDomain, DomainDoc, Page},
};
use http::Method;
use serde_json::json;

impl Ghost {
    /// Newest first; `cursor` is the id of the last domain seen.
    pub async fn list_domains(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Answer<Page<DomainDoc<'static>>>> {
        self.list(ctx, credential, &["v1", "projects", project_id, "domains"], limit, cursor).await
    }

    pub async fn get_domain(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        domain_id: &str,
    ) -> Result<Answer<DomainDoc<'static>>> {
        let segments = &["v1", "projects", project_id, "domains", domain_id];
        self.send(ctx, Call::get(segments, credential)).await.map(Answer::new)
    }

    /// Makes a domain under the caller's id. That it exists under this id means that an earlier attempt got through;
    /// error `Conflict`: the name itself is taken.
    pub async fn create_domain(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        domain: &CreateDomain<'_>,
    ) -> Result<Answer<DomainDoc<'static>>> {
        let segments = &["v1", "projects", project_id, "domains"];
        let call = Call::new(Method::POST, segments, credential, Repeat::Detectably).with_body(domain);
        self.create(ctx, call, self.get_domain(ctx, credential, project_id, domain.domain_id)).await
    }

    /// Gives the domain to another site, or to none.
    pub async fn update_domain(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        domain_id: &str,
        site_id: Option<&str>,
    ) -> Result<Answer<DomainDoc<'static>>> {
        let segments = &["v1", "projects", project_id, "domains", domain_id];
        let call = Call::new(Method::PATCH, segments, credential, Repeat::Freely);
        self.send(ctx, call.with_body(&json!({ "siteId": site_id }))).await.map(Answer::new)
    }

    /// Asks DNS now. What it finds is in the answer, not an error.
    pub async fn verify_domain(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        domain_id: &str,
    ) -> Result<Answer<DomainDoc<'static>>> {
        let segments = &["v1", "projects", project_id, "domains", domain_id, "verify"];
        self.send(ctx, Call::new(Method::POST, segments, credential, Repeat::Freely)).await.map(Answer::new)
    }

    /// Error `NotFound`: it was not there before the call.
    pub async fn delete_domain(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        domain_id: &str,
    ) -> Result<()> {
        let segments = &["v1", "projects", project_id, "domains", domain_id];
        self.delete(ctx, Call::new(Method::DELETE, segments, credential, Repeat::Detectably)).await
    }
}
