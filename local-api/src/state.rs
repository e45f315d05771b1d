//! Stores and secrets, and the rules for them.
//!
//! A value goes in and stays in: what comes out for an answer is [`SecretView`], which has none.
//! A change is made to a copy of the [`Account`], which is dropped when a rule refuses it: so each
//! is all or nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Seed,
    answer::{self, ApiError},
    list::word,
    time::Time,
};

/// The most stores in an account, and the most bytes of a value.
const MOST_STORES: usize = 1;
const MOST_VALUE_BYTES: usize = 65_536;

/// What the account allows, and how it behaves.
pub(crate) struct Rules {
    pub(crate) account: String,
    pub(crate) pending: Duration,
    pub(crate) quota: usize,
}

/// The account's stores, in the order of their creation. As JSON it is the data file.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    stores: Vec<Store>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    id: String,
    name: String,
    created: Time,
    /// In the order of their creation.
    secrets: Vec<Secret>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    metadata: Metadata,
    /// Until then it is pending.
    active_from: Time,
    #[serde(with = "value_in_file")]
    value: Value,
}

/// What may be told of a secret.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) comment: Option<String>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) created: Time,
    pub(crate) modified: Time,
}

/// Shared by the copies of the account: what is set anew is another one, even if it is equal.
type Value = Arc<SecretString>;

/// A service that may use a secret. `ai-gateway` is none (assumed): clients send `ai_gateway`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    Workers,
    AiGateway,
    Dex,
    Access,
    Containers,
    Websearch,
}

/// In the order of the words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Active,
    Pending,
}

/// A store in an answer.
#[derive(Serialize)]
pub(crate) struct StoreView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Time,
    /// As `created`: that its secrets do not change it is assumed.
    pub(crate) modified: Time,
    pub(crate) account_id: String,
}

/// A secret in an answer.
#[derive(Serialize)]
pub(crate) struct SecretView {
    #[serde(flatten)]
    pub(crate) metadata: Metadata,
    pub(crate) store_id: String,
    pub(crate) status: Status,
}

/// What a request says of a secret; each operation says what of it must be there. That null is as
/// good as nothing is assumed.
#[derive(Deserialize)]
pub(crate) struct Input {
    name: Option<String>,
    value: Option<SecretString>,
    scopes: Option<Vec<String>>,
    comment: Option<String>,
}

/// What wrangler's local store must do to follow a change.
pub(crate) struct MirrorStep<'a> {
    pub(crate) store: &'a str,
    pub(crate) name: &'a str,
    /// None: it is to be removed.
    pub(crate) value: Option<&'a SecretString>,
}

impl Account {
    pub(crate) fn stores(&self, rules: &Rules) -> Vec<StoreView> {
        self.stores.iter().map(|store| store.view(rules)).collect()
    }

    pub(crate) fn store(&self, id: &str, rules: &Rules) -> Result<StoreView, ApiError> {
        Ok(self.find(id)?.view(rules))
    }

    pub(crate) fn secrets(&self, store: &str) -> Result<Vec<SecretView>, ApiError> {
        Ok(self.find(store)?.secrets.iter().map(|secret| secret.view(store)).collect())
    }

    pub(crate) fn secret(&self, store: &str, id: &str) -> Result<SecretView, ApiError> {
        let found = self.find(store)?.secrets.iter().find(|secret| secret.metadata.id == id);
        Ok(found.ok_or_else(answer::secret_not_found)?.view(store))
    }

    /// How many secrets there are.
    pub(crate) fn usage(&self) -> usize {
        self.stores.iter().map(|store| store.secrets.len()).sum()
    }

    pub(crate) fn create_store(
        &mut self,
        name: Option<String>,
        rules: &Rules,
    ) -> Result<StoreView, ApiError> {
        let name = name.filter(|name| !name.is_empty()).ok_or_else(answer::store_name_empty)?;
        if self.stores.len() >= MOST_STORES {
            return Err(answer::maximum_stores_exceeded());
        }
        let store = Store { id: new_id(), name, created: Time::now(), secrets: Vec::new() };
        let view = store.view(rules);
        self.stores.push(store);
        Ok(view)
    }

    pub(crate) fn delete_store(&mut self, id: &str, force: bool) -> Result<(), ApiError> {
        if !self.find(id)?.secrets.is_empty() && !force {
            return Err(answer::store_not_empty());
        }
        self.stores.retain(|store| store.id != id);
        Ok(())
    }

    /// Adds secrets, all of them or none.
    pub(crate) fn create(
        &mut self,
        store: &str,
        inputs: Vec<Input>,
        rules: &Rules,
    ) -> Result<Vec<SecretView>, ApiError> {
        self.find(store)?;
        let mut created = Vec::new();
        for input in inputs {
            let name = checked_name(input.name)?;
            let value = checked_value(input.value.unwrap_or_default())?;
            let scopes = checked_scopes(input.scopes.unwrap_or_default())?;
            created.push(self.add(
                store,
                Metadata::new(name, input.comment, scopes),
                value,
                rules,
            )?);
        }
        Ok(created)
    }

    /// Changes value, scopes or comment, at least one of them.
    pub(crate) fn update(
        &mut self,
        store: &str,
        id: &str,
        input: Input,
    ) -> Result<SecretView, ApiError> {
        if input.value.is_none() && input.scopes.is_none() && input.comment.is_none() {
            return Err(answer::nothing_to_update());
        }
        let secret = self.find_mut(store)?.find_mut(id)?;
        if let Some(value) = input.value {
            secret.value = checked_value(value)?;
        }
        if let Some(scopes) = input.scopes {
            secret.metadata.scopes = checked_scopes(scopes)?;
        }
        if input.comment.is_some() {
            secret.metadata.comment = input.comment;
        }
        // It does not become pending again (assumed).
        secret.metadata.modified = Time::now();
        Ok(secret.view(store))
    }

    /// Deletes secrets, all of them or none.
    pub(crate) fn delete(&mut self, store: &str, ids: &[String]) -> Result<(), ApiError> {
        let store = self.find_mut(store)?;
        for id in ids {
            store.find_mut(id)?;
        }
        store.secrets.retain(|secret| !ids.contains(&secret.metadata.id));
        Ok(())
    }

    /// Adds a secret with the value of another one. The comment is not that one's (assumed).
    pub(crate) fn duplicate(
        &mut self,
        store: &str,
        id: &str,
        input: Input,
        rules: &Rules,
    ) -> Result<SecretView, ApiError> {
        let value = self.find_mut(store)?.find_mut(id)?.value.clone();
        let name = checked_name(input.name)?;
        let scopes = checked_scopes(input.scopes.unwrap_or_default())?;
        self.add(store, Metadata::new(name, input.comment, scopes), value, rules)
    }

    /// Adds what is not there yet, whatever the limits; what is there stays as it is.
    pub(crate) fn seed(&mut self, seed: &Seed) {
        if self.find(&seed.store_id).is_err() {
            let (id, name) = (seed.store_id.clone(), seed.store_name.clone());
            self.stores.push(Store { id, name, created: Time::now(), secrets: Vec::new() });
        }
        let Ok(store) = self.find_mut(&seed.store_id) else { return };
        for (name, value) in &seed.secrets {
            if !store.has(name) {
                let metadata = Metadata::new(name.clone(), None, vec![Scope::Workers]);
                let (active_from, value) = (metadata.created.clone(), Arc::new(value.clone()));
                store.secrets.push(Secret { metadata, active_from, value });
            }
        }
    }

    /// What a change from `old` to this means for wrangler's local store.
    pub(crate) fn mirror_steps<'a>(&'a self, old: &'a Self) -> Vec<MirrorStep<'a>> {
        let (before, after) = (old.bindable(), self.bindable());
        let gone = before.iter().filter(|(place, _)| !after.contains_key(place));
        let new = after.iter().filter(|(place, value)| {
            before.get(*place).is_none_or(|before| !Arc::ptr_eq(before, value))
        });
        let gone = gone.map(|((store, name), _)| MirrorStep { store, name, value: None });
        gone.chain(new.map(|((store, name), value)| MirrorStep { store, name, value: Some(value) }))
            .collect()
    }

    /// The values that a Worker can be bound to, by store and name.
    fn bindable(&self) -> BTreeMap<(&str, &str), &Value> {
        let mut values = BTreeMap::new();
        for store in &self.stores {
            for Secret { metadata, value, .. } in &store.secrets {
                if metadata.scopes.contains(&Scope::Workers) {
                    values.insert((store.id.as_str(), metadata.name.as_str()), value);
                }
            }
        }
        values
    }

    fn add(
        &mut self,
        store: &str,
        metadata: Metadata,
        value: Value,
        rules: &Rules,
    ) -> Result<SecretView, ApiError> {
        let usage = self.usage();
        let found = self.find_mut(store)?;
        if found.has(&metadata.name) {
            return Err(answer::secret_name_already_exists());
        }
        if usage >= rules.quota {
            return Err(answer::maximum_secrets_exceeded());
        }
        let secret = Secret { metadata, active_from: Time::after(rules.pending), value };
        let view = secret.view(store);
        found.secrets.push(secret);
        Ok(view)
    }

    fn find(&self, id: &str) -> Result<&Store, ApiError> {
        self.stores.iter().find(|store| store.id == id).ok_or_else(answer::store_not_found)
    }

    fn find_mut(&mut self, id: &str) -> Result<&mut Store, ApiError> {
        self.stores.iter_mut().find(|store| store.id == id).ok_or_else(answer::store_not_found)
    }
}

impl Store {
    fn view(&self, rules: &Rules) -> StoreView {
        StoreView {
            id: self.id.clone(),
            name: self.name.clone(),
            created: self.created.clone(),
            modified: self.created.clone(),
            account_id: rules.account.clone(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.secrets.iter().any(|secret| secret.metadata.name == name)
    }

    fn find_mut(&mut self, id: &str) -> Result<&mut Secret, ApiError> {
        let found = self.secrets.iter_mut().find(|secret| secret.metadata.id == id);
        found.ok_or_else(answer::secret_not_found)
    }
}

impl Secret {
    fn view(&self, store: &str) -> SecretView {
        let is_active = self.active_from <= Time::now();
        SecretView {
            metadata: self.metadata.clone(),
            store_id: store.to_owned(),
            status: if is_active { Status::Active } else { Status::Pending },
        }
    }
}

impl Metadata {
    fn new(name: String, comment: Option<String>, scopes: Vec<Scope>) -> Self {
        let now = Time::now();
        Self { id: new_id(), name, comment, scopes, created: now.clone(), modified: now }
    }
}

/// 32 hexadecimal digits.
fn new_id() -> String {
    Uuid::new_v4().simple().to_string()
}

fn checked_name(name: Option<String>) -> Result<String, ApiError> {
    let name = name.filter(|name| !name.is_empty()).ok_or_else(answer::secret_name_empty)?;
    let is_valid = name.chars().all(|it| it.is_ascii_alphanumeric() || it == '_' || it == '-');
    if is_valid { Ok(name) } else { Err(answer::secret_name_invalid()) }
}

fn checked_value(value: SecretString) -> Result<Value, ApiError> {
    match value.expose_secret().len() {
        0 => Err(answer::secret_value_empty()),
        length if length > MOST_VALUE_BYTES => Err(answer::secret_value_too_large()),
        _ => Ok(Arc::new(value)),
    }
}

/// One that comes twice counts once (assumed).
fn checked_scopes(words: Vec<String>) -> Result<Vec<Scope>, ApiError> {
    let mut scopes = Vec::new();
    for text in words {
        let scope = word(&text).ok_or_else(answer::secret_scope_invalid)?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    if scopes.is_empty() { Err(answer::secret_scopes_empty()) } else { Ok(scopes) }
}

/// The one place where a value is written.
mod value_in_file {
    use std::sync::Arc;

    use secrecy::{ExposeSecret as _, SecretString};
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Value;

    pub(super) fn serialize<S: Serializer>(value: &Value, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.expose_secret())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        SecretString::deserialize(from).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: Rules = Rules { account: String::new(), pending: Duration::ZERO, quota: 9 };

    fn input(json: serde_json::Value) -> Input {
        serde_json::from_value(json).unwrap()
    }

    /// An account with a store, and in it a secret for each name.
    fn account(names: &[&str]) -> (Account, String) {
        let mut account = Account::default();
        let store = account.create_store(Some("store".to_owned()), &RULES).unwrap().id;
        for name in names {
            let secret = input(json!({ "name": name, "value": "v", "scopes": ["workers"] }));
            account.create(&store, vec![secret], &RULES).unwrap();
        }
        (account, store)
    }

    /// What the local store must do, as text.
    fn steps(old: &Account, new: &Account) -> Vec<String> {
        let steps = new.mirror_steps(old);
        let text = |it: &MirrorStep<'_>| {
            let value = it.value.map_or("-", |value| value.expose_secret());
            format!("{} {value}", it.name)
        };
        steps.iter().map(text).collect()
    }

    #[test]
    fn the_local_store_follows_what_has_changed_and_nothing_else() {
        let (old, store) = account(&["a", "b"]);
        assert_eq!(steps(&old, &old.clone()), Vec::<String>::new());
        assert_eq!(steps(&Account::default(), &old), ["a v", "b v"]);
        assert_eq!(steps(&old, &Account::default()), ["a -", "b -"]);

        let mut new = old.clone();
        let ids: Vec<String> =
            old.secrets(&store).unwrap().into_iter().map(|it| it.metadata.id).collect();
        new.delete(&store, &ids[..1]).unwrap();
        new.update(&store, &ids[1], input(json!({ "value": "v" }))).unwrap();
        // An equal value, but set anew.
        assert_eq!(steps(&old, &new), ["a -", "b v"]);
        new.update(&store, &ids[1], input(json!({ "scopes": ["dex"] }))).unwrap();
        assert_eq!(steps(&old, &new), ["a -", "b -"]);
    }

    #[test]
    fn one_name_in_two_stores_is_two_secrets() {
        let (old, _) = account(&["a"]);
        let mut new = old.clone();
        let secrets = vec![("a".to_owned(), "w".into())];
        new.seed(&Seed { store_id: "s".to_owned(), store_name: "s".to_owned(), secrets });
        assert_eq!(steps(&old, &new), ["a w"]);
    }

    #[test]
    fn a_refused_batch_leaves_only_the_copy_changed() {
        let (old, store) = account(&["a"]);
        let mut copy = old.clone();
        let batch =
            ["b", "a"].map(|it| input(json!({ "name": it, "value": "v", "scopes": ["dex"] })));
        assert!(copy.create(&store, batch.into(), &RULES).is_err());
        assert_eq!(old.usage(), 1);
    }
}
