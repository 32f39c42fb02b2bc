//! What accounts are owed besides deletions: participants are told of a standing, and a real name is cleared, until each has
//! it.
//!
//! The ledger says who is owed what; first try, retry, restart and take-over are one look at it. Whoever asks for something
//! has that look taken at once, and the owner of the account's slot takes it again and again. Two looks at the same time do
//! no harm: participants keep the highest generation and the first answer, and of two who write one is told that it lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use farewell_core::account::{Account, Change, Event, Findings, Kind, Outcome, Standing, State};
use farewell_core::{AccountId, ParticipantId};
use farewell_ledger::account::Place;
use farewell_proto::participant::v1 as wire;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use farewell_runtime::shutdown::Shutdown;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::center::Center;
use crate::lane::chain;
use crate::query::recent_change;
use crate::service::{deletion, proof};
use crate::telling::IDENTITY;

/// Accounts that are read at a time.
const PAGE_ACCOUNTS: u32 = 256;
/// Accounts that are looked at at the same time.
const AT_A_TIME: usize = 16;
/// Between two pages of one pass: others have something to do, too.
const PAGE_PAUSE: Duration = Duration::from_millis(20);
/// How often a look is repeated that lost to another one.
const RACES_MAX: u32 = 8;
/// Words, and categories of what lapses, that one participant may name.
const WORDS_MAX: usize = 64;
/// Longest of them.
const WORD_BYTES_MAX: usize = 64;
/// What a change waits for where a deletion has sealed the account.
const ACCOUNT_SEALED: &str = "ACCOUNT_SEALED";

/// Looks after the accounts of our slots until the shutdown.
pub async fn run(center: Arc<Center>, shutdown: Shutdown) {
    let mut patience = Patience::default();
    let mut after: Option<Place> = None;
    while !shutdown.is_triggered() {
        let slots = center.board().slots();
        let owed = center
            .ledger
            .accounts_owed(&slots, after.as_ref(), PAGE_ACCOUNTS);
        let page = match owed.await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "what accounts are owed can't be read");
                Vec::new()
            }
        };
        after = page
            .last()
            .filter(|_| page.len() == PAGE_ACCOUNTS as usize)
            .and_then(Place::of);
        let mut due = Vec::with_capacity(page.len());
        for account in page {
            due.push(alarmed(&center, account).await);
        }
        due.retain(|account| patience.is_due(&center, account));
        for some in due.chunks(AT_A_TIME) {
            let mut looks = Vec::with_capacity(some.len());
            for account in some {
                looks.push(moves(&center, account));
            }
            for (account, moved) in some.iter().zip(join_all(looks).await) {
                patience.note(&center, account, moved);
            }
        }
        let pause = if after.is_some() {
            PAGE_PAUSE
        } else {
            center.pace.poll
        };
        tokio::select! {
            _ = timeout(pause, center.accounts.notified()) => {}
            () = shutdown.wait() => {}
        }
    }
}

/// The account, once operators were alarmed of each change that hangs, whoever of its participants is there. A crash before that is
/// durable, or somebody else's look at the same time, alarms again.
async fn alarmed(center: &Center, account: Account) -> Account {
    let (now, stalled_after) = (
        center.clock.now(),
        center.plans.current().policy().stalled_after,
    );
    let mut next = account.clone();
    for change in &account.changes {
        if !change.alarm_is_due(stalled_after, now) {
            continue;
        }
        let said = |(participant, waits_for): (&ParticipantId, Option<&str>)| match waits_for {
            Some(word) => format!("{participant}:{word}"),
            None => participant.to_string(),
        };
        let owed: Vec<_> = change.owed().map(said).collect();
        // What is still asked about is owed an answer, and nothing is done.
        let asked = change.state == State::Checking;
        let (id, since) = (change.id.0, change.state_at);
        tracing::warn!(target: "farewell::alarm", change = %id, kind = ?change.kind, asked, ?owed, %since, "ACCOUNT_CHANGE_STALLED");
        if let Ok(alarmed) = next.step(change.id, Event::Alarmed, now) {
            next = alarmed;
        }
    }
    if next.revision == account.revision {
        return account;
    }
    next.revision = account.revision + 1;
    match center.ledger.keep_account(&next).await {
        Ok(true) => next,
        Ok(false) => account,
        Err(error) => {
            tracing::warn!(error = %chain(&error), "an alarm can't be kept");
            account
        }
    }
}

/// Looks after an account; whether anything came of it.
async fn moves(center: &Center, account: &Account) -> bool {
    match attend(center, &account.account).await {
        Ok(next) => next.is_some_and(|next| next.went_on_since(account)),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "an account is left to the next look");
            false
        }
    }
}

/// When those are looked at again who were looked at in vain.
#[derive(Default)]
struct Patience(HashMap<AccountId, (u32, Instant)>);

impl Patience {
    /// Accounts whose tries are remembered; of more, some are tried sooner.
    const KNOWN_MAX: usize = 65_536;

    /// Whether a look may help: somebody who owes something is there, and was not asked a moment ago.
    fn is_due(&self, center: &Center, account: &Account) -> bool {
        let waits = self.0.get(&account.account);
        if waits.is_some_and(|(_, until)| Instant::now() < *until) {
            return false;
        }
        let mut open = account
            .changes
            .iter()
            .filter(|change| !change.state.is_over());
        open.any(|change| {
            let board = center.board();
            change.state != State::Working
                || change
                    .owing()
                    .any(|participant| board.connected(participant.as_str()))
        })
    }

    fn note(&mut self, center: &Center, account: &Account, moved: bool) {
        let id = &account.account;
        if moved {
            self.0.remove(id);
            return;
        }
        if self.0.len() >= Self::KNOWN_MAX {
            self.0.clear();
        }
        let waits = self.0.entry(id.clone()).or_insert((0, Instant::now()));
        waits.0 = waits.0.saturating_add(1);
        waits.1 = Instant::now() + center.pace.retry.after(waits.0, rand::random());
    }
}

/// Does what can be done for an account now. `None`: nothing was ever asked of it.
///
/// Errors: the ledger's. What could not be done is still owed.
pub async fn attend(
    center: &Center,
    id: &AccountId,
) -> Result<Option<Account>, farewell_ledger::Error> {
    let mut lost = 0;
    loop {
        let Some(stored) = center.ledger.account(id).await? else {
            return Ok(None);
        };
        let mut next = work(center, stored.clone()).await;
        if next.revision == stored.revision {
            return Ok(Some(stored));
        }
        // Written as one change, however many steps it took.
        next.revision = stored.revision + 1;
        if center.ledger.keep_account(&next).await? {
            return Ok(Some(next));
        }
        lost += 1;
        if lost == RACES_MAX {
            return center.ledger.account(id).await;
        }
    }
}

/// Each change as far as it goes.
async fn work(center: &Center, mut account: Account) -> Account {
    let open = account
        .changes
        .iter()
        .filter(|change| !change.state.is_over());
    let open: Vec<_> = open.map(|change| change.id).collect();
    for id in open {
        while let Some(change) = account.change(id) {
            let events = events(center, &account, change).await;
            let unanswered = events.iter().any(|it| matches!(it, Event::Unanswered(_)));
            let before = account.revision;
            for event in events {
                match account.step(id, event, center.clock.now()) {
                    Ok(next) => account = next,
                    Err(refusal) => {
                        tracing::warn!(change = %id.0, reason = refusal.word(), "a step was refused");
                    }
                }
            }
            // Whoever gave no answer is asked again with the next look.
            if account.revision == before || unanswered {
                break;
            }
        }
    }
    account
}

/// What can be heard of a change now.
async fn events(center: &Center, account: &Account, change: &Change) -> Vec<Event> {
    match change.state {
        State::AwaitingVerification { .. } | State::InReview { .. } => vec![Event::Tick],
        State::Checking => {
            let found = findings(center, &account.account, change).await;
            match found {
                Ok(findings) => vec![Event::Checked(findings)],
                // Who was silent before is still the one to be named.
                Err(silent) if silent.is_empty() => Vec::new(),
                Err(silent) => vec![Event::Unanswered(silent)],
            }
        }
        State::Working => {
            let owing = change.owing();
            let told = owing.map(|participant| tell(center, account, change, participant));
            join_all(told).await.into_iter().flatten().collect()
        }
        State::Done | State::Refused { .. } | State::Expired | State::Superseded => Vec::new(),
    }
}

/// Who gave no answer; nobody, if only the ledger didn't.
type Silent = Vec<ParticipantId>;

/// What stands in the way. Errors: somebody gave no answer, and silence is never "fine".
async fn findings(
    center: &Center,
    account: &AccountId,
    change: &Change,
) -> Result<Findings, Silent> {
    let policy = center.plans.current().policy();
    let mut found = Findings {
        participants: policy.participants().cloned().collect(),
        ..Findings::default()
    };
    if change.kind == Kind::ClearRealName {
        let (possible, _) = check_clearing(center, account).await?;
        found.obstacles = possible;
        found.review = policy.real_name_review;
    } else {
        let question = Question::DescribeAccount(wire::DescribeAccountQuery {});
        let Ok(Answer::DescribeAccount(described)) =
            proof::ask_identity(center, account, question).await
        else {
            return Err(IDENTITY.parse().into_iter().collect());
        };
        if !described.known {
            found.obstacles.push("UNKNOWN_ACCOUNT".to_owned());
        }
        if described.frozen_by_security && change.kind == Kind::Unfreeze {
            found.obstacles.push("ACCOUNT_FROZEN".to_owned());
        }
    }
    Ok(found)
}

/// What would lapse with a real name, by participant.
pub type Lapses = Vec<(ParticipantId, HashMap<String, i64>)>;

/// What stands in the way of clearing a real name, and what would lapse. Errors: somebody gave no answer.
pub async fn check_clearing(
    center: &Center,
    account: &AccountId,
) -> Result<(Vec<String>, Lapses), Silent> {
    let question = Question::ClearRealName(wire::ClearRealNameQuery {
        name: "requests/dry-run".to_owned(),
        dry_run: true,
    });
    let plan = center.plans.current();
    let asked = center.queries.ask_all(center, plan, account, question);
    let (answers, live) = tokio::join!(asked, deletion::is_live(center, account));
    let (mut obstacles, mut lapses, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    if live.map_err(|_| Vec::new())? {
        obstacles.push("DELETION_ALREADY_RUNNING".to_owned());
    }
    for (participant, answer) in answers {
        let Some(Answer::ClearRealName(reply)) = answer else {
            silent.push(participant);
            continue;
        };
        match reply.result() {
            wire::ClearRealNameResult::Cleared | wire::ClearRealNameResult::Waits => {}
            wire::ClearRealNameResult::Gone => obstacles.push("UNKNOWN_ACCOUNT".to_owned()),
            wire::ClearRealNameResult::Unspecified => {
                silent.push(participant);
                continue;
            }
        }
        obstacles.extend(
            reply
                .obstacles
                .into_iter()
                .filter(|word| is_word(word))
                .take(WORDS_MAX),
        );
        if !reply.lapsed.is_empty() {
            lapses.push((participant, counted(reply.lapsed).into_iter().collect()));
        }
    }
    if !silent.is_empty() {
        return Err(silent);
    }
    obstacles.sort();
    obstacles.dedup();
    Ok((obstacles, lapses))
}

/// Tells one participant. `None`: it gave no answer, and is told again.
pub async fn tell(
    center: &Center,
    account: &Account,
    change: &Change,
    participant: &ParticipantId,
) -> Option<Event> {
    let question = match (change.kind.standing(), change.kind) {
        (Some(standing), _) => Question::SetStanding(wire::SetStandingQuery {
            generation: change.generation,
            standing: standing_to_wire(standing).into(),
            recent_change: recent_change(center.plans.current().policy()),
        }),
        (None, Kind::StopPersonalization) => {
            Question::StopPersonalization(wire::StopPersonalizationQuery {})
        }
        (None, _) => Question::ClearRealName(wire::ClearRealNameQuery {
            name: format!("requests/{}", change.id.0),
            dry_run: false,
        }),
    };
    let asked = center.queries.ask(
        center,
        participant,
        &account.account,
        question,
        center.pace.query,
    );
    let done = |lapsed| Event::Told(participant.clone(), Outcome::Done { lapsed });
    let gone = || Event::Told(participant.clone(), Outcome::Gone);
    let standing = change.kind.standing().is_some();
    match (change.kind, asked.await?) {
        (Kind::StopPersonalization, Answer::StopPersonalization(reply)) => match reply.result() {
            wire::StopPersonalizationResult::Stopped => Some(done(counted(reply.erased))),
            wire::StopPersonalizationResult::Sealed => {
                Some(Event::Waits(participant.clone(), ACCOUNT_SEALED.to_owned()))
            }
            wire::StopPersonalizationResult::Gone => Some(gone()),
            wire::StopPersonalizationResult::Unspecified => None,
        },
        (_, Answer::SetStanding(reply)) if standing => match reply.result() {
            wire::SetStandingResult::Kept => Some(done(Default::default())),
            wire::SetStandingResult::Gone => Some(gone()),
            wire::SetStandingResult::Unspecified => None,
        },
        (Kind::ClearRealName, Answer::ClearRealName(reply)) => match reply.result() {
            wire::ClearRealNameResult::Cleared => Some(done(counted(reply.lapsed))),
            wire::ClearRealNameResult::Gone => Some(gone()),
            wire::ClearRealNameResult::Waits => {
                let word = reply.obstacles.into_iter().find(|word| is_word(word))?;
                Some(Event::Waits(participant.clone(), word))
            }
            wire::ClearRealNameResult::Unspecified => None,
        },
        // An answer to another question is none.
        _ => None,
    }
}

fn counted(lapsed: HashMap<String, i64>) -> std::collections::BTreeMap<String, i64> {
    let sound = |(category, count): &(String, i64)| {
        !category.is_empty() && category.len() <= WORD_BYTES_MAX && *count > 0
    };
    lapsed.into_iter().filter(sound).take(WORDS_MAX).collect()
}

fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= WORD_BYTES_MAX
        && word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

const fn standing_to_wire(standing: Standing) -> wire::AccountStanding {
    match standing {
        Standing::Active => wire::AccountStanding::Active,
        Standing::Frozen => wire::AccountStanding::Frozen,
        Standing::Memorialized => wire::AccountStanding::Memorialized,
    }
}
