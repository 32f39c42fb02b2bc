//! Holds the chart to its promises: rendered without a cluster for each set of values, every manifest checked against
//! the strict schemas of Kubernetes by `tests/chart/render.py`, every configuration by the binary that will read it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const DEFAULT: &str = "";
const MINIMAL: &str = "ci/minimal-values.yaml";
const PRODUCTION: &str = "ci/production-values.yaml";
const VALUES: [&str; 3] = [DEFAULT, MINIMAL, PRODUCTION];

const ROLES: [(&str, &[&str]); 9] = [
    ("coordinator", &["coordinator"]),
    ("identity", &["service", "identity"]),
    ("cloud", &["service", "cloud"]),
    ("store", &["service", "store"]),
    ("community", &["service", "community"]),
    ("support", &["service", "support"]),
    ("phones", &["agent", "phones"]),
    ("wearables", &["agent", "wearables"]),
    ("smarthome", &["agent", "smarthome"]),
];

/// What `render.py` exits with when the schema refuses the values, and the binary when it can't live with its settings.
const REFUSED: i32 = 2;

/// What remains after the drain for the pause before it and the last spans, in seconds.
const GRACE_OVER_DRAIN_SECONDS: u64 = 15;

#[test]
fn every_role_is_present_and_runs_with_its_own_configuration() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    for values in VALUES {
        let manifests = chart.render(values)?;
        for (role, words) in ROLES {
            let file = format!("{role}.toml");
            let mut args: Vec<&str> = words.to_vec();
            let path = format!("/etc/farewell/{file}");
            args.extend(["--config", &path]);
            let container =
                &one(&manifests, "StatefulSet", role)?["spec"]["template"]["spec"]["containers"][0];
            assert_eq!(container["args"], json!(args), "{values}");
            assert_eq!(
                container["image"]
                    .as_str()
                    .and_then(|image| image.rsplit_once(':'))
                    .map(|(_, tag)| tag),
                Some("0.1.0")
            );

            let mut section = &one(&manifests, "ConfigMap", role)?["toml"][&file];
            for word in words {
                section = &section[word];
            }
            assert!(section.is_object(), "{values} {role}: no section {words:?}");
            for port in container["ports"].as_array().into_iter().flatten() {
                let name = port["name"].as_str().context("a port's name")?;
                let address = json!(format!("0.0.0.0:{}", port["containerPort"]));
                assert_eq!(section["listen"][name], address, "{values} {role} {name}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_participant_is_told_of_every_coordinator() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    let manifests = chart.render(PRODUCTION)?;
    let expected: Vec<String> = (0..3)
        .map(|i| format!("farewell-coordinator-{i}.farewell-coordinator-peers.accounts-gone.svc.cluster.local:7401"))
        .collect();
    for (role, words) in ROLES.into_iter().filter(|(role, _)| *role != "coordinator") {
        let config = &one(&manifests, "ConfigMap", role)?["toml"][format!("{role}.toml")][words[0]]
            [words[1]];
        assert_eq!(config["coordinators"], json!(expected), "{role}");
    }
    let workload = &one(&manifests, "StatefulSet", "coordinator")?["spec"];
    assert_eq!(workload["replicas"], 3);
    let service = find(&manifests, "Service")
        .find(|service| service["metadata"]["name"] == workload["serviceName"])
        .context("no headless service of the coordinators")?;
    assert_eq!(service["spec"]["clusterIP"], "None");
    assert_eq!(service["spec"]["ports"][0]["port"], 7401);
    Ok(())
}

#[test]
fn no_pod_may_do_more_than_it_needs() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    for values in VALUES {
        let manifests = chart.render(values)?;
        for (role, _) in ROLES {
            let pod = &one(&manifests, "StatefulSet", role)?["spec"]["template"]["spec"];
            let container = &pod["containers"][0];
            assert_eq!(pod["automountServiceAccountToken"], false);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(
                pod["securityContext"]["seccompProfile"]["type"],
                "RuntimeDefault"
            );
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            assert_eq!(
                container["securityContext"]["allowPrivilegeEscalation"],
                false
            );
            assert_eq!(
                container["securityContext"]["capabilities"]["drop"],
                json!(["ALL"])
            );
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{values} {role}"
            );
            assert_eq!(
                container["ports"].is_array(),
                container["readinessProbe"].is_object(),
                "{values} {role}"
            );
            let volumes = pod["volumes"].as_array().context("volumes")?;
            let scratch = volumes.iter().any(|volume| volume["name"] == "data");
            assert!(
                !scratch || values == MINIMAL,
                "{values} {role} keeps accepted requests in a folder of the pod"
            );
            // The names that a role reads, from those that cert-manager writes.
            let tls = volumes.iter().find(|volume| volume["name"] == "tls");
            assert_eq!(
                tls.context("no certificate")?["secret"]["items"],
                json!([
                    {"key": "ca.crt", "path": "ca.pem"},
                    {"key": "tls.crt", "path": format!("{role}.pem")},
                    {"key": "tls.key", "path": format!("{role}.key")},
                ])
            );
        }
        for account in find(&manifests, "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false);
        }
    }
    Ok(())
}

#[test]
fn a_pod_has_time_to_drain() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    let manifests = chart.render_with(DEFAULT, &json!({"drainSeconds": 90}))?;
    for (role, words) in ROLES {
        let pod = &one(&manifests, "StatefulSet", role)?["spec"]["template"]["spec"];
        assert_eq!(
            pod["terminationGracePeriodSeconds"],
            90 + GRACE_OVER_DRAIN_SECONDS,
            "{role}"
        );
        let mut section = &one(&manifests, "ConfigMap", role)?["toml"][format!("{role}.toml")];
        for word in words {
            section = &section[word];
        }
        assert_eq!(section["drain"], "90s", "{role}");
    }
    Ok(())
}

#[test]
fn no_secret_is_written_into_a_manifest() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    for values in VALUES {
        let manifests = chart.render(values)?;
        assert_eq!(
            find(&manifests, "Secret").count(),
            0,
            "secrets are somebody else's to make"
        );
        for (role, _) in ROLES {
            let container =
                &one(&manifests, "StatefulSet", role)?["spec"]["template"]["spec"]["containers"][0];
            for variable in container["env"].as_array().into_iter().flatten() {
                assert!(
                    variable["valueFrom"]["secretKeyRef"].is_object(),
                    "{values} {role}: {variable}"
                );
            }
        }
        assert!(
            !Value::from(manifests).to_string().contains("postgres://"),
            "{values}"
        );
    }
    let production = chart.render(PRODUCTION)?;
    let names = |role| -> Result<BTreeSet<String>> {
        let container =
            &one(&production, "StatefulSet", role)?["spec"]["template"]["spec"]["containers"][0];
        let env = container["env"].as_array().into_iter().flatten();
        Ok(env
            .filter_map(|variable| Some(variable["name"].as_str()?.to_owned()))
            .collect())
    };
    assert!(names("coordinator")?.contains("FAREWELL_COORDINATOR__LEDGER"));
    assert!(names("identity")?.contains("FAREWELL_SERVICE__IDENTITY__PEPPER"));
    assert!(names("support")?.contains("FAREWELL_SERVICE__SUPPORT__KEYS"));
    assert!(names("cloud")?.contains("FAREWELL_SERVICE__CLOUD__EXPORTS__KEYS"));
    assert!(names("smarthome")?.contains("FAREWELL_AGENT__SMARTHOME__BROKER__PASSWORD"));
    Ok(())
}

#[test]
fn the_key_that_signs_orders_is_the_coordinators_alone() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    let manifests = chart.render(DEFAULT)?;
    for (role, _) in ROLES {
        let pod = &one(&manifests, "StatefulSet", role)?["spec"]["template"]["spec"];
        let volumes = pod["volumes"].as_array().into_iter().flatten();
        let secrets: Vec<_> = volumes
            .filter_map(|volume| volume["secret"]["secretName"].as_str())
            .filter(|name| name.ends_with("-orders"))
            .collect();
        let expected: &[&str] = match role {
            "coordinator" => &["farewell-coordinator-orders"],
            _ => &[],
        };
        assert_eq!(secrets, expected, "{role}");
    }
    Ok(())
}

#[test]
fn everything_is_denied_that_is_not_named() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    for values in [DEFAULT, PRODUCTION] {
        let manifests = chart.render(values)?;
        let policies: Vec<&Value> = find(&manifests, "NetworkPolicy").collect();
        assert_eq!(policies.len(), ROLES.len() + 1);
        for policy in &policies {
            assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
            // A rule without peers is a rule for everybody.
            for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
                for rule in policy["spec"][rules].as_array().into_iter().flatten() {
                    assert!(
                        rule[peers]
                            .as_array()
                            .is_some_and(|peers| !peers.is_empty()),
                        "{values}: {rule}"
                    );
                    assert!(
                        rule["ports"]
                            .as_array()
                            .is_some_and(|ports| !ports.is_empty()),
                        "{values}: {rule}"
                    );
                }
            }
        }
        let doors = one(&manifests, "NetworkPolicy", "coordinator")?["spec"]["ingress"]
            .as_array()
            .map_or(0, Vec::len);
        assert_eq!(
            doors,
            if values == DEFAULT { 1 } else { 4 },
            "by default only our own participants come in"
        );
    }
    Ok(())
}

#[test]
fn a_region_shows_others_its_cells_certificate_and_only_if_it_passes_on() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    let told = json!({"coordinator": {"region": {"name": "eu"}, "regions": {"us": {"address": "https://us.example:7400"}}}});
    let of = |manifests: &[Value]| -> Result<(Value, Vec<String>, Vec<Value>)> {
        let pod = &one(manifests, "StatefulSet", "coordinator")?["spec"]["template"]["spec"];
        let volumes = pod["volumes"].as_array().into_iter().flatten();
        let secrets = volumes.filter_map(|it| it["secret"]["secretName"].as_str());
        let config = &one(manifests, "ConfigMap", "coordinator")?["toml"]["coordinator.toml"];
        let policy = &one(manifests, "NetworkPolicy", "coordinator")?["spec"]["egress"];
        let ports = policy.as_array().into_iter().flatten();
        Ok((
            config["coordinator"].clone(),
            secrets.map(str::to_owned).collect(),
            ports.map(|rule| rule["ports"][0]["port"].clone()).collect(),
        ))
    };
    let only = of(&chart.render(DEFAULT)?)?;
    assert!(only.0["region"].is_null() && only.0["regions"].is_null());
    let (config, secrets, _) = of(&chart.render_with(DEFAULT, &told)?)?;
    assert_eq!(config["region"], json!({"name": "eu"}));
    assert_eq!(
        config["regions"]["us"]["address"],
        "https://us.example:7400"
    );
    assert!(!secrets.contains(&"farewell-coordinator-cell".to_owned()));
    let (config, secrets, ports) = of(&chart.render(PRODUCTION)?)?;
    assert_eq!(config["region"]["tls"]["dir"], "/etc/farewell-cell");
    assert_eq!(config["regions"]["cn"]["forward"], true);
    assert!(secrets.contains(&"farewell-coordinator-cell".to_owned()));
    assert!(ports.contains(&json!(7400)), "{ports:?}");
    Ok(())
}

#[test]
fn a_relays_authority_is_a_file_of_identitys_alone_and_nothing_else_of_its_secret_is() -> Result<()>
{
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    // What the configuration says, and what is mounted there.
    let of = |manifests: &[Value], role: &str| -> Result<(Value, Value, Value)> {
        let file = format!("{role}.toml");
        let settings = &one(manifests, "ConfigMap", role)?["toml"][file];
        let pod = &one(manifests, "StatefulSet", role)?["spec"]["template"]["spec"];
        let named = |of: &Value| {
            let all = of.as_array().into_iter().flatten();
            all.filter(|it| it["name"] == "mail")
                .cloned()
                .collect::<Value>()
        };
        Ok((
            settings["service"]["identity"]["courier"]["email"]["ca"].clone(),
            named(&pod["containers"][0]["volumeMounts"]),
            named(&pod["volumes"]),
        ))
    };
    let production = chart.render(PRODUCTION)?;
    for (role, _) in ROLES {
        let (ca, mounts, volumes) = of(&production, role)?;
        if role != "identity" {
            assert_eq!((mounts, volumes), (json!([]), json!([])), "{role}");
            continue;
        }
        assert_eq!(ca, "/etc/farewell-mail/ca.pem");
        assert_eq!(
            mounts,
            json!([{"name": "mail", "mountPath": "/etc/farewell-mail", "readOnly": true}])
        );
        let secret = json!({
            "secretName": "farewell-identity-couriers",
            "defaultMode": 0o440,
            "items": [{"key": "mail-ca.crt", "path": "ca.pem"}],
        });
        assert_eq!(volumes, json!([{"name": "mail", "secret": secret}]));
    }
    // By the system's authorities; and from the secret that has the usual name.
    let email = |ca: &str| {
        let email = json!({"kind": "smtp", "from": "a@example.com", "caKey": ca});
        json!({"services": {"identity": {"courier": {"email": email}}}})
    };
    let without = of(&chart.render_with(DEFAULT, &email(""))?, "identity")?;
    assert_eq!(without, (Value::Null, json!([]), json!([])));
    let (_, _, volumes) = of(&chart.render_with(DEFAULT, &email("ca"))?, "identity")?;
    assert_eq!(volumes[0]["secret"]["secretName"], "farewell-identity");
    Ok(())
}

#[test]
fn signed_in_devices_are_told_by_a_push_gateway_only_where_there_is_one() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    for (values, kind, asked) in [
        (PRODUCTION, json!("webhook"), vec!["push-url", "push-token"]),
        (DEFAULT, Value::Null, vec![]),
    ] {
        let manifests = chart.render(values)?;
        let settings = &one(&manifests, "ConfigMap", "identity")?["toml"]["identity.toml"];
        let push = &settings["service"]["identity"]["courier"]["push"];
        assert_eq!(push["kind"], kind, "{values}");
        assert_eq!(push["url"], Value::Null, "that is a secret");
        let pod = &one(&manifests, "StatefulSet", "identity")?["spec"]["template"]["spec"];
        let env = pod["containers"][0]["env"].as_array().context("env")?;
        let keys = env.iter().map(|it| &it["valueFrom"]["secretKeyRef"]["key"]);
        let keys = keys.filter_map(Value::as_str);
        let keys: Vec<_> = keys.filter(|key| key.starts_with("push-")).collect();
        assert_eq!(keys, asked, "{values}");
    }
    Ok(())
}

#[test]
fn a_wrong_value_is_refused_by_its_name() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    for (wrong, named) in [
        (json!({"coordinater": {}}), "coordinater"),
        (json!({"coordinator": {"replicaz": 3}}), "replicaz"),
        (json!({"coordinator": {"replicas": "3"}}), "replicas"),
        (json!({"coordinator": {"enabled": false}}), "enabled"),
        (
            json!({"coordinator": {"database": {"url": "postgres://user:word@host/db"}}}),
            "url",
        ),
        (json!({"services": {"billing": {}}}), "billing"),
        (
            json!({"agents": {"phones": {"extraEnv": [{"name": "lower"}]}}}),
            "extraEnv",
        ),
        (
            json!({"services": {"identity": {"courier": {"sms": {"kind": "smtp"}}}}}),
            "sms",
        ),
        (
            json!({"services": {"identity": {"courier": {"push": {"kind": "smtp"}}}}}),
            "push",
        ),
        (
            json!({"services": {"identity": {"courier": {"email": {"kind": "smtp"}}}}}),
            "from",
        ),
        (
            json!({"services": {"identity": {"courier": {"email": {"caKey": "ca.crt"}}}}}),
            "caKey",
        ),
        (
            json!({"services": {"identity": {"courier": {"email": {"kind": "smtp", "from": "a@b", "caKey": "a/b"}}}}}),
            "caKey",
        ),
        (json!({"networkPolicy": {"callers": [{}]}}), "callers"),
        (json!({"drainSeconds": 0}), "drainSeconds"),
        (
            json!({"coordinator": {"regions": {"eu": {"address": "http://eu.example:7400"}}}}),
            "address",
        ),
    ] {
        let output = chart.run(DEFAULT, &wrong)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(REFUSED),
            "{wrong} was not refused: {said}"
        );
        assert!(
            said.contains(named),
            "{wrong} was refused without naming {named}: {said}"
        );
    }
    Ok(())
}

#[test]
fn what_is_one_pods_own_is_never_shared_by_two() -> Result<()> {
    let Some(chart) = Chart::found()? else {
        return Ok(());
    };
    let database = json!({"existingSecret": "some-database"});
    for (kind, role) in [
        ("", "coordinator"),
        ("services", "identity"),
        ("services", "cloud"),
        ("services", "store"),
        ("services", "community"),
        ("services", "support"),
        ("agents", "phones"),
        ("agents", "wearables"),
        ("agents", "smarthome"),
    ] {
        let of_role = |values: Value| match kind {
            "" => json!({role: values}),
            _ => json!({kind: {role: values}}),
        };
        let sqlite = chart.run(DEFAULT, &of_role(json!({"replicas": 2})))?;
        assert_eq!(sqlite.status.code(), Some(REFUSED), "{role}");
        let said = String::from_utf8_lossy(&sqlite.stderr).into_owned();
        assert!(
            said.contains(role) && said.contains("existingSecret"),
            "{said}"
        );

        // Photos lie on the pod's volume.
        let alone = role == "cloud";
        let postgres = of_role(json!({"replicas": 2, "database": database}));
        let output = chart.run(DEFAULT, &postgres)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), !alone, "{role}: {said}");
    }
    let cloud = json!({"replicas": 2, "database": database, "files": {"existingClaim": "photos"}});
    chart.render_with(DEFAULT, &json!({"services": {"cloud": cloud}}))?;
    Ok(())
}

#[test]
fn the_binary_accepts_every_configuration() -> Result<()> {
    let (Some(chart), Some(farewell)) = (Chart::found()?, Farewell::found()?) else {
        return Ok(());
    };
    for values in VALUES {
        let manifests = chart.render(values)?;
        for (role, words) in ROLES {
            let file = format!("{role}.toml");
            let text = one(&manifests, "ConfigMap", role)?["data"][&file]
                .as_str()
                .context("no text")?;
            let pod = &one(&manifests, "StatefulSet", role)?["spec"]["template"]["spec"];
            let mut env = variables(&pod["containers"][0])?;
            if !text.contains("kind = \"smtp\"") {
                // A gateway's URL is no relay's.
                let urls = env.iter_mut();
                for (_, url) in urls.filter(|(name, _)| name.ends_with("COURIER__EMAIL__URL")) {
                    "https://gateway.internal.example/mail".clone_into(url);
                }
            }
            let output = farewell.check(words, text, &env)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{values} {role}: {said}");

            // It does look: a key that it doesn't know is refused, and so is a variable of ours.
            let section = words.join(".");
            let slip = format!("{text}\n[{section}.slip]\n");
            let output = farewell.check(words, &slip, &env)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(REFUSED), "{values} {role}");
            assert!(said.contains(&format!("{section}.slip")), "{said}");
            let mut slip = env;
            let name = format!("FAREWELL_{}__SLIP", words.join("__").to_uppercase());
            slip.insert(name.clone(), "1".to_owned());
            let output = farewell.check(words, text, &slip)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(REFUSED), "{values} {role}");
            assert!(said.contains(&name), "{said}");
        }
    }
    Ok(())
}

/// A container's variables, with something in the shape of what each secret holds.
fn variables(container: &Value) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().context("a variable's name")?;
        let secret = &variable["valueFrom"]["secretKeyRef"];
        let value = match secret["key"].as_str().context("a secret's key")? {
            "url" if name.contains("BROKER") => "mqtts://broker.internal.example:8883",
            "url" => "postgres://farewell:hush@database.internal.example/farewell",
            "sms-url" => "https://gateway.internal.example/sms",
            "push-url" => "https://gateway.internal.example/push",
            "email-url" => "smtps://farewell:hush@mail.internal.example",
            "pepper" => "0123456789012345",
            "keys" => "1:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            // Digits only are text all the same.
            "username" | "password" => "007",
            "sms-token" | "push-token" | "email-token" => "hush",
            other => anyhow::bail!("nobody said what {other} of {name} looks like"),
        };
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

/// The chart and the Python that can render it.
struct Chart {
    python: String,
}

impl Chart {
    /// `None` where the tools are missing and nobody insists.
    fn found() -> Result<Option<Self>> {
        if let Ok(python) = std::env::var("FAREWELL_TEST_PYTHON") {
            return Ok(Some(Self { python }));
        }
        missing("FAREWELL_TEST_PYTHON").map(|()| None)
    }

    fn render(&self, values: &str) -> Result<Vec<Value>> {
        self.render_with(values, &json!({}))
    }

    fn render_with(&self, values: &str, overrides: &Value) -> Result<Vec<Value>> {
        let output = self.run(values, overrides)?;
        ensure!(
            output.status.success(),
            "{values}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).context("reading what render.py printed")
    }

    fn run(&self, values: &str, overrides: &Value) -> Result<Output> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let chart = root.join("../helm/farewell");
        let values = if values.is_empty() {
            String::new()
        } else {
            chart.join(values).display().to_string()
        };
        Command::new(&self.python)
            .arg(root.join("chart/render.py"))
            .arg(&chart)
            .args([values, overrides.to_string()])
            .output()
            .with_context(|| format!("starting {}", self.python))
    }
}

/// The binary that pods run.
struct Farewell {
    binary: PathBuf,
}

impl Farewell {
    /// `None` where it is missing and nobody insists.
    fn found() -> Result<Option<Self>> {
        match std::env::var_os("FAREWELL_BIN") {
            Some(binary) => Ok(Some(Self {
                binary: binary.into(),
            })),
            None => missing("FAREWELL_BIN").map(|()| None),
        }
    }

    /// Has it read a configuration, with these variables and no others.
    fn check(
        &self,
        words: &[&str],
        config: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Output> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("farewell.toml");
        std::fs::write(&file, config)?;
        Command::new(&self.binary)
            .args(words)
            .arg("--config")
            .arg(&file)
            .arg("--check")
            .env_clear()
            .envs(variables)
            .output()
            .with_context(|| format!("starting {}", self.binary.display()))
    }
}

/// Says that a test is skipped for want of a variable.
///
/// Errors: somebody insists that nothing is skipped.
fn missing(variable: &str) -> Result<()> {
    let required = ["CI", "FAREWELL_TEST_REQUIRED"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| value == "true" || value == "1"));
    ensure!(
        !required,
        "{variable} is not set: run the tests with tests/run, which installs what they need"
    );
    println!("skipped: {variable} is not set; tests/run sets it");
    Ok(())
}

fn find<'a>(manifests: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    manifests
        .iter()
        .filter(move |manifest| manifest["kind"] == kind)
}

fn one<'a>(manifests: &'a [Value], kind: &'a str, role: &str) -> Result<&'a Value> {
    find(manifests, kind)
        .find(|manifest| manifest["metadata"]["labels"]["app.kubernetes.io/component"] == role)
        .with_context(|| format!("no {kind} for {role}"))
}
