//! Rules of the section `studio_sessions`.

use super::{ConfigError, Secret, StudioSessions};
use crate::studio::{MOST_NAMES, MOST_SECRETS, Unknown};
use ogel_store::StudioTables;

/// Where Studio itself finds its secrets: the newest first, then next-auth v4's.
const VARIABLES: [&str; 5] = ["AUTH_SECRET_3", "AUTH_SECRET_2", "AUTH_SECRET_1", "AUTH_SECRET", "NEXTAUTH_SECRET"];

impl StudioSessions {
    /// Without secrets of its own the section takes Studio's variables; of Auth.js' numbered ones those that are set.
    pub(super) fn take_secrets(&mut self, lookup: &dyn Fn(&str) -> Option<String>) {
        if self.strategy == "jwt" && self.secrets.is_empty() {
            let found = VARIABLES.iter().filter_map(|name| lookup(name)).filter(|secret| !secret.is_empty());
            for secret in found.map(Secret::new) {
                if !self.secrets.contains(&secret) {
                    self.secrets.push(secret);
                }
            }
        }
    }

    /// What Studio's tables may be called, the likeliest first; empty for an adapter that nobody knows.
    pub(crate) fn tables(&self) -> Vec<StudioTables> {
        let adapters = match self.adapter.as_str() {
            "auto" => &["prisma", "drizzle", "pg"][..],
            adapter => &[adapter][..],
        };
        let named = |adapter: &&str| {
            let mut tables = StudioTables::of_adapter(adapter, &self.schema)?;
            for (place, name) in [
                (&mut tables.sessions, &self.sessions_table),
                (&mut tables.session_token, &self.session_token_column),
                (&mut tables.session_user, &self.session_user_column),
                (&mut tables.session_expires, &self.session_expires_column),
                (&mut tables.users, &self.users_table),
                (&mut tables.user_id, &self.user_id_column),
                (&mut tables.user_email, &self.user_email_column),
                (&mut tables.user_name, &self.user_name_column),
                (&mut tables.user_verified, &self.user_verified_column),
            ] {
                if !name.is_empty() {
                    place.clone_from(name);
                }
            }
            Some(tables)
        };
        adapters.iter().filter_map(named).collect()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key, problem: String| Err(ConfigError::Invalid { key, problem });
        if !["off", "jwt", "database"].contains(&self.strategy.as_str()) {
            let problem = format!("is `{}`, but takes `off`, `jwt` or `database`", self.strategy);
            return invalid("studio_sessions.strategy", problem);
        }
        if self.tables().is_empty() {
            let problem = format!("is `{}`, but takes `pg`, `prisma`, `drizzle` or `auto`", self.adapter);
            return invalid("studio_sessions.adapter", problem);
        }
        if Unknown::parse(&self.unknown_users).is_none() {
            let problem = format!("is `{}`, but takes `refuse`, `link` or `create`", self.unknown_users);
            return invalid("studio_sessions.unknown_users", problem);
        }
        if self.strategy == "jwt" && (self.secrets.is_empty() || self.secrets.iter().any(Secret::is_empty)) {
            // Without one, next-auth makes a secret from its options, which nobody else can.
            let problem =
                "is not set, and neither are Studio's AUTH_SECRET and NEXTAUTH_SECRET here; put Studio's there";
            return invalid("studio_sessions.secrets", problem.to_owned());
        }
        if self.secrets.len() > MOST_SECRETS {
            return invalid("studio_sessions.secrets", format!("takes at most {MOST_SECRETS} secrets"));
        }
        // What a cookie's name may be (RFC 6265), with room for `.0` behind it.
        let valid = |name: &String| {
            (1..=100).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte))
        };
        if self.cookie_names.len() > MOST_NAMES || !self.cookie_names.iter().all(valid) {
            let problem = format!("takes at most {MOST_NAMES} names of cookies such as `authjs.session-token`");
            return invalid("studio_sessions.cookie_names", problem);
        }
        if self.user_id_claim.is_empty() {
            return invalid("studio_sessions.user_id_claim", "is empty; it takes a claim such as `sub`".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn secrets_come_from_studios_variables_and_their_absence_is_refused() {
        let lookup = |name: &str| match name {
            "OGEL_STUDIO_SESSIONS" => Some("jwt".to_owned()),
            "AUTH_SECRET" | "NEXTAUTH_SECRET" => Some("old".to_owned()),
            "AUTH_SECRET_2" => Some("new".to_owned()),
            _ => None,
        };
        let config = Config::load(None, &lookup).unwrap();
        let secrets: Vec<_> = config.studio_sessions.secrets.iter().map(|secret| secret.expose()).collect();
        assert_eq!(secrets, ["new", "old"]);
        config.studio_sessions.check().unwrap();
        assert!(!format!("{config:?}").contains("\"new\""));
        let none = Config::load(None, &|name| lookup(name).filter(|_| !name.contains("SECRET"))).unwrap();
        let error = none.studio_sessions.check().unwrap_err().to_string();
        assert!(error.starts_with("`studio_sessions.secrets` is not set"), "{error}");
    }

    #[test]
    fn words_that_mean_nothing_are_named() {
        let refused = |change: &dyn Fn(&mut super::StudioSessions)| {
            let mut config = Config::default();
            change(&mut config.studio_sessions);
            config.studio_sessions.check().unwrap_err().to_string()
        };
        assert!(refused(&|studio| studio.strategy = "cookies".to_owned()).contains("`cookies`"));
        assert!(refused(&|studio| studio.unknown_users = "adopt".to_owned()).contains("`adopt`"));
        assert!(refused(&|studio| studio.cookie_names = vec!["a=b".to_owned()]).contains("cookie_names"));
        assert!(refused(&|studio| studio.adapter = "typeorm".to_owned()).contains("`typeorm`"));
        assert!(refused(&|studio| studio.user_id_claim.clear()).contains("user_id_claim"));
    }
}
