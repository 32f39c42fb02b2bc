//! Identity's part in a deletion.

use std::time::SystemTime;

use async_trait::async_trait;
use farewell_kit::clearing;
use farewell_kit::export::{LeftOut, Part, Table, Tables, why};
use farewell_kit::seal::{self, Begun};
use farewell_kit::standing::{self, Kept};
use farewell_kit::store::Store;
use farewell_kit::{
    AccountDescription, Answer, Blocker, CheckEligibility, CheckProof, ClearRealName, CodeSent,
    Deferred, Done, Fault, IdentifierKind, IdentifierStanding, Inventory, Letters, Notice, Order,
    Outcome, Participant, ProofChecked, ProofKind, Quarantine, RealNameCleared, ReleaseIdentifier,
    Released, SendCode, SetStanding, Standing, StandingKept,
};
use farewell_runtime::shutdown::Shutdown;
use sqlx::AnyConnection;

use crate::carrying::Carrying;
use crate::code;
use crate::courier::Couriers;
use crate::credential::{self, Hasher};
use crate::pepper::Pepper;
use crate::rules::Rules;
use crate::{
    account, case, contact, eligibility, grant, guardian, holding, language, link, login, notice,
    proof, quarantine, realname, release,
};

/// What an account's owner may take along, in this order.
const EXPORTED: &[&Table] = &[
    &account::EXPORT,
    &contact::EXPORT,
    &contact::EARLIER,
    &contact::CHANGES,
    &realname::EXPORT,
    &language::EXPORT,
    &guardian::EXPORT,
    &login::EXPORT,
    &grant::EXPORT,
    &notice::EXPORT,
    &notice::LETTERS,
];

/// What stays: what proves who somebody is, also hashed, and cases, which are security's or the legal department's.
const LEFT_OUT: &[LeftOut] = &[
    ("credentials", why::PROVES_IDENTITY),
    ("codes", why::PROVES_IDENTITY),
    ("proofs", why::PROVES_IDENTITY),
    ("revoke_links", why::PROVES_IDENTITY),
    ("cases", why::UNDER_INQUIRY),
];

/// Takes part in deletions for identity.
#[derive(Clone, Debug)]
pub struct Identity {
    store: Store,
    couriers: Couriers,
    carrying: Carrying,
    pepper: Pepper,
    hasher: Hasher,
    rules: Rules,
    notices: notice::Config,
}

impl Identity {
    /// On an open database.
    pub fn new(store: Store, couriers: Couriers, pepper: Pepper, rules: Rules) -> Self {
        Self {
            store,
            couriers,
            carrying: Carrying::default(),
            pepper,
            hasher: Hasher::default(),
            rules,
            notices: notice::Config::default(),
        }
    }

    /// Writes notices in this way.
    #[must_use]
    pub fn with_notices(self, notices: notice::Config) -> Self {
        Self { notices, ..self }
    }

    /// Carries letters until `shutdown`.
    pub(crate) async fn deliver(self, shutdown: Shutdown) {
        let by = (self.couriers, self.pepper);
        let delivery = self.carrying.delivery().clone();
        notice::run(self.store, by, self.notices, delivery, shutdown).await;
    }

    /// Returns when no letter is under way any more.
    pub(crate) async fn carried(&self) {
        self.carrying.ended().await;
    }

    async fn send_code_at(&self, request: &SendCode, now: SystemTime) -> Result<CodeSent, Fault> {
        code::send(
            &self.store,
            (&self.couriers, &self.carrying),
            &self.pepper,
            (&self.rules.codes, &self.notices),
            request,
            now,
        )
        .await
    }

    async fn check_proof_at(
        &self,
        request: &CheckProof,
        now: SystemTime,
    ) -> Result<ProofChecked, Fault> {
        if request.kind == ProofKind::RevokeLink {
            return link::check(&self.store, &self.pepper, request, now).await;
        }
        proof::check(
            &self.store,
            &self.pepper,
            &self.hasher,
            &self.rules,
            request,
            now,
        )
        .await
    }
}

#[async_trait]
impl Participant for Identity {
    async fn recall(&self, order: &Order) -> Result<Option<Answer>, Fault> {
        seal::recall(&self.store, order).await
    }

    async fn seal(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::close(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        login::end(work.tx(), &order.account).await?;
        work.finish(Done::new(Outcome::Sealed)).await
    }

    async fn unseal(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::lift(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        // Another seal brings them back when it is lifted, and a freeze has ended them for good.
        if work.is_free().await? {
            login::resume(work.tx(), &order.account).await?;
        }
        guardian::disagree(work.tx(), &order.account).await?;
        work.finish(Done::new(Outcome::Unsealed)).await
    }

    async fn act(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::erase(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        // A case that was opened past the point of no return: what is left of the evidence is here.
        if let Some(reason) = case::open(work.tx(), &order.account).await? {
            return Ok(Answer::Refused {
                reason,
                detail: "a case about the account is open: close it, then ask again".to_owned(),
            });
        }
        // Nothing is done yet: what was begun is dropped with the answer.
        if let Some(retry_after) =
            notice::last_words(work.tx(), &order.account, SystemTime::now()).await?
        {
            return Ok(Answer::Deferred(Deferred {
                retry_after,
                reason: "WAITING_FOR_LAST_LETTERS".to_owned(),
                done: 0,
                total: 0,
            }));
        }
        let deletion = deletion(order);
        let whose = (deletion, order.account.as_str());
        let now = seal::erased_at(order, SystemTime::now());
        quarantine::keep(work.tx(), &self.pepper, &order.retention, whose, now).await?;
        let counts = erase(work.tx(), &order.account).await?;
        let retained = quarantine::retained(work.tx(), deletion).await?;
        work.finish(seal::erased(counts, retained)).await
    }

    async fn probe(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::look(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let held = holding::held(work.tx(), &order.account).await?;
        let retained = quarantine::retained(work.tx(), deletion(order)).await?;
        work.finish(seal::found(&held, retained)).await
    }

    async fn expire(&self, order: &Order) -> Result<Answer, Fault> {
        let mut work = match seal::expire(&self.store, order).await? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Open(work) => work,
        };
        let ended_by = match seal::ended_by(order, SystemTime::now()) {
            Ok(ended_by) => ended_by,
            Err(not_yet) => return Ok(not_yet),
        };
        quarantine::end(work.tx(), &order.retention, deletion(order)).await?;
        let ended = quarantine::expire(work.tx(), deletion(order), ended_by).await?;
        let retained = quarantine::retained(work.tx(), deletion(order)).await?;
        work.finish(seal::expired(ended, retained)).await
    }

    async fn eligibility(&self, request: &CheckEligibility) -> Result<Vec<Blocker>, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        Ok(eligibility::blockers(&mut connection, request, SystemTime::now()).await?)
    }

    async fn inventory(&self, account: &str) -> Result<Inventory, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        Ok(holding::held(&mut connection, account).await?)
    }

    async fn export_part(&self, account: &str, after: &str) -> Result<Part, Fault> {
        Tables::new(&self.store, EXPORTED)
            .leaving_out(LEFT_OUT)
            .part(account, after)
            .await
    }

    async fn set_standing(&self, request: &SetStanding) -> Result<StandingKept, Fault> {
        let mut tx = self.store.pool().begin().await?;
        let kept = standing::keep_in(&mut tx, request).await?;
        // One that comes late says nothing about who is logged in now.
        if let Kept::Now(before) = kept {
            // While it is known who is signed in.
            let now = SystemTime::now();
            notice::tell_standing(&mut tx, &self.notices, request, before, now).await?;
            if request.standing != Standing::Active {
                login::end_for_good(&mut tx, &request.account).await?;
            }
        }
        tx.commit().await?;
        self.carrying.delivery().wake();
        Ok(kept.into())
    }

    async fn clear_real_name(&self, request: &ClearRealName) -> Result<RealNameCleared, Fault> {
        let mut work = match clearing::begin(&self.store, request).await? {
            clearing::Begun::Answered(answer) => return Ok(answer),
            clearing::Begun::Open(work) => work,
        };
        let obstacles = realname::needed_for(work.tx(), &request.account).await?;
        let records = realname::erase(work.tx(), &request.account).await?;
        work.finish([("real_names", records)], obstacles).await
    }

    async fn describe_account(&self, account: &str) -> Result<AccountDescription, Fault> {
        let mut connection = self.store.pool().acquire().await?;
        Ok(account::describe(&mut connection, account).await?)
    }

    async fn send_code(&self, request: &SendCode) -> Result<CodeSent, Fault> {
        self.send_code_at(request, SystemTime::now()).await
    }

    async fn check_proof(&self, request: &CheckProof) -> Result<ProofChecked, Fault> {
        self.check_proof_at(request, SystemTime::now()).await
    }

    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        let written = (&self.notices, &self.pepper);
        notice::keep(&self.store, written, notice, SystemTime::now()).await?;
        self.carrying.delivery().wake();
        Ok(())
    }

    async fn check_identifier(
        &self,
        kind: IdentifierKind,
        value: &str,
    ) -> Result<IdentifierStanding, Fault> {
        quarantine::check(&self.store, &self.pepper, kind, value, SystemTime::now()).await
    }

    async fn release_identifier(&self, request: &ReleaseIdentifier) -> Result<Released, Fault> {
        release::release(&self.store, &self.pepper, request, SystemTime::now()).await
    }

    async fn quarantine(&self, page_size: u32, page: &str) -> Result<Quarantine, Fault> {
        release::list(&self.store, &self.pepper, page_size, page).await
    }

    async fn letters(&self) -> Result<Letters, Fault> {
        Ok(Letters {
            last_failure: self.carrying.delivery().last_failure(),
            ..notice::count(&self.store).await?
        })
    }
}

/// Work is only begun for commands that say their deletion.
fn deletion(order: &Order) -> &str {
    seal::deletion_of(&order.command).unwrap_or_default()
}

/// The account's own row goes last.
pub(crate) async fn erase(
    connection: &mut AnyConnection,
    account: &str,
) -> Result<[(&'static str, u64); 13], sqlx::Error> {
    Ok([
        ("proofs", proof::erase(connection, account).await?),
        ("codes", code::erase(connection, account).await?),
        ("notices", notice::erase(connection, account).await?),
        ("revoke_links", link::erase(connection, account).await?),
        ("languages", language::erase(connection, account).await?),
        ("real_names", realname::erase(connection, account).await?),
        (
            "third_party_grants",
            grant::erase(connection, account).await?,
        ),
        ("guardianships", guardian::erase(connection, account).await?),
        (
            "contact_changes",
            contact::erase_changes(connection, account).await?,
        ),
        ("logins", login::erase(connection, account).await?),
        ("contacts", contact::erase(connection, account).await?),
        ("credentials", credential::erase(connection, account).await?),
        ("accounts", account::erase(connection, account).await?),
    ])
}

#[cfg(test)]
mod tests;
