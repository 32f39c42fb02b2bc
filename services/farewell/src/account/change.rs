//! How an account stands, and what it is changed to: frozen, thawed, kept in memory and back, without a real name or
//! personalised advertising.

use anyhow::Context as _;
use clap::Subcommand;
use farewell_proto::account::v1::{
    Account, AccountChange, AccountChangeKind, AccountChangeLeg, AccountChangeState, AccountChoice,
    CheckRealNameClearingRequest, CheckRealNameClearingResponse, ClearRealNameRequest, Explanation,
    FreezeAccountRequest, GetAccountChangeRequest, GetAccountRequest, MemorializeAccountRequest,
    ReviewRealNameClearingRequest, SendAccountCodeRequest, StopPersonalizationRequest,
    UnfreezeAccountRequest, UnmemorializeAccountRequest, VerifyAccountFactorRequest,
    WatchAccountChangeRequest,
};
use farewell_proto::deletion::v1::{Channel, Factor};
use serde_json::{Value, json};

use super::why;
use crate::client::Connection;
use crate::deletion::request::{self, Id};
use crate::deletion::{account_name, prefixed, view};
use crate::output::{Output, Rows};
use crate::secret::secret;

/// `farewell account get`, `freeze` and the others.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say how an account stands, and what may be asked of it.
    Get {
        /// The account's id
        account: String,
    },
    /// Keep everything, and let nobody log in.
    Freeze {
        /// The account's id
        account: String,
        #[command(flatten)]
        id: Id,
    },
    /// Ask for the end of a freeze; then `send-code` and `verify` prove it.
    Unfreeze {
        /// The account's id
        account: String,
        /// Where the person asks: phone, web
        #[arg(long, value_parser = request::channel)]
        channel: Channel,
        #[command(flatten)]
        id: Id,
    },
    /// Keep the account of a person who has died, on a case of the support desk.
    Memorialize {
        /// The account's id
        account: String,
        /// The case that approves it: cases/CASE
        #[arg(long)]
        case: String,
        #[command(flatten)]
        id: Id,
    },
    /// Take a memorial back that was a mistake, on a case of the support desk. Its owner thaws the account then.
    Unmemorialize {
        /// The account's id
        account: String,
        /// The case that approves it: cases/CASE
        #[arg(long)]
        case: String,
        #[command(flatten)]
        id: Id,
    },
    /// Stop personalised advertising: what is known of the person for it is erased, and no more is gathered.
    StopPersonalization {
        /// The account's id
        account: String,
        #[command(flatten)]
        id: Id,
    },
    /// Say what would lapse with the real name, and what stands in the way of clearing it.
    CheckRealName {
        /// The account's id
        account: String,
    },
    /// Ask for the real name to be cleared; then `send-code` and `verify` prove it.
    ClearRealName {
        /// The account's id
        account: String,
        /// Where the person asks: phone, web
        #[arg(long, value_parser = request::channel)]
        channel: Channel,
        /// Version of the text about what lapses that the person agreed to
        #[arg(long, value_name = "VERSION")]
        consent: u32,
        #[command(flatten)]
        id: Id,
    },
    /// End the review of a clearing with the case that approves it.
    Review {
        /// The change: accounts/ACCOUNT/changes/ID
        name: String,
        /// The case that approves it: cases/CASE
        #[arg(long)]
        case: String,
    },
    /// Have a code sent to the account's owner.
    SendCode {
        /// The change: accounts/ACCOUNT/changes/ID
        name: String,
        /// sms-code, email-code
        #[arg(long, value_parser = request::factor)]
        factor: Factor,
        #[command(flatten)]
        id: Id,
    },
    /// Prove a factor with a code or password from standard input.
    Verify {
        /// The change: accounts/ACCOUNT/changes/ID
        name: String,
        /// sms-code, email-code, password
        #[arg(long, value_parser = request::factor)]
        factor: Factor,
        #[command(flatten)]
        id: Id,
    },
    /// Say how far a change is, and what each participant did.
    Change {
        /// The change: accounts/ACCOUNT/changes/ID
        name: String,
    },
    /// Follow a change until it is over.
    Watch {
        /// The change: accounts/ACCOUNT/changes/ID
        name: String,
    },
}

/// Carries out one command.
///
/// Errors: what the coordinator says.
pub async fn run(command: Command, connection: &Connection, output: Output) -> anyhow::Result<()> {
    let mut client = connection.accounts().await?;
    let change = match command {
        Command::Get { account } => {
            let name = account_name(&account);
            let request = connection.request(GetAccountRequest { name });
            let account = client.get_account(request).await?.into_inner().account;
            return show_account(&account.context("an answer without an account")?, output);
        }
        Command::CheckRealName { account } => {
            let account = account_name(&account);
            let request = connection.request(CheckRealNameClearingRequest { account });
            let found = client.check_real_name_clearing(request).await?;
            return show_clearing(&found.into_inner(), output);
        }
        Command::SendCode { name, factor, id } => {
            let request = SendAccountCodeRequest {
                request_id: id.or_new(),
                name,
                factor: factor.into(),
            };
            let sent = client
                .send_account_code(connection.request(request))
                .await?;
            let sent = sent.into_inner();
            let expires = view::time(sent.expire_time.as_ref());
            let next = view::time(sent.next_send_time.as_ref());
            let mut rows = Rows::new("", &["code expires", "next code"]);
            let value = json!({ "expire_time": expires, "next_send_time": next });
            rows.push([expires, next]);
            return output.write(&value, &[rows]);
        }
        Command::Watch { name } => {
            let request = WatchAccountChangeRequest { name };
            let watch = client.watch_account_change(connection.endless(request));
            let mut told = watch.await?.into_inner();
            let mut last = None;
            while let Some(told) = told.message().await? {
                if let Some(change) = told.change {
                    let owed = change.legs.iter().filter(|leg| leg.done_time.is_none());
                    eprintln!("{}, {} to be told", state(&change), owed.count());
                    last = Some(change);
                }
            }
            last
        }
        Command::Freeze { account, id } => {
            let request = FreezeAccountRequest {
                request_id: id.or_new(),
                account: account_name(&account),
            };
            let answer = client.freeze_account(connection.request(request)).await?;
            answer.into_inner().change
        }
        Command::Unfreeze {
            account,
            channel,
            id,
        } => {
            let request = UnfreezeAccountRequest {
                request_id: id.or_new(),
                account: account_name(&account),
                channel: channel.into(),
            };
            let answer = client.unfreeze_account(connection.request(request)).await?;
            answer.into_inner().change
        }
        Command::Memorialize { account, case, id } => {
            let request = MemorializeAccountRequest {
                request_id: id.or_new(),
                account: account_name(&account),
                case: prefixed("cases/", &case),
            };
            let answer = client.memorialize_account(connection.request(request));
            answer.await?.into_inner().change
        }
        Command::Unmemorialize { account, case, id } => {
            let request = UnmemorializeAccountRequest {
                request_id: id.or_new(),
                account: account_name(&account),
                case: prefixed("cases/", &case),
            };
            let answer = client.unmemorialize_account(connection.request(request));
            answer.await?.into_inner().change
        }
        Command::StopPersonalization { account, id } => {
            let request = StopPersonalizationRequest {
                request_id: id.or_new(),
                account: account_name(&account),
            };
            let answer = client.stop_personalization(connection.request(request));
            answer.await?.into_inner().change
        }
        Command::ClearRealName {
            account,
            channel,
            consent,
            id,
        } => {
            let request = ClearRealNameRequest {
                request_id: id.or_new(),
                account: account_name(&account),
                channel: channel.into(),
                lapse_consent_version: consent,
            };
            let answer = client.clear_real_name(connection.request(request)).await?;
            answer.into_inner().change
        }
        Command::Review { name, case } => {
            let case = prefixed("cases/", &case);
            let request = ReviewRealNameClearingRequest { name, case };
            let answer = client.review_real_name_clearing(connection.request(request));
            answer.await?.into_inner().change
        }
        Command::Verify { name, factor, id } => {
            let request = VerifyAccountFactorRequest {
                request_id: id.or_new(),
                name,
                factor: factor.into(),
                proof: secret("code or password")?,
            };
            let answer = client.verify_account_factor(connection.request(request));
            answer.await?.into_inner().change
        }
        Command::Change { name } => {
            let request = connection.request(GetAccountChangeRequest { name });
            client
                .get_account_change(request)
                .await?
                .into_inner()
                .change
        }
    };
    show_change(&change.context("an answer without a change")?, output)
}

fn show_account(account: &Account, output: Output) -> anyhow::Result<()> {
    let state = view::bare(account.state().as_str_name(), "ACCOUNT_STATE_");
    let standing = view::bare(account.standing().as_str_name(), "ACCOUNT_STANDING_");
    let since = view::time(account.standing_time.as_ref());
    let stopped = view::time(account.personalization_stop_time.as_ref());
    let choices: Vec<_> = account
        .choices()
        .map(|choice| view::bare(AccountChoice::as_str_name(&choice), "ACCOUNT_CHOICE_"))
        .collect();
    let mut head = Rows::new(
        "",
        &[
            "account",
            "state",
            "standing",
            "since",
            "no personalised advertising since",
            "deletion",
            "choices",
        ],
    );
    head.push([
        account.name.clone(),
        state.to_owned(),
        standing.to_owned(),
        since.clone(),
        stopped.clone(),
        account.deletion.clone(),
        choices.join(" "),
    ]);
    let mut changes = Rows::new("changes", CHANGE);
    account
        .changes
        .iter()
        .for_each(|change| changes.push(row(change)));
    let value = json!({
        "name": account.name,
        "state": state,
        "standing": standing,
        "standing_time": since,
        "personalization_stop_time": stopped,
        "deletion": account.deletion,
        "choices": choices,
        "changes": account.changes.iter().map(value).collect::<Vec<_>>(),
    });
    output.write(&value, &[head, changes])
}

fn show_clearing(found: &CheckRealNameClearingResponse, output: Output) -> anyhow::Result<()> {
    let mut head = Rows::new("", &["possible", "review", "in the way"]);
    head.push([
        found.possible.to_string(),
        found.review.to_string(),
        found.obstacles.join(" "),
    ]);
    let mut lapses = Rows::new("would lapse", &["participant", "category", "count"]);
    for lapse in &found.lapses {
        for (category, count) in &lapse.lapses {
            lapses.push([
                lapse.participant.clone(),
                category.clone(),
                count.to_string(),
            ]);
        }
    }
    let value = json!({
        "possible": found.possible,
        "review": found.review,
        "obstacles": found.obstacles,
        "explanations": why::values(&found.explanations),
        "lapses": found.lapses.iter().map(|lapse| json!({
            "participant": lapse.participant,
            "lapses": lapse.lapses,
        })).collect::<Vec<_>>(),
    });
    output.write(&value, &[head, why::rows(&found.explanations), lapses])
}

/// Of a change, in whichever table.
const CHANGE: &[&str] = &["name", "kind", "state", "since", "reasons", "to be proved"];

fn show_change(change: &AccountChange, output: Output) -> anyhow::Result<()> {
    let mut head = Rows::new("", CHANGE);
    head.push(row(change));
    let mut legs = Rows::new(
        "participants",
        &["participant", "done", "lapsed", "waits for"],
    );
    for leg in &change.legs {
        legs.push([
            leg.participant.clone(),
            done(leg),
            lapsed(leg),
            leg.waits_for.clone(),
        ]);
    }
    output.write(
        &value(change),
        &[head, why::rows(explanations(change)), legs],
    )
}

/// Why it was refused, and what it waits for.
fn explanations(change: &AccountChange) -> impl Iterator<Item = &Explanation> {
    let waits = change
        .legs
        .iter()
        .filter_map(|leg| leg.explanation.as_ref());
    change.explanations.iter().chain(waits)
}

fn row(change: &AccountChange) -> [String; 6] {
    [
        change.name.clone(),
        kind(change).to_owned(),
        state(change).to_owned(),
        view::time(change.state_time.as_ref()),
        change.reasons.join(" "),
        outstanding(change).join(" "),
    ]
}

/// What is still to be proved; of a code and a link by mail either is enough.
fn outstanding(change: &AccountChange) -> Vec<&'static str> {
    if change.state() != AccountChangeState::AwaitingVerification {
        return Vec::new();
    }
    let by_mail = |factor: Factor| matches!(factor, Factor::EmailCode | Factor::EmailLink);
    let proved = |factor: Factor| {
        let mut verified = change.factors_verified();
        verified.any(|it| it == factor || (by_mail(it) && by_mail(factor)))
    };
    let left = change.factors_required().filter(|factor| !proved(*factor));
    left.map(factor_name).collect()
}

fn factor_name(factor: Factor) -> &'static str {
    view::bare(Factor::as_str_name(&factor), "FACTOR_")
}

fn value(change: &AccountChange) -> Value {
    json!({
        "name": change.name,
        "kind": kind(change),
        "state": state(change),
        "reasons": change.reasons,
        "explanations": why::values(explanations(change)),
        "create_time": view::time(change.create_time.as_ref()),
        "state_time": view::time(change.state_time.as_ref()),
        "expire_time": view::time(change.expire_time.as_ref()),
        "factors_required": change.factors_required().map(factor_name).collect::<Vec<_>>(),
        "factors_verified": change.factors_verified().map(factor_name).collect::<Vec<_>>(),
        "case": change.case,
        "legs": change.legs.iter().map(|leg| json!({
            "participant": leg.participant,
            "done_time": view::time(leg.done_time.as_ref()),
            "lapsed": leg.lapsed,
            "gone": leg.gone,
            "waits_for": leg.waits_for,
        })).collect::<Vec<_>>(),
    })
}

fn done(leg: &AccountChangeLeg) -> String {
    let time = view::time(leg.done_time.as_ref());
    if leg.gone {
        format!("{time} (erased before)")
    } else {
        time
    }
}

fn lapsed(leg: &AccountChangeLeg) -> String {
    let mut lapsed: Vec<_> = leg.lapsed.iter().collect();
    lapsed.sort();
    let each = lapsed
        .iter()
        .map(|(category, count)| format!("{count} {category}"));
    each.collect::<Vec<_>>().join(", ")
}

/// What was asked for, as a word.
pub fn kind(change: &AccountChange) -> &'static str {
    view::bare(
        AccountChangeKind::as_str_name(&change.kind()),
        "ACCOUNT_CHANGE_KIND_",
    )
}

fn state(change: &AccountChange) -> &'static str {
    view::bare(
        AccountChangeState::as_str_name(&change.state()),
        "ACCOUNT_CHANGE_STATE_",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_must_prove_something_sees_what_is_left_of_it() {
        let mut change = AccountChange {
            state: AccountChangeState::AwaitingVerification.into(),
            factors_required: [Factor::EmailCode, Factor::Password, Factor::EmailLink]
                .map(Into::into)
                .to_vec(),
            ..Default::default()
        };
        assert_eq!(
            outstanding(&change),
            ["EMAIL_CODE", "PASSWORD", "EMAIL_LINK"]
        );
        change.factors_verified = vec![Factor::EmailLink.into()];
        assert_eq!(outstanding(&change), ["PASSWORD"]);
        change.set_state(AccountChangeState::Expired);
        assert!(outstanding(&change).is_empty());
    }
}
