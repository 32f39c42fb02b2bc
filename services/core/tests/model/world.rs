//! Everything around the decisions: callers, coordinators, wires, participants, a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use farewell_core::condition::{self, Kind};
use farewell_core::deletion::{Blocker, Deletion, Event, Request, State};
use farewell_core::device::{Class, Device, DeviceOutcome, DeviceVerb, Facts};
use farewell_core::duty::{self, Duty};
use farewell_core::id::CommandName;
use farewell_core::invariants::{Auditor, Fact};
use farewell_core::leg::Verb;
use farewell_core::policy::{Channel, Factor, Policy, Stage};
use farewell_core::rare::Denial;
use farewell_core::receipt::{Evidence, Outcome, Receipt};
use farewell_core::report::{self, Answer, Verdict};
use farewell_core::{AccountId, DeletionId, LegIndex, Mask, ParticipantId, Plan, RequestId, Time};
use uuid::Uuid;

use crate::reference::{Phase, Run};
use crate::store::{Fenced, Store};
use crate::{Action, Tally};

const HOUR: Duration = Duration::from_secs(60 * 60);
/// More on the wire is lost.
const WIRE_MESSAGES_MAX: usize = 200;
/// Long enough for every wait, every stage and every round.
const HEALING_ROUNDS: u32 = 90;

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| {
    let stage = |name: &str, names: &[&str]| Stage {
        name: name.to_owned(),
        participants: names.iter().map(|name| name.parse().unwrap()).collect(),
    };
    let stages = vec![
        stage("RELAYED", &["wearables"]),
        stage("CONTENT", &["phones", "cloud"]),
        stage("IDENTITY", &["identity"]),
    ];
    let full = Policy {
        stages,
        cooling_off: HOUR * 24,
        ..Policy::cn()
    };
    let unasked = Policy {
        eligibility: false,
        ..full.clone()
    };
    let bare = Policy {
        seal: false,
        probe: false,
        ..full.clone()
    };
    let plans = (1..).zip([full, unasked, bare]);
    plans
        .map(|(version, policy)| Plan::new(version, policy).unwrap())
        .collect()
});

fn plan_of(version: u32) -> Option<&'static Plan> {
    PLANS.iter().find(|plan| plan.version() == version)
}

fn plan(row: &Deletion) -> &'static Plan {
    plan_of(row.policy_version).unwrap()
}

#[derive(Clone, Debug)]
enum Message {
    Command(CommandName, AccountId),
    Report {
        sender: ParticipantId,
        name: CommandName,
        account: AccountId,
        answer: Answer,
    },
}

/// A coordinator: an epoch, and rows in memory that may be out of date.
struct Coordinator {
    epoch: i64,
    board: BTreeMap<DeletionId, Deletion>,
}

pub struct World {
    now: Time,
    /// The latest that a clock has shown: when it is right again, it shows no less.
    latest: Time,
    store: Store,
    coordinators: Vec<Coordinator>,
    wire: Vec<Message>,
    answers: BTreeMap<String, Evidence>,
    residue: BTreeMap<String, u8>,
    obstructed: BTreeSet<DeletionId>,
    promised: Vec<DeletionId>,
    silent: Option<ParticipantId>,
    runs: BTreeMap<DeletionId, Run>,
    auditor: Auditor<fn(u32) -> Option<&'static Plan>>,
    pub tally: Tally,
}

fn account(number: u8) -> AccountId {
    format!("account-{}", number % 3).parse().unwrap()
}

fn watch(account: &AccountId, outcome: Option<DeviceOutcome>) -> Device {
    let device = format!("watch-{}", account.as_str()).parse().unwrap();
    Device {
        device,
        binding_epoch: 1,
        facts: outcome.is_none().then(|| Facts {
            class: Class::Personal,
            verbs: vec![DeviceVerb::Unbind, DeviceVerb::Reset],
            co_admin: false,
            household: false,
            hub: None,
        }),
        outcome,
        lock: None,
    }
}

fn counted(outcome: Outcome, count: i64) -> Evidence {
    let counts = BTreeMap::from([("rows".to_owned(), count)]);
    Evidence {
        counts,
        ..Evidence::of(outcome)
    }
}

impl World {
    /// `silent` never answers for the first deletion.
    pub fn new(silent: bool) -> Self {
        let mut store = Store::default();
        for number in 0..3 {
            let device = watch(&account(number), None);
            let (participant, account) = ("wearables".parse().unwrap(), account(number));
            store.facts.push(Fact::Bound {
                participant,
                account,
                device: device.device,
                epoch: 1,
            });
        }
        let first = Coordinator {
            epoch: store.take_over(),
            board: BTreeMap::new(),
        };
        let start = Time::from_micros(1_800_000_000_000_000);
        Self {
            now: start,
            latest: start,
            store,
            coordinators: vec![first],
            wire: Vec::new(),
            answers: BTreeMap::new(),
            residue: BTreeMap::new(),
            obstructed: BTreeSet::new(),
            promised: Vec::new(),
            silent: silent.then(|| "cloud".parse().unwrap()),
            runs: BTreeMap::new(),
            auditor: Auditor::new(plan_of),
            tally: Tally::default(),
        }
    }

    pub fn act(&mut self, action: &Action) {
        match *action {
            Action::Open { account, plan } => self.open(account, plan),
            Action::Repeat { deletion, other } => self.repeat(deletion, other),
            Action::Verify(d) => {
                self.person(d, &Event::FactorVerified(Factor::SmsCode), Run::verify)
            }
            Action::Revoke(d) => self.person(d, &Event::Revoke, |run, now| {
                run.take_back(Phase::Revoked, now)
            }),
            Action::Deny(d) => self.person(d, &Event::Deny(Denial::Unfounded), |run, now| {
                run.take_back(Phase::Denied, now)
            }),
            Action::Hold(d) => self.person(d, &Event::Hold, |run, _| run.hold()),
            Action::Release(d) => self.person(d, &Event::Release, Run::release),
            Action::Resolve(d) => self.person(d, &Event::Resolved, Run::resolve),
            Action::Retry(d) => self.retry(d),
            Action::Obstruct(d) => {
                if let Some(id) = self.pick(d)
                    && !self.obstructed.remove(&id)
                {
                    self.obstructed.insert(id);
                }
            }
            Action::Tick(hours) => {
                self.now = self.now + HOUR * u32::from(hours);
                self.latest = self.latest.max(self.now);
            }
            Action::StepBack(hours) => {
                let back = i64::from(hours) * 3_600_000_000;
                self.now = Time::from_micros(self.now.micros() - back);
            }
            Action::Dispatch { coordinator, fresh } => self.dispatch(coordinator, fresh),
            Action::Deliver {
                coordinator,
                count,
                torn,
            } => {
                for turn in 0..count {
                    if !self.wire.is_empty() {
                        let message = self.wire.remove(0);
                        self.deliver(coordinator, message, torn && turn == 0);
                    }
                }
            }
            Action::Lose(m) => {
                self.tally.lost += u32::from(self.take(m).is_some());
            }
            Action::Duplicate(m) => {
                if let Some(message) = self.take(m) {
                    self.wire.insert(0, message.clone());
                    self.wire.push(message);
                    self.tally.duplicated += 1;
                }
            }
            Action::Delay(m) => {
                let message = self.take(m);
                self.wire.extend(message);
            }
            Action::Contradict { deletion, leg } => self.contradict(deletion, leg),
            Action::Impersonate(m) => self.impersonate(m),
            Action::Refuse(m) => {
                if let Some(message) = self.take(m) {
                    let reason = "BUSY".to_owned();
                    let report = match message {
                        Message::Command(name, account) => {
                            let answer = Answer::Refused { reason };
                            Message::Report {
                                sender: name.participant.clone(),
                                name,
                                account,
                                answer,
                            }
                        }
                        report @ Message::Report { .. } => report,
                    };
                    self.wire.insert(0, report);
                }
            }
            Action::Soil {
                participant,
                rounds,
            } => {
                let names: Vec<_> = PLANS[0].policy().participants().collect();
                let name = names[usize::from(participant) % names.len()];
                self.residue.insert(name.as_str().to_owned(), rounds);
            }
            Action::Crash => self.crash(),
            Action::Work => self.work(),
            Action::TakeOver => {
                let epoch = self.store.take_over();
                self.coordinators.push(Coordinator {
                    epoch,
                    board: BTreeMap::new(),
                });
                if self.coordinators.len() > 3 {
                    self.coordinators.remove(0);
                }
            }
        }
        let surplus = self.wire.len().saturating_sub(WIRE_MESSAGES_MAX);
        self.wire.drain(..surplus);
        self.agree();
    }

    /// The rules hold, and the reference says the same.
    fn agree(&mut self) {
        for fact in self.store.facts.drain(..) {
            self.auditor.observe(&fact);
        }
        assert!(
            self.auditor.violations().is_empty(),
            "{:#?}",
            self.auditor.violations()
        );
        for (id, row) in &self.store.rows {
            let (run, plan) = (&self.runs[id], plan(row));
            let names = |legs: Mask| -> BTreeSet<_> {
                let legs = legs.iter().filter_map(|leg| plan.leg(leg));
                legs.map(|leg| (leg.verb, leg.participant.as_str().to_owned()))
                    .collect()
            };
            let phases = [
                Phase::Awaiting,
                Phase::Cooling,
                Phase::Erasing,
                Phase::Verifying,
                Phase::Purged,
                Phase::Revoked,
                Phase::Denied,
                Phase::Expired,
            ];
            let phase = phases[usize::try_from(row.state.code()).unwrap() - 1];
            assert_eq!((phase, row.round), (run.phase, run.round), "{id}");
            assert_eq!(names(row.done), run.done, "{id}");
            assert_eq!(
                (row.held, row.conflicts > 0),
                (run.held, run.disputed),
                "{id}"
            );
            let refused = &run.refused & &run.open();
            assert_eq!(names(row.refusals(plan)), refused, "{id}");
        }
    }

    fn pick(&self, deletion: u8) -> Option<DeletionId> {
        let ids: Vec<_> = self.store.rows.keys().collect();
        let place = usize::from(deletion) % ids.len().max(1);
        ids.get(place).map(|id| **id)
    }

    fn take(&mut self, message: u8) -> Option<Message> {
        let place = usize::from(message) % self.wire.len().max(1);
        (place < self.wire.len()).then(|| self.wire.remove(place))
    }

    /// The newest coordinator mostly; an old one that doesn't know better otherwise.
    fn choose(&self, coordinator: u8) -> usize {
        let newest = self.coordinators.len() - 1;
        newest - usize::from(coordinator).saturating_sub(5).min(newest)
    }

    fn open(&mut self, number: u8, plan: u8) {
        let plan = &PLANS[usize::from(plan) % PLANS.len()];
        let serial = u128::try_from(self.store.rows.len()).unwrap() + 1;
        let request = Request {
            id: DeletionId(Uuid::from_u128(serial)),
            account: account(number),
            request: RequestId(Uuid::from_u128(serial << 64)),
            request_digest: [1; 16],
            channel: Channel::Phone,
            consents: Vec::new(),
            traceparent: String::new(),
        };
        let deletion = Deletion::open(request, plan, self.now).unwrap();
        let (id, request, digest) = (deletion.id, deletion.request, deletion.request_digest);
        let answer = self.store.open(deletion);
        if answer.is_ok() {
            self.runs
                .insert(id, Run::opened(plan.policy().clone(), self.now));
            self.promised.push(id);
            self.store.facts.push(Fact::Answered {
                request,
                digest,
                answer,
            });
        }
    }

    /// The same request once more, or another one under its id.
    fn repeat(&mut self, deletion: u8, other: bool) {
        let Some(id) = self.pick(deletion) else {
            return;
        };
        let mut again = self.store.rows[&id].clone();
        let digest = [if other { 2 } else { 1 }; 16];
        again.id = DeletionId(Uuid::from_u128(u128::MAX));
        again.request_digest = digest;
        let request = again.request;
        let answer = self.store.open(again);
        self.store.facts.push(Fact::Answered {
            request,
            digest,
            answer,
        });
    }

    /// A caller or operator decides on what stands in the ledger, and no lease is needed.
    fn person(&mut self, deletion: u8, event: &Event, expect: impl FnOnce(&mut Run, Time) -> bool) {
        let Some(id) = self.pick(deletion) else {
            return;
        };
        let row = self.store.rows[&id].clone();
        let expected = expect(self.runs.get_mut(&id).unwrap(), self.now);
        let next = row.step(event, plan(&row), self.now);
        assert_eq!(
            next.is_ok(),
            expected,
            "{event:?} in {:?}: {next:?}",
            row.state
        );
        if let Ok(next) = next {
            assert!(
                self.store
                    .turn(None, row.revision, next, Mask::EMPTY)
                    .unwrap()
            );
        }
    }

    fn retry(&mut self, deletion: u8) {
        let Some(id) = self.pick(deletion) else {
            return;
        };
        let row = &self.store.rows[&id];
        let leg = row.refused.iter().next().or_else(|| LegIndex::new(0));
        let leg = leg.unwrap();
        let owed = plan(row)
            .leg(leg)
            .map(|leg| (leg.verb, leg.participant.as_str().to_owned()));
        self.person(deletion, &Event::Retry(leg), |run, _| {
            run.retry(&owed.unwrap())
        });
    }

    /// Memory is gone; what was promised is not.
    fn crash(&mut self) {
        for coordinator in &mut self.coordinators {
            coordinator.board.clear();
        }
        for id in &self.promised {
            if !self.store.rows.contains_key(id) {
                self.store.facts.push(Fact::Lost(*id));
            }
        }
        self.tally.crashes += 1;
    }

    /// One round of the loop: look in the ledger (or not), then do what is due.
    fn dispatch(&mut self, coordinator: u8, fresh: bool) {
        let place = self.choose(coordinator);
        if fresh {
            let due = self
                .store
                .rows
                .values()
                .filter(|row| row.attention_at.is_some_and(|at| at <= self.now));
            let due: Vec<_> = due.cloned().collect();
            self.coordinators[place]
                .board
                .extend(due.into_iter().map(|row| (row.id, row)));
        }
        let board: Vec<_> = self.coordinators[place].board.values().cloned().collect();
        for row in board {
            let plan = plan(&row);
            let due = row.attention_at.is_some_and(|at| at <= self.now);
            let obstructed = self.obstructed.contains(&row.id);
            let event = match duty::next(&row, plan, self.now) {
                Duty::Send(legs) => {
                    self.send(&row, legs);
                    continue;
                }
                _ if !due => continue,
                Duty::Expire => Event::Expire,
                Duty::Begin => Event::Eligible,
                Duty::AskEligibility if obstructed => row.judge(
                    plan,
                    vec![
                        Blocker::named("OPEN_ORDER", &"store".parse().unwrap(), &Policy::cn()),
                        Blocker::named("DEVICES_BOUND", &"phones".parse().unwrap(), &Policy::cn()),
                    ],
                ),
                Duty::AskEligibility => Event::Eligible,
                Duty::Advance => Event::Settled(Mask::EMPTY),
                // Nothing is retained in these histories.
                Duty::Oblige | Duty::Wait(_) | Duty::NeedsPerson | Duty::Nothing => continue,
            };
            let next = row.step(&event, plan, self.now).unwrap();
            let epoch = self.coordinators[place].epoch;
            match self
                .store
                .turn(Some(epoch), row.revision, next, Mask::EMPTY)
            {
                Ok(true) => self
                    .runs
                    .get_mut(&row.id)
                    .unwrap()
                    .visit(self.now, obstructed),
                Ok(false) => {}
                Err(Fenced) => self.tally.fenced += 1,
            }
            self.reload(place, row.id);
        }
    }

    /// The newest coordinator looks, and everything on the wire arrives.
    fn work(&mut self) {
        self.dispatch(0, true);
        while !self.wire.is_empty() {
            let message = self.wire.remove(0);
            self.deliver(0, message, false);
        }
    }

    fn reload(&mut self, place: usize, id: DeletionId) -> Deletion {
        let row = self.store.rows[&id].clone();
        self.coordinators[place].board.insert(id, row.clone());
        row
    }

    fn send(&mut self, row: &Deletion, legs: Mask) {
        for leg in legs.iter().filter_map(|leg| plan(row).leg(leg)) {
            let round = match leg.verb {
                Verb::Seal | Verb::Unseal => 1,
                Verb::Erase | Verb::Probe | Verb::Expire => row.round,
            };
            let name = CommandName {
                deletion: row.id,
                round,
                verb: leg.verb,
                participant: leg.participant.clone(),
            };
            let account = row.account.clone();
            self.store.facts.push(Fact::CommandSent {
                name: name.clone(),
                account: account.clone(),
            });
            self.wire.push(Message::Command(name, account));
        }
    }

    fn deliver(&mut self, coordinator: u8, message: Message, torn: bool) {
        match message {
            Message::Command(name, account) => self.execute(name, account),
            Message::Report {
                sender,
                name,
                account,
                answer,
            } => {
                let place = self.choose(coordinator);
                self.report(place, &sender, &name, &account, &answer, torn);
            }
        }
    }

    /// A participant executes a command once and repeats its answer for ever.
    fn execute(&mut self, name: CommandName, account: AccountId) {
        let first = self.promised.first() == Some(&name.deletion);
        if first && self.silent.as_ref() == Some(&name.participant) {
            return;
        }
        let key = name.to_string();
        let known = |verb: Verb| {
            self.answers.contains_key(
                &CommandName {
                    round: 1,
                    verb,
                    ..name.clone()
                }
                .to_string(),
            )
        };
        let repeated = self.answers.contains_key(&key);
        let lifted = name.verb == Verb::Seal && known(Verb::Unseal);
        let changed = !repeated && !lifted;
        let wearables = name.participant.as_str() == "wearables";
        let devices = |outcome| {
            if wearables {
                vec![watch(&account, outcome)]
            } else {
                vec![]
            }
        };
        let evidence = match name.verb {
            Verb::Seal => Evidence {
                devices: devices(None),
                ..Evidence::of(Outcome::Sealed)
            },
            Verb::Unseal => Evidence::of(Outcome::Unsealed),
            Verb::Erase if known(Verb::Seal) => Evidence {
                devices: devices(Some(DeviceOutcome::Confirmed)),
                ..counted(Outcome::Erased, 3)
            },
            Verb::Erase => counted(Outcome::Erased, 3),
            Verb::Probe => match self.residue.get_mut(name.participant.as_str()) {
                Some(rounds) if *rounds > 0 && !repeated => {
                    *rounds -= 1;
                    counted(Outcome::Residue, 1)
                }
                _ => Evidence::of(Outcome::Clean),
            },
            // Nothing is retained in these histories.
            Verb::Expire => Evidence::of(Outcome::NotFound),
        };
        let evidence = self.answers.entry(key).or_insert(evidence).clone();
        let binding = evidence
            .devices
            .first()
            .map(|device| (device.device.clone(), device.binding_epoch));
        let sender = name.participant.clone();
        self.store.facts.push(Fact::Acted {
            participant: sender.clone(),
            name: name.clone(),
            account: account.clone(),
            binding,
            changed,
        });
        self.wire.push(Message::Report {
            sender,
            name,
            account,
            answer: Answer::Done(evidence),
        });
    }

    /// A coordinator hears a report; whatever it can't write now comes again.
    fn report(
        &mut self,
        place: usize,
        sender: &ParticipantId,
        name: &CommandName,
        account: &AccountId,
        answer: &Answer,
        torn: bool,
    ) {
        let id = name.deletion;
        let board = self.coordinators[place].board.get(&id).cloned();
        let mut row = match (board, answer) {
            (Some(row), Answer::Done(_)) => row,
            // Whoever refuses is judged on a fresh look.
            _ => self.reload(place, id),
        };
        let newest = place + 1 == self.coordinators.len();
        let behind = row.revision != self.store.rows[&id].revision;
        let own = *sender == name.participant && *account == self.store.rows[&id].account;
        if newest && own {
            let leg = (name.verb, name.participant.as_str().to_owned());
            let run = self.runs.get_mut(&id).unwrap();
            run.hear(leg, name.round, answer, self.now, torn, behind);
        }
        let kept = loop {
            match self.judge_and_write(place, &row, sender, name, account, answer, torn) {
                Ok(Some(kept)) => break kept,
                Ok(None) => row = self.reload(place, id),
                Err(Fenced) => {
                    assert!(!newest, "the newest coordinator writes");
                    self.tally.fenced += 1;
                    self.again(sender, name, account, answer);
                    return;
                }
            }
        };
        if torn {
            self.tally.torn += 1;
            self.coordinators[place].board.clear();
            self.again(sender, name, account, answer);
            return;
        }
        let (sender, name, account) = (sender.clone(), name.clone(), account.clone());
        self.store.facts.push(match kept {
            Some(fingerprint) => Fact::ReportAccepted {
                sender,
                name,
                account,
                fingerprint,
            },
            None => Fact::ReportRefused { sender, name },
        });
    }

    fn again(
        &mut self,
        sender: &ParticipantId,
        name: &CommandName,
        account: &AccountId,
        answer: &Answer,
    ) {
        let (sender, name, account, answer) = (
            sender.clone(),
            name.clone(),
            account.clone(),
            answer.clone(),
        );
        self.wire.push(Message::Report {
            sender,
            name,
            account,
            answer,
        });
    }

    /// Judges one report on `row` and writes what follows. `None`: `row` was out of date, look again. Otherwise the
    /// fingerprint of what is kept, if anything is.
    #[expect(clippy::too_many_arguments, reason = "a report has four parts")]
    fn judge_and_write(
        &mut self,
        place: usize,
        row: &Deletion,
        sender: &ParticipantId,
        name: &CommandName,
        account: &AccountId,
        answer: &Answer,
        torn: bool,
    ) -> Result<Option<Option<[u8; 16]>>, Fenced> {
        let (id, plan, epoch) = (row.id, plan(row), self.coordinators[place].epoch);
        let roster = self.roster(row, sender);
        let stale = row.revision != self.store.rows[&id].revision;
        let verdict = match report::judge(
            sender,
            name,
            account,
            answer,
            (row, plan),
            &roster,
            self.now,
        ) {
            Ok(verdict) => verdict,
            Err(_) if stale => return Ok(None),
            Err(_) => {
                self.tally.refused += 1;
                return Ok(Some(None));
            }
        };
        match verdict {
            Verdict::Progress(_) | Verdict::Defer(..) => Ok(Some(None)),
            Verdict::NeedsPerson { leg, .. } => {
                let next = row.step(&Event::LegRefused(leg), plan, self.now).unwrap();
                let taken = self
                    .store
                    .turn(Some(epoch), row.revision, next, Mask::EMPTY)?;
                self.reload(place, id);
                Ok(taken.then_some(None))
            }
            Verdict::Settle(receipt) => {
                let (legs, kept) = (Mask::of(receipt.leg), receipt.fingerprint);
                let next = row.step(&Event::Settled(legs), plan, self.now).unwrap();
                let advance = next.moved_from(row).then(|| next.clone());
                let settled = self
                    .store
                    .settle(epoch, id, receipt, legs, advance, self.now)?;
                assert_eq!(settled.conflicts, 0);
                if settled.advanced {
                    self.coordinators[place].board.insert(id, next);
                } else if settled.revision == row.revision {
                    let merged = Deletion {
                        done: settled.done,
                        refused: row.refused & !legs,
                        ..row.clone()
                    };
                    self.coordinators[place].board.insert(id, merged);
                } else if !torn {
                    // Somebody moved it meanwhile: look again where this leads.
                    let row = self.reload(place, id);
                    let next = row
                        .step(&Event::Settled(Mask::EMPTY), plan, self.now)
                        .unwrap();
                    if next.moved_from(&row) {
                        assert!(
                            self.store
                                .turn(Some(epoch), row.revision, next, Mask::EMPTY)?
                        );
                    }
                    self.reload(place, id);
                }
                Ok(Some(Some(kept)))
            }
            Verdict::Residue { probe, erase } => {
                let kept = probe.fingerprint;
                self.store
                    .settle(epoch, id, probe, Mask::EMPTY, None, self.now)?;
                if torn {
                    return Ok(Some(Some(kept)));
                }
                let next = row.step(&Event::Residue(erase), plan, self.now).unwrap();
                let clear = next.clears(row, plan);
                let taken = self.store.turn(Some(epoch), row.revision, next, clear)?;
                self.tally.residue += u32::from(taken);
                self.reload(place, id);
                Ok(taken.then_some(Some(kept)))
            }
            Verdict::Compare(receipt) => self.compare(place, row, receipt, torn),
        }
    }

    fn compare(
        &mut self,
        place: usize,
        row: &Deletion,
        receipt: Receipt,
        torn: bool,
    ) -> Result<Option<Option<[u8; 16]>>, Fenced> {
        let (id, epoch, kept) = (row.id, self.coordinators[place].epoch, receipt.fingerprint);
        let settled = self
            .store
            .settle(epoch, id, receipt, Mask::EMPTY, None, self.now)?;
        if settled.conflicts == 0 {
            return Ok(Some(Some(kept)));
        }
        if !torn {
            let row = self.reload(place, id);
            let next = row
                .step(&Event::Contradicted, plan(&row), self.now)
                .unwrap();
            assert!(
                self.store
                    .turn(Some(epoch), row.revision, next, Mask::EMPTY)?
            );
            self.tally.conflicts += 1;
            self.reload(place, id);
        }
        Ok(Some(None))
    }

    /// The devices that the participant sealed.
    fn roster(&self, row: &Deletion, participant: &ParticipantId) -> Vec<Device> {
        let seal = plan(row).find(participant, Verb::Seal);
        let kept = self.store.receipts[&row.id]
            .iter()
            .find(|kept| Some(kept.receipt.leg) == seal);
        kept.map_or(vec![], |kept| kept.receipt.read().unwrap().devices)
    }

    /// A participant answers a settled command once more, and differently.
    fn contradict(&mut self, deletion: u8, leg: u8) {
        let Some(id) = self.pick(deletion) else {
            return;
        };
        let (row, receipts) = (&self.store.rows[&id], &self.store.receipts[&id]);
        let Some(kept) = receipts.get(usize::from(leg) % receipts.len().max(1)) else {
            return;
        };
        let leg = plan(row).leg(kept.receipt.leg).unwrap();
        let devices = kept.receipt.read().unwrap().devices;
        let evidence = match leg.verb {
            Verb::Erase => Evidence {
                devices,
                ..counted(Outcome::Erased, 999)
            },
            _ => Evidence::of(Outcome::NotFound),
        };
        let (sender, verb) = (leg.participant.clone(), leg.verb);
        let name = CommandName {
            deletion: id,
            round: kept.receipt.round,
            verb,
            participant: sender.clone(),
        };
        // Before the first answer counts, a second one is the first.
        if row.done.has(kept.receipt.leg) {
            self.again(
                &sender,
                &name,
                &row.account.clone(),
                &Answer::Done(evidence),
            );
        }
    }

    /// A report of somebody else's leg, or of somebody else's account.
    fn impersonate(&mut self, message: u8) {
        let place = usize::from(message) % self.wire.len().max(1);
        if let Some(Message::Report {
            sender,
            name,
            account,
            answer,
        }) = self.wire.get(place).cloned()
        {
            let forged = if message.is_multiple_of(2) {
                let sender = PLANS[0]
                    .policy()
                    .participants()
                    .find(|other| **other != sender)
                    .unwrap();
                Message::Report {
                    sender: sender.clone(),
                    name,
                    account,
                    answer,
                }
            } else {
                let account = "mallory".parse().unwrap();
                Message::Report {
                    sender,
                    name,
                    account,
                    answer,
                }
            };
            self.wire.insert(0, forged);
            self.tally.forged += 1;
        }
    }

    /// Faults end, a clock that was behind too, and everybody but the silent one answers: everything ends, or is in
    /// somebody's hands.
    pub fn heal(&mut self) {
        self.tally.count(self.store.rows.values(), false);
        // Steps back add up to more than all the healing rounds together.
        self.now = self.latest;
        self.act(&Action::TakeOver);
        for _ in 0..HEALING_ROUNDS {
            self.act(&Action::Tick(12));
            self.act(&Action::Work);
            if self.store.rows.values().all(|row| row.closed_at.is_some()) {
                break;
            }
        }
        for row in self.store.rows.values() {
            self.tally.stuck += u32::from(row.closed_at.is_none());
            assert!(
                row.closed_at.is_some() || self.in_somebodys_hands(row),
                "{row:#?}"
            );
            let open = matches!(row.state, State::AwaitingVerification { .. });
            assert!(!open, "a request that nobody verifies expires: {row:#?}");
        }
        self.tally.count(self.store.rows.values(), true);
    }

    /// Whether a condition names who must do something. Nobody waits for a participant that is silent about another
    /// deletion.
    fn in_somebodys_hands(&self, row: &Deletion) -> bool {
        let silent = self
            .silent
            .as_ref()
            .filter(|_| self.promised.first() == Some(&row.id));
        let silent = silent.map_or("", |silent| silent.as_str());
        let conditions = condition::of(row, plan(row), self.now, None, |_| true);
        conditions.iter().any(|condition| match condition.kind {
            Kind::Blocked | Kind::Held | Kind::Conflict => true,
            Kind::Stalled if condition.reason == "LEG_OWED" => condition.participant == silent,
            Kind::Stalled => true,
            Kind::OverdueSoon | Kind::Overdue => false,
        })
    }
}
