mod coordinator;
mod home;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use farewell_proto::participant::v1::{
    Command, DeviceOutcome as Ended, DeviceReturnKept, DeviceReturns, DeviceReturnsKept,
    EligibilityQuery, InventoryQuery, Outcome as Said, Report, Verb,
    connect_request::Message as Up, connect_response::Message as Down, query::Question, reply,
    report,
};
use tokio::sync::Semaphore;

use self::coordinator::{Coordinator, PATIENCE, Stream, command};
use super::*;
use crate::participant::{
    Answer, Blocker, CheckEligibility, Deferred, DeviceEnding, DeviceReturn, Done, Fault,
    Inventory, MockParticipant, Order, Outcome, RECENT_CHANGE_MAX,
};

const WINDOW: u32 = 256;

/// So patient that no test meets one of them by chance, on a machine with other things to do.
fn limits() -> Limits {
    Limits {
        drain: PATIENCE,
        slow_after: PATIENCE,
        work: Duration::from_secs(60),
        fault_base: Duration::from_millis(200),
        fault_cap: Duration::from_secs(30),
    }
}

fn session(coordinators: &[&Coordinator], participant: impl Participant) -> (Session, Shutdown) {
    session_within(limits(), coordinators, participant)
}

fn session_within(
    limits: Limits,
    coordinators: &[&Coordinator],
    participant: impl Participant,
) -> (Session, Shutdown) {
    let shutdown = Shutdown::new();
    let config = Config {
        participant: "notes".to_owned(),
        coordinators: coordinators.iter().map(|c| c.url()).collect(),
        security: Security::PlainLoopback,
        window_commands: WINDOW,
    };
    (
        start_with(config, limits, Arc::new(participant), shutdown.clone()),
        shutdown,
    )
}

/// A participant that remembers nothing.
fn forgetful() -> MockParticipant {
    let mut participant = MockParticipant::new();
    participant.expect_recall().returning(|_| Ok(None));
    participant
}

fn erased() -> Answer {
    Answer::Done(Done::new(Outcome::Erased).count("notes", 1))
}

fn deferred() -> Answer {
    Answer::Deferred(Deferred {
        retry_after: Duration::from_secs(3600),
        reason: "WAITING_FOR_DEVICES".to_owned(),
        done: 1,
        total: 2,
    })
}

fn outcome(report: &Report) -> Said {
    match &report.answer {
        Some(report::Answer::Done(done)) => Said::try_from(done.outcome).unwrap(),
        other => panic!("expected done, got {other:?}"),
    }
}

fn refusal(report: &Report) -> &str {
    match &report.answer {
        Some(report::Answer::Refused(refused)) => &refused.reason,
        other => panic!("expected refused, got {other:?}"),
    }
}

fn deferral(report: &Report) -> (&str, Duration) {
    match &report.answer {
        Some(report::Answer::Deferred(deferred)) => (
            &deferred.reason,
            deferred.retry_after.unwrap().try_into().unwrap(),
        ),
        other => panic!("expected deferred, got {other:?}"),
    }
}

/// Is anything in the way?
fn eligibility() -> Question {
    Question::Eligibility(EligibilityQuery {
        recent_change: prost_types::Duration::try_from(RECENT_CHANGE_MAX).ok(),
    })
}

/// Works until it is let go, and counts.
#[derive(Clone)]
struct Slow {
    gate: Arc<Semaphore>,
    started: Arc<AtomicUsize>,
}

impl Slow {
    fn new() -> Self {
        Self {
            gate: Arc::new(Semaphore::new(0)),
            started: Arc::default(),
        }
    }

    fn let_go(&self, commands: usize) {
        self.gate.add_permits(commands);
    }

    async fn has_started(&self, commands: usize) {
        while self.started.load(Ordering::SeqCst) < commands {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn work(&self) -> Result<Answer, Fault> {
        self.started.fetch_add(1, Ordering::SeqCst);
        self.gate
            .acquire()
            .await
            .map_err(|error| Fault::new("the gate", error))?
            .forget();
        Ok(erased())
    }
}

#[async_trait]
impl Participant for Slow {
    async fn recall(&self, _: &Order) -> Result<Option<Answer>, Fault> {
        Ok(None)
    }
    async fn seal(&self, _: &Order) -> Result<Answer, Fault> {
        panic!("an account that nobody foresaw")
    }
    async fn unseal(&self, _: &Order) -> Result<Answer, Fault> {
        self.work().await
    }
    async fn act(&self, _: &Order) -> Result<Answer, Fault> {
        self.work().await
    }
    async fn probe(&self, _: &Order) -> Result<Answer, Fault> {
        self.work().await
    }
    async fn eligibility(&self, _: &CheckEligibility) -> Result<Vec<Blocker>, Fault> {
        std::future::pending().await
    }
    async fn inventory(&self, _: &str) -> Result<Inventory, Fault> {
        Err(Fault::plain("away"))
    }
}

#[tokio::test]
async fn each_verb_reaches_its_method_and_its_answer_the_coordinator() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = forgetful();
    participant
        .expect_seal()
        .times(1)
        .returning(|_| Ok(Answer::Done(Done::new(Outcome::Sealed))));
    participant
        .expect_unseal()
        .times(1)
        .returning(|_| Ok(Answer::Done(Done::new(Outcome::Unsealed))));
    participant
        .expect_act()
        .times(1)
        .withf(|order| order.account == "a3")
        .returning(|_| Ok(erased()));
    participant
        .expect_probe()
        .times(1)
        .returning(|_| Ok(Answer::Done(Done::new(Outcome::Clean))));
    let (session, _shutdown) = session(&[&coordinator], participant);

    let mut stream = coordinator.stream(WINDOW).await;
    let cases = [
        (1, Verb::Seal, Said::Sealed),
        (2, Verb::Unseal, Said::Unsealed),
        (3, Verb::Erase, Said::Erased),
        (4, Verb::Probe, Said::Clean),
    ];
    for (n, verb, said) in cases {
        stream.command(vec![command(n, verb)]).await;
        let report = stream.report().await;
        assert_eq!(
            (report.command.clone(), report.account.clone()),
            (command(n, verb).name, format!("accounts/a{n}"))
        );
        assert_eq!(outcome(&report), said);
    }
    assert_eq!(session.connected(), 1);
}

#[tokio::test]
async fn an_answer_given_before_is_given_again_and_nothing_is_done() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = MockParticipant::new();
    participant
        .expect_recall()
        .times(2)
        .returning(|_| Ok(Some(erased())));
    participant.expect_act().never();
    let (_session, _shutdown) = session(&[&coordinator], participant);

    let mut stream = coordinator.stream(WINDOW).await;
    for _ in 0..2 {
        stream.command(vec![command(1, Verb::Erase)]).await;
        assert_eq!(outcome(&stream.report().await), Said::Erased);
    }
}

#[tokio::test]
async fn nothing_is_done_about_a_command_that_is_empty_zero_or_somebody_elses() {
    let mut coordinator = Coordinator::start().await;
    // Without an expectation every call of the trait fails the test.
    let (_session, _shutdown) = session(&[&coordinator], MockParticipant::new());
    let mut stream = coordinator.stream(WINDOW).await;

    let spoilt: [fn(&mut Command); 5] = [
        |c| c.account.clear(),
        |c| c.account = "accounts/".to_owned(),
        |c| c.verb = 0,
        |c| c.verb = 77,
        |c| c.name = c.name.replace("notes", "cloud"),
    ];
    for spoil in spoilt {
        let mut command = command(1, Verb::Erase);
        spoil(&mut command);
        stream.command(vec![command.clone()]).await;
        let report = stream.report().await;
        assert_eq!(refusal(&report), "INVALID_COMMAND");
        assert_eq!(
            (report.command, report.account),
            (command.name, command.account)
        );
    }
}

#[tokio::test]
async fn many_commands_are_answered_in_few_frames() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = forgetful();
    participant.expect_act().returning(|_| Ok(erased()));
    let (_session, _shutdown) = session(&[&coordinator], participant);

    let mut stream = coordinator.stream_for(WINDOW, 100).await;
    stream
        .command(
            (0..WINDOW as usize)
                .map(|n| command(n, Verb::Erase))
                .collect(),
        )
        .await;
    let (mut reports, mut frames) = (Vec::new(), 0);
    while reports.len() < WINDOW as usize {
        let frame = stream.reports().await;
        assert!(frame.len() <= 100, "the coordinator's limit");
        reports.extend(frame);
        frames += 1;
    }
    assert!(frames <= 32, "{frames} frames for {WINDOW} reports");
    let mut names: Vec<_> = reports.into_iter().map(|report| report.command).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), WINDOW as usize);
}

#[tokio::test]
async fn a_command_that_comes_again_while_it_is_worked_on_is_done_once() {
    let (mut one, mut two) = (Coordinator::start().await, Coordinator::start().await);
    let slow = Slow::new();
    let (_session, _shutdown) = session(&[&one, &two], slow.clone());
    let (mut first, mut second) = (one.stream(WINDOW).await, two.stream(WINDOW).await);

    first
        .command(vec![command(1, Verb::Erase), command(1, Verb::Erase)])
        .await;
    slow.has_started(1).await;
    second.command(vec![command(1, Verb::Erase)]).await;
    assert!(second.is_silent().await);
    slow.let_go(10);
    assert_eq!(outcome(&first.report().await), Said::Erased);
    assert_eq!(outcome(&second.report().await), Said::Erased);
    assert_eq!(slow.started.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_name_that_comes_again_for_another_account_is_refused() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    let (_session, _shutdown) = session(&[&coordinator], slow.clone());
    let mut stream = coordinator.stream(WINDOW).await;

    stream.command(vec![command(1, Verb::Erase)]).await;
    slow.has_started(1).await;
    stream
        .command(vec![Command {
            account: "accounts/a2".to_owned(),
            ..command(1, Verb::Erase)
        }])
        .await;
    let report = stream.report().await;
    assert_eq!(
        (refusal(&report), report.account.as_str()),
        ("INVALID_COMMAND", "accounts/a2")
    );
    slow.let_go(1);
    assert_eq!(stream.report().await.account, "accounts/a1");
}

#[tokio::test]
async fn a_deferred_command_that_is_woken_is_asked_at_once_and_reported() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = forgetful();
    let mut asked = 0;
    participant.expect_act().times(2).returning(move |_| {
        asked += 1;
        Ok(if asked == 1 { deferred() } else { erased() })
    });
    let (session, _shutdown) = session(&[&coordinator], participant);

    let mut stream = coordinator.stream(WINDOW).await;
    let name = command(1, Verb::Erase).name;
    session.wake(&name);
    stream.command(vec![command(1, Verb::Erase)]).await;
    assert_eq!(
        deferral(&stream.report().await),
        ("WAITING_FOR_DEVICES", Duration::from_secs(3600))
    );
    session.wake(&name);
    assert_eq!(outcome(&stream.report().await), Said::Erased);
    session.wake(&name);
    assert!(
        stream.is_silent().await,
        "a finished command can't be woken"
    );
}

#[tokio::test]
async fn a_woken_answer_finds_its_coordinator_after_a_reconnect() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = forgetful();
    let mut asked = 0;
    participant.expect_act().times(2).returning(move |_| {
        asked += 1;
        Ok(if asked == 1 { deferred() } else { erased() })
    });
    let (session, _shutdown) = session(&[&coordinator], participant);

    let mut stream = coordinator.stream(WINDOW).await;
    stream.command(vec![command(1, Verb::Erase)]).await;
    deferral(&stream.report().await);
    drop(stream);
    let mut stream = coordinator.stream(WINDOW).await;
    opened(&session, 1).await;
    session.wake(&command(1, Verb::Erase).name);
    assert_eq!(outcome(&stream.report().await), Said::Erased);
}

/// Waits until so many streams are open.
async fn opened(session: &Session, streams: usize) {
    while session.connected() != streams {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn trouble_puts_a_command_off_for_longer_each_time() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = forgetful();
    participant
        .expect_act()
        .returning(|_| Err(Fault::plain("the database is away")));
    let (_session, _shutdown) = session(&[&coordinator], participant);

    let mut stream = coordinator.stream(WINDOW).await;
    for ceiling in [200, 400, 800, 1600] {
        stream.command(vec![command(1, Verb::Erase)]).await;
        let report = stream.report().await;
        let (reason, pause) = deferral(&report);
        assert_eq!(reason, "PARTICIPANT_FAULT");
        assert!(
            pause >= Duration::from_millis(1) && pause <= Duration::from_millis(ceiling),
            "{pause:?}"
        );
    }
}

#[tokio::test]
async fn trouble_with_recalling_never_leads_to_doing_it_again() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = MockParticipant::new();
    participant
        .expect_recall()
        .returning(|_| Err(Fault::plain("the database is away")));
    participant.expect_act().never();
    let (_session, _shutdown) = session(&[&coordinator], participant);

    let mut stream = coordinator.stream(WINDOW).await;
    stream.command(vec![command(1, Verb::Erase)]).await;
    assert_eq!(deferral(&stream.report().await).0, "PARTICIPANT_FAULT");
}

#[tokio::test]
async fn a_panic_of_the_participant_is_trouble_with_one_command_and_no_other() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    slow.let_go(1);
    let (_session, _shutdown) = session(&[&coordinator], slow);

    let mut stream = coordinator.stream(WINDOW).await;
    stream
        .command(vec![command(1, Verb::Seal), command(2, Verb::Erase)])
        .await;
    let reports = stream.reports().await;
    assert_eq!(deferral(&reports[0]).0, "PARTICIPANT_FAULT");
    assert_eq!(outcome(&reports[1]), Said::Erased);
}

#[tokio::test]
async fn a_long_work_is_reported_once_as_in_progress() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    let soon = Limits {
        slow_after: Duration::from_millis(200),
        ..limits()
    };
    let slow_after = soon.slow_after;
    let (_session, _shutdown) = session_within(soon, &[&coordinator], slow.clone());

    let mut stream = coordinator.stream(WINDOW).await;
    stream.command(vec![command(1, Verb::Erase)]).await;
    assert!(matches!(
        stream.report().await.answer,
        Some(report::Answer::InProgress(_))
    ));
    tokio::time::sleep(slow_after * 2).await;
    assert!(stream.is_silent().await);
    slow.let_go(1);
    assert_eq!(outcome(&stream.report().await), Said::Erased);
}

#[tokio::test]
async fn work_that_hangs_is_dropped_and_put_off_and_done_when_it_comes_again() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    let short = Limits {
        work: Duration::from_millis(100),
        ..limits()
    };
    let (session, _shutdown) = session_within(short, &[&coordinator], slow.clone());

    let mut stream = coordinator.stream(WINDOW).await;
    let all = || (0..WINDOW as usize).map(|n| command(n, Verb::Erase));
    stream.command(all().collect()).await;
    let mut put_off = 0;
    while put_off < WINDOW as usize {
        for report in stream.reports().await {
            assert_eq!(deferral(&report).0, "PARTICIPANT_FAULT");
            put_off += 1;
        }
    }
    slow.let_go(2);
    stream.command(vec![command(1, Verb::Erase)]).await;
    assert_eq!(outcome(&stream.report().await), Said::Erased);
    session.wake(&command(2, Verb::Erase).name);
    assert_eq!(outcome(&stream.report().await), Said::Erased);
}

#[tokio::test]
async fn no_more_is_worked_on_than_the_window_allows() {
    let (mut one, mut two) = (Coordinator::start().await, Coordinator::start().await);
    let slow = Slow::new();
    let (_session, _shutdown) = session(&[&one, &two], slow.clone());
    let (first, second) = (one.stream(WINDOW).await, two.stream(WINDOW).await);

    let half = WINDOW as usize;
    first
        .command((0..half).map(|n| command(n, Verb::Erase)).collect())
        .await;
    second
        .command((half..2 * half).map(|n| command(n, Verb::Erase)).collect())
        .await;
    slow.has_started(half).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(slow.started.load(Ordering::SeqCst), half);
    slow.let_go(2 * half);
    slow.has_started(2 * half).await;
}

#[tokio::test]
async fn a_coordinator_that_overruns_the_window_loses_its_stream() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    let (_session, _shutdown) = session(&[&coordinator], slow.clone());

    let mut stream = coordinator.stream(WINDOW).await;
    stream
        .command(
            (0..3 * WINDOW as usize)
                .map(|n| command(n, Verb::Erase))
                .collect(),
        )
        .await;
    assert!(stream.next().await.is_none());
    drop(coordinator.stream(WINDOW).await);
}

#[tokio::test]
async fn repeats_behind_work_that_hangs_do_not_overrun_the_window() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    let (_session, _shutdown) = session(&[&coordinator], slow.clone());
    let window = WINDOW as usize;
    let all = || (0..window).map(|n| command(n, Verb::Erase)).collect();

    let mut stream = coordinator.stream(WINDOW).await;
    stream.command(all()).await;
    slow.has_started(window).await;
    // What is worked on comes again and again, and so does as much that waits for room.
    let waits = || (window..2 * window).map(|n| command(n, Verb::Erase));
    for _ in 0..5 {
        stream.command(all()).await;
        stream.command(waits().collect()).await;
    }
    // The answer to a question says that everything before it was read.
    let question = Question::Inventory(InventoryQuery {});
    stream.ask(1, limits().drain, "accounts/a1", question).await;
    while let Some(message) = stream.next().await {
        match message {
            Up::Reply(_) => break,
            Up::Reports(_) => {}
            other => panic!("{other:?}"),
        }
    }
    slow.let_go(2 * window);
    let mut answered = Vec::new();
    while answered.len() < 2 * window {
        for report in stream.reports().await {
            if matches!(report.answer, Some(report::Answer::Done(_))) {
                answered.push(report.command);
            }
        }
    }
    answered.sort();
    answered.dedup();
    assert_eq!(answered.len(), 2 * window);
    assert_eq!(slow.started.load(Ordering::SeqCst), 2 * window);
}

#[tokio::test]
async fn a_command_too_many_among_repeats_ends_the_stream() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    let (_session, _shutdown) = session(&[&coordinator], slow.clone());
    let window = WINDOW as usize;

    let mut stream = coordinator.stream(WINDOW).await;
    let first = || (0..window).map(|n| command(n, Verb::Erase)).collect();
    stream.command(first()).await;
    slow.has_started(window).await;
    stream.command(first()).await;
    let too_many = window..2 * window + 1;
    stream
        .command(too_many.map(|n| command(n, Verb::Erase)).collect())
        .await;
    while let Some(message) = stream.next().await {
        assert!(matches!(message, Up::Reports(_)), "{message:?}");
    }
    drop(coordinator.stream(WINDOW).await);
}

#[tokio::test]
async fn a_coordinator_that_died_is_found_when_it_is_back() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = forgetful();
    participant.expect_act().returning(|_| Ok(erased()));
    let (session, _shutdown) = session(&[&coordinator], participant);

    let stream = coordinator.stream(WINDOW).await;
    opened(&session, 1).await;
    let addr = coordinator.kill();
    drop(stream);
    opened(&session, 0).await;
    let mut coordinator = Coordinator::start_at(addr).await;
    let mut stream = coordinator.stream(WINDOW).await;
    stream.command(vec![command(1, Verb::Erase)]).await;
    assert_eq!(outcome(&stream.report().await), Said::Erased);
}

#[tokio::test]
async fn a_coordinator_that_is_away_delays_no_other() {
    let (gone, mut here) = (Coordinator::start().await, Coordinator::start().await);
    let mut participant = forgetful();
    participant.expect_act().returning(|_| Ok(erased()));
    let gone_at = gone.url();
    gone.kill();
    let shutdown = Shutdown::new();
    let config = Config {
        participant: "notes".to_owned(),
        coordinators: vec![gone_at, "not an address".to_owned(), here.url()],
        security: Security::PlainLoopback,
        window_commands: WINDOW,
    };
    let _session = start_with(config, limits(), Arc::new(participant), shutdown);
    let mut stream = here.stream(WINDOW).await;
    stream.command(vec![command(1, Verb::Erase)]).await;
    assert_eq!(outcome(&stream.report().await), Said::Erased);
}

#[tokio::test]
async fn commands_before_the_welcome_are_not_carried_out() {
    let mut coordinator = Coordinator::start().await;
    let (_session, _shutdown) = session(&[&coordinator], MockParticipant::new());
    let mut stream = coordinator.stranger().await;
    stream.command(vec![command(1, Verb::Erase)]).await;
    assert!(matches!(stream.next().await, Some(Up::Window(_))));
    assert!(stream.next().await.is_none());
}

/// Reads to the half-close; what was said on the way.
async fn rest(stream: &mut Stream) -> (bool, Vec<Report>) {
    let (mut drained, mut reports) = (false, Vec::new());
    while let Some(message) = stream.next().await {
        match message {
            Up::Window(window) => drained |= window.commands == 0,
            Up::Reports(frame) => reports.extend(frame.reports),
            other => panic!("{other:?}"),
        }
    }
    (drained, reports)
}

#[tokio::test]
async fn at_shutdown_the_window_is_closed_and_work_under_way_is_reported_first() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    let (session, shutdown) = session(&[&coordinator], slow.clone());
    let mut stream = coordinator.stream(WINDOW).await;
    stream.command(vec![command(1, Verb::Erase)]).await;
    slow.has_started(1).await;

    shutdown.trigger();
    assert!(matches!(stream.next().await, Some(Up::Window(window)) if window.commands == 0));
    stream.command(vec![command(2, Verb::Erase)]).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    slow.let_go(2);
    let (_, reports) = rest(&mut stream).await;
    assert_eq!(
        reports.len(),
        1,
        "what crossed with the closed window is not started"
    );
    assert_eq!(outcome(&reports[0]), Said::Erased);
    drop(stream);
    assert!(shutdown.drain(PATIENCE).await);
    assert_eq!(session.connected(), 0);
    session.wake(&command(1, Verb::Erase).name);
}

#[tokio::test]
async fn work_that_never_ends_does_not_keep_a_process_from_ending() {
    let mut coordinator = Coordinator::start().await;
    let slow = Slow::new();
    let short = Limits {
        drain: Duration::from_millis(800),
        ..limits()
    };
    let drain = short.drain;
    let (_session, shutdown) = session_within(short, &[&coordinator], slow.clone());
    let mut stream = coordinator.stream(WINDOW).await;
    stream.command(vec![command(1, Verb::Erase)]).await;
    slow.has_started(1).await;

    let began = Instant::now();
    shutdown.trigger();
    let (drained, reports) = rest(&mut stream).await;
    assert!(
        drained
            && reports
                .iter()
                .all(|report| !matches!(report.answer, Some(report::Answer::Done(_))))
    );
    drop(stream);
    assert!(shutdown.drain(PATIENCE).await);
    assert!(began.elapsed() >= drain);
}

#[tokio::test]
async fn questions_are_answered_or_said_to_be_unanswerable() {
    let mut coordinator = Coordinator::start().await;
    let mut participant = forgetful();
    participant
        .expect_eligibility()
        .withf(|asked| asked.account == "a1" && asked.recent_change == RECENT_CHANGE_MAX)
        .returning(|_| {
            let until = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
            Ok(vec![
                Blocker::new("UNFINISHED_ORDER")
                    .saying("m", "r")
                    .count(3)
                    .until(Some(until)),
            ])
        });
    participant
        .expect_inventory()
        .returning(|_| Err(Fault::unsupported("INVENTORY")));
    let (_session, _shutdown) = session(&[&coordinator], participant);
    let mut stream = coordinator.stream(WINDOW).await;
    let second = Duration::from_secs(1);

    stream.ask(7, second, "accounts/a1", eligibility()).await;
    let reply = stream.reply().await;
    assert_eq!(reply.query_id, 7);
    let Some(reply::Answer::Eligibility(told)) = reply.answer else {
        panic!("{reply:?}")
    };
    let told = &told.blockers[0];
    assert_eq!(
        (told.code.as_str(), told.message.as_str(), told.count),
        ("UNFINISHED_ORDER", "m", 3)
    );
    assert_eq!(told.until_time.map(|until| until.seconds), Some(5));

    stream
        .ask(
            8,
            second,
            "accounts/a1",
            Question::Inventory(InventoryQuery {}),
        )
        .await;
    assert_eq!(
        stream.reply().await.answer,
        Some(wire::unanswerable("UNSUPPORTED"))
    );
    stream.ask(9, second, "", eligibility()).await;
    assert_eq!(
        stream.reply().await.answer,
        Some(wire::unanswerable("INVALID_QUERY"))
    );
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_unanswerable_at_its_deadline() {
    let mut coordinator = Coordinator::start().await;
    let (_session, _shutdown) = session(&[&coordinator], Slow::new());
    let mut stream = coordinator.stream(WINDOW).await;

    let began = Instant::now();
    let timeout = Duration::from_millis(100);
    stream.ask(1, timeout, "accounts/a1", eligibility()).await;
    assert_eq!(
        stream.reply().await.answer,
        Some(wire::unanswerable("DEADLINE_EXCEEDED"))
    );
    assert!(began.elapsed() >= timeout);
    stream
        .ask(
            2,
            timeout,
            "accounts/a1",
            Question::Inventory(InventoryQuery {}),
        )
        .await;
    assert_eq!(
        stream.reply().await.answer,
        Some(wire::unanswerable("PARTICIPANT_FAULT"))
    );
}

#[tokio::test]
async fn reports_that_were_not_accepted_are_counted_by_reason() {
    let mut coordinator = Coordinator::start().await;
    let (session, _shutdown) = session(&[&coordinator], MockParticipant::new());
    let stream = coordinator.stream(WINDOW).await;
    for reason in ["OUTCOME_CONFLICT", "NOT_YOUR_LEG", "OUTCOME_CONFLICT"] {
        stream
            .refuse("deletions/d1/commands/1-erase-notes", reason)
            .await;
    }
    while session.refusals().values().sum::<u64>() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(session.refusals()["OUTCOME_CONFLICT"], 2);
}

fn away(device: &str, ending: DeviceEnding) -> DeviceReturn {
    DeviceReturn {
        command: "deletions/d1/commands/1-erase-notes".to_owned(),
        device: device.to_owned(),
        binding_epoch: 3,
        ending,
        at: SystemTime::UNIX_EPOCH,
    }
}

/// The next frame of returns.
async fn returns(stream: &mut Stream) -> DeviceReturns {
    match stream.next().await {
        Some(Up::Returns(frame)) => frame,
        other => panic!("expected returns, got {other:?}"),
    }
}

async fn keep(stream: &Stream, returns_id: u64, devices: &[(&str, &str)]) {
    let kept = devices.iter().map(|(device, refused)| DeviceReturnKept {
        command: "deletions/d1/commands/1-erase-notes".to_owned(),
        device: format!("devices/{device}"),
        binding_epoch: 3,
        refused: (*refused).to_owned(),
    });
    let kept = kept.collect();
    stream
        .say(Down::ReturnsKept(DeviceReturnsKept { returns_id, kept }))
        .await;
}

#[tokio::test]
async fn a_return_is_kept_or_refused_or_told_again() {
    let mut coordinator = Coordinator::start().await;
    let (session, _shutdown) = session(&[&coordinator], forgetful());
    let told = vec![
        away("w1", DeviceEnding::Confirmed),
        away("w2", DeviceEnding::NeverReturned),
        away("w3", DeviceEnding::Executed),
    ];
    assert_eq!(
        session.tell_returns(told.clone()).await,
        None,
        "nobody is there"
    );
    let mut stream = coordinator.stream(WINDOW).await;
    opened(&session, 1).await;
    assert_eq!(session.tell_returns(Vec::new()).await, None);

    let telling = tokio::spawn({
        let session = session.clone();
        async move { session.tell_returns(told).await }
    });
    let frame = returns(&mut stream).await;
    let said: Vec<_> = frame
        .returns
        .iter()
        .map(|said| (said.device.as_str(), said.binding_epoch, said.outcome()))
        .collect();
    assert_eq!(
        said,
        [
            ("devices/w1", 3, Ended::Confirmed),
            ("devices/w2", 3, Ended::NeverReturned),
            ("devices/w3", 3, Ended::Executed),
        ]
    );
    assert_eq!(frame.returns[0].time, Some(SystemTime::UNIX_EPOCH.into()));
    // To what was not asked, and what names nothing: neither ends anything.
    keep(&stream, frame.id + 1, &[("w3", "")]).await;
    keep(
        &stream,
        frame.id,
        &[("w1", ""), ("w2", "NOT_DETACHED"), ("", "")],
    )
    .await;
    let kept = telling.await.unwrap().unwrap();
    let kept: Vec<_> = kept
        .iter()
        .map(|kept| (kept.device.as_str(), kept.refused.as_deref()))
        .collect();
    assert_eq!(kept, [("w1", None), ("w2", Some("NOT_DETACHED"))]);
}

#[tokio::test]
async fn returns_are_told_as_many_as_a_frame_holds() {
    let mut coordinator = Coordinator::start().await;
    let (session, _shutdown) = session(&[&coordinator], forgetful());
    let mut stream = coordinator.stream(WINDOW).await;
    opened(&session, 1).await;
    let told = (0..300).map(|n| away(&format!("w{n}"), DeviceEnding::Executed));
    let telling = tokio::spawn({
        let (session, told) = (session.clone(), told.collect());
        async move { session.tell_returns(told).await }
    });
    let frame = returns(&mut stream).await;
    assert_eq!(frame.returns.len(), 256);
    keep(&stream, frame.id, &[]).await;
    assert_eq!(telling.await.unwrap(), Some(Vec::new()));
}
