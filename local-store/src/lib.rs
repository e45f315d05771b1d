//! wrangler's local Secrets Store: what `wrangler dev --persist-to` reads its secrets from.
//!
//! It is reached through wrangler's own command, since its files are nobody else's business. A
//! running `wrangler dev` sees a change at its next request.

use std::{
    env,
    ffi::OsString,
    fmt,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{self, Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, bail};
use secrecy::{ExposeSecret as _, SecretString};

/// The local stores in one folder. Each call takes wrangler about a second.
pub struct LocalStore {
    wrangler: Box<dyn Fn() -> Command + Send + Sync>,
    state: PathBuf,
    /// One command at a time: two at once find the store's database locked.
    turn: Mutex<()>,
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalStore").field("state", &self.state).finish_non_exhaustive()
    }
}

impl LocalStore {
    /// The stores in `state`, the folder that `wrangler dev` gets as `--persist-to`. `wrangler`
    /// makes a command that calls it.
    ///
    /// # Errors
    ///
    /// Where `state` is relative and there is no current folder.
    pub fn new(
        wrangler: impl Fn() -> Command + Send + Sync + 'static,
        state: &Path,
    ) -> Result<Self> {
        let state = path::absolute(state)?;
        Ok(Self { wrangler: Box::new(wrangler), state, turn: Mutex::new(()) })
    }

    /// The stores in `state`, with the wrangler of the project around the current folder.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn in_project(state: &Path) -> Result<Self> {
        let current = env::current_dir()?;
        let mut folders = current.ancestors().map(|folder| folder.join("node_modules/.bin"));
        let bin = folders.find(|bin| bin.join("wrangler").is_file()).with_context(|| {
            format!(
                "no node_modules/.bin/wrangler in {} or above; run cargo xtask dev or npm ci first",
                current.display()
            )
        })?;
        // A Node.js that is new enough for wrangler may be in there.
        let inherited = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([bin.clone()].into_iter().chain(env::split_paths(&inherited)))?;
        let wrangler = move || {
            let mut command = Command::new(bin.join("wrangler"));
            command.env("PATH", &path);
            command
        };
        Self::new(wrangler, state)
    }

    /// Name and id of each secret in a store.
    ///
    /// # Errors
    ///
    /// What wrangler says.
    pub fn names(&self, store: &str) -> Result<Vec<(String, String)>> {
        let output = self.run(&["list", store], &[], b"")?;
        // An empty store is an error to wrangler.
        if String::from_utf8_lossy(&output.stderr).contains("returned no secrets") {
            return Ok(Vec::new());
        }
        let table = text_of(output)?;
        Ok(table.lines().filter_map(row).collect())
    }

    /// Creates a secret, or gives it a new value.
    ///
    /// # Errors
    ///
    /// What wrangler says, without the value.
    pub fn put(&self, store: &str, name: &str, value: &SecretString) -> Result<()> {
        let value = value.expose_secret();
        let name = OsString::from(format!("--name={name}"));
        // wrangler cuts off white space at the end of what it reads (of a PEM key, the last line
        // break). So such a value is an argument, which others on this machine can see while
        // wrangler runs: there is no other way to hand it over as it is. JavaScript counts a byte
        // order mark as white space; Rust does not.
        let ends_in_space = |it: char| it.is_whitespace() || it == '\u{feff}';
        let (arguments, input) = if value.ends_with(ends_in_space) {
            if value.contains('\0') {
                bail!(
                    "a value with a NUL that also ends in white space cannot be handed to wrangler"
                );
            }
            (vec![name, OsString::from(format!("--value={value}"))], "")
        } else {
            (vec![name], value)
        };
        let arguments: Vec<_> =
            arguments.into_iter().chain(["--scopes".into(), "workers".into()]).collect();
        let output = self.run(&["create", store], &arguments, input.as_bytes())?;
        text_of(output).map(drop).map_err(|error| {
            let told = format!("{error:#}");
            match value.trim_end() {
                "" => anyhow::Error::msg(told),
                value => anyhow::Error::msg(told.replace(value, "[the value]")),
            }
        })
    }

    /// Deletes a secret, if it is there.
    ///
    /// # Errors
    ///
    /// What wrangler says.
    pub fn remove(&self, store: &str, name: &str) -> Result<()> {
        let there = self.names(store)?;
        if let Some((_, id)) = there.iter().find(|(own, _)| own == name) {
            let id = OsString::from(format!("--secret-id={id}"));
            text_of(self.run(&["delete", store], &[id], b"")?)?;
        }
        Ok(())
    }

    fn run(&self, words: &[&str], arguments: &[OsString], input: &[u8]) -> Result<Output> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = (self.wrangler)();
        command
            .args(["secrets-store", "secret"])
            .args(words)
            .args(arguments)
            .arg("--persist-to")
            .arg(&self.state)
            // A mistake in wrangler.toml has nothing to do with it.
            .args(["--config", "/dev/null"])
            .env("WRANGLER_SEND_METRICS", "false")
            // Its log files are kept for days.
            .env("WRANGLER_WRITE_LOGS", "false")
            // These would change what it prints, and that is read here.
            .env_remove("WRANGLER_LOG")
            .env_remove("FORCE_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal goes to a whole group; what is under way here is finished.
            .process_group(0);
        let program = command.get_program().to_owned();
        let mut child = command.spawn().with_context(|| {
            format!("cannot start {}; run cargo xtask dev or npm ci first", program.display())
        })?;
        // All at once: wrangler takes apart a character that comes in two pieces. It fits into a
        // pipe. When the write fails, wrangler has ended, and says why.
        let written = child.stdin.take().map(|mut stdin| stdin.write_all(input));
        let output = child.wait_with_output()?;
        if output.status.success() {
            written.transpose().context("wrangler did not read the value")?;
        }
        Ok(output)
    }
}

/// What wrangler printed, or what was wrong.
fn text_of(output: Output) -> Result<String> {
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("wrangler ended with {}: {}", output.status, told.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Name and id of a row `│ name │ id │ …` of wrangler's table; the head and the lines are none.
fn row(line: &str) -> Option<(String, String)> {
    let mut cells = line.split('│').map(str::trim).skip(1);
    let (name, id) = (cells.next()?, cells.next()?);
    let is_id = |it: &str| it.chars().all(|it| it.is_ascii_hexdigit() || it == '-');
    (!id.is_empty() && is_id(id)).then(|| (name.to_owned(), id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_table_is_read_and_nothing_else() {
        let id = "7d4a7ba4a7604a1ba5c099480d584cac";
        let read = |line: &str| row(line).map(|(name, id)| format!("{name} {id}"));
        assert_eq!(read(&format!("│ one  │ {id} │         │")).unwrap(), format!("one {id}"));
        // The id of a duplicate, which wrangler's local store makes in another form.
        let dashed = "9f2040eb-3dac-4671-9509-1b3b3a4d6a63";
        assert_eq!(read(&format!("│ Name │ {dashed} │")).unwrap(), format!("Name {dashed}"));
        for line in ["│ Name │ ID │ Comment │", "├──────┼─────┤", "│ a │  │", "Listing…", ""]
        {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_printed_of_it_is_the_folder_alone() {
        let store = LocalStore::new(|| Command::new("wrangler"), Path::new("/state")).unwrap();
        assert_eq!(format!("{store:?}"), "LocalStore { state: \"/state\", .. }");
    }
}
