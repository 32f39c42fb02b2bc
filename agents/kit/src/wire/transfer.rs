//! The words about belongings that move.

use farewell_proto::participant::v1 as pb;
use farewell_proto::support::v1 as support;

use super::standing::REQUESTS;
use super::{ACCOUNTS, Malformed, case, id};
use crate::participant::{Belonging, Moved, TransferBelongings, Transferred};

pub(super) fn transfer(
    asked: pb::TransferBelongingsQuery,
    account: String,
) -> Result<TransferBelongings, Malformed> {
    id(&asked.name, REQUESTS, "name must be requests/{request_id}")?;
    let otherwise = "to_account must be accounts/{account}";
    let to_account = id(&asked.to_account, ACCOUNTS, otherwise)?.to_owned();
    if to_account == account {
        return Err(Malformed("to_account must be another account"));
    }
    match (asked.dry_run, asked.case.as_str()) {
        (true, "") => {}
        (true, _) => return Err(Malformed("case must be empty in a dry run")),
        (false, case) => drop(id(case, case::CASES, "case must be cases/{case}")?),
    }
    let mut belongings = Vec::new();
    for number in asked.belongings {
        let belonging = belonging(number)?;
        if belongings.contains(&belonging) {
            return Err(Malformed("belongings must be named once"));
        }
        belongings.push(belonging);
    }
    if belongings.is_empty() {
        return Err(Malformed("belongings are empty"));
    }
    Ok(TransferBelongings {
        account,
        to_account,
        name: asked.name,
        belongings,
        case: asked.case,
        dry_run: asked.dry_run,
    })
}

fn belonging(number: i32) -> Result<Belonging, Malformed> {
    match support::Belonging::try_from(number) {
        Ok(support::Belonging::Points) => Ok(Belonging::Points),
        Ok(support::Belonging::Coupons) => Ok(Belonging::Coupons),
        Ok(support::Belonging::Orders) => Ok(Belonging::Orders),
        Ok(support::Belonging::StoreCredit) => Ok(Belonging::StoreCredit),
        Ok(support::Belonging::Memberships) => Ok(Belonging::Memberships),
        Ok(support::Belonging::Unspecified) | Err(_) => Err(Malformed("a belonging is not known")),
    }
}

const fn word(belonging: Belonging) -> support::Belonging {
    match belonging {
        Belonging::Points => support::Belonging::Points,
        Belonging::Coupons => support::Belonging::Coupons,
        Belonging::Orders => support::Belonging::Orders,
        Belonging::StoreCredit => support::Belonging::StoreCredit,
        Belonging::Memberships => support::Belonging::Memberships,
    }
}

pub(crate) fn transferred(transferred: Transferred) -> pb::reply::Answer {
    let (refused, belongings, at) = match transferred {
        Transferred::Found { belongings } => ("", belongings, None),
        Transferred::Done { belongings, at } => ("", belongings, Some(at)),
        Transferred::Refused { reason } => (reason, Vec::new(), None),
    };
    let told = |it: Moved| pb::TransferredBelonging {
        belonging: word(it.belonging).into(),
        moved: it.moved,
        left: it.left,
    };
    pb::reply::Answer::TransferBelongings(pb::TransferBelongingsReply {
        refused: refused.to_owned(),
        belongings: belongings.into_iter().map(told).collect(),
        transfer_time: at.map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_that_is_empty_unknown_twice_or_ones_own() {
        let sound = pb::TransferBelongingsQuery {
            name: "requests/r1".to_owned(),
            to_account: "accounts/b1".to_owned(),
            belongings: vec![1, 4],
            case: "cases/c1".to_owned(),
            dry_run: false,
        };
        let asked = |query| transfer(query, "a1".to_owned());
        let read = asked(sound.clone()).unwrap();
        assert_eq!(read.belongings, [Belonging::Points, Belonging::StoreCredit]);
        let shown = format!("{read:?}");
        assert!(!shown.contains("a1") && !shown.contains("b1"), "{shown}");
        type Spoil = fn(&mut pb::TransferBelongingsQuery);
        let spoilt: [(&str, Spoil); 11] = [
            ("no name", |it| it.name.clear()),
            ("another name", |it| it.name = "deletions/r1".to_owned()),
            ("nobody", |it| it.to_account.clear()),
            ("no account", |it| it.to_account = "b1".to_owned()),
            ("oneself", |it| it.to_account = "accounts/a1".to_owned()),
            ("nothing", |it| it.belongings.clear()),
            ("zero", |it| it.belongings = vec![0]),
            ("unknown", |it| it.belongings = vec![1, 99]),
            ("twice", |it| it.belongings = vec![1, 1]),
            ("no case", |it| it.case.clear()),
            ("a case of a look", |it| it.dry_run = true),
        ];
        for (what, spoil) in spoilt {
            let mut query = sound.clone();
            spoil(&mut query);
            assert!(asked(query).is_err(), "{what}");
        }
    }

    #[test]
    fn every_belonging_reads_back() {
        for number in 1..=5 {
            let read = belonging(number).unwrap();
            assert_eq!(i32::from(word(read)), number);
            let name = format!("BELONGING_{}", read.word());
            assert_eq!(word(read).as_str_name(), name);
        }
    }
}
