//! Where is an account's home, and has security frozen it? A coordinator knows, or has identity say so.

use std::time::Duration;

use farewell_proto::participant::v1::HomeQuestion;
use farewell_proto::participant::v1::connect_request::Message;
use tokio::sync::watch;
use tokio::time::timeout;

use super::asking::{NO_ANSWER, NO_COORDINATOR, TOO_MANY_QUESTIONS};
use super::link::Link;
use super::{Session, Shared};
use crate::home::{Here, NotHere};

/// How long one coordinator is waited for: longer than it waits for identity.
const ANSWER_WAIT: Duration = Duration::from_secs(4);
/// All of them together: a person may be waiting.
const ANSWERS_WAIT: Duration = Duration::from_secs(9);

/// What coordinators said of regions when they welcomed, the last word of each: `None` is none yet.
pub(super) struct Regions {
    said: watch::Sender<Vec<Option<Region>>>,
}

/// What one of them said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Region {
    Only,
    OneOfSeveral,
}

/// What is known of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Only,
    Several,
}

impl Regions {
    pub(super) fn new(coordinators: usize) -> Self {
        Self {
            said: watch::Sender::new(vec![None; coordinators]),
        }
    }

    /// Takes a welcome's word: empty where there is only one region.
    pub(super) fn hear(&self, coordinator: usize, region: &str) {
        let region = match region {
            "" => Region::Only,
            _ => Region::OneOfSeveral,
        };
        self.said
            .send_modify(|said| said[coordinator] = Some(region));
    }

    /// Whether it is one to ask.
    fn is_one_of_several(&self, coordinator: usize) -> bool {
        self.said.borrow()[coordinator] == Some(Region::OneOfSeveral)
    }

    /// Waits for the first welcome of this process, as nobody knows anything before.
    async fn known(&self) -> Known {
        let mut said = self.said.subscribe();
        let welcomed = said.wait_for(|said| known(said) != Known::Nothing);
        match timeout(ANSWER_WAIT, welcomed).await {
            Ok(Ok(said)) => known(&said),
            Ok(Err(_)) | Err(_) => Known::Nothing,
        }
    }
}

fn known(said: &[Option<Region>]) -> Known {
    if said.contains(&Some(Region::OneOfSeveral)) {
        Known::Several
    } else if said.is_empty() || said.contains(&Some(Region::Only)) {
        // Whoever has no coordinators belongs to no region.
        Known::Only
    } else {
        Known::Nothing
    }
}

impl Session {
    /// Returns if the account's home is the region of this participant, or nobody knows the account. Where there is only one region,
    /// as coordinators say when they welcome, nobody is asked.
    ///
    /// Errors: it is elsewhere, or nobody can say: no coordinator was there since this process began, none is now, or identity
    /// gives it no answer.
    pub async fn at_home(&self, account: &str) -> Result<(), NotHere> {
        let shared = &self.shared;
        match shared.regions.known().await {
            Known::Only => Ok(()),
            Known::Nothing => Err(unknown(NO_COORDINATOR)),
            Known::Several => {
                let several = |link: &Link| shared.regions.is_one_of_several(link.index);
                shared.ask_home(account, several).await.map(drop)
            }
        }
    }

    /// Whether security has frozen the account, as identity alone knows: asked where there is only one region, too. Of an account whose
    /// home is elsewhere nobody here knows it: `false`. Whoever has no coordinators has nobody who freezes.
    ///
    /// Errors: nobody can say, as for [`Session::at_home`].
    pub async fn is_frozen_out(&self, account: &str) -> Result<bool, NotHere> {
        let shared = &self.shared;
        if shared.links.is_empty() {
            return Ok(false);
        }
        if shared.regions.known().await == Known::Nothing {
            return Err(unknown(NO_COORDINATOR));
        }
        match shared.ask_home(account, |_| true).await {
            Ok(here) => Ok(here.frozen_by_security),
            Err(NotHere::Elsewhere(_)) => Ok(false),
            Err(unknown @ NotHere::Unknown(_)) => Err(unknown),
        }
    }
}

impl Shared {
    /// Asks those coordinators, one after the other, as not all of them see everybody.
    async fn ask_home(&self, account: &str, whom: impl Fn(&Link) -> bool) -> Result<Here, NotHere> {
        let asked = timeout(ANSWERS_WAIT, self.ask_each(account, whom)).await;
        asked.unwrap_or_else(|_| Err(unknown(NO_ANSWER)))
    }

    async fn ask_each(&self, account: &str, whom: impl Fn(&Link) -> bool) -> Result<Here, NotHere> {
        let mut said = unknown(NO_COORDINATOR);
        for link in self.links.iter().filter(|link| whom(link)) {
            match self.ask_home_at(link, account).await {
                Some(Err(NotHere::Unknown(word))) => said = NotHere::Unknown(word),
                Some(answer) => return answer,
                None => {}
            }
        }
        Err(said)
    }

    /// `None`: it isn't there.
    async fn ask_home_at(&self, link: &Link, account: &str) -> Option<Result<Here, NotHere>> {
        let Some((asked, answer)) = self.homes.ask() else {
            return Some(Err(unknown(TOO_MANY_QUESTIONS)));
        };
        let question = HomeQuestion {
            id: asked.id,
            account: format!("accounts/{account}"),
        };
        if !link.say(Message::Home(question)) {
            return None;
        }
        Some(match timeout(ANSWER_WAIT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(unknown(NO_ANSWER)),
        })
    }
}

fn unknown(word: &str) -> NotHere {
    NotHere::Unknown(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_coordinator_that_knows_of_several_regions_is_enough() {
        use Region::{OneOfSeveral, Only};
        for (said, expected) in [
            (&[][..], Known::Only),
            (&[None, None], Known::Nothing),
            (&[None, Some(Only)], Known::Only),
            (&[Some(Only), Some(OneOfSeveral)], Known::Several),
            (&[Some(OneOfSeveral), None], Known::Several),
        ] {
            assert_eq!(known(said), expected, "{said:?}");
        }
    }
}
