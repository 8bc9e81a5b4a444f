//! What a writer takes along so that their next read, at whatever replica, sees the write.

/// Scope, tags and epoch of a write, as one word of URL-safe text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    scope: Box<str>,
    tags: Box<str>,
    epoch: u64,
    /// Whether Redis has put the write in order. If not, epochs of different processes do not compare.
    is_shared: bool,
}

impl Token {
    pub(crate) fn new(scope: &str, tags: &[impl AsRef<str>], epoch: u64, is_shared: bool) -> Self {
        let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
        Self { scope: scope.into(), tags: tags.join("~").into(), epoch, is_shared }
    }

    /// Of a write that no kept answer depends on: it says only that there was one.
    pub fn of_database(now_ms: u64) -> Self {
        Self::new("-", &["database"], now_ms, true)
    }

    /// None for what is no token.
    pub fn parse(text: &str) -> Option<Self> {
        let is_word = |text: &&str| {
            (1..=200).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'~' | b'_'))
        };
        let mut parts = text.split('.');
        let is_shared = match parts.next()? {
            "1s" => true,
            "1l" => false,
            _ => return None,
        };
        let (scope, tags) = (parts.next().filter(is_word)?, parts.next().filter(is_word)?);
        let epoch = parts.next()?.parse().ok()?;
        parts.next().is_none().then(|| Self { scope: scope.into(), tags: tags.into(), epoch, is_shared })
    }

    pub fn scope(&self) -> &str {
        &self.scope
    }

    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.split('~')
    }

    /// Roughly when the write was, in Unix milliseconds.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "1{}.{}.{}.{}", if self.is_shared { 's' } else { 'l' }, self.scope, self.tags, self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_were_and_nothing_else_does() {
        for is_shared in [true, false] {
            let token = Token::new("0190-ab", &["sites", "all"], 42, is_shared);
            assert_eq!(Token::parse(&token.to_string()), Some(token));
        }
        for bad in ["", "1s", "2s.a.b.1", "1s.a.b.x", "1s.a.b.1.2", "1s..b.1", "1s.a b.c.1", "1s.a.b.-1"] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }
}
