//! cargo-generate as a program, as its own `main` is: for the tests, without what it takes to install.

use cargo_generate::Cli;
use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    let Cli::Generate(arguments) = Cli::parse();
    cargo_generate::generate(arguments).map(drop)
}
