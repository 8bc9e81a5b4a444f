//! Webhooks.

use crate::{Client, PageQuery, Result, transport::Call};
use http::Method;
use ogel_api::{
    id::{OrganizationId, ProjectId, WebhookDeliveryId, WebhookId},
    webhooks::{
        NewWebhook, UpdateWebhook, Webhook, WebhookCreated, WebhookDelivery, WebhookDeliveryDetail,
        WebhookDeliveryList, WebhookList,
    },
};

impl Client {
    /// `POST webhooks`; the answer holds the secret, which is shown this once.
    pub async fn create_webhook(&self, new: &NewWebhook) -> Result<WebhookCreated> {
        self.post(&["webhooks"], new).await
    }

    /// `GET webhooks`, newest first; narrowed to an organization or a project.
    pub async fn list_webhooks(
        &self,
        organization: Option<OrganizationId>,
        project: Option<ProjectId>,
        page: &PageQuery,
    ) -> Result<WebhookList> {
        let mut pairs = page.pairs();
        pairs.extend(organization.map(|id| ("organizationId", id.to_string())));
        pairs.extend(project.map(|id| ("projectId", id.to_string())));
        self.get(&["webhooks"], &pairs).await
    }

    /// `GET webhooks/{id}`
    pub async fn get_webhook(&self, id: WebhookId) -> Result<Webhook> {
        self.get(&["webhooks", &id.to_string()], &[]).await
    }

    /// `PATCH webhooks/{id}`
    pub async fn update_webhook(&self, id: WebhookId, change: &UpdateWebhook) -> Result<Webhook> {
        self.patch(&["webhooks", &id.to_string()], change).await
    }

    /// `DELETE webhooks/{id}`
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<()> {
        self.done(Method::DELETE, &["webhooks", &id.to_string()]).await
    }

    /// `POST webhooks/{id}/test`: posts an event; the delivery says later what became of it.
    pub async fn test_webhook(&self, id: WebhookId) -> Result<WebhookDelivery> {
        let url = self.url(&["webhooks", &id.to_string(), "test"], &[])?;
        self.json(Call { method: Method::POST, url, body: None }).await
    }

    /// `POST webhooks/{id}/rotate-secret`: the secret before signs as well for a while.
    pub async fn rotate_webhook_secret(&self, id: WebhookId) -> Result<WebhookCreated> {
        let url = self.url(&["webhooks", &id.to_string(), "rotate-secret"], &[])?;
        self.json(Call { method: Method::POST, url, body: None }).await
    }

    /// `GET webhooks/{id}/deliveries`, newest first.
    pub async fn list_webhook_deliveries(&self, id: WebhookId, page: &PageQuery) -> Result<WebhookDeliveryList> {
        self.get(&["webhooks", &id.to_string(), "deliveries"], &page.pairs()).await
    }

    /// `GET webhooks/{id}/deliveries/{delivery}`, with what is posted.
    pub async fn get_webhook_delivery(
        &self,
        id: WebhookId,
        delivery: WebhookDeliveryId,
    ) -> Result<WebhookDeliveryDetail> {
        self.get(&["webhooks", &id.to_string(), "deliveries", &delivery.to_string()], &[]).await
    }

    /// `POST webhooks/{id}/deliveries/{delivery}/redeliver`: the same event once more.
    pub async fn redeliver_webhook_delivery(
        &self,
        id: WebhookId,
        delivery: WebhookDeliveryId,
    ) -> Result<WebhookDelivery> {
        let segments = ["webhooks", &id.to_string(), "deliveries", &delivery.to_string(), "redeliver"];
        let url = self.url(&segments, &[])?;
        self.json(Call { method: Method::POST, url, body: None }).await
    }
}
