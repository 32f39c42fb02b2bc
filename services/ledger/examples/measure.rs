//! What a ledger can do on this machine: `measure URL [deletions] [in flight]`, on a database that can be thrown away.

use anyhow::Context;
use farewell_ledger::limit::group_commit_limit;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let url = args.next().context("measure URL [deletions] [in flight]")?;
    let deletions = args.next().map_or(Ok(100_000), |text| text.parse())?;
    let in_flight = args.next().map_or(Ok(1_024), |text| text.parse())?;
    let ledger = farewell_ledger::connect(&url).await?;
    let limit = group_commit_limit(&*ledger, deletions, in_flight).await?;
    println!(
        "{} deletions, {in_flight} in flight: {:.2} s, {:.0} a second",
        limit.deletions,
        limit.elapsed.as_secs_f64(),
        limit.per_second()
    );
    Ok(())
}
