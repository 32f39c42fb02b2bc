//! A deletion can be followed in a trace store, and nobody can be found there.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_proto::deletion::v1::{Consent, State};
use farewell_proto::participant::v1::Verb;
use farewell_tests::caller::request;
use farewell_tests::collector::{Collector, hex, traceparent};
use farewell_tests::process::{CoordinatorSite, PARTICIPANTS, Process, STAGES, Told, needed};
use farewell_tests::scripted::{Scripted, honest, report};
use farewell_tests::wait::until;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost_types::Timestamp;
use tempfile::TempDir;
use tonic::Request;

/// Easy to find wherever it should not be.
const ACCOUNT: &str = "zz-secret-person-4711";
const CALLERS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLERS_SPAN: &str = "b7ad6b7169203331";
const REPORTS_TRACE: &str = "1bf7651916cd43dd8448eb211c80319c";
const REPORTS_SPAN: &str = "c7ad6b7169203331";

struct Scene {
    site: CoordinatorSite,
    folder: TempDir,
    _coordinator: Process,
}

impl Scene {
    /// `None` if the story is to be skipped.
    async fn start(collector: &str) -> Result<Option<Self>> {
        let Some(program) = needed("FAREWELL_BIN") else {
            return Ok(None);
        };
        let folder = TempDir::new()?;
        let ledger = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let told = Told {
            instance: "traced",
            stages: STAGES,
            ledger: &ledger,
            lease: "3s",
            cooling_off: "200ms",
            collector,
        };
        let site = CoordinatorSite::new(&program, folder.path(), &told)?;
        let coordinator = site.start().await?;
        Ok(Some(Self {
            site,
            folder,
            _coordinator: coordinator,
        }))
    }

    /// Deletes the account; returns the deletion's name and every `traceparent` that a command carried.
    async fn delete(&self) -> Result<(String, BTreeSet<String>)> {
        let mut streams = Vec::new();
        for name in PARTICIPANTS {
            let mut stream = Scripted::join(&self.site.participants, name, 16).await?;
            streams.push(tokio::spawn(async move {
                let mut carried = BTreeSet::new();
                loop {
                    use farewell_proto::participant::v1::connect_response::Message as Down;
                    use farewell_proto::participant::v1::query::Question;
                    use farewell_proto::participant::v1::{
                        EligibilityReply, NotifyReply, Reply, reply,
                    };
                    match stream.next().await {
                        Ok(Some(Down::Commands(frame))) => {
                            let mut probed = false;
                            for command in &frame.commands {
                                carried.insert(command.traceparent.clone());
                                probed |= command.verb() == Verb::Probe;
                                let mut report = report(command, honest(command));
                                report.traceparent =
                                    format!("00-{REPORTS_TRACE}-{REPORTS_SPAN}-01");
                                stream.report(vec![report]).await;
                            }
                            if probed {
                                // Stays until everybody is done.
                                return (stream, carried);
                            }
                        }
                        Ok(Some(Down::Query(query))) => {
                            let answer = match query.question {
                                Some(Question::Notify(_)) => reply::Answer::Notify(NotifyReply {}),
                                _ => reply::Answer::Eligibility(EligibilityReply {
                                    blockers: vec![],
                                }),
                            };
                            stream
                                .reply(Reply {
                                    query_id: query.id,
                                    answer: Some(answer),
                                })
                                .await;
                        }
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => return (stream, carried),
                    }
                }
            }));
        }
        let mut asked = Request::new(request(ACCOUNT));
        asked.get_mut().consents.push(Consent {
            text: "zz-secret-consent".to_owned(),
            version: 1,
            time: Some(Timestamp {
                seconds: 1_700_000_000,
                nanos: 0,
            }),
        });
        let incoming = format!("00-{CALLERS_TRACE}-{CALLERS_SPAN}-01");
        asked
            .metadata_mut()
            .insert("traceparent", incoming.parse()?);
        let caller = self.site.caller()?;
        let answer = caller
            .api
            .clone()
            .create_deletion(asked)
            .await?
            .into_inner();
        let name = answer.deletion.context("the deletion")?.name;
        caller
            .until(&name, State::Purged)
            .await
            .with_context(|| self.site.words())?;
        let mut carried = BTreeSet::new();
        for stream in streams {
            let (_, some) = stream.await?;
            carried.extend(some);
        }
        Ok((name, carried))
    }
}

fn links(span: &Span, trace: &str, id: &str) -> bool {
    let same = |link: &opentelemetry_proto::tonic::trace::v1::span::Link| {
        hex(&link.trace_id) == trace && hex(&link.span_id) == id
    };
    span.links.iter().any(same)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_can_be_followed_from_its_request_to_its_purge() -> Result<()> {
    let collector = Collector::start().await?;
    let Some(scene) = Scene::start(&collector.endpoint).await? else {
        return Ok(());
    };
    let (name, carried) = scene.delete().await?;
    let deletion = scene.site.caller()?.get(&name).await?;
    let names = ["create", "command batch", "report batch", "purge"];
    // Spans are exported in batches, seconds after they ended.
    let spans = until("every span", async || {
        let spans = collector.spans();
        let seen: BTreeSet<_> = spans.iter().map(|span| span.name.as_str()).collect();
        Ok(names
            .iter()
            .all(|name| seen.contains(name))
            .then_some(spans))
    })
    .await
    .map_err(|error| {
        let seen: BTreeSet<_> = collector
            .spans()
            .into_iter()
            .map(|span| span.name)
            .collect();
        anyhow!("{error}: only {seen:?}")
    })?;
    let of = |name: &str| {
        spans
            .iter()
            .filter(|span| span.name == name)
            .cloned()
            .collect::<Vec<_>>()
    };

    let create = of("create");
    assert_eq!(create.len(), 1);
    let create = &create[0];
    assert_eq!(
        hex(&create.trace_id),
        CALLERS_TRACE,
        "the request is part of the caller's trace"
    );
    assert_eq!(hex(&create.parent_span_id), CALLERS_SPAN);
    assert_eq!(
        deletion.traceparent,
        traceparent(create),
        "and the deletion says where to find it"
    );

    let sent = of("command batch");
    let known: BTreeSet<_> = sent.iter().map(traceparent).collect();
    assert!(
        !carried.is_empty() && carried.is_subset(&known),
        "commands say which batch sent them: {carried:?}"
    );
    let (trace, id) = (hex(&create.trace_id), hex(&create.span_id));
    let batches = sent
        .iter()
        .filter(|span| carried.contains(&traceparent(span)));
    for span in batches {
        ensure!(
            hex(&span.trace_id) != trace,
            "what comes days later is a trace of its own"
        );
        ensure!(
            links(span, &trace, &id),
            "the batch is linked to the request: {span:?}"
        );
    }
    let heard = of("report batch");
    ensure!(
        heard
            .iter()
            .any(|span| links(span, REPORTS_TRACE, REPORTS_SPAN)),
        "a report's trace is linked"
    );
    let purge = of("purge");
    ensure!(
        purge.iter().any(|span| links(span, &trace, &id)),
        "the purge is linked to the request: {purge:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_spans_nor_log_lines_know_whose_account_it_is() -> Result<()> {
    let collector = Collector::start().await?;
    let Some(scene) = Scene::start(&collector.endpoint).await? else {
        return Ok(());
    };
    let (name, _) = scene.delete().await?;
    // What goes wrong is told most: answers that are refused, requests that are refused.
    let caller = scene.site.caller()?;
    let mut cloud = Scripted::join(&scene.site.participants, "cloud", 1).await?;
    let stranger = farewell_proto::participant::v1::Report {
        command: format!("{name}/commands/1-erase-cloud"),
        account: format!("accounts/{ACCOUNT}x"),
        ..Default::default()
    };
    cloud.report(vec![stranger]).await;
    cloud.refusals().await?;
    let again = caller.ask(request(ACCOUNT)).await?;
    let _ = caller.ask(request(ACCOUNT)).await;
    let _ = caller.ask(request(&format!("{ACCOUNT} "))).await;
    let _ = caller.revoke(&again.name).await;
    until("the spans", async || {
        let seen = collector.spans();
        let creates = seen.iter().filter(|span| span.name == "create").count();
        Ok((creates >= 3 && seen.iter().any(|span| span.name == "purge")).then_some(()))
    })
    .await?;
    for secret in [ACCOUNT, "zz-secret", "secret-person"] {
        ensure!(!collector.text().contains(secret), "a span knows {secret}");
        let words = scene.site.words();
        ensure!(
            !words.contains(secret),
            "a log line knows {secret}: {words}"
        );
    }
    assert_log_is_not_empty(&scene.site.log)?;
    drop(scene.folder);
    Ok(())
}

fn assert_log_is_not_empty(log: &Path) -> Result<()> {
    let text = std::fs::read_to_string(log)?;
    ensure!(
        text.contains("refused reports"),
        "the log is where it was looked for: {text}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_the_callers_trace_is_kept_and_passed_on() -> Result<()> {
    let Some(scene) = Scene::start("").await? else {
        return Ok(());
    };
    let (name, carried) = scene.delete().await?;
    let incoming = format!("00-{CALLERS_TRACE}-{CALLERS_SPAN}-01");
    assert_eq!(scene.site.caller()?.get(&name).await?.traceparent, incoming);
    assert_eq!(carried, BTreeSet::from([incoming]));
    Ok(())
}
