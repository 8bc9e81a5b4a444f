//! What replicas tell each other, as one line of text. A line that this build does not understand is another build's.

/// Heard from a replica, this one included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// We were deaf until now: anything may have been said.
    Missed,
    /// What is tagged like this in a scope has changed; entries under an older epoch are history.
    Changed { scope: Box<str>, epoch: u64, tags: Vec<Box<str>> },
    /// Something that has a name happened at a replica.
    Signal { process: Box<str>, name: Box<str> },
}

impl Event {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        match words.next()? {
            "changed" => {
                let (scope, epoch) = (words.next()?.into(), words.next()?.parse().ok()?);
                Some(Self::Changed {
                    scope,
                    epoch,
                    tags: words.filter(|tag| !tag.is_empty()).map(Into::into).collect(),
                })
            }
            "signal" => Some(Self::Signal { process: words.next()?.into(), name: words.next()?.into() }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_builds_are_passed_over() {
        let changed = Event::Changed { scope: "s".into(), epoch: 7, tags: vec!["a".into(), "b".into()] };
        assert_eq!(Event::parse("changed s 7 a b"), Some(changed));
        assert_eq!(
            Event::parse("signal p callers"),
            Some(Event::Signal { process: "p".into(), name: "callers".into() })
        );
        for other in ["", "changed", "changed s x", "beat p", "later 1 2 3"] {
            assert_eq!(Event::parse(other), None, "{other}");
        }
    }
}
