//! The secrets of a rotation: what is there, and each change of it. A value goes in, and none comes out.

use anyhow::{Context as _, Result};
use secrets_store_api::{
    Client, DeleteSecret, ListSecrets, Page, SecretId, SecretString, Status, UpdateSecret,
};

use super::{
    api::Api,
    plan::{Mark, Secret, Seen, Step},
    settings::Pair,
};

/// The secrets of a pair of bindings.
pub struct Store<'a> {
    api: &'a Api<'a>,
    pair: &'a Pair,
}

impl<'a> Store<'a> {
    /// Those of `pair`, behind `api`.
    pub fn new(api: &'a Api<'a>, pair: &'a Pair) -> Self {
        Self { api, pair }
    }

    /// What is there.
    ///
    /// # Errors
    ///
    /// Why it is not told.
    pub fn look(&self) -> Result<Seen> {
        let list = ListSecrets {
            store: self.pair.store.clone(),
            page: Page::default(),
            search: None,
            scopes: Vec::new(),
            order: None,
            direction: None,
        };
        let all = self.api.all(&list)?;
        let find = |name: &str| {
            let found = all.iter().find(|it| it.name == name && it.status != Status::Deleted)?;
            let (mark, comment) = Mark::read(found.comment.as_deref().unwrap_or_default());
            Some(Secret { id: found.id.clone(), comment: comment.to_owned(), mark })
        };
        Ok(Seen {
            primary: find(&self.pair.primary),
            secondary: find(&self.pair.secondary),
            spare: find(&self.pair.spare()),
        })
    }

    /// Does one step. What somebody else has done in the meantime makes it fail.
    ///
    /// # Errors
    ///
    /// Why it is not done, or not known to be.
    pub fn carry_out(
        &self,
        step: Step,
        seen: &Seen,
        new_value: Option<&SecretString>,
    ) -> Result<()> {
        let Pair { primary, secondary, .. } = self.pair;
        match step {
            Step::SetAside => self.copy(&seen.secondary, &self.pair.spare(), None, Mark::None),
            Step::RemoveSecondary => self.remove(&seen.secondary),
            Step::KeepPresent => self.copy(&seen.primary, secondary, None, Mark::Kept),
            Step::WriteNew => self.update(&seen.primary, new_value.cloned(), Mark::New),
            Step::CopyNew => {
                let own = seen.spare.as_ref().map(|it| it.comment.as_str());
                self.copy(&seen.primary, secondary, own, Mark::None)
            }
            Step::RemoveSpare => self.remove(&seen.spare),
            Step::Unmark => self.update(&seen.primary, None, Mark::None),
            Step::RemovePrimary => self.remove(&seen.primary),
            Step::RestorePrimary => self.copy(&seen.secondary, primary, None, Mark::None),
            Step::RestoreSecondary => self.copy(&seen.spare, secondary, None, Mark::None),
        }
    }

    /// The same value and scopes under another name; with its comment, where `comment` is no other.
    fn copy(
        &self,
        from: &Option<Secret>,
        to: &str,
        comment: Option<&str>,
        mark: Mark,
    ) -> Result<()> {
        let from = there(from)?;
        let comment = mark.write(comment.unwrap_or(&from.comment));
        let comment = Some(comment).filter(|it| !it.is_empty());
        let client = Client::new(self.api);
        let copy = client.duplicate(&self.pair.store, &from.id, to, None, comment);
        self.api.block_on(copy).map(drop)
    }

    /// By its id: another one that has its name by now stays.
    fn remove(&self, secret: &Option<Secret>) -> Result<()> {
        let delete = DeleteSecret { store: self.pair.store.clone(), secret: id_of(secret)? };
        self.api.run(&delete).map(drop)
    }

    /// Value and mark in one request, so that one tells of the other.
    fn update(
        &self,
        secret: &Option<Secret>,
        value: Option<SecretString>,
        mark: Mark,
    ) -> Result<()> {
        let comment = mark.write(&there(secret)?.comment);
        let update = UpdateSecret {
            store: self.pair.store.clone(),
            secret: id_of(secret)?,
            value,
            scopes: None,
            comment: Some(comment),
        };
        self.api.run(&update).map(drop)
    }
}

fn there(secret: &Option<Secret>) -> Result<&Secret> {
    secret.as_ref().context("a secret that was there is gone")
}

fn id_of(secret: &Option<Secret>) -> Result<SecretId> {
    Ok(there(secret)?.id.clone())
}
