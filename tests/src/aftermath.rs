//! What must be true when everything is over, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_kit::{Answer, Outcome};
use farewell_ledger::Ledger;
use farewell_proto::deletion::v1::{GetCertificateRequest, LegState, State};

use crate::caller::Caller;
use crate::holder::{Holder, ROWS_HELD};
use crate::load::Promised;
use crate::process::PARTICIPANTS;
use crate::{audit, wait};

/// How long the rest may take once everybody is back.
const FINISH_MAX: Duration = Duration::from_secs(60);

/// Opens each participant's database and gives these accounts something to lose.
pub async fn furnish(folder: &Path, accounts: &[&[String]]) -> Result<()> {
    for name in PARTICIPANTS {
        let holder = Holder::open(folder, name).await?;
        for some in accounts {
            holder.give(some).await?;
        }
    }
    Ok(())
}

/// Waits until everything that was promised is purged.
pub async fn finish(caller: &Caller, promised: &Promised) -> Result<()> {
    let mut open = usize::MAX;
    let finished = wait::until_within(FINISH_MAX, "everything to be purged", async || {
        let Ok(purged) = caller.list(&[State::Purged]).await else {
            return Ok(None);
        };
        open = promised.len().saturating_sub(purged.len());
        Ok((purged.len() >= promised.len()).then_some(()))
    });
    if let Err(error) = finished.await {
        let all = caller.list(&[]).await?;
        let stuck = all.iter().find(|it| it.state() != State::Purged);
        let stuck = match stuck {
            Some(stuck) => Some(caller.get(&stuck.name).await?),
            None => None,
        };
        return Err(error.context(format!("{open} are open, for instance {stuck:#?}")));
    }
    Ok(())
}

/// Looks at everything: the API, the ledger, and each participant's own record.
pub async fn check(
    caller: &Caller,
    kept: &dyn Ledger,
    folder: &Path,
    promised: &Promised,
    bystanders: &[String],
) -> Result<()> {
    // Nothing that was acknowledged is lost, nothing that was not asked for is there.
    assert_eq!(audit::sound(kept).await?, promised.len());
    let mut deletions = BTreeMap::new();
    for (account, (request, name)) in promised {
        let again = caller
            .ask(request.clone())
            .await
            .map_err(|status| anyhow!("{status:?}"))?;
        assert_eq!(again.name, *name, "the same request gets the same answer");
        let deletion = caller.get(name).await?;
        assert_eq!(deletion.state(), State::Purged);
        assert_eq!(deletion.account, format!("accounts/{account}"));
        assert!(
            deletion.close_time.is_some() && deletion.conditions.is_empty(),
            "{deletion:?}"
        );
        for leg in &deletion.legs {
            assert_eq!(leg.state(), LegState::Done, "{leg:?}");
            let expected = match leg.verb.as_str() {
                "SEAL" => "SEALED",
                "ERASE" => "ERASED",
                _ => "CLEAN",
            };
            assert_eq!(leg.outcome, expected, "{leg:?}");
            if leg.verb == "ERASE" {
                // Whoever had erased twice would have counted nothing the second time.
                assert_eq!(leg.counts.get("rows"), Some(&ROWS_HELD), "{leg:?}");
            }
        }
        assert_eq!(deletion.legs.len(), 3 * PARTICIPANTS.len());
        deletions.insert(name.clone(), account.clone());
    }
    let some = promised.values().next().context("a promise")?;
    let request = GetCertificateRequest {
        name: some.1.clone(),
    };
    let certificate = caller
        .api
        .clone()
        .get_certificate(request)
        .await?
        .into_inner();
    ensure!(!certificate.document.is_empty(), "a certificate");

    for participant in PARTICIPANTS {
        let holder = Holder::open(folder, participant).await?;
        let mut spared = bystanders.to_vec();
        spared.sort();
        assert_eq!(
            holder.holds().await?,
            spared,
            "{participant}: nobody else was touched"
        );
        let acted = holder.acted().await?;
        let commands: BTreeSet<_> = acted.iter().map(|one| one.command.as_str()).collect();
        assert_eq!(
            commands.len(),
            acted.len(),
            "{participant}: every command took effect once"
        );
        for one in &acted {
            let (name, rest) = one
                .command
                .split_once("/commands/")
                .context("a command's name")?;
            let account = deletions.get(name);
            assert_eq!(
                account,
                Some(&one.account),
                "{participant} acted on somebody else: {one:?}"
            );
            assert_eq!(rest, format!("1-{}-{participant}", one.verb));
        }
        for (name, account) in &deletions {
            for (verb, outcome) in [("seal", Outcome::Sealed), ("erase", Outcome::Erased)] {
                let command = format!("{name}/commands/1-{verb}-{participant}");
                assert!(
                    commands.contains(command.as_str()),
                    "{command} was never carried out"
                );
                let answer = holder.answer(&command, account).await?;
                let Some(Answer::Done(done)) = answer else {
                    return Err(anyhow!("{command} was answered {answer:?}"));
                };
                assert_eq!(done.outcome, outcome, "{command}");
                let rows = (verb == "erase").then_some(ROWS_HELD);
                assert_eq!(done.counts.get("rows").copied(), rows, "{command}");
            }
        }
    }
    Ok(())
}
