//! `run.json`: what a run is, its state, and how it was made.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::config::Choice;
use crate::data::{Content, DataSpec, ImageShape};
use crate::error::Result;

/// The content of `run.json`.
///
/// [`crate::run::Run::create`] sets `id`, `created` and `updated`; `version` is right by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// The format of the run folder; 1 today.
    pub format: u32,
    /// The run's name: that of its folder when it was made.
    pub id: String,
    /// The model's name in the catalogue.
    pub model: String,
    /// The state of the run.
    pub state: State,
    /// Why the run failed, in the state [`State::Failed`]; why it ended early, in the state [`State::Done`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The version of Poiesis that made the run.
    pub version: String,
    /// The device, as `--device` names it.
    pub device: String,
    /// The seed of every random number of the run.
    pub seed: u64,
    /// The number of steps to train.
    pub steps: u64,
    /// The last step known to be done; may lag behind `metrics.jsonl` in a run that was killed.
    pub last_step: u64,
    /// Seconds of training over all starts, up to that step.
    pub elapsed: f64,
    /// The data the run is trained on.
    pub data: DataInfo,
    /// The run and step that the initial weights are from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The settings that were chosen from the data and the machine because nobody gave them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<Choice>,
    /// The best checkpoint so far, for readers of this file; the state of the newest checkpoint is what counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<BestStep>,
    /// When the run was made, in seconds since 1970 (UTC).
    pub created: u64,
    /// When this file was last written, in seconds since 1970 (UTC).
    pub updated: u64,
    /// The command line that started the run.
    pub command: Vec<String>,
    /// The machine the run was last started on.
    pub machine: Machine,
}

impl RunInfo {
    /// What the types do not express.
    pub(super) fn check(&self) -> Result<(), String> {
        // Files are named after it.
        let plain = Path::new(&self.id).file_name().is_some_and(|name| name == self.id.as_str());
        if !plain && !self.id.is_empty() {
            return Err(format!("`id` is {:?}, not a plain name", self.id));
        }
        let (classes, counted) = (self.data.classes.len(), self.data.class_counts.len());
        if counted > 0 && counted != classes {
            return Err(format!("`data.class_counts` counts {counted} classes, and {classes} are named"));
        }
        let Some(spec) = &self.data.spec else { return Ok(()) };
        spec.check().map_err(|reason| format!("`data.spec`: {reason}"))?;
        if spec.classes != self.data.classes.len() {
            let named = self.data.classes.len();
            return Err(format!("`data.spec` has {} classes, and {named} are named", spec.classes));
        }
        Ok(())
    }
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A process is training, or was killed while it did (nobody then holds the run's lock).
    #[default]
    Running,
    /// Interrupted on request, after saving.
    Stopped,
    /// All steps are done, or training ended early because the held-out metric became no better.
    Done,
    /// Ended by an error.
    Failed,
}

/// The data set of a run, with what is needed to recognise it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DataInfo {
    /// The name shown to people.
    pub name: String,
    /// The source given: a path or a name.
    pub source: String,
    /// The fingerprint of the packed data set.
    pub fingerprint: String,
    /// The shape of one example, such as `[height, width, channels]`.
    pub shape: Vec<usize>,
    /// The class names; empty without labels.
    pub classes: Vec<String>,
    /// The number of training examples of each class; empty without labels, and in runs of earlier versions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_counts: Vec<u64>,
    /// What the examples are; absent in runs of version 0.1.0 on images, where `shape` is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<DataSpec>,
    /// The size of each split, in the order of the data set: images, tokens of text, or samples of sound.
    pub counts: Vec<(String, u64)>,
}

impl DataInfo {
    /// What the examples are.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] when there is no description and the shape is not that of an image.
    pub fn spec(&self) -> Result<DataSpec> {
        match &self.spec {
            Some(spec) => Ok(spec.clone()),
            None => Ok(DataSpec {
                content: Content::Images(ImageShape::from_slice(&self.shape)?),
                classes: self.classes.len(),
                unlabelled: false,
            }),
        }
    }
}

/// Where a run's initial weights are from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Parent {
    /// The other run's folder: an absolute path.
    pub run: String,
    /// The step of its checkpoint.
    pub step: u64,
    /// Whether they are its `averaged` or its `trained` weights.
    #[serde(default)]
    pub weights: String,
    /// The fingerprint of the model with these weights; see [`crate::Trained::fingerprint`].
    #[serde(default)]
    pub fingerprint: String,
}

/// The best checkpoint of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestStep {
    /// The name of the metric, which is measured on held-out examples; lower is better.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// The step of the checkpoint.
    pub step: u64,
}

/// The machine on which a run is trained.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Operating system and architecture, such as `linux x86_64`.
    pub system: String,
    /// The processor's name.
    pub cpu: String,
    /// Number of hardware threads.
    pub threads: usize,
    /// Memory in bytes.
    pub memory: u64,
}

impl Machine {
    /// Returns a description of this machine; what the system does not report is empty or 0.
    pub fn this() -> Self {
        let mut machine = Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            threads: thread::available_parallelism().map_or(1, usize::from),
            ..Self::default()
        };
        if let Ok(mut system) = sysinfo::System::new() {
            system.refresh_memory();
            system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
            machine.cpu = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default();
            machine.memory = system.total_memory();
        }
        machine
    }
}

impl Default for RunInfo {
    fn default() -> Self {
        Self {
            format: 1,
            id: String::new(),
            model: String::new(),
            state: State::default(),
            reason: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: String::new(),
            seed: 0,
            steps: 0,
            last_step: 0,
            elapsed: 0.0,
            data: DataInfo::default(),
            parent: None,
            chosen: Vec::new(),
            best: None,
            created: 0,
            updated: 0,
            command: Vec::new(),
            machine: Machine::default(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::Failed => "failed",
        })
    }
}

/// Returns the time now, in whole seconds since 1970 (UTC).
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns a time in seconds since 1970 as `2016-06-16 12:00:00 UTC`.
pub fn utc(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The Gregorian date of a number of days after 1970-01-01.
///
/// Years are counted from 1 March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let since_march_0000 = days + 719_468;
    let era = since_march_0000 / DAYS_IN_400_YEARS;
    let day_of_era = since_march_0000 % DAYS_IN_400_YEARS;
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(951_868_800), "2000-03-01 00:00:00 UTC");
        assert_eq!(utc(1_466_078_400), "2016-06-16 12:00:00 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn run_json_round_trips_and_forgives_missing_and_new_keys() {
        let info = RunInfo { model: "vae".into(), machine: Machine::this(), ..RunInfo::default() };
        let text = serde_json::to_string(&info).unwrap();
        assert_eq!(serde_json::from_str::<RunInfo>(&text).unwrap(), info);
        let other: RunInfo = serde_json::from_str(r#"{"model": "vae", "state": "done", "mood": 1}"#).unwrap();
        assert_eq!((other.model.as_str(), other.state), ("vae", State::Done));
        assert!(info.machine.threads >= 1 && info.machine.memory > 0);
    }
}
