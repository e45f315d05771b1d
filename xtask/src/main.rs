//! The command line of `cargo xtask`.

use std::{alloc::System, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use xtask::{bench, build, deploy, dev, doctor, process, test};
#[cfg(feature = "rest-api")]
use xtask::{rotate, storm};
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: `dev` runs the local REST API, `doctor` has an API token, `rotate` a new value.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The project's commands. Each fetches the tools that it needs, and may be stopped and run again.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From a fresh clone to a running gateway: tools, build, local secrets, a demo upstream,
    /// `wrangler dev`. Prints a `curl` line that works. Ctrl-C ends everything
    Dev {
        /// The port to listen on, if it is free; otherwise another one is taken
        #[arg(long, default_value_t = 8787)]
        port: u16,
        /// The folder of the local Secrets Store
        #[arg(long, value_name = "DIR", default_value = ".wrangler/state")]
        persist_to: PathBuf,
    },
    /// Formatting, lints, docs, the build, unit tests and end-to-end tests on the real runtime
    Test,
    /// Generated requests, valid and hostile, at the real runtime, while secrets change and upstreams
    /// misbehave; checks each answer, and tells what it tried
    #[cfg(feature = "rest-api")]
    Storm {
        /// For how long
        #[arg(long, value_name = "N", default_value_t = 120)]
        seconds: u64,
        /// Which requests; a random one, which is printed, where it is left out
        #[arg(long, value_name = "S")]
        seed: Option<u64>,
    },
    /// What a request costs on the real runtime, beside the same gateway in JavaScript and a bare
    /// pass-through: a table, and docs/bench/. Some ten minutes, on a machine that does nothing else
    Bench {
        /// Under a minute, with less to be relied upon; writes nothing
        #[arg(long)]
        quick: bool,
        /// Only the scenarios with this in their name; writes nothing
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// The Worker into build/: the build command of wrangler.toml
    Build,
    /// Compares every binding of wrangler.toml with the store, and says how to mend what is wrong.
    /// Exit code 0: nothing is wrong; 1: something is; 2: it could not look
    ///
    /// The top level is what `wrangler dev` runs: it is compared with the local store. An [env.*] is
    /// for the account, so that without --remote only its settings and its bindings are compared
    /// with each other. Every finding is a line that ends in what mends it. No value of a secret is
    /// asked for or printed.
    Doctor(doctor::Options),
    /// An environment goes live: doctor, tests, `wrangler deploy`, and a check of the running Worker.
    /// Exit code 0: it is ready; 1: nothing was deployed; 3: it is deployed, and not ready
    ///
    /// Reads CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID, as doctor and wrangler do, and the token
    /// of an admin of the Worker from GATEWAY_ADMIN_TOKEN, or asks for it.
    Deploy(deploy::Options),
    /// A new value for a secret while requests go on, with the one before beside it until --finish.
    /// Exit code 0: it is where it was to be brought; 1: it is not, and the message says how to go on
    ///
    /// Works through the running Worker's REST API, as an admin: the token is read from
    /// GATEWAY_ADMIN_TOKEN, or asked for. The new value is asked for, or read from standard input.
    /// Broken off anywhere, it is run again and goes on; --undo goes back.
    #[cfg(feature = "rest-api")]
    Rotate(rotate::Options),
}

fn main() -> ExitCode {
    process::end_children_when_told_to_end();
    let result = match Arguments::parse().command {
        Command::Dev { port, persist_to } => dev::run(port, &persist_to),
        Command::Test => test::run(),
        #[cfg(feature = "rest-api")]
        Command::Storm { seconds, seed } => storm::run(seconds, seed),
        Command::Bench { quick, only } => bench::run(quick, only.as_deref()),
        Command::Build => build::run(),
        // Its failure is a code of its own: 1 says that something is wrong with what it looked at.
        Command::Doctor(options) => match doctor::run(&options) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => return told(&error, 2),
        },
        Command::Deploy(options) => match deploy::run(&options) {
            Ok(true) => Ok(()),
            // What is wrong was told, with the way back.
            Ok(false) => return ExitCode::from(3),
            Err(error) => Err(error),
        },
        #[cfg(feature = "rest-api")]
        Command::Rotate(options) => rotate::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => told(&error, 1),
    }
}

fn told(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("\nerror: {error:#}");
    ExitCode::from(code)
}
