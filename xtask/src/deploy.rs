//! `cargo xtask deploy`: an environment goes live, checked before and after.

use std::{
    fs,
    ops::ControlFlow,
    path::{self, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

use crate::{
    build, doctor,
    doctor::{config::Config, word},
    process, prompt, root, step, test,
    tools::Tools,
    worker::Worker,
};

/// What goes live.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The [env.*] of wrangler.toml
    #[arg(long, value_name = "NAME")]
    pub env: String,
    /// All that works offline: doctor without the account, the tests, `wrangler deploy --dry-run`
    #[arg(long, conflicts_with = "check")]
    pub dry_run: bool,
    /// Without `cargo xtask test`, where that has run already: in CI, say
    #[arg(long)]
    pub skip_tests: bool,
    /// Deploy nothing; only check the Worker at --url
    #[arg(long, requires = "url")]
    pub check: bool,
    /// The address to check; without it, the one that wrangler tells
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// How long the Worker may take to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u64,
    /// Another wrangler.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Options {
    /// What the commands that follow this one need to find the same.
    fn flags(&self) -> String {
        let config = self.config.as_ref().map(|it| word(&it.to_string_lossy()));
        let config = config.map(|it| format!(" --config {it}")).unwrap_or_default();
        format!(" --env {}{config}", word(&self.env))
    }
}

/// Deploys and checks. Answers whether the Worker is ready; where it is not, it is deployed all the
/// same, and what to do was told.
///
/// # Errors
///
/// What stopped it before anything was deployed, and what to do about it.
pub fn run(options: &Options) -> Result<bool> {
    let file = options.config.clone().unwrap_or_else(|| root().join("wrangler.toml"));
    let config = Config::read(&file)?;
    let environment = config.environment(Some(&options.env))?;
    let admins = environment.settings.as_ref().and_then(|it| it.admins());
    // Asked for first, so that nobody is waited for in the middle.
    let admin_token = match admins {
        Some(admins) if !options.dry_run => Some(prompt::admin_token(admins, None)?),
        _ => None,
    };
    // It may be wrong, which is better told before anything is done.
    if let Some(url) = &options.url {
        Worker::at(url, admin_token.as_ref())?;
    }
    let told = if options.check { None } else { deploy(options)? };
    if options.dry_run {
        println!(
            "A dry run: nothing was deployed. What it did not ask: the account, and a Worker."
        );
        return Ok(true);
    }
    let url = options.url.clone().or(told);
    let checked = url.as_ref().map_or_else(
        || Err(anyhow!("wrangler told no address of it: give --url https://…")),
        |url| check(url, admin_token.as_ref(), options),
    );
    let flags = options.flags();
    let back = format!("npx wrangler rollback{flags}");
    match &checked {
        Ok(()) => println!("The way back, to the version before:\n\n  {back}\n"),
        Err(error) => eprintln!(
            "\nerror: {error:#}\n\nThe way back, to the version before (secrets stay as they are):\
             \n\n  {back}\n\nOr mend it, and look again:\n\n  cargo xtask deploy{flags} --check \
             --url {}\n",
            url.as_deref().map_or("https://…".to_owned(), word)
        ),
    }
    Ok(checked.is_ok())
}

/// All up to the upload. Answers the address that wrangler tells.
fn deploy(options: &Options) -> Result<Option<String>> {
    let Options { env, dry_run, .. } = options;
    let remote = !dry_run;
    step(if remote { "doctor: the account" } else { "doctor: the settings" });
    let look = doctor::Options {
        remote,
        env: Some(env.clone()),
        config: options.config.clone(),
        ..Default::default()
    };
    if !doctor::run(&look)? {
        bail!("nothing was deployed. Mend what doctor found, and run this again");
    }
    if options.skip_tests {
        step("the tests are left out");
    } else {
        test::run().context("nothing was deployed. Mend what fails, and run this again")?;
    }
    let tools = Tools::ensure()?;
    // wrangler builds too, and then has nothing to do: so a mistake is told here, as itself.
    build::with(&tools)?;
    step(&format!("wrangler deploy --env {env}{}", if remote { "" } else { " --dry-run" }));
    let mut wrangler = tools.wrangler();
    wrangler.args(["deploy", "--env", env]);
    wrangler.args((*dry_run).then_some("--dry-run"));
    if let Some(config) = &options.config {
        wrangler.arg("--config").arg(path::absolute(config)?);
    }
    // Its own record of what it did, a line of JSON for each step.
    let record =
        build::target_folder().join(format!("wrangler-deploy-{}.ndjson", std::process::id()));
    wrangler.env("WRANGLER_OUTPUT_FILE_PATH", &record);
    let ended = process::run(
        "wrangler deploy",
        &mut wrangler,
        "Its message is above, and the version before is still the one that runs. Code 10021: the \
         API token needs Account Secrets Store Edit, and each secret the scope workers. Code 10182: a \
         secret is missing or pending, which `cargo xtask doctor --remote` tells",
    );
    let told = fs::read_to_string(&record).unwrap_or_default();
    let _ = fs::remove_file(&record);
    ended.map(|()| address(&told))
}

/// The address in wrangler's record: a custom domain before the one at workers.dev.
fn address(record: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        targets: Vec<String>,
    }
    let lines = record.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let targets: Vec<String> = lines.flat_map(|line| line.targets).collect();
    // `gateway.example.com (custom domain)`, or with more words in the brackets and after them.
    let domain = targets.iter().find_map(|it| Some(it.split_once(" (custom domain")?.0));
    let domain = domain.map(|name| format!("https://{}", name.trim_start_matches("https://")));
    domain.or_else(|| targets.iter().find(|it| it.starts_with("https://")).cloned())
}

/// Whether a deployed Worker answers, and has all its bindings.
fn check(
    url: &str,
    token: Option<&secrets_store_api::SecretString>,
    options: &Options,
) -> Result<()> {
    let worker = Worker::at(url, token)?;
    let wait = Duration::from_secs(options.wait);
    step(&format!("{url}/healthz"));
    worker.wait_for(wait, |worker| match worker.is_well() {
        Ok(()) => Ok(ControlFlow::Break(())),
        // A new name takes a moment to be known.
        Err(error) => Ok(ControlFlow::Continue(error)),
    })?;
    if token.is_none() {
        println!("{url} answers. Without [vars.SECRETS_STORE_API] nobody may see its /readyz.");
        return Ok(());
    }
    step(&format!("{url}/readyz"));
    let count = worker.wait_for(wait, |worker| {
        let readiness = worker.readiness()?;
        let failures: Vec<_> = readiness.failures().map(|it| format!("\n  {it}")).collect();
        Ok(match failures.as_slice() {
            [] => ControlFlow::Break(readiness.len()),
            failures => ControlFlow::Continue(anyhow!(
                "{url} is deployed, and not ready: {} of {} bindings cannot be had.{}",
                failures.len(),
                readiness.len(),
                failures.concat()
            )),
        })
    })?;
    println!("{url} is ready: each of its {count} bindings can be had.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_is_the_one_that_wrangler_deploys_to() {
        let told = |targets: &str| {
            let session = r#"{"type":"wrangler-session","version":1}"#;
            address(&format!("{session}\n{{\"type\":\"deploy\",\"targets\":{targets}}}\n"))
        };
        let workers = "https://gateway.me.workers.dev";
        assert_eq!(told(&format!("[\"{workers}\"]")).as_deref(), Some(workers));
        for domain in [
            "gateway.example.com (custom domain)",
            "gateway.example.com (custom domain - zone name: example.com) [production: enabled]",
        ] {
            let both = format!("[\"{workers}\",\"{domain}\"]");
            assert_eq!(told(&both).as_deref(), Some("https://gateway.example.com"));
        }
        assert_eq!(told("[\"example.com/x/* (zone name: example.com)\"]"), None);
        assert_eq!(address("no record"), None);
    }
}
