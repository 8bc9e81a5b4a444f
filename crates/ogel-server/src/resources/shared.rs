//! Rules that several nouns share: names, slugs, pages.

use crate::{
    error::{Failure, Result},
    extract::{Parameters, invalid_field, parameter},
    state::App,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::DateTime;
use ogel_api::{
    error::{Error, ErrorCode},
    page::{DEFAULT_LIMIT, MAX_LIMIT, Pagination},
};
use ogel_store::{Page, PageRequest, Refusal};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// `name` without the blanks around it: 1 to 100 characters, none of them a control character.
pub(crate) fn name(value: &str) -> Result<String> {
    let trimmed = value.trim();
    let length = trimmed.chars().count();
    if (1..=100).contains(&length) && !trimmed.chars().any(char::is_control) {
        return Ok(trimmed.to_owned());
    }
    let message = "`name` must have 1 to 100 characters, none of them a control character";
    Err(invalid_field(ErrorCode::InvalidValue, "body.name", message, None))
}

/// A slug as given, or 400.
pub(crate) fn slug(value: &str) -> Result<String> {
    let valid = (1..=48).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !value.starts_with('-')
        && !value.ends_with('-');
    if valid {
        return Ok(value.to_owned());
    }
    let message = "`slug` takes 1 to 48 lower-case letters, digits and hyphens, with no hyphen at either end";
    Err(invalid_field(ErrorCode::InvalidValue, "body.slug", message, None))
}

/// Names that would read as a place of ours in an address, or as us. Nobody's slug.
const RESERVED: &[&str] = &[
    "about",
    "account",
    "accounts",
    "admin",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "billing",
    "blog",
    "builds",
    "cdn",
    "console",
    "contact",
    "dashboard",
    "deploy",
    "deployments",
    "dev",
    "docs",
    "domains",
    "ghost",
    "health",
    "help",
    "internal",
    "invitations",
    "invite",
    "legal",
    "localhost",
    "login",
    "logout",
    "mail",
    "me",
    "metrics",
    "new",
    "null",
    "ogel",
    "ogeld",
    "organizations",
    "orgs",
    "pricing",
    "privacy",
    "projects",
    "public",
    "root",
    "security",
    "settings",
    "signup",
    "sites",
    "static",
    "status",
    "studio",
    "support",
    "system",
    "team",
    "teams",
    "terms",
    "undefined",
    "users",
    "webhooks",
    "well-known",
    "www",
];

/// A slug somebody chose: well formed, and not one of ours.
pub(crate) fn chosen_slug(value: &str) -> Result<String> {
    let slug = slug(value)?;
    if RESERVED.contains(&&*slug) {
        let message = format!("the slug `{slug}` is reserved; choose another one");
        return Err(invalid_field(ErrorCode::InvalidValue, "body.slug", &message, None));
    }
    Ok(slug)
}

/// Why a change was refused, as the caller is told.
pub(crate) fn refused(refusal: Refusal, noun: &str, id: impl std::fmt::Display) -> Failure {
    match refusal {
        Refusal::NotFound => Error::not_found(noun, id).into(),
        Refusal::Stale => Failure::new(
            ErrorCode::PreconditionFailed,
            format!("the {noun} has changed since the `ETag` in `If-Match`; read it again, then decide"),
        ),
        Refusal::InUse => Failure::new(
            ErrorCode::Conflict,
            format!("the {noun} still has projects; delete them or move them to another organization first"),
        ),
        Refusal::AlreadyMember => {
            Failure::new(ErrorCode::Conflict, "whoever that is belongs to the organization already")
        }
        Refusal::TooMany => Failure::new(
            ErrorCode::QuotaExceeded,
            "the organization has as many open invitations as there may be; revoke some first",
        ),
        Refusal::TooSoon => Error::new(ErrorCode::RateLimited, "this was sent less than a minute ago; wait that long")
            .retry_after(std::time::Duration::from_secs(60))
            .into(),
        Refusal::NotAllowed => Failure::new(
            ErrorCode::Forbidden,
            "only an `owner` of the organization makes owners, or changes or removes one; ask one of them",
        ),
        Refusal::LastOwner => Failure::new(
            ErrorCode::LastOwner,
            "the organization would be left without an owner; make another member `owner` first",
        ),
        Refusal::Purging => Failure::new(
            ErrorCode::Conflict,
            format!("the {noun} is being removed for good since its time to be restored is over"),
        ),
        Refusal::SlugHeld => Failure::new(
            ErrorCode::Conflict,
            "this `slug` belonged to another organization a short while ago and is held for it; choose another one",
        ),
    }
}

/// A slug made from a name; from the id where the name has no letter to use.
pub(crate) fn slug_of(name: &str, id: Uuid) -> String {
    let mut slug = String::new();
    for character in name.chars().flat_map(char::to_lowercase) {
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 40 {
            break;
        }
    }
    let slug = slug.trim_matches('-');
    match slug {
        "" => suffix(id),
        reserved if RESERVED.contains(&reserved) => another_slug(reserved, id),
        slug => slug.to_owned(),
    }
}

/// `slug` made unlikely to be taken.
pub(crate) fn another_slug(slug: &str, id: Uuid) -> String {
    format!("{slug}-{}", suffix(id))
}

/// Six digits of the id's random end.
fn suffix(id: Uuid) -> String {
    id.simple().to_string()[26..].to_owned()
}

/// `limit` and `cursor` of a list.
#[derive(Default)]
pub(crate) struct PageParameters {
    limit: Option<u32>,
    cursor: Option<String>,
}

impl PageParameters {
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "limit" => match value.parse() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => self.limit = Some(limit),
                _ => return Err(format!("`limit` takes a whole number from 1 to {MAX_LIMIT}")),
            },
            _ => self.cursor = Some(value.to_owned()),
        }
        Ok(())
    }

    /// The page to fetch. `filters` is everything else that shapes the list: a cursor holds for the same ones only.
    pub(crate) fn request(&self, filters: &str) -> Result<PageRequest> {
        let after = self.cursor.as_deref().map(|cursor| decode_cursor(cursor, filters)).transpose()?;
        Ok(PageRequest { limit: self.limit.unwrap_or(DEFAULT_LIMIT), after })
    }
}

/// What the wire says of a page.
pub(crate) fn pagination<T>(page: &Page<T>, filters: &str) -> Pagination {
    Pagination {
        next_cursor: page.next.map(|(at, id)| {
            let mut bytes = [0; 28];
            bytes[..8].copy_from_slice(&at.timestamp_micros().to_be_bytes());
            bytes[8..24].copy_from_slice(id.as_bytes());
            bytes[24..].copy_from_slice(&filter_hash(filters));
            BASE64_URL_SAFE_NO_PAD.encode(bytes)
        }),
        has_more: page.next.is_some(),
    }
}

fn filter_hash(filters: &str) -> [u8; 4] {
    let hash: [u8; 32] = Sha256::digest(filters.as_bytes()).into();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn decode_cursor(cursor: &str, filters: &str) -> Result<(DateTime<chrono::Utc>, Uuid)> {
    let parse = || {
        let bytes: [u8; 28] = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
        let micros = i64::from_be_bytes(bytes[..8].try_into().ok()?);
        let id = Uuid::from_slice(&bytes[8..24]).ok()?;
        Some((DateTime::from_timestamp_micros(micros)?, id, bytes[24..] == filter_hash(filters)))
    };
    match parse() {
        Some((at, id, true)) => Ok((at, id)),
        Some((_, _, false)) => Err(cursor_failure(OTHER_LIST)),
        None => Err(cursor_failure(NO_CURSOR)),
    }
}

pub(crate) const OTHER_LIST: &str = "`cursor` belongs to a list with other filters; start again without it";
pub(crate) const NO_CURSOR: &str = "`cursor` is not one of ours; pass `nextCursor` back as it is, or leave it out";

pub(crate) fn cursor_failure(message: &str) -> Failure {
    invalid_field(ErrorCode::InvalidCursor, "query.cursor", message, None)
}

/// Lists without filters.
#[derive(Default)]
pub(crate) struct Paged(pub PageParameters);

impl Parameters for Paged {
    const KNOWN: &'static [&'static str] = &["limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.0.set(name, value)
    }
}

/// How long what is deleted can be restored.
pub(crate) fn restore_window(app: &App) -> chrono::TimeDelta {
    chrono::TimeDelta::days(i64::try_from(app.config().retention.deleted_days.min(36_500)).unwrap_or(30))
}

/// Lists of what is there, or of what is deleted and can be restored.
#[derive(Default)]
pub(crate) struct PagedDeleted {
    pub page: PageParameters,
    pub deleted: bool,
}

impl Parameters for PagedDeleted {
    const KNOWN: &'static [&'static str] = &["limit", "cursor", "deleted"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "deleted" => self.deleted = yes_or_no(name, value)?,
            _ => self.page.set(name, value)?,
        }
        Ok(())
    }
}

fn yes_or_no(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("`{name}` takes `true` or `false`"))
}

/// Lists that may be narrowed to one organization.
#[derive(Default)]
pub(crate) struct PagedByOrganization {
    pub page: PageParameters,
    pub deleted: bool,
    pub organization_id: Option<ogel_api::id::OrganizationId>,
}

impl Parameters for PagedByOrganization {
    const KNOWN: &'static [&'static str] = &["limit", "cursor", "organizationId", "deleted"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "deleted" => self.deleted = yes_or_no(name, value)?,
            "organizationId" => self.organization_id = Some(parameter(value)?),
            _ => self.page.set(name, value)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_made_from_names() {
        let id = Uuid::from_u128(0xabcdef);
        assert_eq!(slug_of("My  Shop! (new)", id), "my-shop-new");
        assert_eq!(slug_of("Übung", id), "bung");
        assert_eq!(slug_of("日本", id), "abcdef");
        assert!(slug(&slug_of(&"x y".repeat(100), id)).is_ok());
        assert_eq!(another_slug("shop", id), "shop-abcdef");
        assert_eq!(slug_of("Admin", id), "admin-abcdef");
        assert_eq!(chosen_slug("admin").unwrap_err().code(), ErrorCode::InvalidValue);
        assert!(RESERVED.is_sorted() && RESERVED.iter().all(|word| slug(word).is_ok()));
    }

    #[test]
    fn cursors_come_back_as_they_were_and_only_to_their_list() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_000).unwrap();
        let page = Page::<()> { rows: Vec::new(), next: Some((at, Uuid::from_u128(7))) };
        let cursor = pagination(&page, "status=failed").next_cursor.unwrap();
        assert_eq!(decode_cursor(&cursor, "status=failed").unwrap(), (at, Uuid::from_u128(7)));
        assert_eq!(decode_cursor(&cursor, "").unwrap_err().code(), ErrorCode::InvalidCursor);
        assert_eq!(decode_cursor("no such thing", "").unwrap_err().code(), ErrorCode::InvalidCursor);
    }
}
