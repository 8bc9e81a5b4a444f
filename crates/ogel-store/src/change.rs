//! Changes that may be refused: the row is not the caller's to know of, is another version than they meant, or a rule
//! stands against it. The rules are looked at in the transaction of the change, so no other change comes between.

/// Why nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing, or the viewer may not know of it.
    NotFound,
    /// It has changed since the version the caller meant.
    Stale,
    /// It still holds something.
    InUse,
    /// Whoever it is belongs to the organization already.
    AlreadyMember,
    /// There are as many as there may be.
    TooMany,
    /// It was asked for a moment ago.
    TooSoon,
    /// The viewer's role is not enough for this.
    NotAllowed,
    /// Somebody must be owner.
    LastOwner,
    /// It is being removed for good.
    Purging,
    /// Somebody else gave this slug up a short while ago.
    SlugHeld,
}

/// What became of a change.
pub type Outcome<T> = std::result::Result<T, Refusal>;

/// The versions of a row that a change is meant for. `None`: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected(Option<String>);

impl Expected {
    /// One of these; with none of them, nothing matches.
    pub fn one_of(versions: &[i64]) -> Self {
        Self(Some(versions.iter().fold(",".to_owned(), |text, version| format!("{text}{version},"))))
    }

    /// Whatever it is by now.
    pub fn any() -> Self {
        Self(None)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// The condition for a row of `$table`, with [`Expected::text`] bound as `$parameter`.
macro_rules! is_expected {
    ($table:literal, $parameter:literal) => {
        concat!(
            "(",
            $parameter,
            " IS NULL OR ",
            $parameter,
            " LIKE '%,' || CAST(",
            $table,
            ".row_version AS TEXT) || ',%')"
        )
    };
}
pub(crate) use is_expected;
