//! What to try while everything runs.

use super::stage::Stage;

/// Commands to copy, with the ports and certificates of this run.
pub fn say(stage: &Stage) -> anyhow::Result<()> {
    let me = std::env::current_exe()?.display().to_string();
    let certs = stage.certs().display().to_string();
    let caller = format!("--endpoint {} --tls-dir {certs}", stage.callers());
    let operator = format!("--endpoint {} --tls-dir {certs}", stage.operators());
    let places = stage.places();
    let sample: Vec<String> = [
        places.identity.map(|url| format!("--identity '{url}'")),
        places.cloud.map(|url| format!("--cloud '{url}'")),
        places.files.map(|dir| format!("--files {}", dir.display())),
        places.store.map(|url| format!("--store '{url}'")),
        places.community.map(|url| format!("--community '{url}'")),
    ]
    .into_iter()
    .flatten()
    .collect();
    super::say(&format!(
        "
Everything is still running. Another terminal can look around:

  {me} deletion list {caller}
  {me} operator overview {operator}
  {me} operator stalled {operator}
  {me} -o json deletion list {caller}

and delete another account by hand, with the code from {codes}:

  {me} sample --account second {sample}
  {me} fleet --account second --phones-agent {phones} --wearables-agent {wearables} --smarthome-agent {smarthome} \\
      --broker 127.0.0.1:{broker} --ca-dir {certs} &
  {me} deletion eligibility second {caller}
  {me} deletion create second --channel phone --consent data-loss-warning=3 --consent device-reset=1 {caller}
  {me} deletion send-code DELETION --factor sms-code {caller}
  echo CODE | {me} deletion verify DELETION --factor sms-code {caller}
  {me} deletion watch DELETION {caller}
  {me} deletion certificate DELETION {caller}

where DELETION is the name that `create` prints, and `deletion revoke DELETION` takes it back in time.

Settings: {settings}{logs}
Ctrl-C ends it all.",
        codes = stage.codes().display(),
        sample = sample.join(" "),
        phones = stage.phones(),
        wearables = stage.wearables(),
        smarthome = stage.smarthome(),
        broker = stage.broker_port(),
        settings = stage.settings_file().display(),
        logs = stage
            .logs()
            .map(|dir| format!("; logs: {}/*.log", dir.display()))
            .unwrap_or_default(),
    ))
}
