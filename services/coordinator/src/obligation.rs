//! What law still keeps of a purged account: looked up in the receipts when the deletion wants attention, decided, and turned like
//! anything else. Whoever is then asked stands on the board like everybody who owes something.

use std::sync::Arc;

use farewell_core::policy::retention::{Class, StartingPoint};
use farewell_core::{
    Deletion, DeletionId, Event, Mask, ParticipantId, Plan, Time, Verb, obligation,
};
use farewell_ledger::Turned;
use farewell_proto::participant::v1 as wire;

use crate::center::Center;
use crate::steward::{self, NotTurned};
use crate::wire::timestamp;

/// Looks at the receipts, and has those asked who keep what has ended; waits for the next end, or closes the deletion, if nothing
/// has.
pub async fn oblige(
    center: &Center,
    deletion: &Deletion,
    plan: &Plan,
) -> Result<Turned, NotTurned> {
    // Read after the deletion: what is done has its receipt among these.
    let receipts = center.ledger.receipts(deletion.id).await?;
    let recycled = obligation::recycled(deletion, plan, &receipts)?;
    let now = center.clock.now();
    let event = obligation::look(deletion, plan, &receipts, now)?;
    let mut turn = steward::decide(deletion, plan, &event, now)?;
    turn.recycled = recycled.into_iter().map(|kind| (kind, now)).collect();
    steward::write(center, turn, true).await
}

/// Has a custodian asked at once that keeps something of this deletion no longer, by its own word; before the purge, with that. Of a
/// deletion that is unknown here, or of which nothing is kept any more, nobody has to be asked. What waits to be asked for is not
/// written again, however long a hold stands and however often it is said.
///
/// Errors: `NotTurned::Unavailable` while the ledger is away: whoever said so says it again.
pub async fn freed(
    center: &Arc<Center>,
    id: DeletionId,
    custodian: &ParticipantId,
) -> Result<(), NotTurned> {
    let (deletion, plan) = match steward::read(center, id).await {
        Ok(read) => read,
        Err(NotTurned::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(leg) = plan.find(custodian, Verb::Expire) else {
        return Ok(());
    };
    if deletion.freed().has(leg) {
        return Ok(());
    }
    match steward::turn(center, id, &Event::Freed(Mask::of(leg)), false).await {
        Ok(_) | Err(NotTurned::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a participant is told to keep.
pub fn rules(plan: &Plan, participant: &ParticipantId) -> Vec<wire::RetentionRule> {
    let classes = plan.retention().of(participant);
    classes
        .map(|(name, class)| rule(plan, (name, class), None))
        .collect()
}

/// What a participant is told to end that was given back before its day, by then: it may have been restored from a backup that says the
/// day.
pub fn given_back(plan: &Plan, participant: &ParticipantId, by: Time) -> Vec<wire::RetentionRule> {
    let classes = obligation::given_back(plan, participant);
    classes.map(|class| rule(plan, class, Some(by))).collect()
}

/// One class as a participant is told of it; `until`: what is counted from the erasure ends then, whenever that is.
pub fn rule(
    plan: &Plan,
    (name, class): (&str, &Class),
    until: Option<Time>,
) -> wire::RetentionRule {
    use farewell_core::calendar::Unit;
    use wire::retention_rule::Period;

    let count = u32::from(class.period.count());
    wire::RetentionRule {
        class: name.to_owned(),
        legal_basis: class.legal_basis.clone(),
        from: starting_point(class.from).into(),
        time_zone: plan.policy().time_zone.name().to_owned(),
        period: Some(match class.period.unit() {
            Unit::Months => Period::Months(count),
            Unit::Days | Unit::WorkingDays => Period::Days(count),
        }),
        until_time: until.map(timestamp),
    }
}

const fn starting_point(from: StartingPoint) -> wire::StartingPoint {
    match from {
        StartingPoint::Completion => wire::StartingPoint::Completion,
        StartingPoint::Entry => wire::StartingPoint::Entry,
        StartingPoint::YearEnd => wire::StartingPoint::YearEnd,
        StartingPoint::Erasure => wire::StartingPoint::Erasure,
    }
}
