//! The words about cases.

use farewell_proto::participant::v1 as pb;

use super::{ACCOUNTS, DELETIONS, Malformed, id, is_id};
use crate::devices::names;
use crate::participant::{CaseAction, CaseStanding, CheckCase, DeskWork};

pub(super) const CASES: &str = "cases/";
const REQUESTS: &str = "requests/";
/// How many approve where nothing else is said.
const APPROVALS: u32 = 2;
/// Codes or belongings in one question.
const ITEMS_MAX: usize = 64;

/// A question about a case of `account`.
pub(super) fn check(asked: pb::CheckCaseQuery, account: String) -> Result<CheckCase, Malformed> {
    let case = id(&asked.case, CASES, "case must be cases/{case}")?.to_owned();
    let asked_action = pb::CaseAction::try_from(asked.action);
    let used_for = asked.r#use;
    if !is_use(&used_for) {
        return Err(Malformed(
            "use must be deletions/{deletion}, deletions/{deletion}/overrides/{request_id} or requests/{request_id}",
        ));
    }
    let approvals_min = match (asked.approvals_min, asked_action) {
        (0 | APPROVALS, _) => APPROVALS,
        (
            1,
            Ok(
                pb::CaseAction::OverrideBlockers
                | pb::CaseAction::RevokeDeletion
                | pb::CaseAction::ExtendDeadline,
            ),
        ) => 1,
        _ => {
            return Err(Malformed(
                "approvals_min must be 0 or 2, or 1 for blockers, a revocation or an extension",
            ));
        }
    };
    let device =
        (asked_action == Ok(pb::CaseAction::UnbindDevice)).then_some(asked.device.as_str());
    if !asked.device.is_empty() && device.is_none() {
        return Err(Malformed("device is another action's"));
    }
    let action = action(
        asked_action,
        asked.codes,
        asked.to_account,
        asked.belongings,
        device.unwrap_or_default(),
    )?;
    if asked.done && !matches!(action, CaseAction::TransferBelongings { .. }) {
        return Err(Malformed("done is a transfer's"));
    }
    let deletes = matches!(action, CaseAction::Delete | CaseAction::DeleteLegacy);
    if asked.rejected && !deletes {
        return Err(Malformed("rejected is a deletion's"));
    }
    Ok(CheckCase {
        account,
        case,
        action,
        used_for,
        approvals_min,
        done: asked.done,
        rejected: asked.rejected,
    })
}

fn is_use(name: &str) -> bool {
    let of_deletion = |name: &str| id(name, DELETIONS, "").is_ok();
    match name.split_once("/overrides/") {
        Some((deletion, request)) => of_deletion(deletion) && is_id(request),
        None => of_deletion(name) || id(name, REQUESTS, "").is_ok(),
    }
}

/// What an action doesn't speak of must be empty: it would be approved unseen.
fn action(
    action: Result<pb::CaseAction, prost::UnknownEnumValue>,
    codes: Vec<String>,
    to_account: String,
    belongings: Vec<String>,
    device: &str,
) -> Result<CaseAction, Malformed> {
    let moves = !to_account.is_empty() || !belongings.is_empty();
    let action = match action {
        Ok(pb::CaseAction::Unspecified) | Err(_) => {
            return Err(Malformed("action is not known"));
        }
        Ok(pb::CaseAction::OverrideBlockers) if !moves => {
            return Ok(CaseAction::OverrideBlockers(items(codes)?));
        }
        Ok(pb::CaseAction::ExtendDeadline) if !moves => {
            let [reason] = <[String; 1]>::try_from(items(codes)?)
                .map_err(|_| Malformed("codes must be the one reason of an extension"))?;
            return Ok(CaseAction::ExtendDeadline(reason));
        }
        Ok(pb::CaseAction::TransferBelongings) if codes.is_empty() => {
            let to_account = id(
                &to_account,
                ACCOUNTS,
                "to_account must be accounts/{account}",
            )?;
            return Ok(CaseAction::TransferBelongings {
                to_account: to_account.to_owned(),
                belongings: items(belongings)?,
            });
        }
        Ok(
            pb::CaseAction::OverrideBlockers
            | pb::CaseAction::TransferBelongings
            | pb::CaseAction::ExtendDeadline,
        ) => None,
        Ok(pb::CaseAction::RevokeDeletion) => Some(CaseAction::RevokeDeletion),
        Ok(pb::CaseAction::Delete) => Some(CaseAction::Delete),
        Ok(pb::CaseAction::DeleteLegacy) => Some(CaseAction::DeleteLegacy),
        Ok(pb::CaseAction::Memorialize) => Some(CaseAction::Memorialize),
        Ok(pb::CaseAction::Unmemorialize) => Some(CaseAction::Unmemorialize),
        Ok(pb::CaseAction::ClearRealName) => Some(CaseAction::ClearRealName),
        Ok(pb::CaseAction::Export) => Some(CaseAction::Export),
        Ok(pb::CaseAction::UnbindDevice) => {
            if names::device_of_line(device).is_none() {
                return Err(Malformed("device must be lines/{line}/devices/{device}"));
            }
            Some(CaseAction::UnbindDevice(device.to_owned()))
        }
    };
    action
        .filter(|_| codes.is_empty() && !moves)
        .ok_or(Malformed(
            "codes, to_account or belongings are another action's",
        ))
}

fn items(items: Vec<String>) -> Result<Vec<String>, Malformed> {
    if items.is_empty() || items.len() > ITEMS_MAX || items.iter().any(String::is_empty) {
        Err(Malformed(
            "codes or belongings must be 1 to 64, none of them empty",
        ))
    } else {
        Ok(items)
    }
}

/// The answer.
pub(crate) fn checked(standing: CaseStanding) -> pb::reply::Answer {
    let rejection = match standing {
        CaseStanding::Rejected(reason) => reason,
        _ => "",
    };
    let standing = match standing {
        CaseStanding::Rejected(_) => pb::CaseStanding::Rejected,
        CaseStanding::Stands => pb::CaseStanding::Stands,
        CaseStanding::NotFound => pb::CaseStanding::NotFound,
        CaseStanding::NotApproved => pb::CaseStanding::NotApproved,
        CaseStanding::Expired => pb::CaseStanding::Expired,
        CaseStanding::Used => pb::CaseStanding::Used,
        CaseStanding::NotForThis => pb::CaseStanding::NotForThis,
    };
    pb::reply::Answer::CheckCase(pb::CheckCaseReply {
        standing: standing.into(),
        rejection: rejection.to_owned(),
    })
}

/// The answer.
pub(crate) fn desk(work: DeskWork) -> pb::reply::Answer {
    pb::reply::Answer::Desk(pb::DeskReply {
        open: work.open,
        stuck: work.stuck,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(action: pb::CaseAction) -> pb::CheckCaseQuery {
        pb::CheckCaseQuery {
            case: "cases/c1".to_owned(),
            action: action.into(),
            r#use: "deletions/d1".to_owned(),
            ..Default::default()
        }
    }

    fn asked(query: pb::CheckCaseQuery) -> Result<CheckCase, Malformed> {
        check(query, "a1".to_owned())
    }

    #[test]
    fn a_question_names_its_case_its_action_and_what_it_is_for() {
        let sound = asked(query(pb::CaseAction::Delete)).unwrap();
        assert_eq!((sound.case.as_str(), sound.approvals_min), ("c1", 2));
        assert!(!format!("{sound:?}").contains("a1"));
        type Spoil = fn(&mut pb::CheckCaseQuery);
        let spoilt: [(&str, Spoil); 11] = [
            ("no case", |query| query.case.clear()),
            ("another thing's name", |query| {
                query.case = "deletions/c1".to_owned();
            }),
            ("no action", |query| query.action = 0),
            ("an unknown action", |query| query.action = 99),
            ("no use", |query| query.r#use.clear()),
            ("codes of another action", |query| {
                query.codes = vec!["OPEN_DISPUTE".to_owned()];
            }),
            ("an account of another action", |query| {
                query.to_account = "accounts/b1".to_owned();
            }),
            ("a device of another action", |query| {
                query.device = "lines/phones/devices/p-1".to_owned();
            }),
            ("done, of a deletion", |query| query.done = true),
            ("rejected, of another action", |query| {
                query.set_action(pb::CaseAction::ClearRealName);
                query.rejected = true;
            }),
            ("one approval for a deletion", |query| {
                query.approvals_min = 1
            }),
        ];
        for (what, spoil) in spoilt {
            let mut query = query(pb::CaseAction::Delete);
            spoil(&mut query);
            assert!(asked(query).is_err(), "{what}");
        }
    }

    #[test]
    fn overriding_nothing_and_moving_nothing_are_no_questions() {
        let mut blockers = query(pb::CaseAction::OverrideBlockers);
        assert!(asked(blockers.clone()).is_err());
        blockers.codes = vec!["OPEN_DISPUTE".to_owned()];
        blockers.approvals_min = 1;
        assert_eq!(asked(blockers.clone()).unwrap().approvals_min, 1);
        for (used_for, sound) in [
            ("deletions/d1/overrides/r1", true),
            ("deletions/d1/overrides/", false),
            ("deletions//overrides/r1", false),
            ("deletions/d1/overrides/r1/r2", false),
            ("requests/d1/overrides/r1", false),
        ] {
            blockers.r#use = used_for.to_owned();
            assert_eq!(asked(blockers.clone()).is_ok(), sound, "{used_for}");
        }
        let mut unbound = query(pb::CaseAction::UnbindDevice);
        for bad in [
            "",
            "devices/p-1",
            "lines//devices/p-1",
            "lines/phones/devices/",
        ] {
            unbound.device = bad.to_owned();
            assert!(asked(unbound.clone()).is_err(), "{bad}");
        }
        unbound.device = "lines/phones/devices/p-1".to_owned();
        asked(unbound).unwrap();
        let mut moved = query(pb::CaseAction::TransferBelongings);
        moved.to_account = "accounts/b1".to_owned();
        assert!(asked(moved.clone()).is_err());
        moved.belongings = vec!["POINTS".to_owned()];
        assert!(!asked(moved.clone()).unwrap().done);
        moved.done = true;
        assert!(asked(moved).unwrap().done);
    }

    #[test]
    fn an_extension_names_its_one_reason_and_one_of_the_desk_is_enough() {
        let mut extension = query(pb::CaseAction::ExtendDeadline);
        extension.approvals_min = 1;
        assert!(asked(extension.clone()).is_err(), "no reason");
        extension.codes = vec!["COMPLEXITY".to_owned()];
        let sound = asked(extension.clone()).unwrap();
        assert_eq!(sound.approvals_min, 1);
        assert_eq!(
            sound.action,
            CaseAction::ExtendDeadline("COMPLEXITY".to_owned())
        );
        extension.codes.push("NUMBER_OF_REQUESTS".to_owned());
        assert!(asked(extension).is_err(), "two reasons");
        let mut revocation = query(pb::CaseAction::RevokeDeletion);
        revocation.approvals_min = 1;
        assert_eq!(
            asked(revocation.clone()).unwrap().action,
            CaseAction::RevokeDeletion
        );
        revocation.rejected = true;
        assert!(asked(revocation).is_err(), "nobody denies a revocation");
    }
}
