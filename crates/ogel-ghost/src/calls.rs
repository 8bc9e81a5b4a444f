//! Every call to Ghost, typed. Each says whether it may be repeated and what "exists already" means after a retry: the
//! caller chose the id, so it means that an earlier attempt got through. Refuses to build URLs from anything but
//! segments. Sites and domains are in files of their own. Next: `client.rs`, which sends them.

mod domains;
mod sites;

use crate::{
    answer::{Answer, Shape},
    client::{Call, Ghost, Repeat},
    config::{CallContext, Credential},
    error::GhostError,
    model::{
        BuildDoc, CreateDeployment, DeploymentDoc, DeploymentPage, GhostProject, GhostUser, Health, Jwt,
        ListDeployments, LogLines, Page, ProjectKey, Version,
    },
};
use Credential::Platform;
use http::{Method, StatusCode};
use ogel_api::{deployments::DeploymentStatus, error::ErrorCode};
use serde_json::json;

type Result<T> = std::result::Result<T, GhostError>;

/// Whether the call was refused with `status` only because an earlier attempt of it got through (or may have).
fn was_done_before(error: &GhostError, status: StatusCode) -> bool {
    error.status == Some(status) && error.attempts > 1 && error.may_have_been_processed
}

impl Ghost {
    /// Makes an account. Error `Conflict`: the id or the e-mail address was taken before.
    pub async fn create_user(&self, ctx: CallContext<'_>, user_id: &str, email: &str, name: &str) -> Result<GhostUser> {
        let call = Call::new(Method::POST, &["v1", "users"], Platform, Repeat::Detectably)
            .with_body(&json!({ "userId": user_id, "email": email, "name": name }));
        match self.fetch(ctx, call).await {
            Err(error) if was_done_before(&error, StatusCode::CONFLICT) => {
                // Our earlier attempt, or somebody else's e-mail address? Only an account with this id gets a token.
                self.mint_jwt(ctx, user_id).await.map_err(|_| error)?;
                Ok(GhostUser { id: user_id.into(), email: email.into(), name: name.into(), created_at: None })
            }
            result => result,
        }
    }

    /// Removes the account, and with it every token that acts as it. Error `NotFound`: it was not there before the call.
    pub async fn delete_user(&self, ctx: CallContext<'_>, user_id: &str) -> Result<()> {
        self.delete(ctx, Call::new(Method::DELETE, &["v1", "users", user_id], Platform, Repeat::Detectably)).await
    }

    /// A token that acts as the account. Error `NotFound`: there is no such account.
    pub async fn mint_jwt(&self, ctx: CallContext<'_>, user_id: &str) -> Result<Jwt> {
        let segments = &["v1", "account", "sessions", "jwt"];
        let call = Call::new(Method::POST, segments, Platform, Repeat::Freely);
        self.fetch(ctx, call.with_body(&json!({ "userId": user_id }))).await
    }

    /// Makes a project. Error `Conflict`: the id was taken before.
    pub async fn create_project(
        &self,
        ctx: CallContext<'_>,
        project_id: &str,
        name: &str,
        region: &str,
    ) -> Result<GhostProject> {
        let call = Call::new(Method::POST, &["v1", "projects"], Platform, Repeat::Detectably)
            .with_body(&json!({ "projectId": project_id, "name": name, "region": region }));
        match self.fetch(ctx, call).await {
            Err(error) if was_done_before(&error, StatusCode::CONFLICT) => self.get_project(ctx, project_id).await,
            result => result,
        }
    }

    pub async fn get_project(&self, ctx: CallContext<'_>, project_id: &str) -> Result<GhostProject> {
        self.fetch(ctx, Call::get(&["v1", "projects", project_id], Platform)).await
    }

    pub async fn update_project(&self, ctx: CallContext<'_>, project_id: &str, name: &str) -> Result<GhostProject> {
        let segments = &["v1", "projects", project_id];
        let call = Call::new(Method::PATCH, segments, Platform, Repeat::Freely);
        self.fetch(ctx, call.with_body(&json!({ "name": name }))).await
    }

    /// Removes the project and everything in it. Error `NotFound`: it was not there before the call.
    pub async fn delete_project(&self, ctx: CallContext<'_>, project_id: &str) -> Result<()> {
        let segments = &["v1", "projects", project_id];
        self.delete(ctx, Call::new(Method::DELETE, segments, Platform, Repeat::Detectably)).await
    }

    /// Lets the account act in the project. Being a member already is as good.
    pub async fn add_project_member(&self, ctx: CallContext<'_>, project_id: &str, user_id: &str) -> Result<()> {
        let segments = &["v1", "projects", project_id, "members"];
        let call = Call::new(Method::POST, segments, Platform, Repeat::Freely);
        self.send(ctx, call.with_body(&json!({ "userId": user_id }))).await.map(drop)
    }

    /// Makes a key of the project. Not repeated once sent, because each time makes another key.
    pub async fn create_project_key(
        &self,
        ctx: CallContext<'_>,
        project_id: &str,
        name: &str,
        scopes: &[&str],
    ) -> Result<ProjectKey> {
        let segments = &["v1", "projects", project_id, "keys"];
        let call = Call::new(Method::POST, segments, Platform, Repeat::IfUnsent);
        self.fetch(ctx, call.with_body(&json!({ "name": name, "scopes": scopes }))).await
    }

    /// Starts a deployment under the caller's id. Where nobody knows whether it got through, Ghost is asked for the id, and
    /// only what it does not know is sent once more. Error `Conflict`: the id was taken before the call.
    pub async fn create_deployment(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        deployment: &CreateDeployment,
    ) -> Result<DeploymentDoc> {
        let segments = &["v1", "projects", project_id, "deployments"];
        let send = async || {
            let call = Call::new(Method::POST, segments, credential, Repeat::IfUnsent).with_body(deployment);
            self.fetch(ctx, call).await
        };
        let error = match send().await {
            Err(error) if error.may_have_been_processed => error,
            result => return result,
        };
        match self.get_deployment(ctx, credential, project_id, &deployment.deployment_id).await {
            Err(asked) if asked.code == ErrorCode::NotFound => send().await,
            // It is as unknown as before.
            Err(_) => Err(error),
            found => found,
        }
    }

    /// Newest first.
    pub async fn list_deployments(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        list: ListDeployments<'_>,
    ) -> Result<DeploymentPage> {
        let limit = list.limit.map(|limit| limit.to_string());
        let parameters = [
            ("limit", limit.as_deref()),
            ("cursor", list.cursor),
            ("status", list.status.map(DeploymentStatus::as_str)),
            ("branch", list.branch),
        ];
        let query: Vec<_> = parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let segments = &["v1", "projects", project_id, "deployments"];
        self.fetch(ctx, Call { query: &query, ..Call::get(segments, credential) }).await
    }

    pub async fn get_deployment(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        deployment_id: &str,
    ) -> Result<DeploymentDoc> {
        let segments = &["v1", "projects", project_id, "deployments", deployment_id];
        self.fetch(ctx, Call::get(segments, credential)).await
    }

    /// Removes the deployment, its site and its log. Error `NotFound`: it was not there before the call.
    pub async fn delete_deployment(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        deployment_id: &str,
    ) -> Result<()> {
        let segments = &["v1", "projects", project_id, "deployments", deployment_id];
        self.delete(ctx, Call::new(Method::DELETE, segments, credential, Repeat::Detectably)).await
    }

    /// Stops the deployment. Error `NotCancelable`: it had ended before the call.
    pub async fn cancel_deployment(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        deployment_id: &str,
    ) -> Result<DeploymentDoc> {
        let segments = &["v1", "projects", project_id, "deployments", deployment_id, "status"];
        let call = Call::new(Method::PATCH, segments, credential, Repeat::Detectably)
            .with_body(&json!({ "status": DeploymentStatus::Canceled }));
        match self.fetch(ctx, call).await {
            Err(error) if was_done_before(&error, StatusCode::CONFLICT) => {
                // Canceled by our earlier attempt, or ended by itself meanwhile: its status tells.
                let document = self.get_deployment(ctx, credential, project_id, deployment_id).await?;
                if document.status == DeploymentStatus::Canceled { Ok(document) } else { Err(error) }
            }
            result => result,
        }
    }

    /// Makes the deployment the one that is served on the project's domains.
    pub async fn activate_deployment(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        project_id: &str,
        deployment_id: &str,
    ) -> Result<DeploymentDoc> {
        let segments = &["v1", "projects", project_id, "deployments", deployment_id, "activate"];
        self.fetch(ctx, Call::new(Method::PATCH, segments, credential, Repeat::Freely)).await
    }

    pub async fn get_build(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        build_id: &str,
    ) -> Result<BuildDoc> {
        self.fetch(ctx, Call::get(&["v1", "builds", build_id], credential)).await
    }

    /// At most `limit` lines after number `after`, oldest first.
    pub async fn build_logs(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        build_id: &str,
        after: u64,
        limit: u32,
    ) -> Result<LogLines> {
        let (after, limit) = (after.to_string(), limit.to_string());
        let query = &[("after", after.as_str()), ("limit", limit.as_str())];
        let segments = &["v1", "builds", build_id, "logs"];
        self.fetch(ctx, Call { query, ..Call::get(segments, credential) }).await
    }

    /// Whether Ghost is well. Sent without a credential.
    pub async fn health(&self, ctx: CallContext<'_>) -> Result<Health> {
        self.fetch(ctx, Call { credential: None, ..Call::get(&["v1", "health"], Platform) }).await
    }

    /// Which Ghost it is. Sent without a credential.
    pub async fn version(&self, ctx: CallContext<'_>) -> Result<Version> {
        self.fetch(ctx, Call { credential: None, ..Call::get(&["v1", "health", "version"], Platform) }).await
    }

    /// A page, newest first; `cursor` is the id of the last one seen.
    async fn list<S: Shape>(
        &self,
        ctx: CallContext<'_>,
        credential: Credential<'_>,
        segments: &[&str],
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Answer<Page<S>>>
    where
        Page<S>: Shape,
    {
        let limit = limit.to_string();
        let query = [("limit", limit.as_str()), ("cursor", cursor.unwrap_or_default())];
        let query = if cursor.is_some() { &query[..] } else { &query[..1] };
        self.send(ctx, Call { query, ..Call::get(segments, credential) }).await.map(Answer::new)
    }

    /// Makes something under the caller's id. That it exists under this id, as `made` finds out, means that an earlier
    /// attempt got through.
    async fn create<S: Shape>(
        &self,
        ctx: CallContext<'_>,
        call: Call<'_>,
        made: impl Future<Output = Result<Answer<S>>>,
    ) -> Result<Answer<S>> {
        match self.send(ctx, call).await {
            Err(error) if error.status == Some(StatusCode::CONFLICT) => match made.await {
                Err(missing) if missing.code == ErrorCode::NotFound => Err(error),
                result => result,
            },
            result => result.map(Answer::new),
        }
    }

    async fn delete(&self, ctx: CallContext<'_>, call: Call<'_>) -> Result<()> {
        match self.send(ctx, call).await {
            Err(error) if was_done_before(&error, StatusCode::NOT_FOUND) => Ok(()),
            result => result.map(drop),
        }
    }
}
