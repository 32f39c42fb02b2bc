//! An account is frozen, thawed, kept in memory, or loses its real name: and stays.

mod fields;
mod freezes;
mod hanging;
mod names;
mod town;

use anyhow::{Result, anyhow};
use farewell_proto::account::v1::{
    AccountChange, ClearRealNameRequest, FreezeAccountRequest, UnfreezeAccountRequest,
};
use farewell_proto::deletion::v1::Channel as Door;
use farewell_tests::caller::fresh;
use farewell_tests::wait;
use tonic::{Code, Status};
use town::Town;

const ACCOUNT: &str = "a-4711";
const NOBODY: &str = "a-4712";
const PASSWORD: &str = "a farewell to arms";
const CASE: &str = "cases/01900000-0000-7000-8000-00000000000a";

/// What a community's case would be: approved for nothing.
const OTHER_CASE: &str = "cases/01900000-0000-7000-8000-00000000000b";

fn told(change: Option<AccountChange>) -> Result<AccountChange, Status> {
    change.ok_or_else(|| Status::internal("no change in the answer"))
}

fn freezing() -> FreezeAccountRequest {
    FreezeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
    }
}

fn thawing() -> UnfreezeAccountRequest {
    UnfreezeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
        channel: Door::Phone.into(),
    }
}

fn clearing() -> ClearRealNameRequest {
    ClearRealNameRequest {
        request_id: fresh(),
        account: format!("accounts/{ACCOUNT}"),
        channel: Door::Phone.into(),
        lapse_consent_version: 2,
    }
}

fn owing(change: &AccountChange) -> Vec<&str> {
    let owed = change.legs.iter().filter(|leg| leg.done_time.is_none());
    owed.map(|leg| leg.participant.as_str()).collect()
}

/// Asks until participants are connected.
async fn frozen(town: &Town, request: &FreezeAccountRequest) -> Result<AccountChange> {
    let frozen = wait::until("a freeze", async || match town.freeze(request).await {
        Ok(change) => Ok(Some(change)),
        Err(status) if status.code() == Code::Unavailable => Ok(None),
        Err(status) => Err(anyhow!("{status:?}")),
    });
    frozen.await
}
