//! What is going on, live: a bar for each leg and each device on a terminal, a line for each change elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, stderr};
use std::time::{Instant, SystemTime};

use farewell_proto::deletion::v1::{Deletion, Leg, LegState, State};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::deletion::view;
use crate::fleet::{Holding, Snapshot};

/// Where it is shown. Standard output is for results.
pub struct Progress {
    began: Instant,
    shown: Shown,
    /// How each thing stood when it was last told.
    told: BTreeMap<String, String>,
    cooling_off_end: Option<SystemTime>,
}

enum Shown {
    Lines,
    Bars {
        all: MultiProgress,
        bars: BTreeMap<String, ProgressBar>,
    },
}

impl Progress {
    /// On standard error.
    pub fn new() -> Self {
        let shown = if stderr().is_terminal() {
            Shown::Bars {
                all: MultiProgress::new(),
                bars: BTreeMap::new(),
            }
        } else {
            Shown::Lines
        };
        Self {
            began: Instant::now(),
            shown,
            told: BTreeMap::new(),
            cooling_off_end: None,
        }
    }

    /// A change of the deletion.
    pub fn deletion(&mut self, deletion: &Deletion) {
        let cooling_off_end = deletion
            .cooling_off_end_time
            .and_then(|end| end.try_into().ok());
        self.cooling_off_end = cooling_off_end.filter(|_| deletion.state() == State::CoolingOff);
        let ended = view::has_ended(deletion.state());
        if self.cooling_off_end.is_some() {
            self.countdown();
        } else if !ended {
            self.tell("deletion", view::state(deletion).to_owned(), false);
        }
        if view::is_past_no_return(deletion.state()) {
            self.clear(" seal");
        }
        for condition in &deletion.conditions {
            self.tell(
                &view::condition(condition),
                condition.message.clone(),
                false,
            );
        }
        for leg in deletion
            .legs
            .iter()
            .filter(|leg| leg.state() != LegState::Planned)
        {
            let done = leg.state() == LegState::Done;
            self.tell(&leg_name(leg), view::answer(leg), done);
        }
        // Its end comes last, as it does to the deletion.
        if ended {
            self.tell("deletion", view::state(deletion).to_owned(), true);
        }
    }

    /// What the devices hold.
    pub fn devices(&mut self, snapshot: &Snapshot) {
        for device in &snapshot.devices {
            let gone = device.bound_epoch == 0 && !device.user_data;
            self.tell(&device.device, state_of(device).to_owned(), gone);
        }
    }

    /// Seconds until the point of no return.
    pub fn countdown(&mut self) {
        let Some(end) = self.cooling_off_end else {
            return;
        };
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        self.tell(
            "deletion",
            format!("COOLING_OFF {seconds} s left to take it back"),
            false,
        );
    }

    /// Leaves what is shown where it is.
    pub fn end(&mut self) {
        if let Shown::Bars { bars, .. } = &self.shown {
            bars.values().for_each(ProgressBar::abandon);
        }
    }

    /// Takes bars away that are no longer news: a terminal has only so many lines.
    fn clear(&mut self, ending: &str) {
        if let Shown::Bars { all, bars } = &mut self.shown {
            bars.retain(|what, bar| {
                let stays = !what.ends_with(ending);
                if !stays {
                    bar.finish_and_clear();
                    all.remove(bar);
                }
                stays
            });
        }
    }

    fn tell(&mut self, what: &str, now: String, done: bool) {
        if self.told.get(what) == Some(&now) {
            return;
        }
        match &mut self.shown {
            Shown::Lines => {
                let seconds = self.began.elapsed().as_secs_f64();
                eprintln!("{seconds:6.1} s  {what:<34} {now}");
            }
            Shown::Bars { all, bars } => {
                let bar = bars.entry(what.to_owned()).or_insert_with(|| {
                    let bar = all
                        .add(ProgressBar::new_spinner())
                        .with_prefix(what.to_owned());
                    bar.set_style(style("{spinner}"));
                    bar.enable_steady_tick(std::time::Duration::from_millis(120));
                    bar
                });
                bar.set_message(now.clone());
                if done && !bar.is_finished() {
                    bar.set_style(style("✓"));
                    bar.finish();
                }
            }
        }
        self.told.insert(what.to_owned(), now);
    }
}

fn style(mark: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("  {mark} {{prefix:<34}} {{wide_msg}}"))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// `phones erase`.
fn leg_name(leg: &Leg) -> String {
    let verb = leg.verb.to_lowercase();
    format!("{} {verb}", leg.participant)
}

/// The device itself, as it is.
fn state_of(device: &Holding) -> &'static str {
    match (device.bound_epoch != 0, device.user_data, device.online) {
        (true, _, true) => "bound",
        (true, _, false) => "bound, offline",
        (false, true, _) => "unbound, still with data",
        (false, false, true) => "unbound and wiped",
        (false, false, false) => "unbound and wiped, offline",
    }
}
