//! Where Redis is: one server, a master that Sentinels know, or a cluster. All three may be Valkey.
//!
//! One URL says which: `redis://[USER[:PASSWORD]@]HOST[:PORT]` (`rediss://` with TLS),
//! `redis+sentinel://[…@]HOST:PORT,HOST:PORT/MASTER` and `redis+cluster://[…@]HOST:PORT,HOST:PORT`; the last two with TLS
//! are `rediss+sentinel://` and `rediss+cluster://`.

use crate::SetupError;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, RedisResult,
    TlsMode, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// How long opening a connection may take, at most, on the background task that does it.
pub(crate) const CONNECT: Duration = Duration::from_secs(2);

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// A parsed URL.
pub(crate) struct Address {
    kind: Kind,
    hosts: Vec<(String, u16)>,
    tls: bool,
    username: Option<String>,
    password: Option<String>,
    /// Which of a cluster's nodes is listened to next.
    turn: AtomicUsize,
}

enum Kind {
    Single,
    Sentinel { master: String },
    Cluster,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, SetupError> {
        let wrong = |problem: &'static str| SetupError { problem };
        let (scheme, rest) = url.split_once("://").ok_or(wrong("it has no scheme such as `redis://`"))?;
        let (tls, kind) = match scheme {
            "redis" | "valkey" => (false, ""),
            "rediss" | "valkeys" => (true, ""),
            "redis+sentinel" | "valkey+sentinel" => (false, "sentinel"),
            "rediss+sentinel" | "valkeys+sentinel" => (true, "sentinel"),
            "redis+cluster" | "valkey+cluster" => (false, "cluster"),
            "rediss+cluster" | "valkeys+cluster" => (true, "cluster"),
            _ => return Err(wrong("its scheme is none of `redis`, `rediss`, `redis+sentinel`, `redis+cluster`")),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
        let (username, password) = user.split_once(':').unwrap_or((user, ""));
        let kind = match kind {
            "sentinel" if path.is_empty() => return Err(wrong("it names no master after the Sentinels' addresses")),
            "sentinel" => Kind::Sentinel { master: path.to_owned() },
            // Which database holds what is not the URL's business.
            _ if !path.is_empty() => return Err(wrong("it has a path; databases have settings of their own")),
            "cluster" => Kind::Cluster,
            _ => Kind::Single,
        };
        let port = if matches!(kind, Kind::Sentinel { .. }) { DEFAULT_SENTINEL_PORT } else { DEFAULT_PORT };
        let hosts = hosts.split(',').map(|host| host_and_port(host.trim(), port)).collect::<Option<Vec<_>>>();
        let hosts = hosts.ok_or(wrong("one of its addresses is not `HOST` or `HOST:PORT`"))?;
        if matches!(kind, Kind::Single) && hosts.len() > 1 {
            return Err(wrong("it has several addresses; say `redis+sentinel://` or `redis+cluster://`"));
        }
        let plain = |text: &str| match text {
            "" => Ok(None),
            text => decode(text).map(Some).ok_or(wrong("its user or password is not percent-encoded UTF-8")),
        };
        let (username, password) = (plain(username)?, plain(password)?);
        Ok(Self { kind, hosts, tls, username, password, turn: AtomicUsize::new(0) })
    }

    /// A cluster has one database only.
    pub(crate) fn has_databases(&self) -> bool {
        !matches!(self.kind, Kind::Cluster)
    }

    fn addr(&self, (host, port): &(String, u16)) -> ConnectionAddr {
        let (host, port) = (host.clone(), *port);
        if self.tls {
            return ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
        }
        ConnectionAddr::Tcp(host, port)
    }

    fn settings(&self, database: i64) -> RedisConnectionInfo {
        let settings = RedisConnectionInfo::default().set_db(database).set_lib_name("ogeld", env!("CARGO_PKG_VERSION"));
        match (&self.username, &self.password) {
            (Some(username), Some(password)) => settings.set_username(username).set_password(password),
            (None, Some(password)) => settings.set_password(password),
            _ => settings,
        }
    }

    /// A client of one server: the one there is, the Sentinels' master, or the next node of the cluster.
    async fn client(&self, database: i64) -> RedisResult<Client> {
        match &self.kind {
            Kind::Sentinel { master } => {
                let sentinels: Vec<ConnectionAddr> = self.hosts.iter().map(|host| self.addr(host)).collect();
                let mut node = SentinelNodeConnectionInfo::default().set_redis_connection_info(self.settings(database));
                if self.tls {
                    node = node.set_tls_mode(TlsMode::Secure);
                }
                let kind = SentinelServerType::Master;
                SentinelClient::build(sentinels, master, Some(node), kind)?.async_get_client().await
            }
            Kind::Single | Kind::Cluster => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.hosts.len();
                let info = self.addr(&self.hosts[turn]).into_connection_info()?;
                Client::open(info.set_redis_settings(self.settings(database)))
            }
        }
    }

    fn cluster(&self) -> RedisResult<ClusterClient> {
        let nodes = self
            .hosts
            .iter()
            .map(|host| Ok(self.addr(host).into_connection_info()?.set_redis_settings(self.settings(0))));
        let mut builder = ClusterClientBuilder::new(nodes.collect::<RedisResult<Vec<_>>>()?)
            // What waits gives up by itself; a second try would come after its time.
            .retries(1)
            .connection_timeout(CONNECT)
            .response_timeout(CONNECT);
        if let (Some(username), Some(_)) = (&self.username, &self.password) {
            builder = builder.username(username);
        }
        if let Some(password) = &self.password {
            builder = builder.password(password);
        }
        builder.build()
    }

    /// Opens a connection for commands.
    pub(crate) async fn connect(&self, database: i64) -> RedisResult<Connection> {
        if matches!(self.kind, Kind::Cluster) {
            return Ok(Connection::Cluster(self.cluster()?.get_async_connection().await?));
        }
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(CONNECT));
        let client = self.client(database).await?;
        Ok(Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?))
    }

    /// Opens a connection for listening. In a cluster every node hears what is published at any of them.
    pub(crate) async fn listen(&self) -> RedisResult<redis::aio::PubSub> {
        self.client(0).await?.get_async_pubsub().await
    }
}

/// A connection that many share; cheap to clone.
#[derive(Clone)]
pub(crate) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(crate) async fn run(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }
}

fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
    // In brackets, or else without a colon but the port's.
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { default } else { port.parse().ok()? };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Address, &'static str) {
        let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let kind = match address.kind {
            Kind::Single => "single",
            Kind::Sentinel { .. } => "sentinel",
            Kind::Cluster => "cluster",
        };
        (address, kind)
    }

    #[test]
    fn one_url_says_what_kind_of_redis_it_is() {
        let host = |name: &str, port| (name.to_owned(), port);
        let (plain, kind) = parsed("redis://r");
        assert_eq!((kind, plain.hosts, plain.tls), ("single", vec![host("r", 6379)], false));
        assert!(plain.username.is_none() && plain.password.is_none());
        let (secure, kind) = parsed("valkeys://u:p%40ss@[::1]:7000");
        assert_eq!((kind, secure.hosts, secure.tls), ("single", vec![host("::1", 7000)], true));
        assert_eq!((secure.username.as_deref(), secure.password.as_deref()), (Some("u"), Some("p@ss")));
        let (watched, kind) = parsed("redis+sentinel://:p@a,b:1/mymaster");
        assert_eq!((kind, watched.hosts), ("sentinel", vec![host("a", 26379), host("b", 1)]));
        let (cluster, kind) = parsed("redis+cluster://a:1,b:2");
        assert_eq!((kind, cluster.hosts), ("cluster", vec![host("a", 1), host("b", 2)]));
    }

    #[test]
    fn a_url_that_cannot_be_meant_is_refused_without_repeating_its_password() {
        for bad in [
            "",
            "r:6379",
            "http://:hush@r",
            "redis://:hush@r/4",
            "redis://:hush@a,b",
            "redis+sentinel://:hush@a",
            "redis://r:x",
        ] {
            let error = Address::parse(bad).err().unwrap_or_else(|| panic!("{bad} was taken"));
            assert!(!error.to_string().contains("hush"), "{error}");
        }
    }
}
