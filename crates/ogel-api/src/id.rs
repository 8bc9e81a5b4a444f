//! Typed ids: a prefix, `_`, and a UUIDv7 in 26 characters of base32 (the TypeID format, version 0.3).
//!
//! The database keeps the UUID; callers may send either form. A wrong prefix is an error of its own, because a project
//! id where a build id belongs is the commonest mistake.

use std::fmt;
use uuid::Uuid;

/// Why a string is not an id of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Another noun's prefix.
    #[error("`{given}` is not {article} {noun} id; those start with `{prefix}_`")]
    WrongPrefix { given: String, article: &'static str, noun: &'static str, prefix: &'static str },
    /// Not 26 characters of TypeID base32, nor a UUID.
    #[error("`{given}` is not {article} {noun} id; it should look like `{prefix}_01h455vb4pex5vsknk084sn02q`")]
    Malformed { given: String, article: &'static str, noun: &'static str, prefix: &'static str },
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const NO_DIGIT: u8 = 255;
/// What each byte stands for.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < ALPHABET.len() {
        digits[ALPHABET[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

/// 128 bits as 26 characters; the first carries three bits only.
fn encode(uuid: Uuid) -> [u8; 26] {
    let mut value = uuid.as_u128();
    let mut text = [0; 26];
    for character in text.iter_mut().rev() {
        *character = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
    text
}

/// The inverse of [`encode`]: lower case only, as the format demands.
fn decode(text: &str) -> Option<Uuid> {
    if text.len() != 26 || text.as_bytes()[0] > b'7' {
        return None;
    }
    let mut value = 0u128;
    for byte in text.bytes() {
        let digit = DIGITS[usize::from(byte)];
        if digit == NO_DIGIT {
            return None;
        }
        value = (value << 5) | u128::from(digit);
    }
    Some(Uuid::from_u128(value))
}

/// What every id type can do; lets extractors and the store be written once.
pub trait Id: Copy + fmt::Display + std::str::FromStr<Err = IdError> {
    /// Without the underscore.
    const PREFIX: &'static str;
    /// The UUID the database keeps.
    fn uuid(self) -> Uuid;
}

impl RequestId {
    /// Its text, without the heap and without formatting: every request has one.
    pub fn to_text(self) -> [u8; 30] {
        let mut text = *b"req_00000000000000000000000000";
        text[4..].copy_from_slice(&encode(self.0));
        text
    }
}

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident = $prefix:literal, $article:literal $noun:literal;)+) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl Id for $name {
            const PREFIX: &'static str = $prefix;
            fn uuid(self) -> Uuid { self.0 }
        }

        impl $name {
            /// The text form, without an allocation: lists carry many ids.
            fn text(self) -> [u8; concat!($prefix, "_").len() + 26] {
                const PREFIX: &[u8] = concat!($prefix, "_").as_bytes();
                let mut text = [0; PREFIX.len() + 26];
                text[..PREFIX.len()].copy_from_slice(PREFIX);
                text[PREFIX.len()..].copy_from_slice(&encode(self.0));
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(self, f) }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(given: &str) -> Result<Self, IdError> {
                let malformed = || {
                    // What a caller sent is quoted back, so it is cut to a length that fits a sentence.
                    let given = given.chars().take(64).collect();
                    IdError::Malformed { given, article: $article, noun: $noun, prefix: $prefix }
                };
                match given.split_once('_') {
                    Some(($prefix, rest)) => decode(rest).map($name).ok_or_else(malformed),
                    Some(_) => {
                        let given = given.chars().take(64).collect();
                        Err(IdError::WrongPrefix { given, article: $article, noun: $noun, prefix: $prefix })
                    }
                    None if given.len() == 36 => Uuid::try_parse(given).map($name).map_err(|_| malformed()),
                    None => Err(malformed()),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let text = self.text();
                serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .examples([concat!($prefix, "_01h455vb4pex5vsknk084sn02q")])
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {}
    )+ };
}

ids! {
    /// A person.
    UserId = "usr", "a" "user";
    /// A login of a person.
    SessionId = "ses", "a" "session";
    /// An API key (its record, not its secret).
    ApiKeyId = "key", "an" "API key";
    /// A group of people that owns projects and pays.
    OrganizationId = "org", "an" "organization";
    /// What is deployed.
    ProjectId = "proj", "a" "project";
    /// One attempt to put a commit online.
    DeploymentId = "dpl", "a" "deployment";
    /// The work behind a deployment.
    BuildId = "bld", "a" "build";
    /// Something that was asked for and takes its time.
    OperationId = "op", "an" "operation";
    /// The settings of something a project publishes.
    SiteId = "site", "a" "site";
    /// A name a project is reached by.
    DomainId = "dom", "a" "domain";
    /// One month's bill.
    InvoiceId = "inv", "an" "invoice";
    /// Somebody who was asked to join an organization.
    InvitationId = "invt", "an" "invitation";
    /// One line of an audit log.
    AuditEntryId = "aud", "an" "audit log entry";
    /// Where a user of the platform wants to be told what happens.
    WebhookId = "whk", "a" "webhook";
    /// One event on its way to one webhook.
    WebhookDeliveryId = "whd", "a" "webhook delivery";
    /// Something that happened, as webhooks tell it.
    EventId = "evt", "an" "event";
    /// One request, named in every answer and log line.
    RequestId = "req", "a" "request";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_published_vectors() {
        for (uuid, text) in [
            ("00000000-0000-0000-0000-000000000000", "00000000000000000000000000"),
            ("00000000-0000-0000-0000-000000000020", "00000000000000000000000010"),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", "7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            ("01890a5d-ac96-774b-bcce-b302099a8057", "01h455vb4pex5vsknk084sn02q"),
        ] {
            let id = ProjectId(Uuid::try_parse(uuid).unwrap());
            assert_eq!(id.to_string(), format!("proj_{text}"));
            assert_eq!(format!("proj_{text}").parse(), Ok(id));
            assert_eq!(uuid.parse(), Ok(id));
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_form_it_should_have() {
        for bad in ["", "proj_", "proj_8zzzzzzzzzzzzzzzzzzzzzzzzz", "proj_01H455VB4PEX5VSKNK084SN02Q", "../etc", "proj"]
        {
            assert!(matches!(bad.parse::<ProjectId>(), Err(IdError::Malformed { .. })), "{bad}");
        }
        let error = "bld_01h455vb4pex5vsknk084sn02q".parse::<ProjectId>().unwrap_err();
        assert_eq!(error.to_string(), "`bld_01h455vb4pex5vsknk084sn02q` is not a project id; those start with `proj_`");
    }
}
