//! `cargo xtask rotate`: a new value for a binding, while requests go on.
//!
//! The binding has another one behind it: a credential its `fallback`, a caller's token a second token
//! in the same `callers`. The present value is copied there, inside the store; then the new one is
//! written. From there on both are tried, until `--finish` drops the one before, or `--undo` brings it
//! back. `settings` finds the two bindings, `plan` says what is to be done next, `store` does it.
//!
//! There is no record but the store itself: where a rotation is, is seen there, anew before each step.
//! So a command that was broken off, anywhere and on any machine, is run again and goes on. The names in
//! a store are unique, which keeps two from beginning at once.

mod api;
mod plan;
mod settings;
mod store;
#[cfg(test)]
mod tests;

use std::{ops::ControlFlow, path::PathBuf, time::Duration};

use anyhow::{Result, anyhow, bail};
use secrets_store_api::SecretString;

use self::{
    api::Api,
    plan::{Direction, Expectation, Next, Step, next},
    settings::Pair,
    store::Store,
};
use crate::{
    doctor::{config::Config, word},
    prompt, root, step,
    store::Development,
    worker::Worker,
};

/// Where `cargo xtask dev` listens, unless told otherwise.
const DEV_URL: &str = "http://127.0.0.1:8787";

/// More steps than any rotation has.
const MAX_STEPS: usize = 20;

/// What to rotate.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The binding, a credential's `secret` or a caller's token
    pub binding: String,
    /// The [env.*] of wrangler.toml; without it the top level, for `cargo xtask dev`
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// The address of the running Worker; without --env, that of `cargo xtask dev`
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Drop the value before, when it is not needed any more
    #[arg(long, conflicts_with = "undo")]
    pub finish: bool,
    /// Bring back what was there before
    #[arg(long)]
    pub undo: bool,
    /// How long the Worker may take to see a change
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// Another wrangler.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Goes on with a rotation as far as it can be gone.
///
/// # Errors
///
/// Why it stopped, and how to go on. Requests have their answers all the same.
pub fn run(options: &Options) -> Result<()> {
    let file = options.config.clone().unwrap_or_else(|| root().join("wrangler.toml"));
    let config = Config::read(&file)?;
    let pair = Pair::find(&config, options.env.as_deref(), &options.binding)?;
    let url = match (&options.url, &options.env) {
        (Some(url), _) => url,
        (None, None) => DEV_URL,
        (None, Some(_)) => bail!("which Worker? --url https://…, the address that it runs at"),
    };
    // The values of development are no secrets.
    let development = (options.env.is_none() && options.config.is_none())
        .then(|| Development::read().ok())
        .flatten();
    let known = development.as_ref().and_then(|it| it.value(pair.admins.first()?).ok());
    let worker = Worker::at(url, Some(&prompt::admin_token(&pair.admins, known)?))?;
    let api = Api::new(&worker, &pair.account);
    let rotation =
        Rotation { options, pair: &pair, worker: &worker, store: Store::new(&api, &pair) };
    rotation.run()
}

struct Rotation<'a> {
    options: &'a Options,
    pair: &'a Pair,
    worker: &'a Worker,
    store: Store<'a>,
}

impl Rotation<'_> {
    fn run(&self) -> Result<()> {
        let direction = match self.options {
            Options { finish: true, .. } => Direction::Finish,
            Options { undo: true, .. } => Direction::Undo,
            _ => Direction::Forward,
        };
        let mut new_value: Option<SecretString> = None;
        let (mut has_changed, mut has_written) = (false, false);
        for _ in 0..MAX_STEPS {
            let seen = self.store.look().map_err(|error| self.stopped(&error))?;
            match next(direction, &seen) {
                Next::Do(step, expectation) => {
                    self.expect(expectation)?;
                    // Asked for before anything is changed: who thinks better of it leaves no trace.
                    if direction == Direction::Forward && new_value.is_none() {
                        self.tell_of_other_fallback(step)?;
                        new_value = Some(prompt::new_value(&self.pair.binding)?);
                        // It may have been a while.
                        continue;
                    }
                    self.announce(step);
                    let done = self.store.carry_out(step, &seen, new_value.as_ref());
                    done.map_err(|error| self.stopped(&error))?;
                    has_changed = true;
                    has_written |= step == Step::WriteNew;
                }
                Next::Done(_) if new_value.is_some() && !has_written => bail!(
                    "somebody else has written a new value of {} in the meantime: yours was not \
                     written. {} tells where that stands",
                    self.pair.binding,
                    self.command("")
                ),
                Next::Done(expectation) => {
                    if direction != Direction::Forward && !has_changed {
                        println!("No rotation of {} is under way.", self.pair.binding);
                        return Ok(());
                    }
                    self.expect(expectation)?;
                    self.tell_end(direction);
                    return Ok(());
                }
                Next::Refuse(why) => bail!("{}", self.pair.tell(why)),
            }
        }
        bail!("somebody else changes the same secrets, again and again");
    }

    /// Waits until the running Worker sees the values as they must be before the next step.
    fn expect(&self, expectation: Expectation) -> Result<()> {
        let Pair { binding, fallback, .. } = self.pair;
        if expectation == Expectation::Nothing {
            return Ok(());
        }
        let met = self.worker.wait_for(Duration::from_secs(self.options.wait), |worker| {
            let seen = worker.readiness()?;
            let are_same = seen.are_same(binding, fallback);
            let (is_met, wanted) = match expectation {
                Expectation::Nothing => (true, "anything"),
                Expectation::Primary => (seen.is_ok(binding), "a value in the first"),
                Expectation::Fallback => (seen.is_ok(fallback), "a value in the second"),
                Expectation::Same => (are_same, "the same value in both"),
                Expectation::Different => (
                    seen.is_ok(binding) && seen.is_ok(fallback) && !are_same,
                    "a value in each, and not the same",
                ),
            };
            if is_met {
                return Ok(ControlFlow::Break(()));
            }
            let relation = if are_same { ", the same value in both" } else { "" };
            let mut told = format!(
                "the running Worker is to see {wanted}, and sees: {binding} {}, {fallback} \
                 {}{relation}.",
                seen.state(binding),
                seen.state(fallback)
            );
            told.push_str(match expectation {
                Expectation::Different if are_same => {
                    " Either it does not see the new value yet: run this again. Or the new value is \
                     the one before: --undo, then rotate to another"
                }
                Expectation::Primary => {
                    " What cannot be had is not worth keeping: mend it first; a line of `cargo xtask \
                     doctor` may say how"
                }
                _ => {
                    " Changes take a moment: run this again. If it stays so, deploy once more, which \
                     looks up its bindings anew and brings a /readyz that tells which values are the \
                     same"
                }
            });
            Ok(ControlFlow::Continue(anyhow!(told)))
        });
        met.map_err(|error| self.stopped(&error))
    }

    /// The fallback's own value is not tried while it makes room.
    fn tell_of_other_fallback(&self, step: Step) -> Result<()> {
        let Pair { binding, fallback, .. } = self.pair;
        let seen = self.worker.readiness()?;
        if step == Step::SetAside && seen.is_ok(fallback) && !seen.are_same(binding, fallback) {
            eprintln!(
                "    {fallback} has a value of its own. It makes room for the value of {binding}, and \
                 --undo brings it back. If requests live on it now (\"retries\" in the log, or callers \
                 that show it), end this with Ctrl-C."
            );
        }
        Ok(())
    }

    fn announce(&self, what: Step) {
        let Pair { primary, secondary, .. } = self.pair;
        let spare = self.pair.spare();
        step(&match what {
            Step::SetAside => format!("copying {secondary} to {spare}, for --undo"),
            Step::RemoveSecondary => format!("removing {secondary}: {primary} alone is used"),
            Step::KeepPresent => {
                format!("copying {primary} to {secondary}: the present value is kept")
            }
            Step::WriteNew => format!("writing the new value to {primary}"),
            Step::CopyNew => format!("copying {primary} to {secondary}: the new value is in both"),
            Step::RemoveSpare => format!("removing {spare}"),
            Step::Unmark => format!("removing the note from {primary}"),
            Step::RemovePrimary => {
                format!("removing {primary}: {secondary}, the value before, is used")
            }
            Step::RestorePrimary => format!("copying {secondary} to {primary}"),
            Step::RestoreSecondary => format!("copying {spare} to {secondary}"),
        });
    }

    fn tell_end(&self, direction: Direction) {
        let Pair { binding, fallback, is_token, .. } = self.pair;
        let tail = self.options.env.as_ref().map_or_else(
            || "cargo xtask dev".to_owned(),
            |env| format!("npx wrangler tail --env {}", word(env)),
        );
        let (finish, undo) = (self.command("--finish"), self.command("--undo"));
        println!(
            "{}",
            match direction {
                Direction::Forward if *is_token => format!(
                    "{binding} has its new value, and the running Worker sees it. Both tokens admit: the \
                 new one as {binding}, the one before as {fallback}.\n\
                 When callers show the new one, no line of `{tail}` has \"caller\":\"{fallback}\" \
                 any more. Then drop the one before:\n\n  {finish}\n\nThe way back:\n\n  {undo}"
                ),
                Direction::Forward => format!(
                    "{binding} has its new value, and the running Worker sees it. It is tried first, and \
                 the one before when the upstream answers 401 to it (a body of more than 64 KiB is \
                 sent once: let the upstream take both until then).\n\
                 When the upstream takes the new one, no line of `{tail}` has \"retries\" any more. \
                 Then drop the one before, and revoke it:\n\n  {finish}\n\n\
                 The way back:\n\n  {undo}"
                ),
                Direction::Finish => format!(
                    "Done. {binding} and {fallback} both have the new value; the one before is gone from \
                 the store. Revoke it where it came from."
                ),
                Direction::Undo => format!("Undone. {binding} and {fallback} are as they were."),
            }
        );
    }

    /// That it stopped here, and how to go on.
    fn stopped(&self, error: &anyhow::Error) -> anyhow::Error {
        let flag = match self.options {
            Options { finish: true, .. } => "--finish",
            Options { undo: true, .. } => "--undo",
            _ => "",
        };
        let command = self.command(flag);
        anyhow!(
            "{error:#}\n\nRequests are answered as before. To go on from here:\n\n  {command}\n"
        )
    }

    /// This command, with another flag.
    fn command(&self, flag: &str) -> String {
        let Options { binding, env, url, config, .. } = self.options;
        let mut words = vec!["cargo xtask rotate".to_owned(), word(binding)];
        let config = config.as_ref().map(|it| it.to_string_lossy().into_owned());
        for (name, value) in [("--env", env), ("--url", url), ("--config", &config)] {
            words.extend(value.iter().flat_map(|it| [name.to_owned(), word(it)]));
        }
        words.extend((!flag.is_empty()).then(|| flag.to_owned()));
        words.join(" ")
    }
}
