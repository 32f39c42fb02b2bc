//! A policy is checked and shown before it is put into use, by the real binary: whoever writes one is told all that is wrong with it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use farewell_tests::process::needed;
use serde_json::Value;
use tempfile::TempDir;

/// The exit code of what can't be used.
const UNUSABLE: i32 = 2;
/// Each line is right by itself in its form, and wrong in what it says; what it says it with stands in the list below.
const TEN_FAULTS: &str = "name = 'ours'
extends = 'cn'
seal = 'yes'
cooling_off = '7 moons'
deadline = '1 day'
deadline_warning = 3
recheck = '0s'
surprise = 1
[channels]
fax = ['password']
[devices]
personal = 'burn'
order_life = '1h'
[[stages]]
name = 'one'
participants = ['cloud']
";
const FAULTS: [&str; 10] = [
    "seal: ",
    "cooling_off: ",
    "deadline: ",
    "deadline_warning: ",
    "recheck: ",
    "surprise: ",
    "channels.fax: ",
    "devices.personal: ",
    "devices.order_life: ",
    "stages.0.name: ",
];
const CALENDAR: &str = "name: de-by\nversion: 2026-1\nsource: Bavaria\nweekend: Saturday Sunday\n\
    covered: 2026-01-01 to 2026-12-31\n\n2026-01-06 off Epiphany\n2026-06-06 work A fair\n";

struct Desk {
    program: String,
    folder: TempDir,
}

impl Desk {
    fn open() -> Result<Option<Self>> {
        let Some(program) = needed("FAREWELL_BIN") else {
            return Ok(None);
        };
        let folder = TempDir::new()?;
        Ok(Some(Self { program, folder }))
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(Command::new(&self.program).args(arguments).output()?)
    }

    /// What goes well, as text.
    fn told(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(0), "{arguments:?}: {said}");
        ensure!(said.is_empty(), "{arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What is wrong, line by line. Nothing of it stands where a script looks for results.
    fn refused(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let output = self.run(arguments)?;
        ensure!(output.status.code() == Some(UNUSABLE), "{arguments:?}");
        ensure!(output.stdout.is_empty(), "{arguments:?}");
        let said = String::from_utf8(output.stderr)?;
        let mut lines = said.lines().map(str::to_owned);
        let first = lines.next().unwrap_or_default();
        ensure!(first.contains("the configuration has "), "{said}");
        Ok(lines.map(|line| line.trim_start().to_owned()).collect())
    }
}

#[test]
fn a_policy_with_ten_faults_is_told_all_ten_and_cannot_be_used() -> Result<()> {
    let Some(desk) = Desk::open()? else {
        return Ok(());
    };
    let file = desk.write("ours.toml", TEN_FAULTS)?;
    for verb in ["check", "show"] {
        for output in [&[][..], &["-o", "json"]] {
            let told = desk.refused(&[output, &["policy", verb, &file]].concat())?;
            assert_eq!(told.len(), FAULTS.len(), "{told:#?}");
            for fault in FAULTS {
                let named = told.iter().filter(|line| line.starts_with(fault));
                assert_eq!(named.count(), 1, "{fault}: {told:#?}");
            }
        }
    }
    // Mended one by one, it has one less each time.
    let mut text = TEN_FAULTS.to_owned();
    for (left, (wrong, right)) in [
        ("seal = 'yes'", "seal = true"),
        ("'7 moons'", "'7 days'"),
        ("'1 day'", "'15 working days'"),
        ("deadline_warning = 3", "deadline_warning = '3 days'"),
        ("'0s'", "'1h'"),
        ("surprise = 1\n", ""),
        ("fax =", "web ="),
        ("'burn'", "'unbind'"),
        ("'1h'\n[[", "'400 days'\n[["),
        ("'one'", "'ONE'"),
    ]
    .into_iter()
    .enumerate()
    .map(|(place, mended)| (FAULTS.len() - place - 1, mended))
    {
        ensure!(text.contains(wrong), "{wrong}");
        text = text.replace(wrong, right);
        fs::write(&file, &text)?;
        let check = ["policy", "check", file.as_str()];
        match left {
            0 => ensure!(desk.told(&check)?.contains("can be used")),
            left => assert_eq!(desk.refused(&check)?.len(), left, "after {right}"),
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_with_every_file_that_a_policy_names_is_told_beside_its_own_mistakes() -> Result<()>
{
    let Some(desk) = Desk::open()? else {
        return Ok(());
    };
    let days = desk.write(
        "days.txt",
        &CALENDAR.replace("2026-01-06 off", "2026-13-06 of"),
    )?;
    let base = desk.write("base.toml", "extends = 'eu'\nseal = 'yes'\nprobe = 'no'\n")?;
    let ours = |extends: &str| {
        format!(
            "name = 'ours'\nextends = '{extends}'\ncalendar = '{days}'\nrecheck = '0s'\nhaste = 1\n"
        )
    };
    let own = [
        "calendar: ".to_owned() + &days + ", line 7: `2026-13-06` is not a date",
        "calendar: ".to_owned() + &days + ", line 7: `of` is neither",
        "recheck: ".to_owned(),
        "haste: ".to_owned(),
    ];
    let of_base = ["seal", "probe"].map(|key| format!("extends: {base}, {key}: must be "));
    for (extends, of_base) in [
        (
            "mars",
            &["extends: must be one of default, cn, eu, us".to_owned()][..],
        ),
        (&base, &of_base),
    ] {
        let file = desk.write("ours.toml", &ours(extends))?;
        let told = desk.refused(&["policy", "check", &file])?;
        assert_eq!(told.len(), own.len() + of_base.len(), "{told:#?}");
        for fault in own.iter().chain(of_base) {
            ensure!(
                told.iter().any(|line| line.starts_with(fault)),
                "{fault}: {told:#?}"
            );
        }
    }
    // What may be meant is said, and stands in nobody's way.
    let unasked = "extends = 'cn'\nname = 'ours'\ndevices.reset_consent = 'device-rest'\n\
                   consents.phone = { data-loss = 1, device-reset = 1 }\n";
    let file = desk.write("ours.toml", unasked)?;
    let told = desk.told(&["policy", "check", &file])?;
    ensure!(
        told.contains("device-rest,") && told.contains("can be used"),
        "{told}"
    );
    Ok(())
}

#[test]
fn a_policy_is_shown_whole_and_what_is_shown_is_that_policy() -> Result<()> {
    let Some(desk) = Desk::open()? else {
        return Ok(());
    };
    for shipped in ["default", "cn", "eu", "us"] {
        desk.told(&["policy", "check", shipped])?;
        // With its comments: what somebody begins their own with.
        let text = desk.told(&["policy", "show", shipped])?;
        ensure!(text.contains("# "), "{shipped}");
        let own = desk.write("copy.toml", &text)?;
        let copied: Value =
            serde_json::from_str(&desk.told(&["-o", "json", "policy", "show", &own])?)?;
        let meant = desk.told(&["-o", "json", "policy", "show", shipped])?;
        assert_eq!(copied, serde_json::from_str::<Value>(&meant)?, "{shipped}");
    }

    // What a file names stands beside it, and not where somebody happens to read it.
    let days = desk.write("days.txt", CALENDAR)?;
    desk.write(
        "base.toml",
        "extends = 'eu'\nname = 'base'\ncalendar = './days.txt'\n",
    )?;
    let differs = "extends = 'base.toml'\nname = 'ours'\ncooling_off = '3 days'\n";
    let ours = desk.write("ours.toml", differs)?;
    let verdict: Value =
        serde_json::from_str(&desk.told(&["-o", "json", "policy", "check", &ours])?)?;
    assert_eq!(verdict["policy"], "ours");
    let shown = desk.told(&["policy", "show", &ours])?;
    let whole: Value = serde_json::from_str(&desk.told(&["-o", "json", "policy", "show", &ours])?)?;
    let base: Value = serde_json::from_str(&desk.told(&["-o", "json", "policy", "show", "eu"])?)?;
    assert_eq!(whole["cooling_off"], "3 days");
    assert_eq!(whole["deadline"], base["deadline"]);
    assert_eq!(whole["calendar"], "de-by");
    // It needs neither what it extends nor the calendar's file any more, and says the same again.
    fs::remove_file(days)?;
    let again = desk.write("shown.toml", &shown)?;
    assert_eq!(desk.told(&["policy", "show", &again])?, shown);
    Ok(())
}

#[test]
fn what_is_no_policy_or_calendar_is_said_and_nothing_is_shown() -> Result<()> {
    let Some(desk) = Desk::open()? else {
        return Ok(());
    };
    let torn = desk.write("torn.toml", "channels = [")?;
    let missing = desk.folder.path().join("missing.toml");
    let missing = missing.display().to_string();
    for (which, what) in [
        (torn.as_str(), "torn.toml"),
        (&missing, "missing.toml"),
        ("mars", "default, cn, eu, us"),
    ] {
        for verb in ["check", "show"] {
            let said = desk.refused(&["policy", verb, which])?.join("\n");
            ensure!(said.contains(what), "{verb} {which}: {said}");
        }
    }
    let days = desk.write("days.txt", CALENDAR)?;
    ensure!(desk.told(&["calendar", "check", &days])?.contains("de-by"));
    let wrong = desk.write("wrong.txt", &CALENDAR.replace("2026-01-06", "2026-13-06"))?;
    let said = desk.refused(&["calendar", "check", &wrong])?.join("\n");
    ensure!(said.contains("2026-13-06"), "{said}");
    ensure!(Path::new(&wrong).exists());
    Ok(())
}
