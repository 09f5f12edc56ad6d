//! Environments that are programs: shell scripts, which start quickly, and one in plain Python, which is left out with a line of
//! output where there is no `python3`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use poiesis_envs::{
    Action, Actions, EnvError, Environment, Process, ProcessFault, Space, Timeouts, Vectorized,
};

const HELLO: &str = r#"{"protocol": 1, "name": "line", "observation": {"box": {"low": [null, 0], "high": [null, 9]}}, "action": {"discrete": 2}, "time_limit": 5}"#;

/// Walks on a line, and echoes the seed.
const WALKER: &str = r#"
echo "$HELLO"
while read -r line; do
  last=${line##*:}
  case "$line" in
    *reset*) x=0; seed=${last%\}}; echo "{\"observation\": [$seed, 0]}" ;;
    *step*)
      x=$((x + ${last%\}})); [ $x = 3 ] && end=true || end=false
      echo "{\"observation\": [$seed, $x], \"reward\": $x.5, \"terminated\": $end, \"truncated\": false}" ;;
    *) exit ;;
  esac
done
"#;

/// The same in Python.
const PYTHON: &str = r#"
import json, sys
def say(**values): print(json.dumps(values), flush=True)
limits = {"low": [None, 0], "high": [None, 9]}
say(protocol=1, name="line", observation={"box": limits}, action={"discrete": 2}, time_limit=5)
for line in sys.stdin:
    request = json.loads(line)
    if request["command"] == "reset":
        x, seed = 0, request["seed"]
        say(observation=[seed, x])
    elif request["command"] == "step":
        x += request["action"]
        say(observation=[seed, x], reward=x + 0.5, terminated=x == 3, truncated=False)
    else:
        break
"#;

/// Starts a script with `interpreter`.
fn run(interpreter: &str, script: &str, timeouts: Timeouts) -> Result<Process, EnvError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my env");
    std::fs::write(&path, script).unwrap();
    // The shell keeps the script open, and Python has read it when it answers.
    Process::start(&format!("{interpreter} '{}'", path.display()), timeouts)
}

/// Starts a shell script, in which `$HELLO` is a good first line.
fn start(script: &str, timeouts: Timeouts) -> Result<Process, EnvError> {
    run("sh", &format!("HELLO='{HELLO}'\n{script}"), timeouts)
}

/// What a script does wrong that says a good first line and then answers each request by `answer`.
fn after_hello(answer: &str) -> EnvError {
    let script = format!("echo \"$HELLO\"\nwhile read -r line; do\n{answer}\ndone");
    let mut process = start(&script, soon()).unwrap();
    let mut observation = [0.0; 2];
    match process.reset(1 << 11, &mut observation) {
        Err(error) => error,
        Ok(()) => process.step(Action::Discrete(1), &mut observation).unwrap_err(),
    }
}

/// Long enough for a busy machine.
fn soon() -> Timeouts {
    Timeouts { start: Duration::from_secs(30), answer: Duration::from_secs(30) }
}

#[track_caller]
fn fault(error: EnvError) -> (ProcessFault, Vec<String>) {
    match error {
        EnvError::Process { fault, stderr, .. } => (fault, stderr),
        other => panic!("{other}"),
    }
}

fn expect_walks(mut process: Process) {
    let spec = process.spec().clone();
    assert_eq!((spec.name.as_str(), spec.time_limit, spec.reward_threshold), ("line", Some(5), None));
    let low = vec![f64::NEG_INFINITY, 0.0];
    assert_eq!(spec.observation, Space::Box { low, high: vec![f64::INFINITY, 9.0] });
    let mut seen = [0.0; 2];
    process.reset(u64::MAX, &mut seen).unwrap();
    // The upper 53 bits.
    assert_eq!(seen, [9_007_199_254_740_991.0, 0.0]);
    for expected in 1..=3 {
        let transition = process.step(Action::Discrete(1), &mut seen).unwrap();
        assert_eq!((seen[1], transition.reward), (f64::from(expected), f64::from(expected) + 0.5));
        assert_eq!(transition.terminated, expected == 3);
    }
    assert!(matches!(process.step(Action::Discrete(1), &mut seen), Err(EnvError::NoEpisode { .. })));
    process.reset(0, &mut seen).unwrap();
    let truncated = (0..5).map(|_| process.step(Action::Discrete(0), &mut seen).unwrap().truncated);
    assert_eq!(truncated.collect::<Vec<_>>(), [false, false, false, false, true]);
    assert!(process.state().is_empty());
    assert_eq!(process.restore(&[]).unwrap_err(), EnvError::CannotRestore { environment: "line".into() });
}

#[test]
fn a_program_is_an_environment() {
    expect_walks(start(WALKER, soon()).unwrap());
}

#[test]
fn a_program_in_python_is_an_environment() {
    let version = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        println!("left out: there is no python3 here");
        return;
    }
    expect_walks(run("python3", PYTHON, soon()).unwrap());
}

#[test]
fn a_program_is_told_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    let script = format!("echo \"$HELLO\"\nread -r line\necho \"$line\" > '{}'", note.display());
    drop(start(&script, soon()).unwrap());
    assert_eq!(std::fs::read_to_string(note).unwrap(), "{\"command\":\"close\"}\n");
}

#[test]
fn several_programs_start_new_episodes_when_they_are_restored() {
    let two = || {
        let process = || Box::new(start(WALKER, soon()).unwrap()) as Box<dyn Environment>;
        Vectorized::new(4, vec![process(), process()]).unwrap()
    };
    let mut all = two();
    let finished = (0..12).map(|_| all.step(Actions::Discrete(&[1, 0])).unwrap().finished.len());
    assert_eq!(finished.sum::<usize>(), 4 + 2);
    let mut other = two();
    assert_eq!(other.restore(&all.save()).unwrap(), [0, 1]);
    let episodes: Vec<u64> = other.save().environments.iter().map(|saved| saved.episode).collect();
    assert_eq!(episodes, [5, 3]);
}

#[test]
fn a_crash_is_reported_with_the_last_words() {
    let (found, said) = fault(after_hello("echo 'the wheel came off' >&2; exit 1"));
    let expected = ProcessFault::Ended { doing: "starting an episode", status: "exit status: 1".into() };
    assert_eq!((found, said), (expected, vec!["the wheel came off".to_owned()]));
    let message = start("echo 'no map found' >&2; exit 4", soon()).err().unwrap().to_string();
    assert!(message.contains("ended while saying what it is: exit status: 4"), "{message}");
    assert!(message.ends_with("the last lines of its error output:\n  no map found"), "{message}");
    let (found, _) = fault(after_hello("kill -9 $$"));
    assert!(matches!(found, ProcessFault::Ended { status, .. } if status.contains("signal: 9")));
}

#[test]
fn a_failed_program_stays_failed() {
    let mut process = start("echo \"$HELLO\"; exit 3", soon()).unwrap();
    for _ in 0..2 {
        let (found, _) = fault(process.reset(0, &mut [0.0; 2]).unwrap_err());
        assert!(matches!(found, ProcessFault::Ended { status, .. } if status == "exit status: 3"));
    }
}

#[test]
fn many_lines_of_error_output_do_not_block_and_the_last_are_kept() {
    let talk = "i=0; while [ $i -lt 5000 ]; do echo \"$i is a number of some length\" >&2; i=$((i + 1)); done; exit 1";
    let (_, said) = fault(after_hello(talk));
    assert_eq!(said.len(), 20);
    assert_eq!(said[19], "4999 is a number of some length");
}

#[test]
fn a_hang_ends_the_program_and_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("pid");
    let script = format!("sleep 60 &\necho $! > '{}'\necho \"$HELLO\"\nwait", note.display());
    let timeouts = Timeouts { answer: Duration::from_millis(200), ..soon() };
    let mut process = start(&script, timeouts).unwrap();
    let (found, _) = fault(process.reset(0, &mut [0.0; 2]).unwrap_err());
    assert_eq!(found, ProcessFault::Hung { doing: "starting an episode", seconds: 0.2 });
    expect_gone(std::fs::read_to_string(note).unwrap().trim());
}

#[test]
fn a_program_that_says_nothing_is_killed() {
    let timeouts = Timeouts { start: Duration::from_millis(300), ..soon() };
    let (found, _) = fault(start("sleep 60", timeouts).err().unwrap());
    assert_eq!(found, ProcessFault::Hung { doing: "saying what it is", seconds: 0.3 });
}

#[test]
fn a_program_that_does_not_end_is_killed_on_drop() {
    let script =
        "trap '' TERM\necho \"$HELLO\"\nread -r line\necho \"{\\\"observation\\\": [$$, 0]}\"\nsleep 60";
    let mut process = start(script, soon()).unwrap();
    let mut seen = [0.0; 2];
    process.reset(0, &mut seen).unwrap();
    drop(process);
    expect_gone(&seen[0].to_string());
}

/// A process that has been killed is gone, or waits for its parent to notice.
fn expect_gone(id: &str) {
    let status = Path::new("/proc").join(id).join("status");
    let gone = || std::fs::read_to_string(&status).map_or(true, |text| text.contains("State:\tZ"));
    let start = Instant::now();
    while !gone() {
        assert!(start.elapsed() < Duration::from_secs(10), "process {id} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn garbage_is_shown() {
    let (found, _) = fault(after_hello("printf 'loading\\007 done\\n'"));
    let ProcessFault::Garbage { doing, line, .. } = &found else { panic!("{found}") };
    assert_eq!((*doing, line.as_str()), ("starting an episode", "loading\\u{7} done"));
    let (found, _) = fault(after_hello("printf '%01000d\\n' 7"));
    assert!(matches!(found, ProcessFault::Garbage { line, .. } if line.chars().count() == 121));
    let (found, _) = fault(after_hello("printf '\\377\\376\\n'"));
    assert!(matches!(found, ProcessFault::Garbage { reason, .. } if reason == "it is not UTF-8"));
    let (found, _) = fault(start("echo 'Welcome!'; sleep 60", soon()).err().unwrap());
    assert!(matches!(found, ProcessFault::Garbage { line, .. } if line == "Welcome!"));
    // An answer to another question.
    let (found, _) = fault(after_hello(r#"echo '{"observation": [1, 2]}'"#));
    let ProcessFault::Garbage { doing, reason, .. } = found else { panic!("{found}") };
    assert_eq!(doing, "taking a step");
    assert!(reason.contains("missing field"), "{reason}");
}

#[test]
fn lines_that_nothing_asked_for_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("note");
    let script =
        format!("echo \"$HELLO\"\necho debugging\nsleep 0.2\necho done > '{}'\nsleep 60", note.display());
    let mut process = start(&script, soon()).unwrap();
    while !note.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (found, _) = fault(process.reset(0, &mut [0.0; 2]).unwrap_err());
    assert_eq!(found, ProcessFault::Unasked("debugging".into()));
}

#[test]
fn sizes_and_numbers_are_checked() {
    let (found, _) = fault(after_hello(r#"echo '{"observation": [1, 2, 3]}'"#));
    let doing = "starting an episode";
    assert_eq!(found, ProcessFault::Size { doing, given: 3, expected: 2 });
    let (found, _) = fault(after_hello(r#"echo '{"observation": [1, NaN]}'"#));
    assert_eq!(found, ProcessFault::NotFinite { doing, what: "number 1 of the observation".into() });
    let step =
        r#"echo '{"observation": [1, 2], "reward": Infinity, "terminated": false, "truncated": false}'"#;
    let (found, _) = fault(after_hello(step));
    assert_eq!(found, ProcessFault::NotFinite { doing: "taking a step", what: "the reward".into() });
}

#[test]
fn a_program_can_report_an_error() {
    let (found, _) = fault(after_hello(r#"echo '{"error": "the map is missing"}'"#));
    let doing = "starting an episode";
    assert_eq!(found, ProcessFault::Reported { doing, message: "the map is missing".into() });
}

#[test]
fn versions_and_spaces_are_checked() {
    let (found, _) = fault(start("echo '{\"protocol\": 2, \"later\": []}'", soon()).err().unwrap());
    assert_eq!(found, ProcessFault::Version { theirs: 2, ours: 1 });
    let wrong = HELLO.replace("\"discrete\": 2", "\"discrete\": 0");
    let (found, _) = fault(start(&format!("echo '{wrong}'"), soon()).err().unwrap());
    assert_eq!(found, ProcessFault::Space("`action` has no choices".into()));
}

#[test]
fn commands_that_cannot_run_are_refused() {
    let refused = |command: &str| fault(Process::start(command, soon()).err().unwrap()).0;
    assert!(matches!(refused("python 'my env.py"), ProcessFault::NoCommand(_)));
    assert!(matches!(refused("  "), ProcessFault::NoCommand(_)));
    assert!(matches!(refused("no-such-program-here x"), ProcessFault::NotStarted(_)));
}
