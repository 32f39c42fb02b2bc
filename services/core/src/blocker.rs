//! What can stand in the way of a deletion: the one reviewed catalogue of codes.
//!
//! A condition that nobody declared, or that serves only to keep a person, is itself unlawful (E-Commerce Law of the PRC,
//! Art. 24; GDPR Art. 12(2)). So each code says why it is there, how strong it is and who may lift it, in one place.
//! Sentences are absent: they depend on who reads them. A name or number that is still held back is in no deletion's way: who registers
//! asks for it, and not here.

use serde::{Deserialize, Serialize};

use crate::deletion::Consent;
use crate::id::ParticipantId;
use crate::policy::Policy;
use crate::time::Time;

/// Longest code: a consent's name is made of it.
const CODE_BYTES_MAX: usize = 48;

/// How strongly something stands in the way.
///
/// The strongest comes first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Stops, and nothing that the person does removes it: law, fraud, a hold, or nobody answered.
    Hard,
    /// Stops until the person removes it, or waits for its end.
    #[default]
    Fixable,
    /// Stops until the person removes it, or agrees to lose it: [`Blocker::forfeit_consent`].
    Forfeitable,
    /// Is told and never stops.
    Advisory,
}

/// Who may decide that a deletion goes on all the same. Nobody's own service desk ever skips the proof of who asks.
///
/// The easiest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overrider {
    /// The support desk, on evidence.
    Support,
    /// The support desk, and a second person who approves.
    SupportWithSecondPerson,
    /// The legal department, which placed it.
    Legal,
    /// Only its end helps.
    Nobody,
}

/// Whose data the blocker is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// One service, for instance `store`.
    Service(&'static str),
    /// Every product line, each of its own devices.
    ProductLines,
    /// No participant says it: the coordinator does.
    Coordinator,
}

/// One code of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub code: &'static str,
    pub owner: Owner,
    /// The default; see [`class_of`].
    pub class: Class,
    pub overridable_by: Overrider,
    /// Why it is there: the law, or whom it protects. One text of several lines.
    pub why: &'static [&'static str],
}

/// The participant that knows people.
pub(crate) const IDENTITY_NAME: &str = "identity";
const IDENTITY: Owner = Owner::Service(IDENTITY_NAME);
const STORE: Owner = Owner::Service("store");
const CLOUD: Owner = Owner::Service("cloud");
const COMMUNITY: Owner = Owner::Service("community");
const SUPPORT: Owner = Owner::Service("support");

macro_rules! catalogue {
    ($($(#[doc = $why:literal])+ $code:ident: $owner:expr, $class:ident, $overrider:ident;)+) => {
        $(
            $(#[doc = $why])+
            pub const $code: Known = Known {
                code: stringify!($code),
                owner: $owner,
                class: Class::$class,
                overridable_by: Overrider::$overrider,
                why: &[$($why),+],
            };
        )+
        /// Every known code.
        pub const CATALOGUE: &[Known] = &[$($code),+];
    };
}

catalogue! {
    /// Silence is never "fine": what could not be asked might be a hold or somebody's money.
    PARTICIPANT_UNREACHABLE: Owner::Coordinator, Hard, Nobody;

    /// One at a time: an account has one live deletion. Told to whoever looks before asking for another; a deletion is never in
    /// its own way.
    DELETION_ALREADY_RUNNING: Owner::Coordinator, Fixable, Nobody;

    /// A slip of the pen must not look like "go on".
    UNKNOWN_ACCOUNT: IDENTITY, Hard, Nobody;
    /// Whoever has just learned a password must not be able to delete what it protects. Ends by itself.
    RECENT_PASSWORD_CHANGE: IDENTITY, Fixable, SupportWithSecondPerson;
    /// Codes go to the number or address: who has just bound another one proves nothing by them. Ends by itself.
    RECENT_CONTACT_CHANGE: IDENTITY, Fixable, SupportWithSecondPerson;
    /// Unusual use; a new password is what shows that the owner is back.
    RISK_CONTROL_LOCK: IDENTITY, Fixable, SupportWithSecondPerson;
    /// Security froze the account, to protect its owner or others from who holds it now: only security knows when that is over.
    ACCOUNT_FROZEN: IDENTITY, Hard, Support;
    /// Its owner has died: what becomes of it the support desk decides with the relatives, on documents.
    ACCOUNT_MEMORIALIZED: IDENTITY, Hard, SupportWithSecondPerson;
    /// Others' apps go on acting for the account, and what they hold is theirs to erase (GDPR Art. 19): their owner
    /// must know which they are while there is still a list.
    THIRD_PARTY_GRANTS: IDENTITY, Fixable, Support;
    /// A court, an authority or a claim demands that data is kept: GDPR Art. 17(3)(b) and (e), PIPL Art. 47.
    LEGAL_HOLD: IDENTITY, Hard, Legal;
    /// Deleting would destroy the evidence against somebody: GDPR Art. 17(3)(e). No desk lifts it: the case is closed or it isn't.
    FRAUD_CASE: IDENTITY, Hard, Nobody;
    /// A child's account would be without anybody who answers for it: PIPL Art. 31, GDPR Art. 8.
    GUARDIAN_OF_CHILD_ACCOUNT: IDENTITY, Fixable, Support;
    /// Who hasn't reached the age decides with a guardian: PIPL Art. 31. (GDPR doesn't ask for it: a policy of the Union may make
    /// it advisory.)
    CHILD_NEEDS_GUARDIAN: IDENTITY, Fixable, SupportWithSecondPerson;

    /// Goods and money are on their way, and the order's address is needed until they arrive.
    UNFINISHED_ORDER: STORE, Fixable, Support;
    /// Both sides' evidence is the order. Support can settle it together with the deletion.
    OPEN_DISPUTE: STORE, Fixable, SupportWithSecondPerson;
    /// The person's money: paid out, moved, or given up in so many words. A policy may say that nobody gives up money so.
    WALLET_BALANCE: STORE, Forfeitable, SupportWithSecondPerson;
    /// Others' money: a deletion ends no contract.
    DEBT_OR_CREDIT: STORE, Fixable, Nobody;
    /// Worth something, and the person's to give up. Support may move them to another account.
    COUPONS_LEFT: STORE, Forfeitable, Support;
    /// As coupons.
    POINTS_LEFT: STORE, Forfeitable, Support;
    /// Would be charged again for an account that is gone.
    ACTIVE_SUBSCRIPTION: STORE, Fixable, Support;
    /// A prize or discount of a running campaign is still to be settled with the account. Leaving it is always possible.
    CAMPAIGN_ACTIVE: STORE, Fixable, Support;
    /// Somebody may have been hurt or owes damages: GDPR Art. 17(3)(e), and the insurer's own duty to keep the claim. The evidence is not
    /// the desk's to give up: the store would refuse to erase it, past the point of no return.
    SAFETY_OR_INSURANCE_CASE: STORE, Hard, Legal;
    /// Who is still being helped could no longer be answered. The person can withdraw the question.
    SUPPORT_TICKET_OPEN: STORE, Fixable, Support;

    /// The owner asked for a copy of what is about to be erased. It ends by itself: an export has a time limit, and its owner may
    /// cancel it.
    EXPORT_RUNNING: CLOUD, Fixable, Support;

    /// A ban is no reason to keep anybody's data: an unreasonable condition is itself unlawful (E-Commerce Law, Art. 24).
    COMMUNITY_BANNED: COMMUNITY, Advisory, Support;

    /// Relatives say that the owner has died, and the desk looks into it: whoever asks meanwhile may not be the owner.
    LEGACY_CASE_OPEN: SUPPORT, Fixable, SupportWithSecondPerson;
    /// What is to move to another account would be lost. The person can withdraw the case.
    TRANSFER_OPEN: SUPPORT, Fixable, Support;

    /// The deletion unbinds and resets them itself. Doing it beforehand is offered and never demanded.
    DEVICES_BOUND: Owner::ProductLines, Advisory, Support;
    /// It was not in touch for a day: it is told when it comes back, for as long as the policy says, and may keep its data until then.
    DEVICE_BOUND_UNREACHABLE: Owner::ProductLines, Advisory, Support;
    /// The lock stays on, so that deleting an account launders no device. That keeps no data of the person's.
    DEVICE_IN_LOST_MODE: Owner::ProductLines, Advisory, Support;
    /// Those who live with the devices keep using them, as an order to a shared device never resets it; but nobody could
    /// invite or remove anyone any more. It is told, as the others' wishes must not keep a person's data either.
    SOLE_ADMIN_OF_SHARED_HOME: Owner::ProductLines, Advisory, Support;
}

/// The catalogue's entry.
pub fn known(code: &str) -> Option<&'static Known> {
    CATALOGUE.iter().find(|known| known.code == code)
}

/// How strongly a code stands in the way where a policy says nothing else. What the catalogue doesn't know stops, and only its participant can say when
/// it is over.
pub fn class_of(code: &str) -> Class {
    known(code).map_or(Class::Fixable, |known| known.class)
}

/// Whether it is formed like a code.
pub fn is_code(code: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    (1..=CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(word)
}

/// Who may override a code where a policy says nothing else. Nobody, if the catalogue doesn't know it.
pub fn overridable_by(code: &str) -> Overrider {
    known(code).map_or(Overrider::Nobody, |known| known.overridable_by)
}

/// Something in the way of a deletion, as a participant named it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    pub code: String,
    /// The participant's own sentence, for codes that the catalogue doesn't know.
    pub message: String,
    /// What removes it; as `message`.
    pub remedy: String,
    pub participant: String,
    #[serde(default)]
    pub class: Class,
    /// How many, where that says something; 0 otherwise.
    #[serde(default)]
    pub count: i64,
    /// When it ends by itself, if it does.
    #[serde(default)]
    pub until: Option<Time>,
}

impl Blocker {
    /// What a participant named, with the class that the policy gives its code.
    pub fn named(code: &str, participant: &ParticipantId, policy: &Policy) -> Self {
        Self::of_class(code, participant.as_str(), policy)
    }

    /// What the coordinator itself knows to be in the way of another deletion.
    pub fn already_running(policy: &Policy) -> Self {
        Self::of_class(DELETION_ALREADY_RUNNING.code, "", policy)
    }

    /// In place of the answer that a participant did not give: silence is never "fine".
    pub fn unreachable(participant: &ParticipantId, policy: &Policy) -> Self {
        Self::named(PARTICIPANT_UNREACHABLE.code, participant, policy)
    }

    /// With the class of its code: the one place where a decision asks for that.
    fn of_class(code: &str, participant: &str, policy: &Policy) -> Self {
        Self {
            code: code.to_owned(),
            message: String::new(),
            remedy: String::new(),
            participant: participant.to_owned(),
            class: policy.class_of(code),
            count: 0,
            until: None,
        }
    }

    /// Whether it only says that nobody answered.
    pub fn is_silence(&self) -> bool {
        self.code == PARTICIPANT_UNREACHABLE.code
    }

    /// The text whose consent gives up what is forfeitable: `forfeit-points-left` for `POINTS_LEFT`.
    pub fn forfeit_consent(&self) -> Option<String> {
        (self.class == Class::Forfeitable).then(|| {
            let words = self.code.to_lowercase().replace('_', "-");
            format!("forfeit-{words}")
        })
    }

    /// Whether a deletion with these consents must wait for it to go.
    pub fn stops(&self, consents: &[Consent]) -> bool {
        match self.class {
            Class::Hard | Class::Fixable => true,
            Class::Forfeitable => self
                .forfeit_consent()
                .is_none_or(|text| !consents.iter().any(|consent| consent.text == text)),
            Class::Advisory => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{start, who};

    fn agreed(text: &str) -> Vec<Consent> {
        vec![Consent {
            text: text.to_owned(),
            version: 1,
            at: start(),
        }]
    }

    #[test]
    fn every_code_stands_in_the_catalogue_once_and_is_a_word_that_a_consent_can_be_made_of() {
        for (place, known) in CATALOGUE.iter().enumerate() {
            assert!(is_code(known.code), "{}", known.code);
            assert!(!known.why.concat().trim().is_empty(), "{}", known.code);
            let first = CATALOGUE.iter().position(|it| it.code == known.code);
            assert_eq!(first, Some(place), "{}", known.code);
        }
    }

    #[test]
    fn a_code_that_nobody_reviewed_stops_and_nobody_overrides_it() {
        let foreign = Blocker::named("KARMA_TOO_LOW", &who("notes"), &Policy::cn());
        assert_eq!(foreign.class, Class::Fixable);
        assert!(foreign.stops(&agreed("forfeit-karma-too-low")));
        assert_eq!(overridable_by(&foreign.code), Overrider::Nobody);
        assert_eq!(class_of(""), Class::Fixable);
    }

    #[test]
    fn only_the_advisory_never_stops_and_only_the_forfeitable_goes_with_its_own_consent() {
        for known in CATALOGUE {
            let policy = Policy {
                recent_contact: None,
                blockers: Default::default(),
                ..Policy::cn()
            };
            let blocker = Blocker::named(known.code, &who("store"), &policy);
            assert_eq!(blocker.stops(&[]), known.class != Class::Advisory);
            let own = format!("forfeit-{}", known.code.to_lowercase().replace('_', "-"));
            let goes = matches!(known.class, Class::Forfeitable | Class::Advisory);
            assert_eq!(blocker.stops(&agreed(&own)), !goes, "{}", known.code);
        }
        let points = Blocker::named(POINTS_LEFT.code, &who("store"), &Policy::cn());
        assert_eq!(
            points.forfeit_consent().as_deref(),
            Some("forfeit-points-left")
        );
        assert!(points.stops(&agreed("forfeit-coupons-left")));
    }

    #[test]
    fn a_policy_says_what_stops_where_it_holds() {
        let policy = Policy {
            blockers: [
                ("DEVICES_BOUND", Class::Fixable),
                ("POINTS_LEFT", Class::Advisory),
                ("PARTICIPANT_UNREACHABLE", Class::Advisory),
                ("KARMA_TOO_LOW", Class::Forfeitable),
            ]
            .map(|(code, class)| (code.to_owned(), class))
            .into(),
            ..Policy::cn()
        };
        assert_eq!(policy.problems(), []);
        let stops = |code: &str, text: &str| {
            Blocker::named(code, &who("store"), &policy).stops(&agreed(text))
        };
        assert!(stops("DEVICES_BOUND", ""));
        assert!(!stops("POINTS_LEFT", ""));
        assert!(stops("KARMA_TOO_LOW", "") && !stops("KARMA_TOO_LOW", "forfeit-karma-too-low"));
        assert!(stops("UNFINISHED_ORDER", ""));
        assert!(!Blocker::unreachable(&who("store"), &policy).stops(&[]));
        assert!(Blocker::unreachable(&who("store"), &Policy::cn()).stops(&[]));
    }

    #[test]
    fn a_community_ban_never_stops_a_deletion() {
        assert_eq!(COMMUNITY_BANNED.class, Class::Advisory);
    }

    #[test]
    fn a_blocker_that_was_stored_before_there_were_classes_still_stops() {
        let stored =
            r#"{"code":"WALLET_BALANCE","message":"m","remedy":"r","participant":"store"}"#;
        let read: Blocker = serde_json::from_str(stored).unwrap();
        assert!(read.stops(&[]));
    }
}
