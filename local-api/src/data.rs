//! The data file: JSON that its owner alone can read, replaced as a whole by every write.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{ErrorKind, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{self, Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::{state::Account, warn};

/// What the file says it is, so that no other file is taken for one.
const FORMAT: &str = "local-api secrets 1";

#[derive(Serialize, Deserialize)]
struct Content<A> {
    format: String,
    account: A,
}

/// The file, for as long as no other process has it.
pub(crate) struct DataFile {
    path: PathBuf,
    folder: PathBuf,
    /// Beside it: what is written there takes its place when it is whole.
    temporary: PathBuf,
    /// Locked. It cannot be the file itself, which each write replaces.
    _lock: File,
}

impl DataFile {
    /// Reads the file, or makes it.
    ///
    /// # Errors
    ///
    /// Where another process has it, where it cannot be read or written, and where it is something
    /// else; then it stays as it is.
    pub(crate) fn open(path: &Path) -> Result<(Self, Account)> {
        let path = path::absolute(path)?;
        // Through a link it is one file still, which two processes must not have.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else {
            bail!("{} cannot be a data file", path.display());
        };
        let beside = |before: &str, after: &str| {
            let mut beside = OsString::from(before);
            beside.push(name);
            beside.push(after);
            folder.join(beside)
        };
        let file = Self {
            temporary: beside(".", ".tmp"),
            _lock: lock(&path, &beside(".", ".lock"))?,
            folder: folder.to_owned(),
            path,
        };
        // A process that was killed while it wrote leaves one.
        remove(&file.temporary)?;
        let account = match fs::read(&file.path) {
            Ok(text) => {
                let account = parse(&text).with_context(|| {
                    format!(
                        "{} is damaged or no data file of this program; it was left as it is. Mend \
                         it, or give --data another file",
                        file.path.display()
                    )
                })?;
                // Somebody may have copied it and left it open to others.
                fs::set_permissions(&file.path, Permissions::from_mode(0o600))
                    .with_context(|| format!("cannot close {} to others", file.path.display()))?;
                account
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let account = Account::default();
                file.write(&account)?;
                account
            }
            Err(error) => {
                bail!("cannot read {}: {error}; give --data another file", file.path.display())
            }
        };
        Ok((file, account))
    }

    /// Replaces the file's content. It is on the disk when this answers.
    ///
    /// # Errors
    ///
    /// Where it cannot be written; then it has its old content.
    pub(crate) fn write(&self, account: &Account) -> Result<()> {
        let content = Content { format: FORMAT.to_owned(), account };
        let text = serde_json::to_vec_pretty(&content)?;
        let folder = self.replace(&text).inspect_err(|_| {
            let _ = fs::remove_file(&self.temporary);
        });
        let folder = folder.with_context(|| {
            format!("cannot write {}; is the folder there, is the disk full?", self.path.display())
        })?;
        // The new content is in place now: to call it a failure would part the file from memory.
        if let Err(error) = folder.sync_all() {
            warn(&format!("{} may not outlive a power cut: {error}", self.path.display()));
        }
        Ok(())
    }

    /// Answers the folder, whose entry of the file is still to be brought to the disk.
    fn replace(&self, text: &[u8]) -> Result<File> {
        let folder = File::open(&self.folder)?;
        remove(&self.temporary)?;
        // Made anew, so that nobody else can have it open, and closed to others from the start.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        Ok(folder)
    }
}

fn parse(text: &[u8]) -> Result<Account> {
    // Serde's own words may quote a value.
    let content: Content<Account> = serde_json::from_slice(text)
        .map_err(|error| anyhow!("mistake in line {}, column {}", error.line(), error.column()))?;
    if content.format != FORMAT {
        bail!("its format is not `{FORMAT}`");
    }
    Ok(content.account)
}

fn lock(path: &Path, lock: &Path) -> Result<File> {
    let options =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock);
    let file = options.with_context(|| {
        format!("cannot write {}; --data needs a folder that is there", lock.display())
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another process uses {}; end it, or give --data another file", path.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", lock.display()))
        }
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
