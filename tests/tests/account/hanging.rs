//! A change that hangs before anything is done, as somebody doesn't say whether it may be.

use anyhow::{Result, anyhow};
use farewell_proto::account::v1::AccountChangeState as Told;
use farewell_tests::ledger::Place;
use farewell_tests::process::needed;
use farewell_tests::wait;
use tonic::Code;

use super::town::{EVERYBODY, Town};
use super::{clearing, owing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_no_answer_about_a_change_is_named_to_operators_until_it_does() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let mut town = Town::start(&program, Place::sqlite()?, false).await?;
    for name in ["store", "support", "identity"] {
        town.run(name).await?;
    }
    let change = wait::until("a request", async || match town.clear(&clearing()).await {
        Ok(change) => Ok(Some(change)),
        Err(status) if status.code() == Code::Unavailable => Ok(None),
        Err(status) => Err(anyhow!("{status:?}")),
    })
    .await?;
    town.prove(&change.name).await?;
    let operator = town.site.operator()?;
    let silent = ["cloud", "community"];
    let hanging = wait::until("both to be named", async || {
        let hanging = operator.overview().await?.account_changes.pop();
        Ok(hanging.filter(|it| owing(it) == silent))
    })
    .await?;
    assert_eq!(
        (&hanging.name, hanging.state()),
        (&change.name, Told::Checking)
    );
    let alarm = wait::until("an alarm that names them", async || {
        let mut alarms = town.alarms().into_iter();
        Ok(alarms.find(|it| it.contains("owed=[\"cloud\", \"community\"]")))
    })
    .await?;
    assert!(alarm.contains("asked=true"), "{alarm}");

    // Who answers is named no longer, and with the last one it goes on.
    town.run("community").await?;
    wait::until("one of them", async || {
        let hanging = operator.overview().await?.account_changes.pop();
        Ok(hanging.filter(|it| owing(it) == ["cloud"]))
    })
    .await?;
    town.run("cloud").await?;
    let done = town.until(&change.name, Told::Done).await?;
    assert_eq!(done.legs.len(), EVERYBODY.len());
    town.end().await
}
