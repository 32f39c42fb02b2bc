//! What a run costs: CPU and memory of processes from the kernel's accounts, log and commits from the database's.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use sqlx::{Connection, PgConnection, Row};

use super::as_f64;

/// The kernel counts CPU time in hundredths of a second on every Linux that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process whose cost is counted, with its children.
#[derive(Clone, Debug)]
pub struct Process {
    pub label: &'static str,
    pub pid: u32,
    /// Whether children are counted, as of PostgreSQL's postmaster.
    pub tree: bool,
}

/// What a run cost in one process.
#[derive(Clone, Debug)]
pub struct Cost {
    pub process: &'static str,
    pub cpu_seconds_per_thousand: f64,
    pub peak_mebibytes: f64,
}

/// What processes have used so far.
pub struct Bill(Vec<(Process, f64)>);

impl Bill {
    /// From now on.
    pub fn open(processes: impl IntoIterator<Item = Process>) -> Self {
        let processes = processes.into_iter().map(|process| {
            let before = cpu_seconds(&process);
            (process, before)
        });
        Self(processes.collect())
    }

    /// What `units` of work have cost until now.
    pub fn close(self, units: u64) -> Vec<Cost> {
        let cost = |(process, before): (Process, f64)| Cost {
            process: process.label,
            cpu_seconds_per_thousand: (cpu_seconds(&process) - before) * 1_000.0 / as_f64(units),
            peak_mebibytes: peak_mebibytes(process.pid),
        };
        self.0.into_iter().map(cost).collect()
    }
}

/// CPU seconds that a process and, if asked, its children have used.
fn cpu_seconds(process: &Process) -> f64 {
    let mut pids = vec![process.pid];
    if process.tree {
        pids.extend(children(process.pid));
    }
    // Of children that have ended, the parent's account tells.
    pids.iter()
        .map(|pid| ticks(*pid, process.tree && *pid == process.pid))
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// The most memory that a process has held, in MiB.
pub fn peak_mebibytes(pid: u32) -> f64 {
    mebibytes(pid, "VmHWM:")
}

/// The memory that a process holds, in MiB.
pub fn resident_mebibytes(pid: u32) -> f64 {
    mebibytes(pid, "VmRSS:")
}

fn mebibytes(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<f64>().ok());
    kibibytes.unwrap_or(0.0) / 1024.0
}

fn ticks(pid: u32, with_ended: bool) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let number = |place: usize| {
        fields
            .get(place)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    // utime and stime are the 14th and 15th fields, of which two stand before the parenthesis; cutime and cstime follow.
    let own = number(11) + number(12);
    if with_ended {
        own + number(13) + number(14)
    } else {
        own
    }
}

fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))
                .unwrap_or_default();
            let ppid = stat
                .rsplit_once(')')
                .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
            ppid == Some(parent)
        })
        .collect()
}

/// How long the disk under `folder` takes to flush 8 kB that were appended to a file: the middle of many, in ms. It bounds
/// whatever is measured one at a time, and differs between machines by a factor of a hundred.
pub fn flush_ms(folder: &Path) -> std::io::Result<f64> {
    const FLUSHES: usize = 300;
    let mut file = tempfile::tempfile_in(folder)?;
    let mut taken = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        file.write_all(&[0x5a; 8_192])?;
        let since = Instant::now();
        file.sync_data()?;
        taken.push(since.elapsed());
    }
    taken.sort_unstable();
    Ok(taken[FLUSHES / 2].as_secs_f64() * 1_000.0)
}

/// PostgreSQL's own accounts.
#[derive(Clone, Copy, Debug)]
pub struct Database {
    pub log_bytes: f64,
    pub commits: f64,
}

/// The server of a `postgres://` URL, if it runs on this machine.
pub async fn postmaster(url: &str) -> Option<Process> {
    let mut connection = PgConnection::connect(url).await.ok()?;
    let row = sqlx::query("SELECT pg_backend_pid()")
        .fetch_one(&mut connection)
        .await
        .ok()?;
    let backend: i32 = row.try_get(0).ok()?;
    let stat = fs::read_to_string(format!("/proc/{backend}/stat")).ok()?;
    let pid = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()?;
    Some(Process {
        label: "postgres",
        pid,
        tree: true,
    })
}

/// Reads the database's accounts, if it keeps any.
pub async fn database(url: &str) -> Option<Database> {
    let read = async {
        let mut connection = PgConnection::connect(url).await.ok()?;
        // A backend reports what it committed when it is idle: give the lanes a moment.
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        let row = sqlx::query(
            "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::float8, \
             (SELECT sum(xact_commit)::float8 FROM pg_stat_database WHERE datname = current_database())",
        )
        .fetch_one(&mut connection)
        .await
        .ok()?;
        Some(Database {
            log_bytes: row.try_get(0).ok()?,
            commits: row.try_get(1).ok()?,
        })
    };
    if url.starts_with("postgres") {
        read.await
    } else {
        None
    }
}
