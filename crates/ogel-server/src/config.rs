//! The one configuration struct, from which the annotated default file and docs/config.md are made.
//!
//! A key stands once, in [`settings!`] below: its words, its default, its environment variable. Environment beats file
//! beats default. Unknown keys are refused with the nearest known one. Next: `config/`, rules of single sections.

mod secrets;
mod studio_sessions;

use ipnet::IpNet;
use serde::Deserialize;
use std::{fmt::Write as _, net::IpAddr, path::Path};

/// A string that must not appear in logs or messages.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: only where it is used, never where something is printed.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "(not set)" } else { "(secret)" })
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read `{path}`")]
    Read { path: String, source: std::io::Error },
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    #[error("unknown key `{key}`{}", suggest(.nearest))]
    UnknownKey { key: String, nearest: Option<String> },
    #[error("{variable} is `{value}`, but `{key}` takes {expected}")]
    Environment { variable: &'static str, value: String, key: String, expected: &'static str },
    #[error("`{key}` {problem}")]
    Invalid { key: &'static str, problem: String },
}

fn suggest(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

/// A value that a setting may have: how it is written in the file, and read from the environment.
trait Setting: Sized {
    const EXPECTED: &'static str;
    fn to_toml(&self) -> String;
    fn from_env(text: &str) -> Option<Self>;
}

impl Setting for String {
    const EXPECTED: &'static str = "text";
    fn to_toml(&self) -> String {
        toml::Value::String(self.clone()).to_string()
    }
    fn from_env(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Setting for Secret {
    const EXPECTED: &'static str = "text";
    fn to_toml(&self) -> String {
        toml::Value::String(self.0.clone()).to_string()
    }
    fn from_env(text: &str) -> Option<Self> {
        Some(Self::new(text))
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "`true` or `false`";
    fn to_toml(&self) -> String {
        self.to_string()
    }
    fn from_env(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for u64 {
    const EXPECTED: &'static str = "a whole number";
    fn to_toml(&self) -> String {
        self.to_string()
    }
    fn from_env(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Setting for Vec<Secret> {
    const EXPECTED: &'static str = "a list separated by commas";
    fn to_toml(&self) -> String {
        toml::Value::Array(self.iter().map(|secret| toml::Value::String(secret.0.clone())).collect()).to_string()
    }
    fn from_env(text: &str) -> Option<Self> {
        Some(<Vec<String> as Setting>::from_env(text)?.into_iter().map(Secret).collect())
    }
}

impl Setting for Vec<String> {
    const EXPECTED: &'static str = "a list separated by commas";
    fn to_toml(&self) -> String {
        toml::Value::Array(self.iter().cloned().map(toml::Value::String).collect()).to_string()
    }
    fn from_env(text: &str) -> Option<Self> {
        Some(text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
    }
}

macro_rules! settings {
    ($($(#[doc = $sdoc:literal])+ $section:ident: $type:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $ftype:ty = $default:expr, env $env:literal;)+
    })+) => {
        /// All that can be configured.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config { $($(#[doc = $sdoc])+ pub $section: $type,)+ }

        $($(#[doc = $sdoc])+
        #[derive(Clone, Debug, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $type { $($(#[doc = $doc])+ pub $field: $ftype,)+ }

        impl Default for $type {
            fn default() -> Self { Self { $($field: $default,)+ } }
        })+

        impl Config {
            /// Every key, as `section.key`.
            const KEYS: &'static [&'static str] =
                &[$($(concat!(stringify!($section), ".", stringify!($field)),)+)+];

            /// The default file: every key with its words, its variable and its default.
            pub fn annotated_default() -> String {
                let default = Config::default();
                let mut file = String::new();
                $(
                    $(let _ = writeln!(file, "#{}", $sdoc);)+
                    let _ = writeln!(file, concat!("[", stringify!($section), "]"));
                    $(
                        $(let _ = writeln!(file, "#{}", $doc);)+
                        let _ = writeln!(file, "# Environment: {}", $env);
                        let _ = writeln!(file, "{} = {}\n", stringify!($field), default.$section.$field.to_toml());
                    )+
                )+
                file.truncate(file.trim_end().len());
                file.push('\n');
                file
            }

            /// Lets variables override what the file says.
            fn apply_environment(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
                $($(
                    if let Some(value) = lookup($env) {
                        self.$section.$field = <$ftype as Setting>::from_env(&value).ok_or(ConfigError::Environment {
                            variable: $env,
                            value,
                            key: concat!(stringify!($section), ".", stringify!($field)).to_owned(),
                            expected: <$ftype as Setting>::EXPECTED,
                        })?;
                    }
                )+)+
                Ok(())
            }
        }
    };
}

settings! {
    /// Where `ogeld` listens and what it grants a request.
    server: Server {
        /// Address and port; port 0 takes any free one.
        listen: String = "127.0.0.1:8787".to_owned(), env "OGEL_LISTEN";
        /// Data-plane threads, each with its own listener and runtime; 0 takes one per core.
        threads: u64 = 0, env "OGEL_THREADS";
        /// How people reach this server, without a path; used in cookies' decisions and links. Empty: from `listen`.
        public_url: String = String::new(), env "OGEL_PUBLIC_URL";
        /// Origins besides our own whose pages may use the API (CORS), with a cookie too; `https://studio.ogel.com`.
        allowed_origins: Vec<String> = Vec::new(), env "OGEL_ALLOWED_ORIGINS";
        /// Addresses or networks of proxies in front, such as `10.0.0.0/8`: what they say of the client is believed.
        trusted_proxies: Vec<String> = Vec::new(), env "OGEL_TRUSTED_PROXIES";
        /// PEM file with the certificate chain; with `tls_key` it makes the listener speak TLS. Read again on change.
        tls_certificate: String = String::new(), env "OGEL_TLS_CERTIFICATE";
        /// PEM file with the certificate's private key.
        tls_key: String = String::new(), env "OGEL_TLS_KEY";
        /// Address and port for operators: `/metrics`, `/health`, `/ready`. Empty: not served.
        operations_listen: String = "127.0.0.1:9464".to_owned(), env "OGEL_OPERATIONS_LISTEN";
        /// Unix socket over which a newly started `ogeld` takes the listening sockets from the running one, which then
        /// drains. Empty: no takeover.
        takeover_socket: String = String::new(), env "OGEL_TAKEOVER_SOCKET";
        /// Seconds until a request that has not begun to answer gets 504, unless it sends `X-Request-Timeout`. Log
        /// streams have no end.
        request_timeout_seconds: u64 = 30, env "OGEL_REQUEST_TIMEOUT_SECONDS";
        /// The longest time `X-Request-Timeout` may ask for.
        max_request_timeout_seconds: u64 = 120, env "OGEL_MAX_REQUEST_TIMEOUT_SECONDS";
        /// Seconds a client may take to send its request head, or leave a connection unused.
        header_timeout_seconds: u64 = 60, env "OGEL_HEADER_TIMEOUT_SECONDS";
        /// Seconds without a byte of the request's body arriving, or of the answer leaving, after which the
        /// connection is closed.
        stall_timeout_seconds: u64 = 30, env "OGEL_STALL_TIMEOUT_SECONDS";
        /// Largest request body in bytes; streamed namespaces have `studio.max_body_bytes`.
        max_body_bytes: u64 = 1_048_576, env "OGEL_MAX_BODY_BYTES";
        /// Connections one data-plane thread holds at most; more wait in the kernel's queue.
        max_connections_per_thread: u64 = 16_384, env "OGEL_MAX_CONNECTIONS_PER_THREAD";
        /// Requests one data-plane thread works on at most; more get 503 with `Retry-After` at once.
        max_in_flight_per_thread: u64 = 2048, env "OGEL_MAX_IN_FLIGHT_PER_THREAD";
        /// Whether answers carry `Server-Timing` with what each part of the work took.
        server_timing: bool = true, env "OGEL_SERVER_TIMING";
        /// Seconds a connection to Ghost or to Studio's backend is used at most, up to a quarter less by chance. After that
        /// their names are looked up again, so one that has moved is found however busy its connections are.
        upstream_connection_seconds: u64 = 300, env "OGEL_UPSTREAM_CONNECTION_SECONDS";
        /// Seconds between `/ready` saying no and the listeners closing, for load balancers to look elsewhere.
        unready_seconds: u64 = 0, env "OGEL_UNREADY_SECONDS";
        /// Seconds that requests in flight get to finish after SIGTERM or Ctrl-C.
        drain_seconds: u64 = 10, env "OGEL_DRAIN_SECONDS";
    }
    /// Studio's database.
    database: Database {
        /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`.
        url: Secret = Secret::new("sqlite:ogel.db"), env "DATABASE_URL";
        /// A PostgreSQL that follows the one of `url`: lists are read there, unless the caller has just changed something
        /// (`X-Ogel-Consistency`) or it does not answer. Empty: lists are read where everything is.
        read_url: Secret = Secret::default(), env "DATABASE_READ_URL";
        /// Connections kept at most.
        max_connections: u64 = 16, env "OGEL_DATABASE_MAX_CONNECTIONS";
        /// Seconds a request waits for a connection before it gets 503.
        acquire_timeout_seconds: u64 = 5, env "OGEL_DATABASE_ACQUIRE_TIMEOUT_SECONDS";
        /// Seconds PostgreSQL may take for one statement of a request before that gets 503.
        statement_timeout_seconds: u64 = 15, env "OGEL_DATABASE_STATEMENT_TIMEOUT_SECONDS";
    }
    /// A Redis or Valkey through which replicas share what is short-lived. Without one this process is alone.
    redis: Redis {
        /// `redis://[USER:PASSWORD@]HOST[:PORT]`, `rediss://…` with TLS, `redis+sentinel://HOST:PORT,HOST:PORT/MASTER` or
        /// `redis+cluster://HOST:PORT,HOST:PORT`. Empty: everything is kept in this process.
        url: Secret = Secret::default(), env "REDIS_URL";
        /// Milliseconds a request waits for Redis at most, before it goes on without.
        wait_ms: u64 = 2, env "OGEL_REDIS_WAIT_MS";
        /// Put before every key and channel, for a Redis that several installations share.
        prefix: String = String::new(), env "OGEL_REDIS_PREFIX";
        /// The database for cached answers. A cluster has one database only, which is taken for all three.
        cache_database: u64 = 4, env "OGEL_REDIS_CACHE_DATABASE";
        /// The database for limits.
        limits_database: u64 = 5, env "OGEL_REDIS_LIMITS_DATABASE";
        /// The database for daily figures.
        metrics_database: u64 = 6, env "OGEL_REDIS_METRICS_DATABASE";
    }
    /// The deployment backend.
    ghost: Ghost {
        /// Where Ghost's API is, without `/v1`; several addresses of the same Ghost are separated by commas.
        url: String = "http://ogel-ghost.railway.internal".to_owned(), env "OGEL_GHOST_API_URL";
        /// The platform's key at Ghost.
        api_key: Secret = Secret::default(), env "OGEL_GHOST_API_KEY";
        /// The shape of answers asked for, as Ghost versions them.
        response_format: String = "1.8.0".to_owned(), env "OGEL_GHOST_RESPONSE_FORMAT";
        /// Seconds one call may take, retries included.
        timeout_seconds: u64 = 10, env "OGEL_GHOST_TIMEOUT_SECONDS";
        /// What Ghost signs its webhooks with. Empty: none are taken.
        webhook_secret: Secret = Secret::default(), env "OGEL_GHOST_WEBHOOK_SECRET";
        /// A second secret that is taken as well, while it is changed at Ghost.
        webhook_other_secret: Secret = Secret::default(), env "OGEL_GHOST_WEBHOOK_OTHER_SECRET";
        /// The URL that Ghost was given for its webhooks, which is part of what it signs. Empty: `server.public_url`, or
        /// else `server.listen`, and `/api/v2/webhooks/ghost`.
        webhook_url: String = String::new(), env "OGEL_GHOST_WEBHOOK_URL";
    }
    /// An existing Studio backend, for namespaces that are still answered there.
    studio: Studio {
        /// Where it is, such as `https://studio.internal`; requests go to `/api/v2/…` below it. Empty: nothing is
        /// forwarded.
        url: String = String::new(), env "OGEL_STUDIO_URL";
        /// Namespaces answered there instead of here, from `auth`, `users`, `organizations`, `projects`, `billing`.
        forward: Vec<String> = Vec::new(), env "OGEL_STUDIO_FORWARD";
        /// Largest body of a forwarded request in bytes; it is streamed, never held.
        max_body_bytes: u64 = 4_294_967_296, env "OGEL_STUDIO_MAX_BODY_BYTES";
        /// Seconds Studio may take to begin an answer.
        timeout_seconds: u64 = 30, env "OGEL_STUDIO_TIMEOUT_SECONDS";
        /// Seconds an upload to it may take in all, as long as it moves.
        upload_seconds: u64 = 3600, env "OGEL_STUDIO_UPLOAD_SECONDS";
        /// Seconds a stream from it, or a WebSocket to it, may be silent.
        idle_seconds: u64 = 300, env "OGEL_STUDIO_IDLE_SECONDS";
    }
    /// Sessions of Studio's own login (next-auth v4, Auth.js v5): recognised here by the cookie it has set, never written.
    studio_sessions: StudioSessions {
        /// `off`, `jwt` for encrypted tokens (the libraries' choice without an adapter), or `database` for rows of Studio's.
        strategy: String = "off".to_owned(), env "OGEL_STUDIO_SESSIONS";
        /// Studio's secrets, the one it seals with first, then older ones. Empty: from `AUTH_SECRET_3`, `AUTH_SECRET_2`,
        /// `AUTH_SECRET_1`, `AUTH_SECRET` and `NEXTAUTH_SECRET`, as Studio takes them.
        secrets: Vec<Secret> = Vec::new(), env "OGEL_STUDIO_SESSION_SECRETS";
        /// Its cookie's names, if it chose them itself. Empty: those of both libraries, with and without `__Secure-`.
        cookie_names: Vec<String> = Vec::new(), env "OGEL_STUDIO_SESSION_COOKIES";
        /// The claim that holds the person's id at Studio.
        user_id_claim: String = "sub".to_owned(), env "OGEL_STUDIO_USER_ID_CLAIM";
        /// The claim with the time of the login, where Studio keeps one when it renews a token (`auth_time`, say). Empty: a session
        /// began when its token was made, and who deleted their account is nobody here, however new the token, until
        /// `longest_days` have passed or they sign up again.
        login_time_claim: String = String::new(), env "OGEL_STUDIO_LOGIN_TIME_CLAIM";
        /// People whom Studio knows and we do not: `refuse` them, `link` them to the account with their verified e-mail
        /// address, or `create` one where there is none.
        unknown_users: String = "refuse".to_owned(), env "OGEL_STUDIO_UNKNOWN_USERS";
        /// Whether Studio lets in nobody whose e-mail address is not theirs, so that one in a token counts as verified
        /// without the claim `emailVerified` or `email_verified`.
        trust_emails: bool = false, env "OGEL_STUDIO_TRUST_EMAILS";
        /// The longest a token may still last, in days; 0 is any time.
        longest_days: u64 = 400, env "OGEL_STUDIO_SESSION_LONGEST_DAYS";
        /// The largest token in bytes, all its pieces together.
        max_token_bytes: u64 = 16_384, env "OGEL_STUDIO_SESSION_MAX_BYTES";
        /// For `database`: where Studio's tables are, `postgres://…` or `sqlite:PATH`, only ever read. Empty: in our own.
        database_url: Secret = Secret::default(), env "OGEL_STUDIO_DATABASE_URL";
        /// Whose names its tables have: `pg`, `prisma`, `drizzle`, or `auto` for the first of these that is there.
        adapter: String = "auto".to_owned(), env "OGEL_STUDIO_ADAPTER";
        /// PostgreSQL's schema they are in.
        schema: String = "public".to_owned(), env "OGEL_STUDIO_SCHEMA";
        /// The table of sessions. Empty, here and below: as the adapter names it.
        sessions_table: String = String::new(), env "OGEL_STUDIO_SESSIONS_TABLE";
        /// Its column with the token.
        session_token_column: String = String::new(), env "OGEL_STUDIO_SESSION_TOKEN_COLUMN";
        /// Its column with the person's id.
        session_user_column: String = String::new(), env "OGEL_STUDIO_SESSION_USER_COLUMN";
        /// Its column with the session's end.
        session_expires_column: String = String::new(), env "OGEL_STUDIO_SESSION_EXPIRES_COLUMN";
        /// The table of people.
        users_table: String = String::new(), env "OGEL_STUDIO_USERS_TABLE";
        /// Its column with the id.
        user_id_column: String = String::new(), env "OGEL_STUDIO_USER_ID_COLUMN";
        /// Its column with the e-mail address.
        user_email_column: String = String::new(), env "OGEL_STUDIO_USER_EMAIL_COLUMN";
        /// Its column with the name.
        user_name_column: String = String::new(), env "OGEL_STUDIO_USER_NAME_COLUMN";
        /// Its column that says when, or whether, the e-mail address was verified.
        user_verified_column: String = String::new(), env "OGEL_STUDIO_USER_VERIFIED_COLUMN";
    }
    /// What is read from Ghost is kept for a moment, and forgotten when something changes.
    cache: Cache {
        /// Seconds an answer is given out without looking again; 0 keeps nothing.
        fresh_seconds: u64 = 5, env "OGEL_CACHE_FRESH_SECONDS";
        /// Seconds that something is not there is believed.
        negative_seconds: u64 = 1, env "OGEL_CACHE_NEGATIVE_SECONDS";
        /// Seconds after that in which it is still given out, while a newer one is fetched.
        revalidate_seconds: u64 = 10, env "OGEL_CACHE_REVALIDATE_SECONDS";
        /// Seconds after that in which it is given out when Ghost cannot be asked.
        stale_seconds: u64 = 600, env "OGEL_CACHE_STALE_SECONDS";
        /// Bytes of answers kept in this process at most.
        max_bytes: u64 = 33_554_432, env "OGEL_CACHE_MAX_BYTES";
    }
    /// How often anybody may call: sliding windows, counted by all replicas together where there is a Redis. 0 is no limit.
    limits: Limits {
        /// Seconds a window is long.
        window_seconds: u64 = 10, env "OGEL_LIMIT_WINDOW_SECONDS";
        /// Requests in a window with an API key on the plan `free`.
        api_key_free: u64 = 10, env "OGEL_LIMIT_API_KEY_FREE";
        /// With an API key on the plan `pro`.
        api_key_pro: u64 = 100, env "OGEL_LIMIT_API_KEY_PRO";
        /// With an API key on the plan `team`.
        api_key_team: u64 = 1000, env "OGEL_LIMIT_API_KEY_TEAM";
        /// With a login: a page of Studio makes many requests at once.
        session: u64 = 200, env "OGEL_LIMIT_SESSION";
        /// Without a credential, from one address.
        anonymous: u64 = 60, env "OGEL_LIMIT_ANONYMOUS";
        /// Sign-ups and logins from one address.
        login: u64 = 10, env "OGEL_LIMIT_LOGIN";
        /// Wrong passwords for one account from anywhere; addresses it is logged in from have as many of their own.
        login_account: u64 = 10, env "OGEL_LIMIT_LOGIN_ACCOUNT";
        /// Seconds of the window they are counted in, at most 3600.
        login_account_seconds: u64 = 900, env "OGEL_LIMIT_LOGIN_ACCOUNT_SECONDS";
        /// New deployments by one caller, and in one organization, on the plan `free`.
        deploy: u64 = 20, env "OGEL_LIMIT_DEPLOY";
        /// The same on the plan `pro`.
        deploy_pro: u64 = 60, env "OGEL_LIMIT_DEPLOY_PRO";
        /// The same on the plan `team`.
        deploy_team: u64 = 200, env "OGEL_LIMIT_DEPLOY_TEAM";
        /// Requests with all API keys that are bound to one organization, on the plan `free`.
        organization_free: u64 = 100, env "OGEL_LIMIT_ORGANIZATION_FREE";
        /// The same on the plan `pro`.
        organization_pro: u64 = 1000, env "OGEL_LIMIT_ORGANIZATION_PRO";
        /// The same on the plan `team`.
        organization_team: u64 = 10_000, env "OGEL_LIMIT_ORGANIZATION_TEAM";
        /// Requests with all API keys that are bound to one project, on the plan `free`.
        project_free: u64 = 50, env "OGEL_LIMIT_PROJECT_FREE";
        /// The same on the plan `pro`.
        project_pro: u64 = 500, env "OGEL_LIMIT_PROJECT_PRO";
        /// The same on the plan `team`.
        project_team: u64 = 5000, env "OGEL_LIMIT_PROJECT_TEAM";
        /// Ask Redis for every request, and wait `redis.wait_ms` for it: replicas together admit exactly the limit.
        strict: bool = false, env "OGEL_LIMIT_STRICT";
        /// All requests from one address, whoever sends them: against floods, before a credential is even looked at.
        address: u64 = 5000, env "OGEL_LIMIT_ADDRESS";
    }
    /// Mail: invitations, and alerts of budgets.
    mail: Mail {
        /// `smtp://USER:PASSWORD@HOST:PORT?tls=required`, `smtps://USER:PASSWORD@HOST`, or `file:FOLDER`, which writes files for
        /// development. Empty: nobody can be invited.
        url: Secret = Secret::default(), env "OGEL_MAIL_URL";
        /// PEM file with the certificates that the mail server's must go back to, in the place of the system's. Read at the start.
        ca_file: String = String::new(), env "OGEL_MAIL_CA_FILE";
        /// Who mail is from, such as `Ogel <no-reply@example.com>`.
        from: String = String::new(), env "OGEL_MAIL_FROM";
        /// Studio's page for an invitation; `{token}` stands for its token. Empty: the mail names the command only.
        invitation_url: String = String::new(), env "OGEL_MAIL_INVITATION_URL";
    }
    /// How long what is no longer needed is kept.
    retention: Retention {
        /// Days in which a deleted project or organization can be restored; then it is purged, at Ghost too. As long is a
        /// slug held that an organization gave up.
        deleted_days: u64 = 30, env "OGEL_DELETED_DAYS";
        /// Days an entry of the audit log is kept.
        audit_days: u64 = 400, env "OGEL_AUDIT_DAYS";
    }
    /// Accounts and logins.
    auth: Auth {
        /// Whether anybody may make an account.
        open_signup: bool = true, env "OGEL_OPEN_SIGNUP";
        /// Days a login lasts without being used.
        session_days: u64 = 30, env "OGEL_SESSION_DAYS";
        /// Who operates the platform and may use `admin/…`: user ids (`usr_…`) or e-mail addresses. Whoever has an account
        /// with such an address is one, so make it before you name it.
        operators: Vec<String> = Vec::new(), env "OGEL_OPERATORS";
        /// Minutes an access token of `ogel login` lasts; a refresh token renews it. At most 1440.
        access_token_minutes: u64 = 60, env "OGEL_ACCESS_TOKEN_MINUTES";
        /// Minutes a person has to confirm a login on another device, at most 60.
        device_code_minutes: u64 = 15, env "OGEL_DEVICE_CODE_MINUTES";
        /// Seconds between two questions of a device that waits, at most 60.
        device_poll_seconds: u64 = 5, env "OGEL_DEVICE_POLL_SECONDS";
        /// Passwords checked at the same time; each takes 19 MiB and a core for some ten milliseconds. 0: one less than there are
        /// cores, so that one is left to everything else. As many again where one waits for a second and a half.
        concurrent_logins: u64 = 0, env "OGEL_CONCURRENT_LOGINS";
        /// Seconds that callers in memory are trusted while the database cannot be asked whether they were revoked; at most 30.
        trust_without_database_seconds: u64 = 5, env "OGEL_TRUST_WITHOUT_DATABASE_SECONDS";
    }
    /// What may be deployed, and how long it may take.
    deployments: Deployments {
        /// Clone from `file://` URLs; only for a server on its user's own machine.
        allow_file_urls: bool = false, env "OGEL_ALLOW_FILE_URLS";
        /// Clone from private, loopback and link-local addresses.
        allow_private_hosts: bool = false, env "OGEL_ALLOW_PRIVATE_HOSTS";
        /// Seconds the answer to a new deployment waits for Ghost to accept it; 202 after that.
        accept_wait_seconds: u64 = 8, env "OGEL_ACCEPT_WAIT_SECONDS";
        /// Minutes after which a deployment that the backend has not accepted counts as failed.
        accept_deadline_minutes: u64 = 30, env "OGEL_DEPLOYMENT_ACCEPT_DEADLINE_MINUTES";
        /// Minutes after which a deployment that has not ended counts as failed.
        deadline_minutes: u64 = 60, env "OGEL_DEPLOYMENT_DEADLINE_MINUTES";
    }
    /// Work that outlives any process: deployments and what else must come to its end. Replicas share it by leases.
    work: Work {
        /// Seconds a job stays with a replica that has died, before another one takes it. Clocks of replicas must agree
        /// better than this.
        lease_seconds: u64 = 10, env "OGEL_WORK_LEASE_SECONDS";
        /// Jobs of one kind a replica works on at the same time.
        concurrency: u64 = 32, env "OGEL_WORK_CONCURRENCY";
        /// Failures in a row after which a job waits for an operator; with the pauses between them about an hour.
        max_attempts: u64 = 160, env "OGEL_WORK_MAX_ATTEMPTS";
        /// Minutes between two comparisons of all that Studio knows with all that the deployment backend knows.
        reconcile_minutes: u64 = 15, env "OGEL_WORK_RECONCILE_MINUTES";
        /// Days that operations can be asked for after they have ended.
        operation_days: u64 = 30, env "OGEL_WORK_OPERATION_DAYS";
    }
    /// What organizations pay for, and how.
    billing: Billing {
        /// TOML file with the plans, read again on reload; empty takes those that come with the program, which
        /// `ogeld plans` prints. Rates are `limits.api_key_free`, `_pro` and `_team`.
        plans_file: String = String::new(), env "OGEL_PLANS_FILE";
        /// Who collects the money: `manual` (owners change plans, an operator marks invoices paid with
        /// `ogeld invoice-paid`) or `stripe` (plans are bought on a payment page, which tells us by webhook).
        provider: String = "manual".to_owned(), env "OGEL_BILLING_PROVIDER";
        /// Secret of the endpoint `/api/v2/webhooks/stripe`, as the payment service shows it.
        stripe_webhook_secret: Secret = Secret::default(), env "OGEL_STRIPE_WEBHOOK_SECRET";
        /// The payment page; `client_reference_id` is added to its address.
        stripe_checkout_url: String = String::new(), env "OGEL_STRIPE_CHECKOUT_URL";
        /// Seconds a webhook's signature is good for.
        stripe_tolerance_seconds: u64 = 300, env "OGEL_STRIPE_TOLERANCE_SECONDS";
        /// Who sends the invoices: name and address, with line breaks.
        seller: String = String::new(), env "OGEL_BILLING_SELLER";
        /// What an open invoice says about paying it, with the provider `manual`.
        how_to_pay: String = String::new(), env "OGEL_BILLING_HOW_TO_PAY";
        /// Seconds between two writes of what was counted, 1 to 300; what a killed process loses at most, and a second.
        usage_flush_seconds: u64 = 5, env "OGEL_USAGE_FLUSH_SECONDS";
    }
    /// Our copy of what builds print, which outlives the deployment backend's. How long it is kept is the plan's matter.
    build_logs: BuildLogs {
        /// Bytes of text kept of one build; what comes after is left out, and the log says so.
        max_bytes: u64 = 33_554_432, env "OGEL_BUILD_LOGS_MAX_BYTES";
    }
    /// Webhooks of the platform's users.
    webhooks: Webhooks {
        /// Post to private, loopback and link-local addresses too, and without TLS; only for a server on its user's own
        /// machine.
        allow_private_hosts: bool = false, env "OGEL_WEBHOOKS_ALLOW_PRIVATE_HOSTS";
        /// Seconds a receiver may take to answer.
        timeout_seconds: u64 = 15, env "OGEL_WEBHOOKS_TIMEOUT_SECONDS";
        /// Hours the secret before goes on signing after a new one was made.
        secret_grace_hours: u64 = 24, env "OGEL_WEBHOOKS_SECRET_GRACE_HOURS";
        /// Days that deliveries are kept after they ended.
        retention_days: u64 = 30, env "OGEL_WEBHOOKS_RETENTION_DAYS";
    }
    /// Keys that protect what is stored.
    secrets: Secrets {
        /// 32 random bytes in base64, such as `ogeld keys new` prints. Seals what is stored and must be read again, such as
        /// Ghost's project keys. Swapped by SIGHUP, like the two below.
        encryption_key: Secret = Secret::default(), env "OGEL_ENCRYPTION_KEY";
        /// Or a file with one key per line: the first one seals, the others open. Lines with `#` in front are not keys.
        encryption_key_file: String = String::new(), env "OGEL_ENCRYPTION_KEY_FILE";
        /// Keys that still open what they sealed once, until `ogeld keys rotate` has sealed it anew.
        older_encryption_keys: Vec<Secret> = Vec::new(), env "OGEL_OLDER_ENCRYPTION_KEYS";
    }
    /// What is written to standard error.
    log: Log {
        /// `error`, `warn`, `info`, `debug`, or a filter such as `info,ogel_ghost=debug`.
        filter: String = "info".to_owned(), env "OGEL_LOG";
        /// `json` for machines, `text` for people.
        format: String = "json".to_owned(), env "OGEL_LOG_FORMAT";
        /// One line of JSON per request: `stderr`, `off`, or a file, which is opened again on SIGHUP.
        access: String = "stderr".to_owned(), env "OGEL_LOG_ACCESS";
    }
    /// Traces, for a collector that speaks OpenTelemetry's protocol over HTTP.
    otlp: Otlp {
        /// Its address, such as `http://127.0.0.1:4318`; `/v1/traces` is added. Empty: nothing is exported.
        endpoint: String = String::new(), env "OTEL_EXPORTER_OTLP_ENDPOINT";
        /// Headers it wants: `name=value`, separated by commas, values percent-encoded.
        headers: Secret = Secret::default(), env "OTEL_EXPORTER_OTLP_HEADERS";
        /// What this service is called there.
        service_name: String = "ogeld".to_owned(), env "OTEL_SERVICE_NAME";
        /// Of requests without a `traceparent`, so many in a hundred are exported. With one its flag decides.
        sample_percent: u64 = 100, env "OGEL_OTLP_SAMPLE_PERCENT";
        /// Requests that wait to be exported, at most; more are dropped and counted.
        queue: u64 = 2048, env "OGEL_OTLP_QUEUE";
        /// Seconds between two exports; sooner when there is much.
        flush_seconds: u64 = 5, env "OGEL_OTLP_FLUSH_SECONDS";
    }
}

impl Otlp {
    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key, problem: &str| Err(ConfigError::Invalid { key, problem: problem.to_owned() });
        let is_address = |url: url::Url| ["http", "https"].contains(&url.scheme()) && url.username().is_empty();
        if !self.endpoint.is_empty() && !url::Url::parse(&self.endpoint).is_ok_and(is_address) {
            return invalid(
                "otlp.endpoint",
                "is no address such as `http://127.0.0.1:4318`; credentials go into `otlp.headers`",
            );
        }
        if self.sample_percent > 100 {
            return invalid("otlp.sample_percent", "is more than 100");
        }
        Ok(())
    }
}

impl Config {
    /// Reads `file` (if any) and lets the variables of `lookup` override it.
    pub fn load(file: Option<&Path>, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?,
            None => String::new(),
        };
        let mut config = Self::parse(&text)?;
        config.apply_environment(lookup)?;
        config.studio_sessions.take_secrets(lookup);
        Ok(config)
    }

    fn parse(text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = toml::from_str(text)?;
        let sections = || Self::KEYS.iter().filter_map(|key| key.split_once('.')).map(|(section, _)| section);
        for (section, value) in &table {
            if !sections().any(|known| known == section) {
                return Err(ConfigError::UnknownKey { key: section.clone(), nearest: nearest(section, sections()) });
            }
            for key in value.as_table().into_iter().flat_map(toml::Table::keys) {
                let full = format!("{section}.{key}");
                if !Self::KEYS.contains(&full.as_str()) {
                    let nearest = nearest(&full, Self::KEYS.iter().copied());
                    return Err(ConfigError::UnknownKey { key: full, nearest });
                }
            }
        }
        Ok(toml::from_str(text)?)
    }

    /// What only production needs to be told, checked before anything is opened.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.server.tls_certificate.is_empty() != self.server.tls_key.is_empty() {
            let problem = "and `server.tls_key` are set together or not at all".to_owned();
            return Err(ConfigError::Invalid { key: "server.tls_certificate", problem });
        }
        if let Err(network) = self.trusted_networks() {
            let problem = format!("has `{network}`, which is no address or network such as `10.0.0.0/8`");
            return Err(ConfigError::Invalid { key: "server.trusted_proxies", problem });
        }
        const FORWARDABLE: [&str; 5] = ["auth", "users", "organizations", "projects", "billing"];
        if let Some(other) = self.studio.forward.iter().find(|name| !FORWARDABLE.contains(&name.as_str())) {
            let problem = format!("has `{other}`; it takes {}", FORWARDABLE.map(|name| format!("`{name}`")).join(", "));
            return Err(ConfigError::Invalid { key: "studio.forward", problem });
        }
        if !self.studio.forward.is_empty() && self.studio.url.is_empty() {
            let problem = "is not set, but `studio.forward` names namespaces to send there".to_owned();
            return Err(ConfigError::Invalid { key: "studio.url", problem });
        }
        self.studio_sessions.check()?;
        self.otlp.check()?;
        crate::billing::catalog::Catalog::load(self)?;
        let billing = &self.billing;
        match billing.provider.as_str() {
            "manual" => {}
            "stripe" if billing.stripe_webhook_secret.is_empty() => {
                let problem = "is not set, but `billing.provider` is `stripe`".to_owned();
                return Err(ConfigError::Invalid { key: "billing.stripe_webhook_secret", problem });
            }
            "stripe" if url::Url::parse(&billing.stripe_checkout_url).is_err() => {
                let problem = "is no URL, but `billing.provider` is `stripe`".to_owned();
                return Err(ConfigError::Invalid { key: "billing.stripe_checkout_url", problem });
            }
            "stripe" => {}
            other => {
                let problem = format!("is `{other}`; it takes `manual` or `stripe`");
                return Err(ConfigError::Invalid { key: "billing.provider", problem });
            }
        }
        if self.ghost.api_key.is_empty() {
            let problem = "is not set; put Ghost's platform key there or into OGEL_GHOST_API_KEY".to_owned();
            return Err(ConfigError::Invalid { key: "ghost.api_key", problem });
        }
        self.secrets.check()?;
        Ok(())
    }

    /// `server.trusted_proxies`; the error is the first one that is none.
    pub fn trusted_networks(&self) -> Result<Vec<IpNet>, String> {
        let parse =
            |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| text.clone());
        self.server.trusted_proxies.iter().map(parse).collect()
    }

    /// The URL that Ghost posts its webhooks to.
    pub fn ghost_webhook_url(&self) -> String {
        if !self.ghost.webhook_url.is_empty() {
            return self.ghost.webhook_url.clone();
        }
        let scheme = if self.server.tls_certificate.is_empty() { "http" } else { "https" };
        let base = match self.server.public_url.trim_end_matches('/') {
            "" => format!("{scheme}://{}", self.server.listen),
            url => url.to_owned(),
        };
        format!("{base}{}/webhooks/ghost", ogel_api::BASE_PATH)
    }

    /// The reference page: the annotated file in a frame.
    pub fn reference_page() -> String {
        format!(
            "# Configuration\n\nMade by `ogeld config --markdown`; do not edit. `ogeld serve --config FILE` reads a TOML \
             file like this one, which holds every key with its default. A variable of the environment beats the \
             file. Unknown keys are refused with the nearest known one.\n\n```toml\n{}```\n",
            Self::annotated_default()
        )
    }
}

/// The known word closest to `word`, if any is close enough to be a typing mistake.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let related = |candidate: &str| {
        let begins = word.len() >= 3 && (candidate.starts_with(word) || word.starts_with(candidate));
        begins || strsim::damerau_levenshtein(word, candidate) <= 2 + candidate.len() / 6
    };
    known
        .filter(|candidate| related(candidate))
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotated_file_is_the_default() {
        let parsed = Config::parse(&Config::annotated_default()).unwrap();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn unknown_keys_name_the_nearest_known_one() {
        let error = Config::parse("[server]\nlisten_adress = \"\"\nlistne = \"x\"").unwrap_err();
        assert!(error.to_string().starts_with("unknown key `server.listen"), "{error}");
        let error = Config::parse("[server]\nlistne = \"x\"").unwrap_err();
        assert_eq!(error.to_string(), "unknown key `server.listne`; did you mean `server.listen`?");
        let error = Config::parse("[gost]\nurl = \"x\"").unwrap_err();
        assert_eq!(error.to_string(), "unknown key `gost`; did you mean `ghost`?");
    }

    #[test]
    fn the_documents_variables_override_the_file() {
        let lookup = |name: &str| match name {
            "OGEL_GHOST_API_URL" => Some("http://ghost.example".to_owned()),
            "OGEL_GHOST_API_KEY" => Some("s3cret".to_owned()),
            _ => None,
        };
        let mut config = Config::parse("[ghost]\nurl = \"http://other.example\"").unwrap();
        config.apply_environment(&lookup).unwrap();
        assert_eq!(config.ghost.url, "http://ghost.example");
        assert_eq!(config.ghost.api_key.expose(), "s3cret");
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn a_variable_of_the_wrong_type_says_what_it_should_be() {
        let lookup = |name: &str| (name == "OGEL_THREADS").then(|| "many".to_owned());
        let error = Config::default().apply_environment(&lookup).unwrap_err();
        assert_eq!(error.to_string(), "OGEL_THREADS is `many`, but `server.threads` takes a whole number");
    }
}
