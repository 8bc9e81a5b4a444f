//! What an answer was read from, and what a change touches: all things of a kind in a scope, or one of them.

use std::borrow::Cow;

/// Its name is short and made of letters, digits and a hyphen, whatever callers call their things: it stands in keys, in lines
/// between replicas and in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    kind: &'static str,
    one: Option<u128>,
}

impl Tag {
    /// Several of a kind, or nobody knows which. An answer about one of them needs this tag besides its own.
    pub const fn all(kind: &'static str) -> Self {
        Self { kind, one: None }
    }

    /// The one with this id, and no other of its kind.
    pub const fn one(self, id: u128) -> Self {
        Self { one: Some(id), ..self }
    }

    pub(crate) fn name(self) -> Cow<'static, str> {
        match self.one {
            None => self.kind.into(),
            Some(id) => format!("{}-{id:032x}", self.kind).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;

    #[test]
    fn names_tell_things_apart_and_fit_into_a_token() {
        let (deployments, builds) = (Tag::all("deployments"), Tag::all("builds"));
        let tags = [deployments, deployments.one(1), deployments.one(u128::MAX), builds.one(1)];
        let names = tags.map(Tag::name);
        for (n, name) in names.iter().enumerate() {
            assert!(!names[n + 1..].contains(name), "{name}");
        }
        let token = Token::new(&"f".repeat(36), &names, u64::MAX, true);
        let back = Token::parse(&token.to_string()).unwrap();
        assert!(back.tags().eq(names.iter().map(|name| &**name)), "{back}");
    }
}
