//! One binary, every role: `farewell --help` lists them.

use std::process::ExitCode;

use clap::Parser as _;
use farewell::{Cli, failure, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
