//! The Secrets Store REST API, typed: stores, secrets and quota of an account.
//!
//! Independent of how it is sent: an [`Operation`] makes a [`Request`], and reads the answer to it.
//! The Worker sends it with the runtime's `fetch`; a native program implements [`Transport`] with its
//! HTTP client, and gets a [`Client`]. There is nothing of the gateway in this folder.
//!
//! ```
//! use secrets_store_api::{CreateSecrets, NewSecret, Operation as _, Scope, StoreId};
//!
//! let create = CreateSecrets {
//!     store: StoreId::parse("0123456789abcdef0123456789abcdef").ok_or("not an id")?,
//!     secrets: vec![NewSecret {
//!         name: "api_key".to_owned(),
//!         value: "sk_test".to_owned().into(), // wiped when it is dropped, redacted when printed
//!         scopes: vec![Scope::Workers],
//!         comment: None,
//!     }],
//! };
//! let request = create.request()?; // checked: what the API would refuse is told here, by field
//! assert_eq!(request.method, "POST");
//!
//! let answer = br#"{"success":false,"errors":[{"code":1001,"message":"store_not_found"}]}"#;
//! let error = CreateSecrets::read(404, None, answer).unwrap_err();
//! assert_eq!(error, secrets_store_api::ApiError::StoreNotFound);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rules
//!
//! - **Checked before it is sent.** [`Operation::request`] gives no request that the API is known to
//!   refuse; [`Invalid`] names the entry and the field, and never quotes a value.
//! - **Success is what the API calls success.** An answer that was cut short, an HTML page of a proxy,
//!   a 200 with `"success":false`: each is an [`ApiError`].
//! - **A value is a secret here too**: [`SecretString`] prints as redacted, cannot be serialized and is
//!   wiped, and so is the body of a request. What a growing string leaves behind on the way is wiped
//!   by an allocator that does so, such as `zeroizing-alloc`: the Worker and `xtask` have it.
//!
//! The API's reference: <https://developers.cloudflare.com/api/resources/secrets_store/>.

mod client;
mod error;
mod model;
mod operation;
#[cfg(test)]
mod tests;

pub use secrecy::{ExposeSecret, SecretString};

pub use self::{
    client::{Answer, Client, ClientError, Transport},
    error::{ApiError, Invalid, Mistake, Reported},
    model::{
        Direction, Quota, Scope, SecretId, SecretMetadata, SecretOrder, Status, Store, StoreId,
        StoreOrder, Usage,
    },
    operation::{
        CreateSecrets, CreateStore, DeleteSecret, DeleteSecrets, DeleteStore, Deleted,
        DuplicateSecret, GetQuota, GetSecret, GetStore, ListSecrets, ListStores, MAX_VALUE,
        NewSecret, Operation, Page, Paged, Request, UpdateSecret,
    },
};
