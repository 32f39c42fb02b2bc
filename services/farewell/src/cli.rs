//! The command line: which words there are, and who carries them out.

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use futures_util::future::BoxFuture;

use crate::output::{Format, Output};
use crate::settings::{Line, Name, Source};
use crate::{
    account, bench, calendar, certs, deletion, demo, device, examples, identifier, operator,
    policy, role, sample, support,
};

const AFTER_HELP: &str = "\
Results go to standard output, progress and errors to standard error. Tables are drawn on a
terminal only; elsewhere a row is a line of values separated by tabs, below a line of headings
if there are several columns.
Scripts are better off with -o json: its keys stay as they are, and columns may be joined by others.

Exit codes:
  0  done
  1  any other error
  2  wrong usage or configuration
  3  not found
  4  refused: the state of things does not allow it
  5  unavailable or too late: try again
  6  invalid argument
  7  not allowed, or nobody knows who is asking";

/// Deletes an account everywhere: every product line, every service, every device, and proves it.
#[derive(Debug, Parser)]
#[command(name = "farewell", version, after_long_help = AFTER_HELP, after_help = "Exit codes: see --help")]
pub struct Cli {
    /// How results are written.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// What this process was called with. Ends it where that is help, or no command line.
    pub fn of_arguments() -> Self {
        let matches = examples::shown(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Delete an account before your eyes: starts everything, on one machine, with nothing to install.
    Demo(demo::Args),
    /// Run a coordinator.
    Coordinator(Source),
    /// Run the agent of a product line.
    Agent {
        line: Line,
        #[command(flatten)]
        source: Source,
    },
    /// Run a service that holds an account's data.
    Service {
        service: Name,
        #[command(flatten)]
        source: Source,
    },
    /// Ask for deletions, follow them, take them back.
    Deletion(deletion::Args),
    /// What is asked of an account besides deleting it: a copy of everything, a freeze, its real name cleared.
    Account(account::Args),
    /// Unbind one device; the account stays.
    Device(device::Args),
    /// Whether a name, number or address may be given to a new account.
    Identifier(identifier::Args),
    /// What waits, and for whom.
    Operator(operator::Args),
    /// The support desk: cases, documents, decisions of two.
    Support(support::Args),
    /// Policies: what is shipped, and whether another can be used.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Calendars: what is built in, and whether one of your own can be used.
    #[command(subcommand)]
    Calendar(calendar::Command),
    /// Make a development authority and a certificate for every role.
    Certs(certs::Args),
    /// Give an account data in the services' databases, to try things out.
    Sample(sample::Args),
    /// Bind simulated phones, watches and hubs to an account and let them live until a signal.
    Fleet(role::fleet::Args),
    /// Measure how fast deletions go.
    #[command(subcommand)]
    Bench(bench::Command),
}

/// Carries out a command line.
///
/// Errors: anything; [`crate::failure`] has words and an exit code for each.
pub fn run(cli: Cli) -> BoxFuture<'static, anyhow::Result<()>> {
    // Boxed, so that everything is compiled with this library and the binary is only its shell.
    Box::pin(carry_out(cli))
}

async fn carry_out(cli: Cli) -> anyhow::Result<()> {
    let output = Output::new(cli.output);
    match cli.command {
        Command::Demo(args) => Box::pin(demo::run(args, output)).await,
        Command::Deletion(args) => deletion::run(args, output).await,
        Command::Account(args) => account::run(args, output).await,
        Command::Device(args) => device::run(args, output).await,
        Command::Identifier(args) => identifier::run(args, output).await,
        Command::Operator(args) => operator::run(args, output).await,
        Command::Support(args) => support::run(args, output).await,
        Command::Policy(command) => policy::run(command, output),
        Command::Calendar(command) => calendar::run(command, output),
        Command::Certs(args) => certs::run(args, output),
        Command::Coordinator(source) => role::coordinator::run(&source).await,
        Command::Agent { line, source } => role::agent::run(line, &source).await,
        Command::Service { service, source } => role::service::run(service, &source).await,
        Command::Sample(args) => sample::run(args, output).await,
        Command::Fleet(args) => role::fleet::run(args, output).await,
        Command::Bench(command) => bench::run(command, output).await,
    }
}
