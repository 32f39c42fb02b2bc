use std::time::{Duration, SystemTime};

use farewell_kit::scratch::dump;
use farewell_kit::seal;
use farewell_kit::store::{Store, micros, time};
use farewell_kit::{
    Answer, CaseAction, CaseStanding, CheckCase, Done, Order, Outcome, Participant as _,
};
use farewell_kit::{RetentionRule, StartingPoint, Term};
use farewell_proto::support::v1 as api;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::case::Filter;
use crate::desk::{Decision, Desk, OPEN_CASES_MAX, Received, Shown};
use crate::evidence::{CASE_EVIDENCE_MAX, Evidence};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::state::{Refused, Rejection, State};
use crate::wish::{Document, Wish};
use crate::{Periods, kept, left_over, scratch};
use farewell_kit::vault::{KEY_BYTES, Vault};

mod home;
mod settling;

const ACCOUNT: &str = "a-4711";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PASSPORT: &[u8] = b"%PDF-1.7 passport of nobody in particular";

struct Bench {
    desk: Desk,
    now: SystemTime,
}

async fn benches(name: &str) -> Vec<Bench> {
    let vault = Vault::new([(1, [7; KEY_BYTES])]).unwrap();
    let all = scratch::stores(name).await.into_iter().map(|store| Bench {
        desk: Desk::new(store, vault.clone(), Periods::default()),
        now: time(micros(SystemTime::now())),
    });
    all.collect()
}

/// A request that nobody made before.
fn fresh() -> Request {
    Request::new(Uuid::new_v4(), "Test", "ana", &api::Case::default(), &[])
}

impl Bench {
    fn store(&self) -> &Store {
        &self.desk.store
    }

    async fn open(&self, wish: Wish) -> String {
        self.open_for(ACCOUNT, "", wish).await.unwrap().case.id
    }

    async fn open_for(&self, account: &str, to: &str, wish: Wish) -> Result<Shown, Refusal> {
        let subject = (account, to, wish);
        self.desk.open(&fresh(), "ana", subject, self.now).await
    }

    async fn show(&self, case: &str, kind: Document) -> Result<Evidence, Refusal> {
        self.show_as(&fresh(), case, kind, PASSPORT).await
    }

    async fn show_as(
        &self,
        request: &Request,
        case: &str,
        kind: Document,
        bytes: &[u8],
    ) -> Result<Evidence, Refusal> {
        let received = Received {
            case: case.to_owned(),
            kind,
            media_type: "application/pdf".to_owned(),
            bytes: bytes.to_vec(),
        };
        self.desk.add(request, "ana", received, self.now).await
    }

    async fn decide(&self, case: &str, who: &str, decision: Decision) -> Result<Shown, Refusal> {
        let request = fresh();
        let decided = (case, decision);
        self.desk.decide(&request, who, decided, self.now).await
    }

    /// A case of lost access that two have approved.
    async fn approved(&self) -> String {
        let case = self.open(Wish::LostAccess).await;
        self.show(&case, Document::Identity).await.unwrap();
        self.show(&case, Document::PurchaseProof).await.unwrap();
        for who in ["bo", "chi"] {
            self.decide(&case, who, Decision::Approve).await.unwrap();
        }
        case
    }

    async fn check(&self, case: &str, used_for: &str, now: SystemTime) -> CaseStanding {
        let asked = CheckCase {
            account: ACCOUNT.to_owned(),
            case: case.to_owned(),
            action: CaseAction::Delete,
            used_for: used_for.to_owned(),
            approvals_min: 2,
            done: false,
            rejected: false,
        };
        self.desk.check(&asked, now).await.unwrap()
    }

    async fn log(&self, case: &str) -> Vec<String> {
        let shown = self.desk.get(case).await.unwrap();
        let lines = shown.log.into_iter();
        lines
            .map(|line| format!("{} {}", line.who, line.what))
            .collect()
    }
}

fn order(verb: &str) -> Order {
    Order {
        horizon: None,
        retention: Vec::new(),
        ended_by: None,
        command: format!("deletions/d1/commands/1-{verb}-support"),
        account: ACCOUNT.to_owned(),
        deadline: None,
        devices: Vec::new(),
        traceparent: String::new(),
    }
}

/// Decisions are kept for three years of this law.
fn decisions_under(law: &str) -> RetentionRule {
    RetentionRule {
        class: "support_decisions".to_owned(),
        legal_basis: law.to_owned(),
        from: StartingPoint::Completion,
        term: Term::Months(36),
        time_zone: TimeZone::UTC,
        until: None,
    }
}

fn done(answer: Answer) -> Done {
    match answer {
        Answer::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_case_goes_its_way_and_its_log_says_who_did_what() {
    for bench in benches("way").await {
        let case = bench.open(Wish::LostAccess).await;
        bench.show(&case, Document::Identity).await.unwrap();
        let early = bench.decide(&case, "bo", Decision::Approve).await;
        assert!(matches!(
            early,
            Err(Refusal::Refused(Refused::EvidenceMissing(missing))) if missing == [Document::PurchaseProof]
        ));
        let invoice = bench.show(&case, Document::PurchaseProof).await.unwrap();
        let own = bench.decide(&case, "ana", Decision::Approve).await;
        assert!(matches!(own, Err(Refusal::Refused(Refused::OwnCase))));
        bench.decide(&case, "bo", Decision::Approve).await.unwrap();
        let twice = bench.decide(&case, "bo", Decision::Approve).await;
        assert!(matches!(twice, Err(Refusal::Refused(Refused::SamePerson))));
        let looked = bench
            .desk
            .look("chi", (&case, &invoice.id), bench.now)
            .await;
        assert_eq!(looked.unwrap().1, PASSPORT);
        let shown = bench.decide(&case, "chi", Decision::Approve).await.unwrap();
        assert_eq!(shown.case.matter.state.approved_by(), ["bo", "chi"]);
        assert_eq!(
            bench.check(&case, "deletions/d1", bench.now).await,
            CaseStanding::Stands
        );
        assert_eq!(
            bench.log(&case).await,
            [
                "ana OPENED",
                "ana EVIDENCE_ADDED",
                "ana EVIDENCE_ADDED",
                "bo APPROVED",
                "chi EVIDENCE_READ",
                "chi APPROVED",
                "farewell USED",
            ],
            "what was refused is not in it"
        );
    }
}

#[tokio::test]
async fn a_repeat_is_the_same_answer_and_another_body_is_refused() {
    for bench in benches("repeat").await {
        let (id, body) = (Uuid::new_v4(), api::Case::default());
        let request = Request::new(id, "OpenCase", "ana", &body, &[]);
        let open = |request: Request| {
            let desk = bench.desk.clone();
            let now = bench.now;
            async move {
                let subject = (ACCOUNT, "", Wish::RealName);
                desk.open(&request, "ana", subject, now).await
            }
        };
        let first = open(request.clone()).await.unwrap().case.id;
        assert_eq!(open(request).await.unwrap().case.id, first);
        let by_another = Request::new(id, "OpenCase", "bo", &body, &[]);
        assert!(matches!(
            open(by_another).await,
            Err(Refusal::RequestIdReused)
        ));

        let bytes = fresh();
        let added = bench.show_as(&bytes, &first, Document::Identity, PASSPORT);
        let added = added.await.unwrap();
        let again = bench.show_as(&bytes, &first, Document::Identity, PASSPORT);
        assert_eq!(again.await.unwrap(), added);
        let approve = fresh();
        for _ in 0..2 {
            let decided = (first.as_str(), Decision::Approve);
            let shown = bench.desk.decide(&approve, "bo", decided, bench.now).await;
            assert_eq!(shown.unwrap().case.matter.state.approved_by(), ["bo"]);
        }
        assert_eq!(bench.log(&first).await.len(), 3, "nothing was done twice");
    }
}

#[tokio::test]
async fn an_approval_is_one_accounts_and_is_used_once() {
    for bench in benches("used").await {
        let case = bench.approved().await;
        let mut foreign = CheckCase {
            account: "b-1".to_owned(),
            case: case.clone(),
            action: CaseAction::Delete,
            used_for: "deletions/d1".to_owned(),
            approvals_min: 2,
            done: false,
            rejected: false,
        };
        let standing = bench.desk.check(&foreign, bench.now).await.unwrap();
        assert_eq!(standing, CaseStanding::NotFound);
        foreign.case = Uuid::new_v4().to_string();
        let standing = bench.desk.check(&foreign, bench.now).await.unwrap();
        assert_eq!(standing, CaseStanding::NotFound);
        for (used_for, standing) in [
            ("deletions/d1", CaseStanding::Stands),
            ("deletions/d2", CaseStanding::Used),
            ("deletions/d1", CaseStanding::Stands),
        ] {
            assert_eq!(bench.check(&case, used_for, bench.now).await, standing);
        }
        let late = bench.decide(&case, "dan", Decision::Reject(Rejection::Forged));
        assert!(matches!(late.await, Err(Refusal::Refused(Refused::Closed))));
    }
}

#[tokio::test]
async fn documents_lie_sealed_and_go_with_their_key_when_their_period_is_over() {
    for bench in benches("period").await {
        let case = bench.approved().await;
        let evidence = bench.desk.get(&case).await.unwrap().evidence;
        let stored: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT sealed FROM evidence")
            .fetch_all(bench.store().pool())
            .await
            .unwrap();
        for (sealed,) in &stored {
            assert!(sealed.len() > PASSPORT.len());
            assert!(!sealed.windows(8).any(|bytes| bytes == &PASSPORT[9..17]));
        }

        // No desk starts without the key that they lie under, or with another one.
        let vault = |version, byte| Vault::new([(version, [byte; KEY_BYTES])]).unwrap();
        for (vault, fits) in [
            (vault(1, 7), true),
            (vault(2, 7), false),
            (vault(1, 8), false),
        ] {
            let settled = crate::settle(bench.store(), &vault).await;
            assert_eq!(settled.is_ok(), fits, "{settled:?}");
        }

        // The approval ends by itself, and then, after their own period, the documents.
        let over = bench.now + Periods::default().approval_valid;
        assert_eq!(
            bench.check(&case, "deletions/d1", over).await,
            CaseStanding::Expired
        );
        assert!(bench.desk.sweep(over - DAY).await.unwrap().next.is_some());
        let shown = bench.desk.get(&case).await.unwrap();
        assert_eq!(shown.case.matter.state.word(), "APPROVED");
        bench.desk.sweep(over).await.unwrap();
        let shown = bench.desk.get(&case).await.unwrap();
        assert_eq!(shown.case.matter.state, State::Expired);
        let gone = over + Periods::default().evidence_kept;
        bench.desk.sweep(gone - DAY).await.unwrap();
        let look = |at| bench.desk.look("bo", (&case, &evidence[0].id), at);
        assert_eq!(look(gone).await.unwrap().1, PASSPORT);
        bench.desk.sweep(gone).await.unwrap();
        assert!(matches!(look(gone).await, Err(Refusal::EvidenceDeleted)));
        let (bytes,): (i64,) = sqlx::query_as(
            "SELECT CAST(COALESCE(SUM(OCTET_LENGTH(sealed)), 0) + \
                 (SELECT COALESCE(SUM(OCTET_LENGTH(data_key)), 0) FROM desk_case) AS BIGINT) FROM evidence",
        )
        .fetch_one(bench.store().pool())
        .await
        .unwrap();
        assert_eq!(bytes, 0);
        let another = Vault::new([(2, [8; KEY_BYTES])]).unwrap();
        crate::settle(bench.store(), &another).await.unwrap();
        let shown = bench.desk.get(&case).await.unwrap();
        assert!(
            shown
                .evidence
                .iter()
                .all(|evidence| evidence.deleted_at.is_some())
        );
        let log = bench.log(&case).await;
        assert_eq!(
            log[log.len() - 3..],
            [
                "farewell EXPIRED",
                "bo EVIDENCE_READ",
                "farewell EVIDENCE_DELETED"
            ]
        );
        let once = bench.desk.sweep(gone + DAY).await.unwrap();
        assert!(once.next.is_none() && once.stuck.is_empty());
    }
}

#[tokio::test]
async fn a_new_document_undoes_the_first_approval_and_none_comes_after_the_second() {
    for bench in benches("dropped").await {
        let case = bench.open(Wish::RealName).await;
        bench.show(&case, Document::Identity).await.unwrap();
        bench.decide(&case, "bo", Decision::Approve).await.unwrap();
        bench.show(&case, Document::Other).await.unwrap();
        let shown = bench.desk.get(&case).await.unwrap();
        assert_eq!(shown.case.matter.state, State::Opened);
        assert!(
            bench
                .log(&case)
                .await
                .contains(&"ana APPROVAL_DROPPED".to_owned())
        );
        for who in ["bo", "chi"] {
            bench.decide(&case, who, Decision::Approve).await.unwrap();
        }
        let late = bench.show(&case, Document::Other).await;
        assert!(matches!(late, Err(Refusal::Refused(Refused::Closed))));
    }
}

#[tokio::test]
async fn cases_and_documents_have_limits() {
    for bench in benches("limits").await {
        for _ in 0..OPEN_CASES_MAX {
            bench.open(Wish::RealName).await;
        }
        let more = bench.open_for(ACCOUNT, "", Wish::RealName).await;
        assert!(matches!(more, Err(Refusal::TooManyCases)));
        let cases = bench.desk.list(&Filter::default(), "", 3).await.unwrap();
        let (any, last) = (Filter::default(), &cases[2].case.id);
        let next = bench.desk.list(&any, last, 500).await.unwrap();
        assert_eq!(next.len(), OPEN_CASES_MAX - 3);
        let case = &cases[0].case.id;
        for _ in 0..CASE_EVIDENCE_MAX {
            bench.show(case, Document::Identity).await.unwrap();
        }
        let more = bench.show(case, Document::Identity).await;
        assert!(matches!(more, Err(Refusal::TooMuchEvidence)));
        bench.decide(case, "bo", Decision::Withdraw).await.unwrap();
        bench.open(Wish::RealName).await;
        let withdrawn = Filter {
            account: ACCOUNT.to_owned(),
            states: vec!["WITHDRAWN"],
        };
        assert_eq!(bench.desk.list(&withdrawn, "", 500).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_is_open_for_relatives_or_to_be_moved_is_in_the_way() {
    for bench in benches("blockers").await {
        let codes = async || {
            let blockers = farewell_kit::Holder::blockers(&bench.desk, ACCOUNT)
                .await
                .unwrap();
            blockers
                .into_iter()
                .map(|blocker| blocker.code)
                .collect::<Vec<_>>()
        };
        assert!(codes().await.is_empty());
        let relatives = bench.open(Wish::Legacy { delete: true }).await;
        let points = Wish::Transfer {
            belongings: vec!["POINTS".to_owned()],
        };
        bench.open_for(ACCOUNT, "b-1", points).await.unwrap();
        bench.open(Wish::LostAccess).await;
        assert_eq!(codes().await, ["LEGACY_CASE_OPEN", "TRANSFER_OPEN"]);
        bench
            .show(&relatives, Document::DeathCertificate)
            .await
            .unwrap();
        bench
            .show(&relatives, Document::RelationshipProof)
            .await
            .unwrap();
        bench
            .decide(&relatives, "bo", Decision::Approve)
            .await
            .unwrap();
        assert_eq!(codes().await, ["LEGACY_CASE_OPEN", "TRANSFER_OPEN"]);
        bench
            .decide(&relatives, "chi", Decision::Approve)
            .await
            .unwrap();
        assert_eq!(codes().await, ["TRANSFER_OPEN"], "not in its own way");
    }
}

#[tokio::test]
async fn an_erased_account_leaves_decisions_without_its_name_and_nothing_else() {
    for bench in benches("erased").await {
        let case = bench.approved().await;
        bench.check(&case, "deletions/d1", bench.now).await;
        let points = Wish::Transfer {
            belongings: vec!["POINTS".to_owned()],
        };
        let from = bench
            .open_for("b-1", ACCOUNT, points)
            .await
            .unwrap()
            .case
            .id;
        bench.desk.seal(&order("seal")).await.unwrap();
        let erase = |law: &str| Order {
            retention: vec![decisions_under(law)],
            ..order("erase")
        };
        let held = left_over(bench.store(), ACCOUNT).await.unwrap();
        let counts: Vec<_> = held.categories.iter().map(|held| held.count).collect();
        assert_eq!(counts, [1, 2, 1]);
        let erased = done(bench.desk.act(&erase("Law 1")).await.unwrap());
        assert_eq!(erased.outcome, Outcome::Erased);
        assert_eq!(erased.retained[0].legal_basis, "Law 1");
        assert_eq!(erased.counts["support_documents"], 2);
        assert_eq!((erased.retained.len(), erased.retained[0].count), (1, 1));
        assert_eq!(erased.retained[0].class, "support_decisions");
        let probed = done(bench.desk.probe(&order("probe")).await.unwrap());
        assert_eq!(probed.outcome, Outcome::Clean);
        assert_eq!(probed.retained, erased.retained);

        let shown = bench.desk.get(&case).await.unwrap();
        assert_eq!(shown.case.account, "");
        // Nobody comes across it in daily work.
        let listed = bench.desk.list(&Filter::default(), "", 500).await.unwrap();
        assert!(listed.iter().all(|shown| shown.case.id == from));
        assert!(shown.evidence.is_empty() && shown.case.key.is_none());
        assert_eq!(shown.case.matter.state.approved_by(), ["bo", "chi"]);
        let other = bench.desk.get(&from).await.unwrap();
        assert_eq!(other.case.matter.to_account, "");
        let after = bench.open_for(ACCOUNT, "", Wish::RealName).await;
        assert!(matches!(after, Err(Refusal::AccountErased)));
        let more = bench.show(&case, Document::Other).await;
        assert!(matches!(more, Err(Refusal::AccountErased)));

        // Once its time is over it waits for the coordinator, whose addendum would be empty otherwise.
        let swept = bench.desk.sweep(erased.retained[0].until + DAY).await;
        assert!(swept.unwrap().stuck.is_empty());
        sqlx::query("UPDATE desk_case SET due_at = 1 WHERE erased_by = 'd1'")
            .execute(bench.store().pool())
            .await
            .unwrap();
        bench.desk.sweep(bench.now).await.unwrap();
        assert_eq!(kept(bench.store(), "d1").await.unwrap().len(), 1);
        for (verb, outcome) in [("expire", Outcome::Erased), ("again", Outcome::NotFound)] {
            let expire = Order {
                ended_by: Some(bench.now),
                ..order(verb)
            };
            let ended = done(bench.desk.expire(&expire).await.unwrap());
            assert_eq!(ended.outcome, outcome);
            let count = ended.counts.get("support_decisions").copied();
            assert_eq!(count, (outcome == Outcome::Erased).then_some(1));
        }
        let after = kept(bench.store(), "d1").await.unwrap();
        assert_eq!(after, []);
        assert!(matches!(
            bench.desk.get(&case).await,
            Err(Refusal::CaseNotFound)
        ));
    }
}

#[tokio::test]
async fn what_is_sealed_and_unsealed_is_as_it_was_to_the_byte() {
    for bench in benches("seal").await {
        bench.approved().await;
        bench.open(Wish::RealName).await;
        let before = dump(bench.store()).await;
        assert!(!before["desk_case"].is_empty() && !before["evidence"].is_empty());
        bench.desk.seal(&order("seal")).await.unwrap();
        for _ in 0..2 {
            bench.desk.unseal(&order("unseal")).await.unwrap();
        }
        assert_eq!(dump(bench.store()).await, before);
    }
}

#[tokio::test]
async fn what_no_law_keeps_goes_with_the_account() {
    for bench in benches("unkept").await {
        let case = bench.approved().await;
        bench.desk.seal(&order("seal")).await.unwrap();
        let erased = done(bench.desk.act(&order("erase")).await.unwrap());
        assert_eq!(
            (erased.retained, erased.counts["support_cases"]),
            (vec![], 1)
        );
        assert!(matches!(
            bench.desk.get(&case).await,
            Err(Refusal::CaseNotFound)
        ));
    }
}

#[tokio::test]
async fn a_sealed_account_still_has_its_desk() {
    for bench in benches("sealed").await {
        bench.desk.seal(&order("seal")).await.unwrap();
        let case = bench.open(Wish::LostAccess).await;
        bench.show(&case, Document::Identity).await.unwrap();
        bench.desk.unseal(&order("unseal")).await.unwrap();
        let found = seal::look(bench.store(), &order("probe")).await;
        assert!(found.is_ok());
    }
}

#[tokio::test]
async fn a_case_that_can_not_be_read_holds_up_no_other_and_is_counted() {
    for bench in benches("stuck").await {
        // More than are read at a time, and due before the one that can be done.
        let mut broken = Vec::new();
        for number in 0..120 {
            let account = format!("b-{number}");
            let opened = bench.open_for(&account, "", Wish::LostAccess).await;
            broken.push(opened.unwrap().case.id);
        }
        sqlx::query("UPDATE desk_case SET wish = '?', due_at = due_at - 1000")
            .execute(bench.store().pool())
            .await
            .unwrap();
        let sound = bench.open(Wish::LostAccess).await;
        let over = bench.now + Periods::default().case_open + DAY;
        let swept = bench.desk.sweep(over).await.unwrap();
        let mut stuck: Vec<_> = swept.stuck.into_iter().map(|(id, _)| id).collect();
        stuck.sort();
        broken.sort();
        assert_eq!(stuck, broken);
        let shown = bench.desk.get(&sound).await.unwrap();
        assert_eq!(shown.case.matter.state, State::Expired);
        assert!(
            swept.next.is_some_and(|next| next > over),
            "when the documents of the sound one go"
        );
        let mut connection = bench.store().pool().acquire().await.unwrap();
        let waiting = crate::case::waiting(&mut connection, over).await.unwrap();
        assert_eq!(waiting, (120, 120));
    }
}
