//! Cases as people and programs read them.

use anyhow::Context as _;
use farewell_proto::support::v1::{
    Belonging, Case, CaseKind, CaseState, Evidence, EvidenceKind, LegacyOutcome, RejectionReason,
};
use serde_json::{Value, json};

use crate::deletion::view::time;
use crate::output::{Output, Rows};

/// One case, its documents and its log.
pub fn show(case: Option<Case>, output: Output) -> anyhow::Result<()> {
    let case = case.context("an answer without a case")?;
    let mut evidence = evidence_rows();
    for document in &case.evidence {
        push_evidence(&mut evidence, document);
    }
    let mut log = Rows::new("log", &["step", "time", "who", "what", "subject"]);
    for entry in &case.log {
        log.push([
            entry.number.to_string(),
            time(entry.time.as_ref()),
            entry.who.clone(),
            entry.what.clone(),
            entry.subject.clone(),
        ]);
    }
    output.write(&case_json(&case), &[facts(&case), evidence, log])
}

/// Cases, a line each.
pub fn list(cases: &[Case], output: Output) -> anyhow::Result<()> {
    let heading = ["case", "account", "kind", "state", "opened by", "missing"];
    let mut rows = Rows::new("cases", &heading);
    for case in cases {
        rows.push([
            case.name.clone(),
            case.account.clone(),
            kind(case).to_owned(),
            state(case).to_owned(),
            case.opened_by.clone(),
            missing(case).join(" "),
        ]);
    }
    let all: Vec<Value> = cases.iter().map(case_json).collect();
    output.write(&json!({"cases": all}), &[rows])
}

/// No documents yet.
pub fn evidence_rows() -> Rows {
    let heading = ["document", "kind", "type", "bytes", "added by", "deleted"];
    Rows::new("documents", &heading)
}

/// One more.
pub fn push_evidence(rows: &mut Rows, evidence: &Evidence) {
    rows.push([
        evidence.name.clone(),
        document(evidence.kind()).to_owned(),
        evidence.media_type.clone(),
        evidence.size_bytes.to_string(),
        evidence.added_by.clone(),
        time(evidence.delete_time.as_ref()),
    ]);
}

/// A document, without its bytes.
pub fn evidence_json(evidence: &Evidence) -> Value {
    json!({
        "name": evidence.name,
        "kind": document(evidence.kind()),
        "media_type": evidence.media_type,
        "size_bytes": evidence.size_bytes,
        "added_by": evidence.added_by,
        "add_time": time(evidence.add_time.as_ref()),
        "delete_time": time(evidence.delete_time.as_ref()),
    })
}

fn facts(case: &Case) -> Rows {
    let mut rows = Rows::new("", &["", ""]);
    for (fact, value) in [
        ("case", case.name.clone()),
        ("account", case.account.clone()),
        ("kind", kind(case).to_owned()),
        ("state", state(case).to_owned()),
        ("asks for", asked(case).join(" ")),
        ("opened by", case.opened_by.clone()),
        ("approved by", case.approved_by.join(" ")),
        ("missing", missing(case).join(" ")),
        ("rejected", rejection(case).to_owned()),
        ("used for", case.used_for.clone()),
        ("ends", time(case.expire_time.as_ref())),
    ] {
        if !value.is_empty() {
            rows.push([fact.to_owned(), value]);
        }
    }
    rows
}

fn case_json(case: &Case) -> Value {
    let evidence: Vec<Value> = case.evidence.iter().map(evidence_json).collect();
    let log: Vec<Value> = case
        .log
        .iter()
        .map(|entry| {
            json!({
                "number": entry.number,
                "time": time(entry.time.as_ref()),
                "who": entry.who,
                "what": entry.what,
                "subject": entry.subject,
            })
        })
        .collect();
    json!({
        "name": case.name,
        "account": case.account,
        "kind": kind(case),
        "state": state(case),
        "asks_for": asked(case),
        "opened_by": case.opened_by,
        "open_time": time(case.open_time.as_ref()),
        "approved_by": case.approved_by,
        "expire_time": time(case.expire_time.as_ref()),
        "rejection_reason": rejection(case),
        "used_for": case.used_for,
        "missing": missing(case),
        "evidence": evidence,
        "log": log,
    })
}

/// What a case's kind alone doesn't say.
fn asked(case: &Case) -> Vec<String> {
    let mut asked = case.codes.clone();
    let moved = case.belongings();
    asked.extend(moved.map(|what| bare(Belonging::as_str_name(&what), "BELONGING_").to_owned()));
    if !case.to_account.is_empty() {
        asked.push(case.to_account.clone());
    }
    if !case.device.is_empty() {
        asked.push(case.device.clone());
    }
    if case.kind() == CaseKind::Legacy {
        let outcome = LegacyOutcome::as_str_name(&case.legacy_outcome());
        asked.push(bare(outcome, "LEGACY_OUTCOME_").to_owned());
    }
    asked
}

fn missing(case: &Case) -> Vec<&'static str> {
    case.missing().map(document).collect()
}

fn kind(case: &Case) -> &'static str {
    bare(CaseKind::as_str_name(&case.kind()), "CASE_KIND_")
}

fn state(case: &Case) -> &'static str {
    bare(CaseState::as_str_name(&case.state()), "CASE_STATE_")
}

fn document(kind: EvidenceKind) -> &'static str {
    bare(EvidenceKind::as_str_name(&kind), "EVIDENCE_KIND_")
}

fn rejection(case: &Case) -> &'static str {
    match case.rejection_reason() {
        RejectionReason::Unspecified => "",
        reason => bare(RejectionReason::as_str_name(&reason), "REJECTION_REASON_"),
    }
}

fn bare(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}
