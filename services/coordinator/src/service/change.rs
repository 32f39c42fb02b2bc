//! How an account stands, and what is asked of it besides its deletion.
//!
//! Who answers for what: a freeze harms nobody and can be taken back, so that the word of a caller that has logged the owner
//! in is enough. A thaw and the clearing of a real name are proved, by the same codes and passwords and within the same limits
//! as a deletion. To memorialise an account, or to take that back, takes a case of the support desk. To be left alone by
//! personalised advertising is a right that nobody has to prove anything for.

use std::str::FromStr;

use farewell_core::account::{self, Account, Ask, Event, Kind, Leg, Outcome, Standing, State};
use farewell_core::policy::{Channel, Factor, Factors};
use farewell_core::{AccountId, Deletion, DeletionId, RequestId};
use farewell_ledger::Filter;
use farewell_proto::account::v1 as api;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use farewell_runtime::peer::Peer;
use prost::Message;
use tonic::{Code, Status};

use super::case::{self, CaseName};
use super::looking::Watched;
use super::{parse, proof, remember};
use crate::accounts;
use crate::center::Center;
use crate::error;
use crate::wire::{factor_to_wire, timestamp};

/// How often a write is repeated that lost to another one.
const RACES_MAX: u32 = 8;

/// `accounts/{account}/changes/{change}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub account: AccountId,
    pub change: RequestId,
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let rest = text.strip_prefix("accounts/").ok_or(())?;
        let (account, change) = rest.split_once("/changes/").ok_or(())?;
        Ok(Self {
            account: account.parse().map_err(drop)?,
            change: change.parse().map_err(drop)?,
        })
    }
}

/// A change's name.
pub fn name(text: &str) -> Result<Name, Status> {
    text.parse()
        .map_err(|()| error::invalid("name", "must be accounts/{account}/changes/{change}"))
}

/// An account as it stands.
pub async fn get(center: &Center, id: &AccountId) -> Result<api::Account, Status> {
    let live = Filter {
        states: farewell_core::State::LIVE_CODES.to_vec(),
        account: Some(id.clone()),
        unmoved_since: None,
    };
    let (described, stored, live) = tokio::join!(
        describe(center, id),
        center.ledger.account(id),
        center.ledger.list(&live, None, 1)
    );
    let unread = |error| error::ledger(&error);
    let (described, stored, live) = (described?, stored.map_err(unread)?, live.map_err(unread)?);
    let account = stored.unwrap_or_else(|| Account::new(id.clone()));
    let live = live.first();
    let state = state(&account, live, described.frozen_by_security);
    Ok(api::Account {
        name: format!("accounts/{}", id.as_str()),
        state: state.into(),
        standing: standing(account.standing).into(),
        standing_time: account.since.map(timestamp),
        deletion: live.map_or_else(String::new, |live| format!("deletions/{}", live.id)),
        choices: choices(state, live.is_some(), &account),
        personalization_stop_time: account.personalization_stopped.map(timestamp),
        changes: account
            .changes
            .iter()
            .rev()
            .map(|change| present(id, change))
            .collect(),
    })
}

/// One change as it stands.
pub async fn look(center: &Center, name: &Name) -> Result<api::AccountChange, Status> {
    let stored = center.ledger.account(&name.account).await;
    shown(
        stored.map_err(|error| error::ledger(&error))?.as_ref(),
        name,
    )
}

impl Watched for Name {
    type Seen = api::AccountChange;
    type Told = api::WatchAccountChangeResponse;

    async fn look(&self, center: &Center) -> Result<Self::Seen, Status> {
        look(center, self).await
    }

    fn is_over(seen: &Self::Seen, _: &Center) -> bool {
        is_over(seen)
    }

    fn told(seen: Self::Seen) -> Self::Told {
        api::WatchAccountChangeResponse { change: Some(seen) }
    }
}

/// Freezes the account.
pub async fn freeze(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::FreezeAccountRequest,
) -> Result<api::AccountChange, Status> {
    let name = asked(&request.request_id, &request.account)?;
    center.throttle.account(peer, &name.account)?;
    let ask = ask(
        center,
        &name,
        Kind::Freeze,
        parse::digest("FreezeAccount", request),
    );
    known(center, &name.account).await?;
    take(center, &name, ask).await
}

/// Asks for a thaw, to be proved.
pub async fn unfreeze(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::UnfreezeAccountRequest,
) -> Result<api::AccountChange, Status> {
    let name = asked(&request.request_id, &request.account)?;
    let channel = parse::channel(request.channel())?;
    let ask = Ask {
        channel: Some(channel),
        factors: factors(center, channel)?,
        ..ask(
            center,
            &name,
            Kind::Unfreeze,
            parse::digest("UnfreezeAccount", request),
        )
    };
    center.throttle.account(peer, &name.account)?;
    take(center, &name, ask).await
}

/// Memorialises the account.
pub async fn memorialize(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::MemorializeAccountRequest,
) -> Result<api::AccountChange, Status> {
    let name = asked(&request.request_id, &request.account)?;
    let case = CaseName::parse("case", &request.case)?;
    center.throttle.account(peer, &name.account)?;
    let digest = parse::digest("MemorializeAccount", request);
    let ask = Ask {
        case: Some(case.to_string()),
        ..ask(center, &name, Kind::Memorialize, digest)
    };
    known(center, &name.account).await?;
    take_on_case(center, &name, ask, (case, case::Action::Memorialize)).await
}

/// Takes a memorial back.
pub async fn unmemorialize(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::UnmemorializeAccountRequest,
) -> Result<api::AccountChange, Status> {
    let name = asked(&request.request_id, &request.account)?;
    let case = CaseName::parse("case", &request.case)?;
    center.throttle.account(peer, &name.account)?;
    let digest = parse::digest("UnmemorializeAccount", request);
    let ask = Ask {
        case: Some(case.to_string()),
        ..ask(center, &name, Kind::Unmemorialize, digest)
    };
    known(center, &name.account).await?;
    take_on_case(center, &name, ask, (case, case::Action::Unmemorialize)).await
}

/// Stops personalised advertising.
pub async fn stop_personalization(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::StopPersonalizationRequest,
) -> Result<api::AccountChange, Status> {
    let name = asked(&request.request_id, &request.account)?;
    center.throttle.account(peer, &name.account)?;
    let digest = parse::digest("StopPersonalization", request);
    let ask = ask(center, &name, Kind::StopPersonalization, digest);
    known(center, &name.account).await?;
    let account = stored(center, &name.account).await?;
    if account.change(name.change).is_none() && is_sealed(center, &name.account).await? {
        return Err(error::precondition(
            "ACCOUNT_SEALED",
            "a deletion is under way: it erases the same",
            Default::default(),
        ));
    }
    take(center, &name, ask).await
}

/// Whether a deletion that is verified is under way.
async fn is_sealed(center: &Center, id: &AccountId) -> Result<bool, Status> {
    let waits = farewell_core::State::LIVE_CODES[0];
    let live = farewell_core::State::LIVE_CODES.into_iter();
    let sealing = Filter {
        states: live.filter(|code| *code != waits).collect(),
        account: Some(id.clone()),
        unmoved_since: None,
    };
    let found = center.ledger.list(&sealing, None, 1).await;
    Ok(!found.map_err(|error| error::ledger(&error))?.is_empty())
}

/// Asks for the real name to be cleared, to be proved.
pub async fn clear_real_name(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::ClearRealNameRequest,
) -> Result<api::AccountChange, Status> {
    let name = asked(&request.request_id, &request.account)?;
    let channel = parse::channel(request.channel())?;
    if request.lapse_consent_version == 0 {
        return Err(error::invalid(
            "lapse_consent_version",
            "must be at least 1",
        ));
    }
    let ask = Ask {
        channel: Some(channel),
        consent: Some(request.lapse_consent_version),
        factors: factors(center, channel)?,
        ..ask(
            center,
            &name,
            Kind::ClearRealName,
            parse::digest("ClearRealName", request),
        )
    };
    center.throttle.account(peer, &name.account)?;
    take(center, &name, ask).await
}

/// What would lapse with the real name.
pub async fn check_clearing(
    center: &Center,
    account: &AccountId,
) -> Result<api::CheckRealNameClearingResponse, Status> {
    let review = center.plans.current().policy().real_name_review;
    let found = accounts::check_clearing(center, account).await;
    let unanswered = |_| (vec!["PARTICIPANT_UNREACHABLE".to_owned()], Vec::new());
    let (obstacles, lapses) = found.unwrap_or_else(unanswered);
    let lapses = lapses
        .into_iter()
        .map(|(participant, lapses)| api::RealNameLapse {
            participant: participant.to_string(),
            lapses,
        });
    Ok(api::CheckRealNameClearingResponse {
        possible: obstacles.is_empty(),
        obstacles,
        lapses: lapses.collect(),
        review,
        explanations: Vec::new(),
    })
}

/// Ends a review with the case that approves the clearing.
pub async fn review(
    center: &Center,
    request: &api::ReviewRealNameClearingRequest,
) -> Result<api::AccountChange, Status> {
    let name = name(&request.name)?;
    let case = CaseName::parse("case", &request.case)?;
    let approved = Event::Approved {
        case: case.to_string(),
    };
    let (account, change) = read(center, &name).await?;
    // Whether it may be approved at all, before the approval is used up.
    let next = account.step(change.id, approved.clone(), center.clock.now());
    if next.map_err(refused)? != account {
        let used_for = case::Use::Request(name.change);
        case::check(
            center,
            &name.account,
            case,
            case::Action::ClearRealName,
            used_for,
        )
        .await?;
        step(center, &name, &approved).await?;
    }
    attended(center, &name).await
}

/// Has a code sent.
pub async fn send_code(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::SendAccountCodeRequest,
) -> Result<api::SendAccountCodeResponse, Status> {
    let key = parse::request_id(&request.request_id)?;
    let name = name(&request.name)?;
    let factor = parse::factor(request.factor())?;
    let channel = proof::channel(factor)?;
    center.throttle.account(peer, &name.account)?;
    let (_, change) = read(center, &name).await?;
    awaits(&change, factor)?;
    seen_once(center, key, "SendAccountCode", request, &name).await?;
    let subject = proof::Subject {
        account: &name.account,
        name: &format!("requests/{}", name.change.0),
        request_id: &request.request_id,
    };
    let reply = proof::send(center, &subject, channel).await?;
    Ok(api::SendAccountCodeResponse {
        expire_time: reply.expire_time,
        next_send_time: reply.next_send_time,
    })
}

/// Proves one factor.
pub async fn verify(
    center: &Center,
    peer: Option<&Peer>,
    request: &api::VerifyAccountFactorRequest,
) -> Result<api::AccountChange, Status> {
    let key = parse::request_id(&request.request_id)?;
    let name = name(&request.name)?;
    let factor = parse::factor(request.factor())?;
    parse::proof(&request.proof)?;
    center.throttle.account(peer, &name.account)?;
    let (_, change) = read(center, &name).await?;
    // The digest leaves the proof out: the coordinator keeps nothing that is derived from it.
    let body = api::VerifyAccountFactorRequest {
        proof: String::new(),
        ..request.clone()
    };
    let proved = change.factors_verified.has(factor);
    if !proved {
        awaits(&change, factor)?;
    }
    seen_once(center, key, "VerifyAccountFactor", &body, &name).await?;
    if !proved {
        let subject = proof::Subject {
            account: &name.account,
            name: &format!("requests/{}", name.change.0),
            request_id: &request.request_id,
        };
        proof::check(center, &subject, factor, &request.proof).await?;
        step(center, &name, &Event::FactorVerified(factor)).await?;
    }
    attended(center, &name).await
}

fn asked(request_id: &str, account: &str) -> Result<Name, Status> {
    Ok(Name {
        change: parse::request_id(request_id)?,
        account: parse::account("account", account)?,
    })
}

/// What takes effect at once, unless more is said.
fn ask(center: &Center, name: &Name, kind: Kind, digest: [u8; 16]) -> Ask {
    let policy = center.plans.current().policy();
    Ask {
        id: name.change,
        digest,
        kind,
        channel: None,
        case: None,
        consent: None,
        factors: Factors::default(),
        expires_at: center.clock.now() + policy.verification,
        participants: policy.participants().cloned().collect(),
    }
}

/// What is proved on a channel. One that asks for nothing proves nothing.
fn factors(center: &Center, channel: Channel) -> Result<Factors, Status> {
    let channels = &center.plans.current().policy().channels;
    let factors: Factors = channels
        .get(&channel)
        .into_iter()
        .flatten()
        .copied()
        .collect();
    if factors == Factors::default() {
        return Err(error::invalid(
            "channel",
            "must be one on which the policy has something proved",
        ));
    }
    Ok(factors)
}

/// What identity knows of the account.
async fn describe(center: &Center, id: &AccountId) -> Result<wire::DescribeAccountReply, Status> {
    let question = Question::DescribeAccount(wire::DescribeAccountQuery {});
    match proof::ask_identity(center, id, question).await? {
        Answer::DescribeAccount(reply) if reply.known => Ok(reply),
        Answer::DescribeAccount(_) => Err(error::coded(
            Code::NotFound,
            "ACCOUNT_NOT_FOUND",
            "there is no such account",
            Default::default(),
        )),
        _ => Err(proof::unreachable_identity()),
    }
}

async fn known(center: &Center, id: &AccountId) -> Result<(), Status> {
    describe(center, id).await.map(drop)
}

/// Makes the change durable, and does at once what can be done.
async fn take(center: &Center, name: &Name, ask: Ask) -> Result<api::AccountChange, Status> {
    let account = stored(center, &name.account).await?;
    if account.change(name.change).is_none() {
        // An id that was used for a deletion, or for another account. Written before the change: a crash in between is made
        // good by the same request.
        remember(center, name.change, ask.digest, DeletionId(name.change.0)).await?;
    }
    write(center, &name.account, |account| {
        account.ask(ask.clone(), center.clock.now())
    })
    .await?;
    attended(center, name).await
}

/// The same with the desk's approval, which is used only for what would be taken.
async fn take_on_case(
    center: &Center,
    name: &Name,
    ask: Ask,
    (case, action): (CaseName, case::Action),
) -> Result<api::AccountChange, Status> {
    let account = stored(center, &name.account).await?;
    let next = account.ask(ask.clone(), center.clock.now());
    if next.map_err(refused)? != account {
        remember(center, name.change, ask.digest, DeletionId(name.change.0)).await?;
        // The same use again is answered the same, so that a crash before the change is written loses no approval.
        let used_for = case::Use::Request(name.change);
        case::check(center, &name.account, case, action, used_for).await?;
    }
    take(center, name, ask).await
}

async fn step(center: &Center, name: &Name, event: &Event) -> Result<Account, Status> {
    write(center, &name.account, |account| {
        account.step(name.change, event.clone(), center.clock.now())
    })
    .await
}

/// Decides on what is stored, and again if somebody else was first.
async fn write(
    center: &Center,
    id: &AccountId,
    decide: impl Fn(&Account) -> Result<Account, account::Refusal>,
) -> Result<Account, Status> {
    for _ in 0..RACES_MAX {
        let account = stored(center, id).await?;
        let next = decide(&account).map_err(refused)?;
        if next == account {
            return Ok(account);
        }
        let kept = center.ledger.keep_account(&next).await;
        if kept.map_err(|error| error::ledger(&error))? {
            center.accounts.notify_one();
            return Ok(next);
        }
    }
    Err(error::unavailable(
        "ACCOUNT_BUSY",
        "others change the account at the same time; the same request may be sent again",
    ))
}

/// Looks after the account once. Whoever is away then is told later.
async fn attended(center: &Center, name: &Name) -> Result<api::AccountChange, Status> {
    let account = accounts::attend(center, &name.account).await;
    shown(
        account.map_err(|error| error::ledger(&error))?.as_ref(),
        name,
    )
}

async fn stored(center: &Center, id: &AccountId) -> Result<Account, Status> {
    let stored = center.ledger.account(id).await;
    let stored = stored.map_err(|error| error::ledger(&error))?;
    Ok(stored.unwrap_or_else(|| Account::new(id.clone())))
}

async fn read(center: &Center, name: &Name) -> Result<(Account, account::Change), Status> {
    let account = stored(center, &name.account).await?;
    let change = account.change(name.change).cloned();
    let change = change.ok_or_else(|| refused(account::Refusal::ChangeNotFound))?;
    Ok((account, change))
}

async fn seen_once(
    center: &Center,
    key: RequestId,
    method: &str,
    body: &impl Message,
    name: &Name,
) -> Result<(), Status> {
    let digest = parse::digest(method, body);
    let kept = remember(center, key, digest, DeletionId(name.change.0)).await;
    kept.map(drop)
}

/// Whether the change waits for this factor.
fn awaits(change: &account::Change, factor: Factor) -> Result<(), Status> {
    if !matches!(change.state, State::AwaitingVerification { .. }) {
        return Err(refused(account::Refusal::IllegalState));
    }
    if !change.factors_required.has(factor) {
        return Err(refused(account::Refusal::FactorNotRequired));
    }
    Ok(())
}

fn refused(refusal: account::Refusal) -> Status {
    use account::Refusal;
    let code = match refusal {
        Refusal::FactorNotRequired => {
            let rule = "must be one that proves this change";
            return error::bad_request(refusal.word(), "factor", rule);
        }
        Refusal::TooManyOpen => return error::exhausted(refusal.word(), refusal.help()),
        Refusal::ChangeNotFound => Code::NotFound,
        Refusal::RequestIdReused | Refusal::ClearingOpen => Code::AlreadyExists,
        Refusal::Memorialized
        | Refusal::IllegalState
        | Refusal::NotFrozen
        | Refusal::NotMemorialized
        | Refusal::NobodyToTell => Code::FailedPrecondition,
    };
    error::coded(code, refusal.word(), refusal.help(), Default::default())
}

fn shown(account: Option<&Account>, name: &Name) -> Result<api::AccountChange, Status> {
    let change = account.and_then(|account| account.change(name.change));
    let change = change.ok_or_else(|| refused(account::Refusal::ChangeNotFound))?;
    Ok(present(&name.account, change))
}

fn state(account: &Account, live: Option<&Deletion>, by_security: bool) -> api::AccountState {
    // Who only waits to be verified has sealed nothing.
    let waits = |live: &Deletion| {
        matches!(
            live.state,
            farewell_core::State::AwaitingVerification { .. }
        )
    };
    match account.standing {
        Standing::Memorialized => api::AccountState::Memorialized,
        _ if by_security => api::AccountState::FrozenBySecurity,
        _ if live.is_some_and(|live| !waits(live)) => api::AccountState::Sealed,
        Standing::Frozen => api::AccountState::Frozen,
        Standing::Active => api::AccountState::Active,
    }
}

const fn standing(standing: Standing) -> api::AccountStanding {
    match standing {
        Standing::Active => api::AccountStanding::Active,
        Standing::Frozen => api::AccountStanding::Frozen,
        Standing::Memorialized => api::AccountStanding::Memorialized,
    }
}

/// The mildest first: who wants to be rid of a device, or of being seen, need not delete everything.
fn choices(state: api::AccountState, live: bool, account: &Account) -> Vec<i32> {
    use api::AccountChoice as Choice;
    let choices: &[Choice] = match (state, live) {
        (api::AccountState::Active, false) => &[
            Choice::UnbindDevice,
            Choice::StopPersonalization,
            Choice::Freeze,
            Choice::ClearRealName,
            Choice::Delete,
        ],
        (api::AccountState::Frozen, false) => &[
            Choice::StopPersonalization,
            Choice::Unfreeze,
            Choice::ClearRealName,
            Choice::Delete,
        ],
        // A seal shows before the freeze beneath it, which outlives a deletion that is taken back.
        (api::AccountState::Sealed | api::AccountState::Frozen, true)
            if account.standing == Standing::Frozen =>
        {
            &[Choice::Unfreeze, Choice::RevokeDeletion]
        }
        (
            api::AccountState::Active | api::AccountState::Sealed | api::AccountState::Frozen,
            true,
        ) => &[Choice::Freeze, Choice::RevokeDeletion],
        (api::AccountState::FrozenBySecurity, _)
        | (api::AccountState::Memorialized, _)
        | (api::AccountState::Sealed, false)
        | (api::AccountState::Unspecified, _) => &[],
    };
    let stopped = account.personalization_stopped.is_some();
    let over = |choice: &&Choice| stopped && **choice == Choice::StopPersonalization;
    let choices = choices.iter().filter(|choice| !over(choice));
    choices.map(|choice| (*choice).into()).collect()
}

/// A change as everybody reads it.
pub fn present(account: &AccountId, change: &account::Change) -> api::AccountChange {
    use api::AccountChangeState as Told;
    let (state, expires, reasons) = match &change.state {
        State::AwaitingVerification { expires_at } => {
            (Told::AwaitingVerification, Some(*expires_at), &[][..])
        }
        State::Checking => (Told::Checking, None, &[][..]),
        State::InReview { expires_at } => (Told::InReview, Some(*expires_at), &[][..]),
        State::Working => (Told::Working, None, &[][..]),
        State::Done => (Told::Done, None, &[][..]),
        State::Refused { reasons } => (Told::Refused, None, &reasons[..]),
        State::Expired => (Told::Expired, None, &[][..]),
        State::Superseded => (Told::Superseded, None, &[][..]),
    };
    let kind = match change.kind {
        Kind::Freeze => api::AccountChangeKind::Freeze,
        Kind::Unfreeze => api::AccountChangeKind::Unfreeze,
        Kind::Memorialize => api::AccountChangeKind::Memorialize,
        Kind::ClearRealName => api::AccountChangeKind::ClearRealName,
        Kind::Unmemorialize => api::AccountChangeKind::Unmemorialize,
        Kind::StopPersonalization => api::AccountChangeKind::StopPersonalization,
    };
    let factors = |factors: Factors| factors.iter().map(|it| factor_to_wire(it).into()).collect();
    api::AccountChange {
        name: format!("accounts/{}/changes/{}", account.as_str(), change.id.0),
        kind: kind.into(),
        state: state.into(),
        reasons: reasons.to_vec(),
        create_time: Some(timestamp(change.requested_at)),
        state_time: Some(timestamp(change.state_at)),
        expire_time: expires.map(timestamp),
        factors_required: factors(change.factors_required),
        factors_verified: factors(change.factors_verified),
        legs: change
            .legs
            .iter()
            .map(|(participant, leg)| present_leg(participant.to_string(), leg))
            .collect(),
        case: change.case.clone().unwrap_or_default(),
        explanations: Vec::new(),
    }
}

fn present_leg(participant: String, leg: &Leg) -> api::AccountChangeLeg {
    let leg = match leg {
        Leg::Owed { waits_for } => api::AccountChangeLeg {
            waits_for: waits_for.clone().unwrap_or_default(),
            ..Default::default()
        },
        Leg::Told { at, outcome } => {
            let (lapsed, gone) = match outcome {
                Outcome::Done { lapsed } => (lapsed.clone().into_iter().collect(), false),
                Outcome::Gone => (Default::default(), true),
            };
            api::AccountChangeLeg {
                done_time: Some(timestamp(*at)),
                lapsed,
                gone,
                ..Default::default()
            }
        }
    };
    api::AccountChangeLeg { participant, ..leg }
}

/// Whether nothing more is waited for.
fn is_over(change: &api::AccountChange) -> bool {
    use api::AccountChangeState as Told;
    match change.state() {
        Told::Unspecified
        | Told::AwaitingVerification
        | Told::Checking
        | Told::InReview
        | Told::Working => false,
        Told::Done | Told::Refused | Told::Expired | Told::Superseded => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_and_nothing_else_is_one() {
        let text = "accounts/a-1/changes/01900000-0000-7000-8000-000000000001";
        let read: Name = text.parse().unwrap();
        assert_eq!(read.account.as_str(), "a-1");
        for bad in [
            "",
            "accounts/a-1",
            "accounts//changes/01900000-0000-7000-8000-000000000001",
            "accounts/a-1/changes/",
            "accounts/a-1/changes/00000000-0000-0000-0000-000000000000",
            "accounts/a b/changes/01900000-0000-7000-8000-000000000001",
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
