//! The figures, with the method that made them.

use crate::output::{Output, Rows};

use super::driver::Shape;
use super::meter::Cost;

/// What one deletion made the database write.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    pub log_bytes: f64,
    pub commits: f64,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Figures {
    pub plan: &'static str,
    pub ledger: &'static str,
    pub security: &'static str,
    pub in_flight: usize,
    pub saturated: Shape,
    pub half_load: Shape,
    pub alone: Shape,
    pub costs: Vec<Cost>,
    /// Log bytes and commits of a deletion; only PostgreSQL keeps account of them.
    pub writes: Option<Writes>,
    pub limit: Shape,
    /// Of the disk under the temporary folder, when everything was measured.
    pub flush_ms: f64,
}

impl Figures {
    /// How near the whole job comes to the database's own limit.
    fn ratio(&self) -> f64 {
        self.saturated.per_second() / self.limit.per_second()
    }
}

/// Prints the figures as asked, and the method that made them.
pub fn print(figures: &Figures, output: Output) -> anyhow::Result<()> {
    eprintln!("{}", method(figures));
    output.write(&json(figures), &tables(figures))
}

fn method(figures: &Figures) -> String {
    format!(
        "plan {}, {}, {} on loopback; driver, participants, coordinator and database share this machine. A deletion counts \
         from the request (at a fixed rate: from its intended start) until PURGED is heard on a watch stream.",
        figures.plan, figures.ledger, figures.security
    )
}

fn json(figures: &Figures) -> serde_json::Value {
    let shape = |shape: &Shape| {
        serde_json::json!({
            "deletions": shape.count,
            "deletions_per_second": shape.per_second(),
            "p50_ms": shape.p50_ms,
            "p99_ms": shape.p99_ms,
        })
    };
    let cost = |cost: &Cost| {
        serde_json::json!({
            "process": cost.process,
            "cpu_seconds_per_thousand": cost.cpu_seconds_per_thousand,
            "peak_mebibytes": cost.peak_mebibytes,
        })
    };
    serde_json::json!({
        "method": method(figures),
        "plan": figures.plan,
        "ledger": figures.ledger,
        "security": figures.security,
        "in_flight": figures.in_flight,
        "saturated": shape(&figures.saturated),
        "half_load": shape(&figures.half_load),
        "one_at_a_time": shape(&figures.alone),
        "costs": figures.costs.iter().map(cost).collect::<Vec<_>>(),
        "log_bytes_per_deletion": figures.writes.map(|writes| writes.log_bytes),
        "commits_per_deletion": figures.writes.map(|writes| writes.commits),
        "database_only_per_second": figures.limit.per_second(),
        "ratio_to_database_only": figures.ratio(),
        "disk_flush_ms": figures.flush_ms,
    })
}

fn tables(figures: &Figures) -> [Rows; 3] {
    let mut shapes = Rows::new("Deletions", &["SHAPE", "DELETIONS/S", "P50 MS", "P99 MS"]);
    let mut shape = |name: String, shape: &Shape| {
        let rate = format!("{:.0}", shape.per_second());
        shapes.push([
            name,
            rate,
            format!("{:.2}", shape.p50_ms),
            format!("{:.2}", shape.p99_ms),
        ]);
    };
    shape(
        format!("closed loop, {} in flight", figures.in_flight),
        &figures.saturated,
    );
    shape("half of that rate".to_owned(), &figures.half_load);
    shape("one at a time".to_owned(), &figures.alone);
    let mut costs = Rows::new(
        "Closed loop, by process",
        &["PROCESS", "CPU S PER 1,000", "PEAK MIB"],
    );
    for cost in &figures.costs {
        let cpu = format!("{:.3}", cost.cpu_seconds_per_thousand);
        costs.push([
            cost.process.to_owned(),
            cpu,
            format!("{:.0}", cost.peak_mebibytes),
        ]);
    }
    let mut ledger = Rows::new("Ledger", &["FIGURE", "VALUE"]);
    if let Some(writes) = figures.writes {
        ledger.push([
            "WAL bytes a deletion".to_owned(),
            format!("{:.0}", writes.log_bytes),
        ]);
        ledger.push([
            "commits a deletion".to_owned(),
            format!("{:.4}", writes.commits),
        ]);
    }
    let limit = format!("{:.0}", figures.limit.per_second());
    ledger.push(["database only, group commit, deletions/s".to_owned(), limit]);
    ledger.push([
        "the whole job reaches of that".to_owned(),
        format!("{:.2}", figures.ratio()),
    ]);
    ledger.push([
        "a flush of this disk, p50 ms".to_owned(),
        format!("{:.3}", figures.flush_ms),
    ]);
    [shapes, costs, ledger]
}
