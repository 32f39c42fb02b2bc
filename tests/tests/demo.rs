//! The demonstration, as somebody who tries Farewell for the first time runs it; and the binary's manners.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// Short times: the story is the same.
const BRISK: [&str; 4] = ["--cooling-off", "2s", "--away", "5s"];
/// What nobody notices who has a machine for it, ten times over: long enough for a busy one.
const LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

#[test]
fn the_demo_in_one_process_ends_purged_with_a_certificate() -> Result<()> {
    let Some(binary) = binary()? else {
        return Ok(());
    };
    let dir = TempDir::new()?;
    let told = demo(&binary, dir.path(), &[])?;
    holds_what_was_promised(&told, dir.path())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_of_separate_processes_on_postgresql_ends_purged_with_a_certificate() -> Result<()>
{
    let Some(binary) = binary()? else {
        return Ok(());
    };
    let Some(database) = Database::create().await? else {
        return Ok(());
    };
    let dir = TempDir::new()?;
    let folder = dir.path().to_owned();
    let url = database.url.clone();
    let told = tokio::task::spawn_blocking(move || {
        demo(&binary, &folder, &["--processes", "--postgres", &url])
    })
    .await?;
    database.drop().await?;
    holds_what_was_promised(&told?, dir.path())?;
    let files = fs::read_dir(dir.path())?.collect::<Result<Vec<_>, _>>()?;
    let sqlite = files
        .iter()
        .find(|file| file.path().extension().is_some_and(|end| end == "db"));
    ensure!(
        sqlite.is_none(),
        "nothing may be kept beside PostgreSQL: {sqlite:?}"
    );
    Ok(())
}

#[test]
fn a_demo_that_is_killed_takes_its_processes_with_it() -> Result<()> {
    let Some(binary) = binary()? else {
        return Ok(());
    };
    let dir = TempDir::new()?;
    let mut demo = Command::new(binary)
        .args(["demo", "--processes", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let settings = fs::canonicalize(dir.path())?.join("farewell.toml");
    let came = until(|| Ok(roles_of(&settings)?.len() == 9));
    demo.kill()?;
    demo.wait()?;
    came.context("nine roles should run")?;
    until(|| Ok(roles_of(&settings)?.is_empty())).context("they should end with the demo")
}

#[test]
fn every_agent_and_service_may_be_killed_while_devices_are_reset() -> Result<()> {
    let Some(binary) = binary()? else {
        return Ok(());
    };
    let dir = TempDir::new()?;
    let settings = fs::canonicalize(dir.path())?.join("farewell.toml");
    let told = dir.path().join("told.txt");
    let mut demo = Command::new(&binary)
        .args(["demo", "--processes", "--dir"])
        .arg(dir.path())
        // One watch is away until everybody was killed, so that none of it comes too late.
        .args(["--cooling-off", "2s", "--away", "15s"])
        .args(["--phones", "12", "--watches", "8", "--hubs", "3"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&told)?)
        .spawn()?;
    until(|| Ok(fs::read_to_string(&told)?.contains("ERASING")))?;
    let mut again = Vec::new();
    for role in ["agent", "service", "agent"] {
        for path in roles_of(&settings)? {
            let arguments = arguments(&path)?;
            if arguments.get(1).is_some_and(|word| word == role) {
                again.push(kill_and_start_again(&binary, &path, &arguments)?);
                std::thread::sleep(Duration::from_millis(150));
            }
        }
    }
    ensure!(again.len() == 3 + 5 + 3, "{} were killed", again.len());
    let ended = demo.wait()?;
    for mut role in again {
        // The first of them were killed in the second round.
        let _ = role.kill();
        role.wait()?;
    }
    let told = fs::read_to_string(&told)?;
    ensure!(ended.success(), "{ended:?}\n{told}{}", logs(dir.path())?);
    let certificate: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path().join("certificate.json"))?)?;
    let legs = certificate["legs"].as_array().context("legs")?;
    let reset: usize = legs
        .iter()
        .filter(|leg| leg["verb"] == "erase")
        .filter_map(|leg| leg["evidence"]["devices"].as_array())
        .map(Vec::len)
        .sum();
    ensure!(reset == 12 + 8 + 3 * (1 + 3), "{reset} devices: {told}");
    Ok(())
}

/// What a process was started with.
fn arguments(process: &Path) -> Result<Vec<String>> {
    let line = fs::read(process.join("cmdline"))?;
    let words = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    Ok(words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect())
}

/// Whether a process has closed all that it had open: it is no more, or waits for nothing but to be asked how it ended.
fn is_gone(process: &Path) -> bool {
    let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // Behind the program's name, which stands in brackets.
    let state = state
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_none_or(|state| state == 'Z' || state == 'X')
}

/// Kills a role without a word and starts it again, as a supervisor would.
fn kill_and_start_again(binary: &Path, process: &Path, arguments: &[String]) -> Result<Child> {
    let pid = process.file_name().context("a process has a number")?;
    ensure!(Command::new("kill").arg("-9").arg(pid).status()?.success());
    // Its ports are free when it is gone, and not before.
    until(|| Ok(is_gone(process)))?;
    let own = arguments
        .iter()
        .skip(1)
        .filter(|word| *word != "--with-parent");
    Ok(Command::new(binary)
        .args(own)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

#[test]
fn every_mistake_of_a_settings_file_is_said_before_anything_starts() -> Result<()> {
    let Some(binary) = binary()? else {
        return Ok(());
    };
    let dir = TempDir::new()?;
    let file = dir.path().join("farewell.toml");
    fs::write(
        &file,
        "[coordinator]\nledger = \"mysql://x\"\nlisten.callers = \"somewhere\"\npolicy.extends = \"mars\"\n",
    )?;
    let output = Command::new(binary)
        .args(["coordinator", "--config"])
        .arg(file)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2),
        "{:?}: {said}",
        output.status
    );
    for key in [
        "coordinator.ledger",
        "listen.callers",
        "policy.extends",
        "tls.dir",
    ] {
        ensure!(said.contains(key), "{key} is not named: {said}");
    }
    Ok(())
}

#[test]
fn a_script_tells_errors_apart_by_their_exit_code() -> Result<()> {
    let Some(binary) = binary()? else {
        return Ok(());
    };
    let code = |arguments: &[&str]| -> Result<Option<i32>> {
        Ok(Command::new(&binary)
            .args(arguments)
            .output()?
            .status
            .code())
    };
    // Nobody listens on port 1.
    let nobody = ["deletion", "list", "--plain", "--endpoint", "127.0.0.1:1"];
    ensure!(code(&nobody)? == Some(5), "unavailable");
    ensure!(
        code(&["deletion", "list"])? == Some(2),
        "nobody said who asks"
    );
    ensure!(code(&["no-such-word"])? == Some(2), "wrong usage");
    ensure!(code(&["--help"])? == Some(0), "help");
    Ok(())
}

/// Standard output of a demonstration that went well.
fn demo(binary: &Path, dir: &Path, more: &[&str]) -> Result<String> {
    let began = Instant::now();
    let output: Output = Command::new(binary)
        .args(["demo", "--dir"])
        .arg(dir)
        .args(BRISK)
        .args(more)
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{:?} after {:?}\n{told}\n{said}{}",
            output.status,
            began.elapsed(),
            logs(dir)?
        );
    }
    ensure!(began.elapsed() < LIMIT, "took {:?}", began.elapsed());
    Ok(told)
}

/// The last lines that each process wrote.
fn logs(dir: &Path) -> Result<String> {
    let mut text = String::new();
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_some_and(|end| end == "log") {
            let log = fs::read_to_string(&path)?;
            let lines: Vec<&str> = log.lines().rev().take(5).collect();
            text.push_str(&format!("\n{}\n", path.display()));
            text.extend(lines.into_iter().rev().map(|line| format!("  {line}\n")));
        }
    }
    Ok(text)
}

fn holds_what_was_promised(told: &str, dir: &Path) -> Result<()> {
    ensure!(told.contains("PURGED: deletions/"), "{told}");
    for participant in [
        "identity",
        "cloud",
        "store",
        "community",
        "support",
        "phones",
        "wearables",
        "smarthome",
        "devices",
    ] {
        let row = format!("\n{participant}\t");
        ensure!(told.contains(&row), "what became of {participant}? {told}");
    }
    ensure!(told.contains("8 unbound and without data"), "{told}");
    ensure!(told.contains("3 transactions under a pseudonym"), "{told}");

    let certificate: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("certificate.json"))?)?;
    let name = certificate["deletion"]
        .as_str()
        .context("a certificate names its deletion")?;
    ensure!(
        told.contains(name),
        "the certificate is another deletion's: {name}"
    );
    let settled = certificate["legs"].as_array().context("legs")?;
    for verb in ["seal", "erase", "probe"] {
        let count = settled.iter().filter(|leg| leg["verb"] == verb).count();
        ensure!(count == 8, "{count} of 8 participants have settled {verb}");
    }
    Ok(())
}

/// Processes that run a role from this settings file.
fn roles_of(settings: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let path = process?.path();
        // A process may end while it is looked at.
        let Ok(line) = fs::read(path.join("cmdline")) else {
            continue;
        };
        let named = line
            .split(|byte| *byte == 0)
            .any(|argument| argument == settings.as_os_str().as_encoded_bytes());
        if named {
            found.push(path);
        }
    }
    Ok(found)
}

fn until(holds: impl Fn() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !holds()? {
        ensure!(began.elapsed() < LIMIT, "not within {LIMIT:?}");
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The binary under test; `None` with a line if there is none and none is required.
fn binary() -> Result<Option<PathBuf>> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/farewell");
    let given = std::env::var_os("FAREWELL_BIN").map_or(built, PathBuf::from);
    if given.exists() {
        return Ok(Some(given));
    }
    skip(&format!(
        "{} is not built: cargo build -p farewell",
        given.display()
    ))?;
    Ok(None)
}

/// Errors: tests/run has promised that nothing is missing.
fn skip(why: &str) -> Result<()> {
    ensure!(
        std::env::var_os("FAREWELL_TEST_REQUIRED").is_none(),
        "{why}"
    );
    eprintln!("skipped: {why}");
    Ok(())
}

/// A database of one test's own.
struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    /// `None` with a line if there is no server and none is required.
    async fn create() -> Result<Option<Self>> {
        let Some(server) = std::env::var("FAREWELL_TEST_POSTGRES")
            .ok()
            .filter(|url| !url.is_empty())
        else {
            skip("FAREWELL_TEST_POSTGRES is not set")?;
            return Ok(None);
        };
        let name = format!("demo_{}", Uuid::new_v4().simple());
        let (base, rest) = server
            .rsplit_once('/')
            .context("FAREWELL_TEST_POSTGRES names a database")?;
        let options = rest
            .split_once('?')
            .map(|(_, options)| format!("?{options}"))
            .unwrap_or_default();
        let url = format!("{base}/{name}{options}");
        let mut connection = PgConnection::connect(&server).await?;
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await?;
        Ok(Some(Self { server, name, url }))
    }

    async fn drop(self) -> Result<()> {
        let mut connection = PgConnection::connect(&self.server).await?;
        connection
            .execute(AssertSqlSafe(format!(
                "DROP DATABASE {} WITH (FORCE)",
                self.name
            )))
            .await?;
        Ok(())
    }
}
