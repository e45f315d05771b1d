//! Keeps the account: in memory, in the data file and in wrangler's local store.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use local_store::LocalStore;

use crate::{
    answer::{self, ApiError},
    data::DataFile,
    state::Account,
    warn,
};

/// One changes it at a time; reading goes on meanwhile.
pub(crate) struct Keeper {
    current: RwLock<Arc<Account>>,
    turn: Mutex<()>,
    file: Option<DataFile>,
    mirror: Option<LocalStore>,
}

impl Keeper {
    pub(crate) fn new(
        account: Account,
        file: Option<DataFile>,
        mirror: Option<LocalStore>,
    ) -> Self {
        Self { current: RwLock::new(Arc::new(account)), turn: Mutex::new(()), file, mirror }
    }

    pub(crate) fn read(&self) -> Arc<Account> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a change, everywhere or, where a step fails, nowhere: the mirror comes first because
    /// what it got can be given to it again, so that trying again repairs. Blocks.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Account) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.read();
        let mut new = Account::clone(&old);
        let told = change(&mut new)?;
        if let Some(mirror) = &self.mirror {
            follow(mirror, &old, &new)?;
        }
        if let Some(file) = &self.file {
            file.write(&new).map_err(|error| {
                warn(&format!("{error:#}"));
                answer::not_saved()
            })?;
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(told)
    }
}

fn follow(mirror: &LocalStore, old: &Account, new: &Account) -> Result<(), ApiError> {
    for step in new.mirror_steps(old) {
        let done = match step.value {
            Some(value) => mirror.put(step.store, step.name, value),
            None => mirror.remove(step.store, step.name),
        };
        done.map_err(|error| {
            warn(&format!("{} in wrangler's local store: {error:#}", step.name));
            answer::mirror_failed(step.name)
        })?;
    }
    Ok(())
}
