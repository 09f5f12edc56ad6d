//! The lines that both sides write, as JSON. `README.md` of the crate describes them.

use serde::{Deserialize, Serialize};

use crate::environment::{Action, Space, Spec};
use crate::error::ProcessFault;

/// The version of the protocol.
pub(super) const PROTOCOL: u64 = 1;

/// What is asked of the program.
#[derive(Debug, Serialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(super) enum Request<'a> {
    Reset { seed: u64 },
    Step { action: Act<'a> },
    Close,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Act<'a> {
    Choice(usize),
    Numbers(&'a [f64]),
}

impl<'a> From<Action<'a>> for Act<'a> {
    fn from(action: Action<'a>) -> Self {
        match action {
            Action::Discrete(choice) => Act::Choice(choice),
            Action::Continuous(numbers) => Act::Numbers(numbers),
        }
    }
}

/// The first line of the program, before its other keys are read.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) protocol: u64,
}

/// The first line of the program.
#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    name: String,
    observation: WiredSpace,
    action: WiredSpace,
    #[serde(default)]
    time_limit: Option<usize>,
    #[serde(default)]
    reward_threshold: Option<f64>,
    #[serde(default)]
    seconds: f64,
}

/// A space; a limit that is `null` is infinite.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum WiredSpace {
    Discrete(usize),
    Box { low: Vec<Option<f64>>, high: Vec<Option<f64>> },
}

/// The answer to a reset.
#[derive(Debug, Deserialize)]
pub(super) struct Started {
    pub(super) observation: Vec<Option<f64>>,
}

/// The answer to a step.
#[derive(Debug, Deserialize)]
pub(super) struct Stepped {
    pub(super) observation: Vec<Option<f64>>,
    pub(super) reward: Option<f64>,
    pub(super) terminated: bool,
    pub(super) truncated: bool,
}

/// An error that the program reports instead of an answer.
#[derive(Debug, Deserialize)]
pub(super) struct Reported {
    pub(super) error: String,
}

impl Hello {
    pub(super) fn spec(self) -> Result<Spec, ProcessFault> {
        Ok(Spec {
            name: self.name,
            observation: self.observation.space("observation")?,
            action: self.action.space("action")?,
            time_limit: self.time_limit,
            reward_threshold: self.reward_threshold,
            seconds: self.seconds,
        })
    }
}

impl WiredSpace {
    fn space(self, which: &str) -> Result<Space, ProcessFault> {
        let refused = |reason| Err(ProcessFault::Space(format!("`{which}` {reason}")));
        match self {
            WiredSpace::Discrete(0) => refused("has no choices".into()),
            WiredSpace::Discrete(count) => Ok(Space::Discrete(count)),
            WiredSpace::Box { low, high } => {
                if low.is_empty() || low.len() != high.len() {
                    return refused(format!("has {} lower and {} upper limits", low.len(), high.len()));
                }
                let low: Vec<f64> = low.into_iter().map(|x| x.unwrap_or(f64::NEG_INFINITY)).collect();
                let high: Vec<f64> = high.into_iter().map(|x| x.unwrap_or(f64::INFINITY)).collect();
                match low.iter().zip(&high).position(|(low, high)| low > high) {
                    Some(at) => refused(format!("has limits {} to {} for number {at}", low[at], high[at])),
                    None => Ok(Space::Box { low, high }),
                }
            }
        }
    }
}

/// Reads a line. `NaN` and `Infinity`, which programs write though JSON has no such numbers, are read as `null`.
pub(super) fn read<'a, T: Deserialize<'a>>(line: &'a str, spare: &'a mut String) -> Result<T, String> {
    match serde_json::from_str(line) {
        Ok(read) => Ok(read),
        Err(error) => {
            *spare = without_non_finite(line);
            serde_json::from_str(spare).map_err(|_| error.to_string())
        }
    }
}

/// The same line with `null` for the numbers that are not finite, but not within strings.
fn without_non_finite(line: &str) -> String {
    let mut parts: Vec<String> = line.split('"').map(str::to_owned).collect();
    // Between quotes is every second part; escaped quotes only shift which parts are left alone.
    for part in parts.iter_mut().step_by(2) {
        *part = part.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
    }
    parts.join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T: for<'a> Deserialize<'a>>(line: &str) -> Result<T, String> {
        read(line, &mut String::new())
    }

    #[test]
    fn requests_are_single_lines_of_json() {
        let text = |request: Request<'_>| serde_json::to_string(&request).unwrap();
        assert_eq!(text(Request::Reset { seed: 5 }), r#"{"command":"reset","seed":5}"#);
        assert_eq!(text(Request::Step { action: Act::Choice(2) }), r#"{"command":"step","action":2}"#);
        let numbers = Act::Numbers(&[0.5, -1.0]);
        assert_eq!(text(Request::Step { action: numbers }), r#"{"command":"step","action":[0.5,-1.0]}"#);
        assert_eq!(text(Request::Close), r#"{"command":"close"}"#);
    }

    #[test]
    fn numbers_that_are_not_finite_are_read_as_missing() {
        let line = r#"{"observation": [NaN, -Infinity, 1], "reward": Infinity, "terminated": false, "truncated": true}"#;
        let stepped: Stepped = parsed(line).unwrap();
        assert_eq!(stepped.observation, [None, None, Some(1.0)]);
        assert_eq!(stepped.reward, None);
    }

    #[test]
    fn strings_keep_such_words() {
        let reported: Reported = parsed(r#"{"error": "got NaN", "value": NaN}"#).unwrap();
        assert_eq!(reported.error, "got NaN");
    }

    #[test]
    fn spaces_are_checked() {
        let spec = |observation: &str| {
            let line =
                format!(r#"{{"name": "x", "observation": {observation}, "action": {{"discrete": 2}}}}"#);
            parsed::<Hello>(&line).unwrap().spec()
        };
        let space = spec(r#"{"box": {"low": [-1, null], "high": [1, null]}}"#).unwrap().observation;
        let low = vec![-1.0, f64::NEG_INFINITY];
        assert_eq!(space, Space::Box { low, high: vec![1.0, f64::INFINITY] });
        for wrong in [
            r#"{"discrete": 0}"#,
            r#"{"box": {"low": [1], "high": [1, 2]}}"#,
            r#"{"box": {"low": [], "high": []}}"#,
            r#"{"box": {"low": [3], "high": [2]}}"#,
        ] {
            assert!(matches!(spec(wrong), Err(ProcessFault::Space(_))), "{wrong}");
        }
    }
}
