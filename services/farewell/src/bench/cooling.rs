//! How much memory the coordinator holds while deletions cool off: none of it should be theirs.

use std::sync::Arc;

use farewell_proto::deletion::v1::State;
use farewell_proto::operator::v1::ParticipantOverview;
use serde_json::json;

use super::driver::{Driver, strangers};
use super::rig::Rig;
use super::{Load, Plan, as_f64, meter, participants};
use crate::output::{Output, Rows};

/// How often memory is read.
const STEPS: u64 = 10;
/// Memory with so many deletions cooling off.
struct Step {
    cooling: u64,
    mebibytes: f64,
}

/// Opens deletions that nobody goes on with, and reads the coordinator's memory on the way.
pub async fn run(load: &Load, output: Output) -> anyhow::Result<()> {
    let plan = Plan::Cooling;
    let mut rig = Rig::up(plan, load.ledger.as_deref(), load.plain).await?;
    let participants = participants::start(&mut rig, plan).await?;
    let coordinator = rig.coordinator.process()?.pid;
    let security = rig.security("driver")?;
    let driver = Driver::connect(&rig.callers, &security, State::CoolingOff, strangers());
    let driver = Arc::new(driver.await?);
    let mut steps = Vec::new();
    for step in 1..=STEPS {
        let cooling = load.deletions * step / STEPS;
        let before = load.deletions * (step - 1) / STEPS;
        driver.closed(cooling - before, load.in_flight).await?;
        let sealed = |desks: &[ParticipantOverview]| {
            let open = |desk: &ParticipantOverview| desk.outstanding + desk.waiting + desk.deferred;
            desks.iter().all(|desk| open(desk) == 0)
        };
        rig.until("the seals were not set in time", sealed).await?;
        let mebibytes = meter::resident_mebibytes(coordinator);
        eprintln!("{cooling} cooling off: {mebibytes:.1} MiB");
        steps.push(Step { cooling, mebibytes });
    }
    drop(driver);
    participants.end().await?;
    rig.down().await?;
    print(&steps, output)
}

fn print(steps: &[Step], output: Output) -> anyhow::Result<()> {
    let method = "Deletions with the default policy's whole plan are asked for, are sealed by eight participants and then \
                  wait; resident memory of the coordinator's process, SQLite included where it is the ledger.";
    eprintln!("{method}");
    // From the first step on, as the process itself and its caches are there by then.
    let growth = match steps {
        [first, .., last] => {
            (last.mebibytes - first.mebibytes) * 1_048_576.0 / as_f64(last.cooling - first.cooling)
        }
        _ => 0.0,
    };
    let mut rows = Rows::new("Memory", &["COOLING OFF", "COORDINATOR MIB"]);
    for step in steps {
        rows.push([step.cooling.to_string(), format!("{:.1}", step.mebibytes)]);
    }
    let mut summary = Rows::new("Growth", &["FIGURE", "VALUE"]);
    summary.push([
        "bytes for each deletion more".to_owned(),
        format!("{growth:.0}"),
    ]);
    let json_step = |step: &Step| json!({"cooling_off": step.cooling, "mebibytes": step.mebibytes});
    let value = json!({
        "method": method,
        "steps": steps.iter().map(json_step).collect::<Vec<_>>(),
        "bytes_per_deletion": growth,
    });
    output.write(&value, &[rows, summary])
}
