//! The words about standings and real names.

use farewell_proto::participant::v1 as pb;

use super::{Malformed, id, recent_change};
use crate::participant::{
    AccountDescription, ClearRealName, PersonalizationStopped, RealNameCleared, SetStanding,
    Standing, StandingKept,
};

pub(super) const REQUESTS: &str = "requests/";

pub(super) fn set(asked: &pb::SetStandingQuery, account: String) -> Result<SetStanding, Malformed> {
    let standing = match pb::AccountStanding::try_from(asked.standing) {
        Ok(pb::AccountStanding::Active) => Standing::Active,
        Ok(pb::AccountStanding::Frozen) => Standing::Frozen,
        Ok(pb::AccountStanding::Memorialized) => Standing::Memorialized,
        Ok(pb::AccountStanding::Unspecified) | Err(_) => {
            return Err(Malformed("standing is not known"));
        }
    };
    if asked.generation == 0 || i64::try_from(asked.generation).is_err() {
        return Err(Malformed("generation must be at least 1"));
    }
    Ok(SetStanding {
        account,
        generation: asked.generation,
        standing,
        recent_change: recent_change(asked.recent_change)?,
    })
}

pub(super) fn clear(
    asked: pb::ClearRealNameQuery,
    account: String,
) -> Result<ClearRealName, Malformed> {
    id(&asked.name, REQUESTS, "name must be requests/{request_id}")?;
    Ok(ClearRealName {
        account,
        name: asked.name,
        dry_run: asked.dry_run,
    })
}

pub(crate) fn described(description: AccountDescription) -> pb::reply::Answer {
    pb::reply::Answer::DescribeAccount(pb::DescribeAccountReply {
        known: description.known,
        frozen_by_security: description.frozen_by_security,
        home_region: description.elsewhere.unwrap_or_default(),
    })
}

pub(crate) fn kept(kept: StandingKept) -> pb::reply::Answer {
    let result = match kept {
        StandingKept::Kept => pb::SetStandingResult::Kept,
        StandingKept::Gone => pb::SetStandingResult::Gone,
    };
    pb::reply::Answer::SetStanding(pb::SetStandingReply {
        result: result.into(),
    })
}

pub(crate) fn stopped(stopped: PersonalizationStopped) -> pb::reply::Answer {
    use pb::StopPersonalizationResult as Result;
    let (result, erased) = match stopped {
        PersonalizationStopped::Stopped { erased } => (Result::Stopped, erased),
        PersonalizationStopped::Sealed => (Result::Sealed, Default::default()),
        PersonalizationStopped::Gone => (Result::Gone, Default::default()),
    };
    pb::reply::Answer::StopPersonalization(pb::StopPersonalizationReply {
        result: result.into(),
        erased: erased.into_iter().collect(),
    })
}

pub(crate) fn cleared(cleared: RealNameCleared) -> pb::reply::Answer {
    use pb::ClearRealNameResult as Result;
    let (result, lapsed, obstacles) = match cleared {
        RealNameCleared::Found { lapses, obstacles } => (Result::Cleared, lapses, obstacles),
        RealNameCleared::Cleared { lapsed } => (Result::Cleared, lapsed, Vec::new()),
        RealNameCleared::Waits { obstacles } => (Result::Waits, Default::default(), obstacles),
        RealNameCleared::Gone => (Result::Gone, Default::default(), Vec::new()),
    };
    pb::reply::Answer::ClearRealName(pb::ClearRealNameReply {
        result: result.into(),
        lapsed: lapsed.into_iter().collect(),
        obstacles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::participant::RECENT_CHANGE_MAX;

    #[test]
    fn what_is_empty_zero_or_unknown_is_never_kept_or_cleared() {
        let account = || "a1".to_owned();
        let query = |generation, standing| pb::SetStandingQuery {
            generation,
            standing,
            recent_change: prost_types::Duration::try_from(RECENT_CHANGE_MAX).ok(),
        };
        let frozen = pb::AccountStanding::Frozen.into();
        assert_eq!(
            set(&query(1, frozen), account()).unwrap().standing,
            Standing::Frozen
        );
        for bad in [
            query(0, frozen),
            query(u64::MAX, frozen),
            query(1, 0),
            query(1, 99),
            pb::SetStandingQuery {
                recent_change: None,
                ..query(1, frozen)
            },
        ] {
            assert!(set(&bad, account()).is_err(), "{bad:?}");
        }
        for bad in ["", "requests/", "deletions/d1", "requests/a/b"] {
            let bad = pb::ClearRealNameQuery {
                name: bad.to_owned(),
                dry_run: true,
            };
            assert!(clear(bad, account()).is_err());
        }
    }
}
