//! The command line of `cargo xtask`.

use std::{alloc::System, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use xtask::{bench, build, deploy, dev, doctor, process, size, test};
#[cfg(feature = "rest-api")]
use xtask::{rotate, storm};
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: `dev` runs the local REST API, `doctor` has an API token, `rotate` a new value.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The project's commands. Each fetches the tools that it needs, and may be stopped and run again.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    disable_help_subcommand = true,
    after_help = "From a fresh clone, begin with `cargo xtask dev`.\n\n\
                  Exit codes: 0, done; 1, failed, and the message says what mends it; 2, no such command. \
                  Where there are others, `cargo xtask COMMAND --help` has them."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// In the order in which one comes to need them.
#[derive(Subcommand)]
enum Command {
    /// Run the gateway on this machine, from a fresh clone on
    ///
    /// Tools, build, a local Secrets Store with the values of secrets.dev.toml, a demo upstream, the
    /// Secrets Store REST API, and `wrangler dev` around the Worker. Prints `curl` lines that work, and
    /// then a line for each request. Ctrl-C ends everything.
    Dev {
        /// The port to listen on, if it is free; otherwise another one is taken
        #[arg(long, default_value_t = 8787)]
        port: u16,
        /// The folder of the local Secrets Store
        #[arg(long, value_name = "DIR", default_value = ".wrangler/state")]
        persist_to: PathBuf,
    },
    /// Find what is wrong with bindings and settings
    ///
    /// Compares every binding of wrangler.toml with the store, and the settings with what is bound. The
    /// top level is what `wrangler dev` runs: it is compared with the local store. An [env.*] is for the
    /// account, so that without --remote only its settings and its bindings are compared with each other.
    /// Every finding is a line that ends in what mends it. No value of a secret is asked for or printed.
    ///
    /// Exit code 0: nothing is wrong; 1: something is; 2: it could not look.
    Doctor(doctor::Options),
    /// Check everything: formatting, lints, docs, build, unit and end-to-end tests
    ///
    /// The end-to-end tests run the built Worker on the real runtime. Stops at the first step that fails,
    /// and says what mends it.
    Test,
    /// Build the Worker into build/, as wrangler does by itself
    ///
    /// It is the build command of wrangler.toml: `npx wrangler dev` and `npx wrangler deploy` run it.
    Build,
    /// Bring an environment live, checked before and after
    ///
    /// Doctor with the account, `cargo xtask test`, `wrangler deploy`, a look at what runs, and the way
    /// back. Reads CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID, as doctor and wrangler do, and the
    /// token of an admin of the Worker from GATEWAY_ADMIN_TOKEN, or asks for it.
    ///
    /// Exit code 0: it is ready; 1: nothing was deployed; 3: it is deployed, and not ready.
    Deploy(deploy::Options),
    /// Replace a secret while requests go on
    ///
    /// Writes a new value, and keeps the one before beside it until --finish; --undo goes back. Works
    /// through the running Worker's REST API, as an admin: the token is read from GATEWAY_ADMIN_TOKEN, or
    /// asked for. The new value is asked for, or read from standard input. Broken off anywhere, it is run
    /// again and goes on.
    ///
    /// Exit code 0: it is where it was to be brought; 1: it is not, and the message says how to go on.
    #[cfg(feature = "rest-api")]
    Rotate(rotate::Options),
    /// Measure what a request costs, beside JavaScript and a bare pass-through
    ///
    /// A table, and docs/bench/. Takes some six minutes, on a machine that does nothing else.
    Bench {
        /// Under a minute, with less to be relied upon; writes nothing
        #[arg(long)]
        quick: bool,
        /// Only the scenarios with this in their name; writes nothing
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Tell how large the upload is, and what makes it so
    ///
    /// The tests fail where it is larger than it may be.
    Size,
    /// Throw generated requests, valid and hostile, at the real runtime
    ///
    /// Secrets change and upstreams misbehave meanwhile. Checks each answer, and tells what it tried.
    #[cfg(feature = "rest-api")]
    Storm {
        /// For how long
        #[arg(long, value_name = "N", default_value_t = 120)]
        seconds: u64,
        /// Which requests; a random one, which is printed, where it is left out
        #[arg(long, value_name = "S")]
        seed: Option<u64>,
    },
}

fn main() -> ExitCode {
    process::end_children_when_told_to_end();
    let result = match Arguments::parse().command {
        Command::Dev { port, persist_to } => dev::run(port, &persist_to),
        Command::Test => test::run(),
        #[cfg(feature = "rest-api")]
        Command::Storm { seconds, seed } => storm::run(seconds, seed),
        Command::Bench { quick, only } => bench::run(quick, only.as_deref()),
        Command::Size => size::run(),
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn each_command_has_one_line_in_the_list_and_no_line_of_help_is_over_long() {
        let mut arguments = Arguments::command();
        arguments.build();
        let list = arguments.render_help().to_string();
        for command in arguments.get_subcommands_mut() {
            let name = command.get_name();
            let has_name = |line: &&str| line.trim_start().starts_with(&format!("{name} "));
            let line = list.lines().find(has_name).unwrap_or_default();
            assert!(line.ends_with(&command.get_about().unwrap_or_default().to_string()), "{line}");
            let help = command.render_long_help().to_string();
            let too_long = list.lines().chain(help.lines()).find(|it| it.chars().count() > 100);
            assert_eq!(too_long, None);
        }
    }
}
