use std::collections::BTreeMap;

use farewell_core::deletion::Request;
use farewell_core::device::{Class, DeviceVerb, Facts};
use farewell_core::policy::{Channel, Stage as PolicyStage};
use farewell_core::receipt::{Evidence, Outcome};
use farewell_core::{DeletionId, Event, Policy, RequestId, Time};
use farewell_runtime::cose::SigningKey;
use farewell_runtime::server::MESSAGE_BYTES_MAX;
use prost::Message as _;
use uuid::Uuid;

use super::*;

const SESSION: SessionId = 1;
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(15),
    cap: Duration::from_secs(60),
};

/// Two erase at once and are then asked what they hold; nothing is sealed, asked or waited for.
fn plan() -> Arc<Plan> {
    let policy = Policy {
        name: "quick".to_owned(),
        stages: vec![PolicyStage {
            name: "ERASE".to_owned(),
            participants: vec![who("cloud"), who("phones")],
        }],
        seal: false,
        eligibility: false,
        channels: BTreeMap::from([(Channel::Legacy, vec![])]),
        cooling_off: Duration::ZERO,
        ..Policy::cn()
    };
    Arc::new(Plan::new(1, policy).unwrap())
}

fn who(name: &str) -> ParticipantId {
    name.parse().unwrap()
}

fn now() -> Time {
    Time::from_micros(1_800_000_000_000_000)
}

fn erasing(number: u128, plan: &Plan) -> Deletion {
    let request = Request {
        id: DeletionId(Uuid::from_u128(number)),
        account: format!("a-{number}").parse().unwrap(),
        request: RequestId(Uuid::from_u128(number)),
        request_digest: [7; 16],
        channel: Channel::Legacy,
        consents: Vec::new(),
        traceparent: String::new(),
    };
    Deletion::open(request, plan, now()).unwrap()
}

fn step(deletion: &Deletion, event: &Event, plan: &Plan) -> Deletion {
    deletion.step(event, plan, now()).unwrap()
}

fn owed(deletion: &Deletion) -> Owed {
    Owed {
        deletion: deletion.clone(),
        seals: Vec::new(),
    }
}

fn board() -> Board {
    let mut board = Board::default();
    board.gain(&Slot::all().collect::<Vec<_>>());
    board
}

/// A session of `cloud` with a window.
fn seat(board: &mut Board, session: SessionId) -> mpsc::Receiver<Frame> {
    let (commands, queue) = mpsc::channel(SESSION_FRAMES_MAX);
    let (words, _) = mpsc::channel(1);
    board.seat(&who("cloud"), session, Lines { commands, words });
    board.set_window(&who("cloud"), session, 4_096);
    queue
}

fn dispatch(board: &mut Board, now: Instant) -> usize {
    board.tick(now);
    let sending = Sending {
        now,
        retry: &RETRY,
        orders: &Orders::new(SigningKey::from_seed(&[1; 32]).unwrap()),
        traceparent: "",
    };
    board.dispatch(&sending, &mut Vec::new())
}

/// A deletion on the board whose erasing `cloud` was just asked for.
fn sent(plan: &Arc<Plan>) -> (Deletion, Board, mpsc::Receiver<Frame>) {
    let deletion = erasing(1, plan);
    let mut board = board();
    board.admit(owed(&deletion), Arc::clone(plan));
    let queue = seat(&mut board, SESSION);
    assert_eq!(dispatch(&mut board, Instant::now()), 1);
    (deletion, board, queue)
}

fn hear(board: &mut Board, deletion: &Deletion, answer: &Answer) {
    let name = CommandName {
        deletion: deletion.id,
        round: deletion.round,
        verb: Verb::Erase,
        participant: who("cloud"),
    };
    let account = &deletion.account;
    board
        .hear(
            &who("cloud"),
            &name,
            account,
            answer,
            (Instant::now(), farewell_core::Time::default()),
        )
        .unwrap();
}

fn done() -> Answer {
    Answer::Done(Evidence {
        counts: BTreeMap::from([("photos".to_owned(), 3)]),
        ..Evidence::of(Outcome::Erased)
    })
}

#[test]
fn a_leg_is_sent_again_after_late_progress_of_a_participant_that_then_dies() {
    let plan = plan();
    let deletion = erasing(1, &plan);
    let mut board = board();
    board.admit(owed(&deletion), plan);
    let _first = seat(&mut board, SESSION);
    assert_eq!(dispatch(&mut board, Instant::now()), 1);
    // The stream is lost, and word of the work comes on the next one before anything was sent there.
    board.unseat(&who("cloud"), SESSION);
    let _second = seat(&mut board, SESSION + 1);
    hear(
        &mut board,
        &deletion,
        &Answer::InProgress { done: 1, total: 2 },
    );
    board.unseat(&who("cloud"), SESSION + 1);
    let _third = seat(&mut board, SESSION + 2);
    assert_eq!(dispatch(&mut board, Instant::now()), 1);
}

#[test]
fn a_done_mask_of_an_earlier_revision_is_not_taken_for_that_of_a_later_round() {
    let plan = plan();
    let first = erasing(1, &plan);
    let verifying = step(&first, &Event::Settled(plan.erases()), &plan);
    let mut board = board();
    board.admit(owed(&verifying), Arc::clone(&plan));
    let erase = plan.find(&who("phones"), Verb::Erase).unwrap();
    let again = step(&verifying, &Event::Residue(erase), &plan);
    board.admit(owed(&again), Arc::clone(&plan));
    // What was committed before the second round is heard of after it.
    let done = verifying.done | plan.probes();
    assert!(!board.settled(
        first.id,
        verifying.revision,
        (done, Mask::EMPTY),
        None,
        Vec::new()
    ));
    assert_eq!(board.deletion(first.id).unwrap().0.done, again.done);
}

#[test]
fn a_refused_leg_is_asked_again_once_a_person_has_cleared_the_cause() {
    let plan = plan();
    let (deletion, mut board, _queue) = sent(&plan);
    let reason = "BUSY".to_owned();
    hear(&mut board, &deletion, &Answer::Refused { reason });
    let leg = plan.find(&who("cloud"), Verb::Erase).unwrap();
    let refused = step(&deletion, &Event::LegRefused(leg), &plan);
    board.admit(owed(&refused), Arc::clone(&plan));
    board.unsettle(deletion.id, Mask::of(leg));
    assert_eq!(dispatch(&mut board, Instant::now()), 0);
    let cleared = step(&refused, &Event::Retry(leg), &plan);
    board.admit(owed(&cleared), plan);
    assert_eq!(dispatch(&mut board, Instant::now()), 1);
}

#[test]
fn only_what_was_not_settled_is_owed_again() {
    let plan = plan();
    let (deletion, mut board, _queue) = sent(&plan);
    hear(&mut board, &deletion, &done());
    // Its receipt is on the way while somebody else's came to nothing.
    let other = plan.find(&who("phones"), Verb::Erase).unwrap();
    board.unsettle(deletion.id, Mask::of(other));
    assert_eq!(dispatch(&mut board, Instant::now()), 0);
    let cloud = plan.find(&who("cloud"), Verb::Erase).unwrap();
    board.unsettle(deletion.id, Mask::of(cloud));
    assert_eq!(dispatch(&mut board, Instant::now()), 1);
}

#[test]
fn what_the_ledger_refuses_is_asked_for_again_after_a_pause() {
    let plan = plan();
    let (deletion, mut board, _queue) = sent(&plan);
    hear(&mut board, &deletion, &done());
    let cloud = plan.find(&who("cloud"), Verb::Erase).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    board.put_off(deletion.id, Mask::of(cloud), until);
    board.admit(owed(&deletion), plan);
    assert_eq!(dispatch(&mut board, Instant::now()), 0);
    assert_eq!(dispatch(&mut board, until), 1);
}

#[test]
fn commands_with_long_rosters_are_spread_so_that_no_frame_ends_the_stream() {
    const DELETIONS: u128 = 40;
    let plan = plan();
    let mut board = board();
    let device = |number: u32| Device {
        device: format!("a-device-with-a-rather-long-name-{number:06}")
            .parse()
            .unwrap(),
        binding_epoch: 1,
        facts: Some(Facts {
            class: Class::Personal,
            verbs: vec![DeviceVerb::Unbind],
            co_admin: false,
            household: false,
            hub: None,
        }),
        outcome: None,
        lock: None,
    };
    for number in 1..=DELETIONS {
        let deletion = erasing(number, &plan);
        let roster = Roster {
            participant: who("cloud"),
            devices: (0..1_024).map(device).collect(),
        };
        board.admit(owed(&deletion), Arc::clone(&plan));
        let (revision, done) = (deletion.revision, deletion.done);
        assert!(board.settled(
            deletion.id,
            revision,
            (done, Mask::EMPTY),
            None,
            vec![roster]
        ));
    }
    let mut queue = seat(&mut board, SESSION);
    assert_eq!(dispatch(&mut board, Instant::now()), 40);
    let mut frames = 0;
    while let Ok(frame) = queue.try_recv() {
        assert!(frame.unwrap().encoded_len() < MESSAGE_BYTES_MAX);
        frames += 1;
    }
    assert!(frames > 1);
}

#[test]
fn what_was_read_before_a_deletion_left_does_not_bring_it_back() {
    let plan = plan();
    let deletion = erasing(1, &plan);
    let mut board = board();
    let verifying = step(&deletion, &Event::Settled(plan.erases()), &plan);
    let purged = step(&verifying, &Event::Settled(plan.probes()), &plan);
    board.admit(owed(&verifying), Arc::clone(&plan));
    board.leave(&purged);
    // The read that was under way may end now, and the next one may have begun before.
    for _ in 0..2 {
        assert!(!board.freshen(&mut verifying.clone()));
        board.read_over();
    }
    assert!(
        board.freshen(&mut verifying.clone()),
        "nothing is kept for ever"
    );

    let cloud = Mask::of(plan.find(&who("cloud"), Verb::Erase).unwrap());
    let settled = Deletion {
        done: cloud,
        ..deletion.clone()
    };
    board.leave(&settled);
    let mut read = deletion;
    assert!(board.freshen(&mut read));
    assert_eq!(read.done, cloud, "what was settled since is known");
}
