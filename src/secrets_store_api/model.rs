//! What the API speaks of: stores, secrets, quota.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// A store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its id.
    pub id: StoreId,
    /// Its name.
    pub name: String,
    /// When it was created (RFC 3339).
    pub created: String,
    /// When it was last changed (RFC 3339).
    pub modified: String,
    /// The account it belongs to; not every answer has it.
    pub account_id: Option<String>,
}

/// A secret, without its value: the API never answers with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMetadata {
    /// Its id.
    pub id: SecretId,
    /// The store it is in.
    pub store_id: StoreId,
    /// Its name, unique in its store.
    pub name: String,
    /// What somebody wrote about it.
    pub comment: Option<String>,
    /// Which services may use it.
    pub scopes: Vec<Scope>,
    /// Whether it can be used yet.
    pub status: Status,
    /// When it was created (RFC 3339).
    pub created: String,
    /// When it was last changed (RFC 3339).
    pub modified: String,
}

/// How much of its quota an account uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Of secrets.
    pub secrets: Usage,
}

/// A quota and how much of it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// How many there may be.
    pub quota: u64,
    /// How many there are.
    pub usage: u64,
}

// Answers are read by hand, from JSON of any form: derived readers of the same cost the Worker a tenth
// of its size.

impl Store {
    pub(super) fn read(store: &Value) -> Option<Self> {
        Some(Self {
            id: StoreId::parse(text(store, "id")?)?,
            name: text(store, "name")?.to_owned(),
            created: text(store, "created")?.to_owned(),
            modified: text(store, "modified")?.to_owned(),
            account_id: text(store, "account_id").map(str::to_owned),
        })
    }
}

impl SecretMetadata {
    pub(super) fn read(secret: &Value) -> Option<Self> {
        let scope = |scope: &Value| scope.as_str().map(Scope::from);
        Some(Self {
            id: SecretId::parse(text(secret, "id")?)?,
            store_id: StoreId::parse(text(secret, "store_id")?)?,
            name: text(secret, "name")?.to_owned(),
            comment: text(secret, "comment").map(str::to_owned),
            scopes: match secret.get("scopes") {
                None | Some(Value::Null) => Vec::new(),
                Some(scopes) => scopes.as_array()?.iter().map(scope).collect::<Option<_>>()?,
            },
            status: text(secret, "status")?.into(),
            created: text(secret, "created")?.to_owned(),
            modified: text(secret, "modified")?.to_owned(),
        })
    }
}

impl Quota {
    pub(super) fn read(quota: &Value) -> Option<Self> {
        let secrets = quota.get("secrets")?;
        let number = |name: &str| secrets.get(name)?.as_u64();
        Some(Self { secrets: Usage { quota: number("quota")?, usage: number("usage")? } })
    }
}

fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str()
}

/// Makes an enum of words that the API uses; one that came later is kept as it is.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(into = "String")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A word that this version does not know.
            Other(String),
        }

        impl $name {
            /// The API's word for it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    _ => Self::Other(word.to_owned()),
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// A service that may use a secret.
    Scope {
        /// Workers: needed for a binding.
        Workers = "workers",
        /// AI Gateway.
        AiGateway = "ai_gateway",
        /// Digital Experience Monitoring.
        Dex = "dex",
        /// Access.
        Access = "access",
        /// Containers.
        Containers = "containers",
        /// Web search.
        Websearch = "websearch",
    }
}

words! {
    /// Whether a secret can be used.
    Status {
        /// Not yet: it was just created.
        Pending = "pending",
        /// It can.
        Active = "active",
        /// No more.
        Deleted = "deleted",
    }
}

impl Scope {
    /// Every scope that the API takes.
    pub const ALL: [Self; 6] = [
        Self::Workers,
        Self::AiGateway,
        Self::Dex,
        Self::Access,
        Self::Containers,
        Self::Websearch,
    ];

    /// The scope of this name; `ai-gateway`, as the reference writes it, is `ai_gateway`.
    pub fn parse(word: &str) -> Option<Self> {
        let word = if word == "ai-gateway" { "ai_gateway" } else { word };
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// Makes an identifier a type of its own, so that a store's and a secret's cannot be swapped.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// The API's are 32 hexadecimal digits; whatever could be one is taken, and the API knows
        /// whether it is.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Reads it; `None` for what cannot be one, and could be more than one segment of a path.
            pub fn parse(id: &str) -> Option<Self> {
                let of_an_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                let is_id = (1..=64).contains(&id.len()) && id.bytes().all(of_an_id);
                is_id.then(|| Self(id.to_owned()))
            }

            /// As the API has it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A store's identifier.
    StoreId
}

id! {
    /// A secret's identifier.
    SecretId
}

/// What stores are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOrder {
    /// By name.
    Name,
    /// By creation.
    Created,
    /// By last change.
    Modified,
}

/// What secrets are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOrder {
    /// By name.
    Name,
    /// By comment.
    Comment,
    /// By creation.
    Created,
    /// By last change.
    Modified,
    /// By status.
    Status,
}

/// Which way a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the least.
    Ascending,
    /// From the greatest.
    Descending,
}

impl StoreOrder {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Name, Self::Created, Self::Modified];

    /// The API's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Created => "created",
            Self::Modified => "modified",
        }
    }
}

impl SecretOrder {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Name, Self::Comment, Self::Created, Self::Modified, Self::Status];

    /// The API's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Comment => "comment",
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Status => "status",
        }
    }
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ascending, Self::Descending];

    /// The API's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<SecretMetadata> {
        SecretMetadata::read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_secret_is_read_as_the_api_sends_it() {
        let secret = secret(
            r#"{"id":"3fd85f74b32742f1bff64a85009dda07","store_id":"023e105f4ecef8ad9ca31a8372d0c353",
                "name":"MY_API_KEY","comment":null,"scopes":["workers","ai_gateway","new_one"],
                "status":"pending","created":"2023-09-21T18:56:32.624632Z",
                "modified":"2023-09-21T18:56:32.624632Z","more":1}"#,
        )
        .unwrap();
        assert_eq!(secret.comment, None);
        let scopes = [Scope::Workers, Scope::AiGateway, Scope::Other("new_one".to_owned())];
        assert_eq!((secret.scopes.as_slice(), &secret.status), (&scopes[..], &Status::Pending));
        assert_eq!(
            serde_json::to_string(&scopes).unwrap(),
            r#"["workers","ai_gateway","new_one"]"#
        );
    }

    #[test]
    fn comment_scopes_and_account_may_be_missing() {
        let times = r#""created":"2023-09-21T18:56:32Z","modified":"2023-09-21T18:56:32Z""#;
        let secret =
            secret(&format!(r#"{{"id":"a","store_id":"b","name":"c","status":"active",{times}}}"#))
                .unwrap();
        assert_eq!((secret.comment, secret.scopes), (None, Vec::new()));
        let store = serde_json::from_str(&format!(r#"{{"id":"a","name":"b",{times}}}"#)).unwrap();
        let store = Store::read(&store).unwrap();
        assert_eq!(store.account_id, None);
    }

    #[test]
    fn what_lacks_a_field_is_no_secret() {
        let whole = r#"{"id":"a","store_id":"b","name":"c","status":"active","created":"d",
            "modified":"e","scopes":["workers"]}"#;
        assert!(secret(whole).is_some());
        for field in ["id", "store_id", "name", "status", "created", "modified"] {
            assert_eq!(secret(&whole.replace(&format!("\"{field}\""), "\"x\"")), None, "{field}");
        }
        assert_eq!(secret(&whole.replace("[\"workers\"]", "\"workers\"")), None);
        assert_eq!(secret(&whole.replace("\"workers\"", "7")), None);
        assert_eq!(secret(&whole.replace("\"a\"", "\"../a\"")), None);
    }

    #[test]
    fn a_scope_is_known_by_both_of_its_spellings() {
        assert_eq!(Scope::parse("ai-gateway"), Some(Scope::AiGateway));
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        for word in ["", "Workers", "workers ", "ai gateway"] {
            assert_eq!(Scope::parse(word), None, "{word}");
        }
    }

    #[test]
    fn an_id_is_one_segment_of_a_path() {
        assert!(StoreId::parse("0123456789abcdef0123456789abcdef").is_some());
        for id in ["", ".", "..", "a/b", "a%2fb", "a?b", "a b", "ü", &"a".repeat(65)] {
            assert_eq!(SecretId::parse(id), None, "{id}");
        }
    }
}
