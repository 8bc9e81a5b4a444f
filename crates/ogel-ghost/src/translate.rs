//! Ghost's words for failures, and ours: one row per type of the catalogue. `true` marks a text that only speaks of
//! what the caller sent, and may be shown to them; every other text is for the log.
//!
//! Three rules shape the table. A refusal of *our* credential is never the caller's 401. A status that only says that
//! this program called Ghost wrongly (an unknown route, a wrong method) is not the caller's fault either. And a type
//! that is not in the table is not guessed at beyond what its name and status make certain.
//! Next: `error.rs`, which asks here.

use ErrorCode::{
    Conflict, Forbidden, InvalidCursor, NotCancelable, NotFound, PayloadTooLarge, QuotaExceeded, UpstreamAuth,
    UpstreamBusy, UpstreamError, UpstreamTimeout, ValidationFailed,
};
use http::StatusCode;
use ogel_api::error::ErrorCode;

/// What a type means to our callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) code: ErrorCode,
    pub(crate) is_public: bool,
}

/// What Ghost's `kind` with this status means.
pub(crate) fn translate(kind: &str, status: StatusCode) -> Meaning {
    let known = DIALECT.iter().chain(CATALOGUE).find(|(row, _, _)| *row == kind);
    match known {
        Some((_, code, is_public)) => Meaning { code: *code, is_public: *is_public },
        None => Meaning { code: by_status(kind, status), is_public: false },
    }
}

fn by_status(kind: &str, status: StatusCode) -> ErrorCode {
    match status.as_u16() {
        400 | 422 => ValidationFailed,
        401 => UpstreamAuth,
        402 => ErrorCode::PaymentRequired,
        404 if kind.ends_with("_not_found") => NotFound,
        408 | 504 => UpstreamTimeout,
        409 => Conflict,
        413 => PayloadTooLarge,
        429 => UpstreamBusy,
        _ => UpstreamError,
    }
}

type Row = (&'static str, ErrorCode, bool);

/// Types of our Ghost that stock Appwrite does not have.
const DIALECT: &[Row] =
    &[("deployment_already_exists", Conflict, true), ("deployment_not_cancelable", NotCancelable, true)];

/// The whole catalogue of Appwrite, all versions together, in its own order.
const CATALOGUE: &[Row] = &[
    // General Errors
    ("general_unknown", UpstreamError, false),
    ("general_mock", UpstreamError, false),
    ("general_access_forbidden", UpstreamAuth, false),
    ("general_resource_blocked", Forbidden, false),
    ("general_unknown_origin", UpstreamAuth, false),
    ("general_api_disabled", UpstreamError, false),
    ("general_service_disabled", UpstreamError, false),
    ("general_unauthorized_scope", UpstreamAuth, false),
    ("general_rate_limit_exceeded", UpstreamBusy, false),
    ("general_resource_locked", Conflict, false),
    ("general_smtp_disabled", UpstreamError, false),
    ("general_phone_disabled", UpstreamError, false),
    ("general_argument_invalid", ValidationFailed, true),
    ("general_attribute_query_limit_exceeded", ValidationFailed, true),
    ("general_column_query_limit_exceeded", ValidationFailed, true),
    ("general_query_invalid", ValidationFailed, true),
    ("general_route_not_found", UpstreamError, false),
    ("general_cursor_not_found", InvalidCursor, false),
    ("general_server_error", UpstreamError, false),
    ("general_protocol_unsupported", UpstreamError, false),
    ("general_codes_disabled", UpstreamError, false),
    ("general_usage_disabled", UpstreamError, false),
    ("general_not_implemented", UpstreamError, false),
    ("general_invalid_email", ValidationFailed, false),
    ("general_invalid_phone", ValidationFailed, false),
    ("general_region_access_denied", UpstreamError, false),
    ("general_bad_request", ValidationFailed, false),
    ("general_feature_unsupported", UpstreamError, false),
    ("general_query_limit_exceeded", ValidationFailed, true),
    // User Errors
    ("user_count_exceeded", QuotaExceeded, false),
    ("user_console_count_exceeded", QuotaExceeded, false),
    ("user_jwt_invalid", UpstreamAuth, false),
    ("user_already_exists", Conflict, false),
    ("user_blocked", Forbidden, false),
    ("user_invalid_token", UpstreamAuth, false),
    ("user_password_reset_required", UpstreamAuth, false),
    ("user_email_not_whitelisted", UpstreamAuth, false),
    ("user_invalid_code", UpstreamAuth, false),
    ("user_ip_not_whitelisted", UpstreamAuth, false),
    ("user_invalid_credentials", UpstreamAuth, false),
    ("user_anonymous_console_prohibited", UpstreamAuth, false),
    ("user_session_already_exists", Conflict, false),
    ("user_not_found", NotFound, false),
    ("user_email_not_found", ValidationFailed, false),
    ("user_email_already_exists", Conflict, false),
    ("user_email_disposable", ValidationFailed, false),
    ("user_email_free", ValidationFailed, false),
    ("user_email_not_canonical", ValidationFailed, false),
    ("user_email_not_corporate", ValidationFailed, false),
    ("user_password_mismatch", ValidationFailed, false),
    ("password_recently_used", ValidationFailed, false),
    ("password_personal_data", ValidationFailed, false),
    ("user_session_not_found", NotFound, false),
    ("user_identity_not_found", NotFound, false),
    ("user_unauthorized", UpstreamAuth, false),
    ("user_auth_method_unsupported", UpstreamError, false),
    ("user_phone_already_exists", Conflict, false),
    ("user_recovery_codes_already_exists", Conflict, false),
    ("user_authenticator_not_found", NotFound, false),
    ("user_recovery_codes_not_found", NotFound, false),
    ("user_authenticator_already_verified", Conflict, false),
    ("user_phone_not_found", ValidationFailed, false),
    ("user_missing_id", ValidationFailed, false),
    ("user_more_factors_required", UpstreamAuth, false),
    ("user_challenge_required", UpstreamAuth, false),
    ("user_oauth2_bad_request", UpstreamError, false),
    ("user_oauth2_unauthorized", UpstreamAuth, false),
    ("user_oauth2_provider_error", UpstreamError, false),
    ("user_oauth2_provider_failure", UpstreamError, false),
    ("user_email_not_verified", ValidationFailed, false),
    ("user_email_already_verified", Conflict, false),
    ("user_phone_not_verified", ValidationFailed, false),
    ("user_phone_already_verified", Conflict, false),
    ("user_deletion_prohibited", Conflict, false),
    ("user_target_not_found", NotFound, false),
    ("user_target_already_exists", Conflict, false),
    ("user_api_key_and_session_set", UpstreamAuth, false),
    ("user_jwt_and_cookie_set", UpstreamAuth, false),
    ("user_jwt_creation_denied", UpstreamAuth, false),
    ("api_key_expired", UpstreamAuth, false),
    ("user_key_and_session_set", UpstreamAuth, false),
    // Teams
    ("team_not_found", NotFound, false),
    ("team_invite_not_found", NotFound, false),
    ("team_invalid_secret", UpstreamAuth, false),
    ("team_membership_mismatch", NotFound, false),
    ("team_invite_mismatch", UpstreamAuth, false),
    ("team_already_exists", Conflict, false),
    // Console
    ("resource_already_exists", Conflict, false),
    // Membership
    ("membership_not_found", NotFound, false),
    ("membership_already_confirmed", Conflict, false),
    ("membership_deletion_prohibited", Conflict, false),
    ("membership_downgrade_prohibited", Conflict, false),
    // Avatars
    ("avatar_set_not_found", NotFound, false),
    ("avatar_not_found", NotFound, false),
    ("avatar_image_not_found", NotFound, false),
    ("avatar_remote_url_failed", UpstreamError, false),
    ("avatar_icon_not_found", NotFound, false),
    ("avatar_svg_sanitization_failed", UpstreamError, false),
    // Storage
    ("storage_file_already_exists", Conflict, false),
    ("storage_file_not_found", NotFound, false),
    ("storage_device_not_found", UpstreamError, false),
    ("storage_file_empty", ValidationFailed, false),
    ("storage_file_type_unsupported", ValidationFailed, false),
    ("storage_image_resolution_exceeded", ValidationFailed, false),
    ("storage_invalid_file_size", PayloadTooLarge, true),
    ("storage_invalid_file", ValidationFailed, false),
    ("storage_bucket_already_exists", Conflict, false),
    ("storage_bucket_not_found", NotFound, false),
    ("storage_invalid_content_range", ValidationFailed, false),
    ("storage_invalid_range", ValidationFailed, false),
    ("storage_invalid_appwrite_id", ValidationFailed, false),
    ("storage_file_not_public", Forbidden, false),
    ("storage_bucket_transformations_disabled", Forbidden, false),
    // Tokens
    ("token_not_found", NotFound, false),
    ("token_expired", UpstreamAuth, false),
    ("token_resource_type_invalid", ValidationFailed, false),
    // VCS
    ("installation_not_found", NotFound, false),
    ("provider_repository_not_found", NotFound, false),
    ("repository_not_found", NotFound, false),
    ("provider_contribution_conflict", Conflict, false),
    ("general_provider_failure", UpstreamError, false),
    // Functions
    ("function_not_found", NotFound, false),
    ("function_runtime_unsupported", ValidationFailed, false),
    ("function_already_exists", Conflict, false),
    ("function_entrypoint_missing", ValidationFailed, false),
    ("function_synchronous_timeout", UpstreamTimeout, false),
    ("function_asynchronous_timeout", UpstreamTimeout, false),
    ("function_template_not_found", NotFound, false),
    ("function_runtime_not_detected", ValidationFailed, false),
    ("function_execute_permission_missing", UpstreamAuth, false),
    // Sites
    ("site_not_found", NotFound, false),
    ("site_already_exists", Conflict, true),
    ("site_template_not_found", NotFound, false),
    // Builds
    ("build_not_found", NotFound, false),
    ("build_not_ready", Conflict, true),
    ("build_in_progress", Conflict, true),
    ("build_already_completed", NotCancelable, true),
    ("build_canceled", Conflict, true),
    ("build_failed", Conflict, true),
    ("build_timeout", UpstreamTimeout, false),
    // Deployments
    ("deployment_not_found", NotFound, false),
    ("deployment_invalid_file_size", PayloadTooLarge, true),
    // Executions
    ("execution_not_found", NotFound, false),
    ("execution_in_progress", Conflict, false),
    // Logs
    ("log_not_found", NotFound, false),
    // Presence
    ("presence_not_found", NotFound, false),
    ("presence_already_exists", Conflict, false),
    // Databases
    ("database_not_found", NotFound, false),
    ("database_already_exists", Conflict, false),
    ("database_timeout", UpstreamTimeout, false),
    ("database_query_order_null", ValidationFailed, true),
    // Collections
    ("collection_not_found", NotFound, false),
    ("collection_already_exists", Conflict, false),
    ("collection_limit_exceeded", QuotaExceeded, true),
    // Tables
    ("table_not_found", NotFound, false),
    ("table_already_exists", Conflict, false),
    ("table_limit_exceeded", QuotaExceeded, true),
    // Documents
    ("document_not_found", NotFound, false),
    ("document_invalid_structure", ValidationFailed, true),
    ("document_missing_data", ValidationFailed, true),
    ("document_missing_payload", ValidationFailed, true),
    ("document_already_exists", Conflict, true),
    ("document_unique_constraint_violation", Conflict, true),
    ("document_update_conflict", Conflict, true),
    ("document_delete_restricted", Conflict, true),
    // Rows
    ("row_not_found", NotFound, false),
    ("row_invalid_structure", ValidationFailed, true),
    ("row_missing_data", ValidationFailed, true),
    ("row_missing_payload", ValidationFailed, true),
    ("row_already_exists", Conflict, true),
    ("row_unique_constraint_violation", Conflict, true),
    ("row_update_conflict", Conflict, true),
    ("row_delete_restricted", Conflict, true),
    // Attributes
    ("attribute_not_found", NotFound, false),
    ("attribute_unknown", ValidationFailed, true),
    ("attribute_not_available", ValidationFailed, true),
    ("attribute_format_unsupported", ValidationFailed, true),
    ("attribute_default_unsupported", ValidationFailed, true),
    ("attribute_already_exists", Conflict, true),
    ("attribute_limit_exceeded", QuotaExceeded, true),
    ("attribute_value_invalid", ValidationFailed, true),
    ("attribute_type_invalid", ValidationFailed, true),
    ("attribute_invalid_resize", ValidationFailed, true),
    ("ATTRIBUTE_TYPE_NOT_SUPPORTED", ValidationFailed, true),
    // Exists for both Attributes & Columns
    ("relationship_value_invalid", ValidationFailed, true),
    // Columns
    ("column_not_found", NotFound, false),
    ("column_unknown", ValidationFailed, true),
    ("column_not_available", ValidationFailed, true),
    ("column_format_unsupported", ValidationFailed, true),
    ("column_default_unsupported", ValidationFailed, true),
    ("column_already_exists", Conflict, true),
    ("column_limit_exceeded", QuotaExceeded, true),
    ("column_value_invalid", ValidationFailed, true),
    ("column_type_invalid", ValidationFailed, true),
    ("column_invalid_resize", ValidationFailed, true),
    ("COLUMN_TYPE_NOT_SUPPORTED", ValidationFailed, true),
    // Indexes
    ("index_not_found", NotFound, false),
    ("index_limit_exceeded", QuotaExceeded, true),
    ("index_already_exists", Conflict, true),
    ("index_invalid", ValidationFailed, true),
    ("index_dependency", Conflict, true),
    // Column Indexes
    ("column_index_not_found", NotFound, false),
    ("column_index_limit_exceeded", QuotaExceeded, true),
    ("column_index_already_exists", Conflict, true),
    ("column_index_invalid", ValidationFailed, true),
    ("column_index_dependency", Conflict, true),
    // Transactions
    ("transaction_not_found", NotFound, false),
    ("transaction_already_exists", Conflict, true),
    ("transaction_invalid", ValidationFailed, true),
    ("transaction_failed", Conflict, true),
    ("transaction_expired", Conflict, true),
    ("transaction_conflict", Conflict, true),
    ("transaction_limit_exceeded", ValidationFailed, true),
    ("transaction_not_ready", Conflict, true),
    // Project Errors
    ("project_not_found", NotFound, false),
    ("project_already_exists", Conflict, false),
    ("project_provider_disabled", Conflict, false),
    ("project_provider_unsupported", ValidationFailed, false),
    ("project_invalid_success_url", ValidationFailed, false),
    ("project_invalid_failure_url", ValidationFailed, false),
    ("project_reserved_project", Conflict, false),
    ("project_key_expired", UpstreamAuth, false),
    ("account_key_expired", UpstreamAuth, false),
    ("router_host_not_found", NotFound, false),
    ("router_domain_not_configured", UpstreamError, false),
    ("rule_resource_not_found", NotFound, false),
    ("rule_not_found", NotFound, false),
    ("rule_already_exists", Conflict, true),
    ("rule_verification_failed", Conflict, true),
    ("project_smtp_config_invalid", ValidationFailed, false),
    ("project_template_default_deletion", Conflict, false),
    ("project_region_unsupported", ValidationFailed, false),
    ("webhook_not_found", NotFound, false),
    ("webhook_already_exists", Conflict, false),
    ("key_not_found", NotFound, false),
    ("key_already_exists", Conflict, false),
    ("key_creation_denied", UpstreamAuth, false),
    ("dev_key_gone", NotFound, false),
    ("platform_not_found", NotFound, false),
    ("platform_method_unsupported", ValidationFailed, false),
    ("platform_already_exists", Conflict, false),
    ("variable_not_found", NotFound, false),
    ("variable_already_exists", Conflict, false),
    ("variable_cannot_unset_secret", ValidationFailed, false),
    ("graphql_no_query", ValidationFailed, false),
    ("graphql_too_many_queries", ValidationFailed, false),
    ("graphql_method_unsupported", UpstreamError, false),
    // Migrations
    ("migration_not_found", NotFound, false),
    ("migration_already_exists", Conflict, false),
    ("migration_in_progress", Conflict, false),
    ("migration_database_type_unsupported", ValidationFailed, false),
    ("migration_source_project_id_required", ValidationFailed, false),
    ("migration_source_project_not_found", NotFound, false),
    ("migration_source_type_invalid", ValidationFailed, false),
    ("migration_destination_type_invalid", ValidationFailed, false),
    // Realtime
    ("realtime_message_format_invalid", UpstreamError, false),
    ("realtime_policy_violation", UpstreamAuth, false),
    ("realtime_too_many_messages", UpstreamBusy, false),
    ("migration_provider_error", UpstreamError, false),
    // Health
    ("health_queue_size_exceeded", UpstreamBusy, false),
    ("health_certificate_expired", UpstreamError, false),
    ("health_invalid_host", UpstreamError, false),
    // Providers
    ("provider_not_found", NotFound, false),
    ("provider_already_exists", Conflict, false),
    ("provider_incorrect_type", ValidationFailed, false),
    ("provider_missing_credentials", ValidationFailed, false),
    // Topics
    ("topic_not_found", NotFound, false),
    ("topic_already_exists", Conflict, false),
    // Subscribers
    ("subscriber_not_found", NotFound, false),
    ("subscriber_already_exists", Conflict, false),
    // Messages
    ("message_not_found", NotFound, false),
    ("message_already_exists", Conflict, false),
    ("message_missing_target", ValidationFailed, false),
    ("message_already_sent", Conflict, false),
    ("message_already_processing", Conflict, false),
    ("message_already_failed", Conflict, false),
    ("message_already_scheduled", Conflict, false),
    ("message_target_not_email", ValidationFailed, false),
    ("message_target_not_sms", ValidationFailed, false),
    ("message_target_not_push", ValidationFailed, false),
    ("message_missing_schedule", ValidationFailed, false),
    ("schedule_not_found", NotFound, false),
    // Targets
    ("target_provider_invalid_type", ValidationFailed, false),
    ("user_id_missing", UpstreamAuth, false),
    ("organization_id_missing", UpstreamAuth, false),
    ("project_id_missing", UpstreamAuth, false),
    ("mock_number_already_exists", Conflict, false),
    ("mock_number_not_found", NotFound, false),
    ("mock_number_limit_exceeded", QuotaExceeded, false),
    // Advisor
    ("insight_not_found", NotFound, false),
    ("insight_already_exists", Conflict, false),
    // Reports
    ("report_not_found", NotFound, false),
    ("report_already_exists", Conflict, false),
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::HashSet;

    #[derive(Deserialize)]
    struct Entry {
        #[serde(rename = "type")]
        kind: String,
        code: u16,
    }

    fn catalogue() -> Vec<Entry> {
        serde_json::from_str(include_str!("../tests/fixtures/errors.json")).unwrap()
    }

    #[test]
    fn every_type_of_the_catalogue_has_one_row_and_no_row_is_unknown() {
        let entries = catalogue();
        let known: HashSet<_> = entries.iter().map(|entry| entry.kind.as_str()).collect();
        let rows: HashSet<_> = CATALOGUE.iter().map(|row| row.0).collect();
        assert_eq!(CATALOGUE.len(), rows.len(), "a type stands twice");
        assert_eq!(rows.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "not in the catalogue");
        assert_eq!(known.difference(&rows).collect::<Vec<_>>(), Vec::<&&str>::new(), "without a row");
        assert!(DIALECT.iter().all(|row| !known.contains(row.0)), "the dialect repeats the catalogue");
        assert_eq!(entries.len(), 293);
    }

    #[test]
    fn no_row_blames_the_caller_for_our_credential_or_leaks_a_text_about_us() {
        for entry in catalogue() {
            let status = StatusCode::from_u16(entry.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let meaning = translate(&entry.kind, status);
            assert_ne!(meaning.code.status(), StatusCode::UNAUTHORIZED, "{}", entry.kind);
            if entry.code == 401 {
                let allowed = [UpstreamAuth, Forbidden, Conflict];
                assert!(allowed.contains(&meaning.code), "{} is {}", entry.kind, meaning.code);
            }
            if status.is_server_error() && !entry.kind.ends_with("count_exceeded") {
                assert!(meaning.code.status().is_server_error(), "{} is {}", entry.kind, meaning.code);
            }
            assert!(!(meaning.is_public && meaning.code.status().is_server_error()), "{} is public", entry.kind);
        }
    }

    #[test]
    fn the_types_we_meet_every_day_mean_what_the_platform_says() {
        for (kind, status, code) in [
            ("user_unauthorized", 401, UpstreamAuth),
            ("general_unauthorized_scope", 401, UpstreamAuth),
            ("general_access_forbidden", 401, UpstreamAuth),
            ("user_jwt_invalid", 401, UpstreamAuth),
            ("project_key_expired", 401, UpstreamAuth),
            ("api_key_expired", 401, UpstreamAuth),
            ("account_key_expired", 401, UpstreamAuth),
            ("project_not_found", 404, NotFound),
            ("deployment_already_exists", 409, Conflict),
            ("build_already_completed", 400, NotCancelable),
            ("deployment_not_cancelable", 409, NotCancelable),
            ("general_rate_limit_exceeded", 429, UpstreamBusy),
            ("general_argument_invalid", 400, ValidationFailed),
            ("general_server_error", 500, UpstreamError),
            ("database_timeout", 408, UpstreamTimeout),
            ("general_route_not_found", 404, UpstreamError),
        ] {
            assert_eq!(translate(kind, StatusCode::from_u16(status).unwrap()).code, code, "{kind}");
        }
    }

    #[test]
    fn an_unknown_type_is_read_by_its_status_and_never_shown() {
        for (kind, status, code) in [
            ("sprocket_not_found", 404, NotFound),
            ("sprocket_lost", 404, UpstreamError),
            ("sprocket_already_exists", 409, Conflict),
            ("sprocket_bent", 400, ValidationFailed),
            ("sprocket_secret", 401, UpstreamAuth),
            ("sprocket_forbidden", 403, UpstreamError),
            ("sprocket_rush", 429, UpstreamBusy),
            ("sprocket_slow", 504, UpstreamTimeout),
            ("sprocket_broke", 500, UpstreamError),
            ("sprocket_teapot", 418, UpstreamError),
        ] {
            let meaning = translate(kind, StatusCode::from_u16(status).unwrap());
            assert_eq!(meaning, Meaning { code, is_public: false }, "{kind}");
        }
    }
}
