//! State shared through Redis or Valkey. Nothing here is needed to answer a request: every call says quickly that it got
//! no answer, and its caller knows what to do without.
//!
//! `address.rs`: single, Sentinel, cluster; `link.rs`: the wait and the breaker; `feed.rs`: pub/sub; `scripts.rs`: what is
//! one step at Redis.

mod address;
mod feed;
mod link;
mod scripts;

use crate::{Event, Grant, Lease, RedisConfig, SetupError, Unavailable};
use address::Address;
use bytes::Bytes;
use link::Link;
use redis::cmd;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::broadcast};

/// Epochs outlive everything that was kept under them. Each deployment has two.
const EPOCH_SECONDS: u64 = 24 * 3600;
/// How long a batch of tallies may be sent again.
const BATCH_SECONDS: u64 = 24 * 3600;

/// See the module.
pub struct Redis {
    cache: Arc<Link>,
    limits: Arc<Link>,
    metrics: Arc<Link>,
    prefix: String,
    channel: String,
    /// Tells this process from the others.
    process: String,
    hearing: AtomicBool,
    pub(crate) events: broadcast::Sender<Event>,
}

/// What a read of the shared cache found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Of each tag, in the order they were asked for; 0 where none is known.
    pub epochs: Vec<u64>,
    pub value: Option<Bytes>,
}

impl Redis {
    /// Waits for nothing: connections are opened by tasks on `handle`, which end when the last clone is dropped.
    pub(crate) fn start(config: &RedisConfig, handle: &Handle) -> Result<Arc<Self>, SetupError> {
        let address = Arc::new(Address::parse(&config.url)?);
        let link = |database| Link::start(&address, database, config.wait, handle);
        let redis = Arc::new(Self {
            cache: link(config.cache_database),
            limits: link(config.limits_database),
            metrics: link(config.metrics_database),
            channel: format!("{}ogel:events", config.prefix),
            prefix: config.prefix.clone(),
            process: format!("{:016x}", config.process),
            hearing: AtomicBool::new(false),
            events: broadcast::channel(4096).0,
        });
        let listening = feed::listen(Arc::downgrade(&redis), address, redis.channel.clone(), redis.events.clone());
        handle.spawn(listening);
        Ok(redis)
    }

    /// Whether requests use Redis now, and whether we hear the other replicas.
    pub fn health(&self) -> (bool, bool) {
        (!(self.cache.is_open() || self.limits.is_open()), self.is_hearing())
    }

    pub fn is_hearing(&self) -> bool {
        self.hearing.load(Ordering::Relaxed)
    }

    fn set_hearing(&self, hearing: bool) {
        self.hearing.store(hearing, Ordering::Relaxed);
    }

    /// Commands that got no answer, since the start.
    pub fn failures(&self) -> u64 {
        [&self.cache, &self.limits, &self.metrics].iter().map(|link| link.failures.load(Ordering::Relaxed)).sum()
    }

    /// Whether limits are to be decided without asking.
    pub fn limits_are_away(&self) -> bool {
        self.limits.is_open()
    }

    fn epoch_key(&self, scope: &str, tag: &str) -> String {
        format!("{}{}:epoch:{tag}", self.prefix, place(scope))
    }

    fn value_key(&self, scope: &str, key: &str) -> String {
        format!("{}{}:value:{key}", self.prefix, place(scope))
    }

    /// A value and the epochs of its tags, in one trip.
    pub async fn find(&self, scope: &str, tags: &[impl AsRef<str>], key: &str) -> Result<Found, Unavailable> {
        let mut command = cmd("MGET");
        for tag in tags {
            command.arg(self.epoch_key(scope, tag.as_ref()));
        }
        let mut values: Vec<Option<Vec<u8>>> = self.cache.ask(command.arg(self.value_key(scope, key))).await?;
        let value = values.pop().flatten().map(Bytes::from);
        let number = |bytes: Option<Vec<u8>>| {
            bytes.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()).unwrap_or_default()
        };
        Ok(Found { epochs: values.into_iter().map(number).collect(), value })
    }

    /// Keeps a value that was read under `epochs`; false when one of the tags has moved on since.
    pub async fn keep(
        &self,
        scope: &str,
        tags: &[(impl AsRef<str>, u64)],
        key: &str,
        value: &[u8],
        for_time: Duration,
    ) -> Result<bool, Unavailable> {
        let mut command = cmd("EVAL");
        command.arg(scripts::KEEP).arg(tags.len() + 1);
        for (tag, _) in tags {
            command.arg(self.epoch_key(scope, tag.as_ref()));
        }
        command.arg(self.value_key(scope, key));
        for (_, epoch) in tags {
            command.arg(*epoch);
        }
        command.arg(value).arg(millis(for_time).max(1)).arg(EPOCH_SECONDS);
        self.cache.ask(&command).await
    }

    /// Gives the tags a new epoch, at least `floor`, and tells everybody. Requests do not do it `patiently`.
    pub async fn advance(
        &self,
        scope: &str,
        tags: &[impl AsRef<str>],
        floor: u64,
        patiently: bool,
    ) -> Result<u64, Unavailable> {
        let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
        let mut command = cmd("EVAL");
        command.arg(scripts::ADVANCE).arg(tags.len());
        for tag in &tags {
            command.arg(self.epoch_key(scope, tag));
        }
        command.arg(floor).arg(EPOCH_SECONDS).arg(&self.channel).arg(format!("changed {scope}")).arg(tags.join(" "));
        let text: String = match patiently {
            true => self.cache.ask_patiently(&command).await?,
            false => self.cache.ask(&command).await?,
        };
        text.parse().map_err(|_| Unavailable)
    }

    /// Tells the other replicas something by its name.
    pub async fn signal(&self, name: &str) {
        self.say(&format!("signal {} {name}", self.process)).await;
    }

    async fn say(&self, text: &str) {
        let _: Result<u64, Unavailable> = self.cache.ask_patiently(cmd("PUBLISH").arg(&self.channel).arg(text)).await;
    }

    /// What [`feed`] says to itself.
    fn beat(&self) -> String {
        format!("beat {}", self.process)
    }

    /// Whether a signal came from this very process.
    pub(crate) fn is_own(&self, process: &str) -> bool {
        process == self.process
    }

    /// A share of a window; see [`Lease`].
    pub async fn lease(&self, lease: &Lease<'_>) -> Result<Grant, Unavailable> {
        let length = lease.length_ms.max(1);
        let (number, elapsed) = (lease.now_ms / length, lease.now_ms % length);
        let key = |what: &str| format!("{}limit:{{{}}}:{what}", self.prefix, lease.holder);
        let (current, before) = (key(&number.to_string()), key(&number.saturating_sub(1).to_string()));
        let mut command = cmd("EVAL");
        command.arg(scripts::LEASE).arg(3).arg(current).arg(before).arg(key("promised"));
        command.arg(lease.limit).arg(lease.want).arg(lease.debt).arg(length).arg(elapsed);
        command.arg(number).arg(u8::from(lease.keeps_promises));
        let (granted, current, before): (i64, u64, u64) = self.limits.ask(&command).await?;
        Ok(Grant { granted: granted.max(0).unsigned_abs(), current, before })
    }

    /// Adds to the day's hash of a resource, once per `batch` of this process however often it is sent.
    pub async fn tally(
        &self,
        resource: &str,
        day: &str,
        batch: u64,
        keep_for: Duration,
        fields: &[(String, String)],
    ) -> Result<(), Unavailable> {
        let hash = format!("{}metrics:proxy:{resource}:{day}", self.prefix);
        let mut command = cmd("EVAL");
        command.arg(scripts::TALLY).arg(2).arg(&hash).arg(format!("{{{hash}}}:{}", self.process));
        command.arg(batch).arg(keep_for.as_secs().max(1)).arg(BATCH_SECONDS);
        for (field, amount) in fields {
            command.arg(field).arg(amount);
        }
        self.metrics.ask_patiently::<u64>(&command).await.map(drop)
    }

    /// The day's hash of a resource, as it stands.
    pub async fn tallies(&self, resource: &str, day: &str) -> Result<Vec<(String, String)>, Unavailable> {
        let hash = format!("{}metrics:proxy:{resource}:{day}", self.prefix);
        self.metrics.ask_patiently(cmd("HGETALL").arg(hash)).await
    }
}

/// Where everything of a tenant lies, on one node of a cluster. Its length comes first, so that no scope, whatever it is
/// made of, can be read as a shorter one with a part of its key.
fn place(scope: &str) -> String {
    format!("cache:{}:{{{scope}}}", scope.len())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Every text of up to three of these, the pieces that keys are put together with among them.
    fn texts() -> Vec<String> {
        let pieces = ["", "a", "1", "{", "}", ":", ":value:", ":epoch:"];
        let mut texts = Vec::new();
        for one in pieces {
            for two in pieces {
                texts.extend(pieces.map(|three| format!("{one}{two}{three}")));
            }
        }
        texts.sort_unstable();
        texts.dedup();
        texts
    }

    #[tokio::test]
    async fn no_two_tenants_share_a_key_whatever_they_and_their_questions_are_called() {
        let config = RedisConfig {
            url: "redis://127.0.0.1:1".to_owned(),
            wait: Duration::from_millis(1),
            prefix: "p:".to_owned(),
            cache_database: 4,
            limits_database: 5,
            metrics_database: 6,
            process: 1,
        };
        let redis = Redis::start(&config, &Handle::current()).unwrap();
        let texts = texts();
        let mut keys: HashMap<String, (&str, &str, &str)> = HashMap::new();
        for scope in &texts {
            for name in &texts {
                for (kind, key) in [("value", redis.value_key(scope, name)), ("epoch", redis.epoch_key(scope, name))] {
                    if let Some(other) = keys.insert(key.clone(), (kind, scope, name)) {
                        assert_eq!(other, (kind, scope.as_str(), name.as_str()), "`{key}` is both");
                    }
                }
            }
        }
        assert!(keys.len() > 100_000, "{}", keys.len());
    }
}
