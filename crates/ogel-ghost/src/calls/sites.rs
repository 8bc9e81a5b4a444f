//! Calls about sites.

use super::Result;
use crate::{
    answer::Answer,
    client::{Call, Ghost, Repeat},
    config::{CallContext, Credential},
    model::{Page, SiteDoc, SiteFields},
};
use http::Method;

impl Ghost {
    /// Newest first; `cursor` is the id of the last site seen.
    pub async fn list_sites(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Answer<Page<SiteDoc<'static>>>> {
        self.list(ctx, credential, &["v1", "projects", project_id, "sites"], limit, cursor).await
    }

    pub async fn get_site(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        site_id: &str,
    ) -> Result<Answer<SiteDoc<'static>>> {
        let segments = &["v1", "projects", project_id, "sites", site_id];
        self.send(ctx, Call::get(segments, credential)).await.map(Answer::new)
    }

    /// Makes a site under the caller's id. That it exists under this id means that an earlier attempt got through.
    pub async fn create_site(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        site: &SiteFields<'_>,
    ) -> Result<Answer<SiteDoc<'static>>> {
        let segments = &["v1", "projects", project_id, "sites"];
        let call = Call::new(Method::POST, segments, credential, Repeat::Detectably).with_body(site);
        self.create(ctx, call, self.get_site(ctx, credential, project_id, site.site_id.unwrap_or_default())).await
    }

    /// Changes what is named.
    pub async fn update_site(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        site_id: &str,
        change: &SiteFields<'_>,
    ) -> Result<Answer<SiteDoc<'static>>> {
        let segments = &["v1", "projects", project_id, "sites", site_id];
        let call = Call::new(Method::PATCH, segments, credential, Repeat::Freely).with_body(change);
        self.send(ctx, call).await.map(Answer::new)
    }

    /// Error `NotFound`: it was not there before the call.
    pub async fn delete_site(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        site_id: &str,
    ) -> Result<()> {
        let segments = &["v1", "projects", project_id, "sites", site_id];
        self.delete(ctx, Call::new(Method::DELETE, segments, credential, Repeat::Detectably)).await
    }
}
