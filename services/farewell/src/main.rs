//! One binary, every role: `farewell --help` lists them.

use std::process::ExitCode;

use farewell::{Cli, failure, run};

/// Deletions are many small, short-lived allocations on several threads: the C library's allocator costs a tenth more CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::of_arguments()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
