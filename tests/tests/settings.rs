//! Whoever sets a role up is told all that is wrong with its section at once, by the real binary, before anything is opened.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use farewell_tests::process::needed;
use tempfile::TempDir;

/// The exit code of what can't be used.
const UNUSABLE: i32 = 2;
/// Stands where nobody should read it.
const SECRET: &str = "hush-hush";

/// What is started, its section, what stands there, and each key that is wrong with it.
const SECTIONS: [(&[&str], &str, &str, &[&str]); 8] = [
    (
        &["coordinator"],
        "coordinator",
        r#"
        plain = true
        instance = ""
        ledger = "sqlite:"
        custodian = "Cloud!"
        listen = { callers = "localhost:7400", participants = "127.0.0.1:7402" }
        region.name = "C N"
        regions.eu.address = "eu"
        policy = { extends = "mars", recheck = "0s", calendar = "/no/such/days.txt", devices = { personal = "burn" } }
        pace = { lease = "soon", retry = "10s", retry_max = "0s" }
        limits.caller_per_second = 0
        telemetry.otlp_endpoint = "hush-hush"
        events = { issuer = "https://", receivers = { a = {}, b = { push = "https://", token = "hush-hush" } } }
        "#,
        &[
            "custodian",
            "events.issuer",
            "events.key",
            "events.receivers.a",
            "events.receivers.b.push",
            "instance",
            "ledger",
            "limits.caller_per_second",
            "listen.callers",
            "listen.operators",
            "pace.lease",
            "pace.retry_max",
            "policy.calendar",
            "policy.devices.personal",
            "policy.extends",
            "policy.recheck",
            "region.name",
            "regions.eu.address",
            "telemetry.otlp_endpoint",
        ],
    ),
    (
        &["service", "identity"],
        "service.identity",
        r#"
        plain = true
        coordinators = ["localhost", "127.0.0.1:7401", "coordinator:7401"]
        window = 0
        database = "mysql://hush-hush"
        pepper = "hush-hush"
        courier.sms = { kind = "pigeon", url = "https://hush-hush" }
        courier.email = { kind = "webhook", url = "http://hush-hush", from = "x" }
        courier.push = { kind = "smtp" }
        rules.code_tries_max = 0
        notices = { links = "http://hush-hush", language = "tlh" }
        "#,
        &[
            "coordinators.0",
            "coordinators.2",
            "courier.email.from",
            "courier.email.url",
            "courier.push.from",
            "courier.push.kind",
            "courier.push.url",
            "courier.sms.kind",
            "database",
            "notices.language",
            "notices.links",
            "pepper",
            "rules.code_tries_max",
            "window",
        ],
    ),
    (
        &["service", "cloud"],
        "service.cloud",
        r#"
        window = "many"
        exports = { at_a_time = 0, keep = "0s", keys = "1:hush-hush", size = 1 }
        "#,
        &[
            "exports.at_a_time",
            "exports.keep",
            "exports.keys",
            "exports.size",
            "tls.dir",
            "window",
        ],
    ),
    (
        &["service", "support"],
        "service.support",
        r#"
        plain = true
        listen.desk = "0.0.0.0:7420"
        periods = { case_open = "0s", approval_valid = "a week" }
        "#,
        &[
            "keys",
            "listen.desk",
            "periods.approval_valid",
            "periods.case_open",
        ],
    ),
    (
        &["service", "store"],
        "service.store",
        r#"
        plain = true
        tls.dir = "certs"
        coordinators = []
        drain = 20
        "#,
        &["coordinators", "drain", "plain"],
    ),
    (
        &["agent", "phones"],
        "agent.phones",
        r#"
        plain = true
        listen.devices = "7410"
        horizon = "0s"
        unbind_horizon = "0s"
        database = "postgres://"
        "#,
        &["database", "horizon", "listen.devices", "unbind_horizon"],
    ),
    (
        &["agent", "wearables"],
        "agent.wearables",
        r#"
        plain = true
        manual_models = [1, "aurora", 2]
        coordinators = ["localhost:7401/hush-hush"]
        "#,
        &["coordinators.0", "manual_models.0", "manual_models.2"],
    ),
    (
        &["agent", "smarthome"],
        "agent.smarthome",
        r#"
        plain = true
        listen = { devices = "127.0.0.1:7412", mqtt = "127.0.0.1:7412" }
        broker = { url = "mqtt://hush-hush:1883", protocol = "4" }
        horizon = "soon"
        "#,
        &["broker.protocol", "broker.url", "horizon", "listen.mqtt"],
    ),
];

#[test]
fn all_that_is_wrong_with_a_roles_section_is_told_at_once_and_no_value_is() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let folder = TempDir::new()?;
    for (role, section, text, wrong) in SECTIONS {
        let file = folder.path().join("farewell.toml");
        fs::write(&file, format!("[{section}]\n{text}"))?;
        let mut command = Command::new(&program);
        command.args(role).args(["--check", "--config"]).arg(&file);
        let output = command.current_dir(folder.path()).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(UNUSABLE), "{section}: {said}");
        ensure!(output.stdout.is_empty(), "{section}");
        ensure!(!said.contains(SECRET), "{section}: {said}");
        let problems = said.lines().skip(1);
        let keys = problems.filter_map(|line| line.trim_start().split(": ").next());
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        let expected: Vec<_> = wrong.iter().map(|key| format!("{section}.{key}")).collect();
        assert_eq!(keys, expected, "{said}");
        // Nothing was made, as the folder is where databases go by default.
        assert_eq!(fs::read_dir(folder.path())?.count(), 1, "{section}");
    }
    Ok(())
}

#[test]
fn what_a_line_of_commands_names_is_looked_at_before_anything_is_started() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    for line in [
        &["demo", "--postgres", "mysql://x"][..],
        &["demo", "--postgres", "postgres://"],
        &["bench", "w1", "--ledger", "mysql://x"],
        &["bench", "devices", "--ledger", "sqlite:"],
    ] {
        let output = Command::new(&program).args(line).output()?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(UNUSABLE), "{line:?}: {said}");
        ensure!(said.contains("must be "), "{line:?}: {said}");
        ensure!(output.stdout.is_empty(), "{line:?}");
    }
    Ok(())
}
