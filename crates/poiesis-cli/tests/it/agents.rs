//! Agents as their users meet them: environments, playing, recording, measuring, maps of states, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, expect_failure, parse, text, tiny, words};

/// Training of an agent small enough to take milliseconds a step.
fn tiny_agent(model: &str, what: &str, out: &str) -> String {
    format!(
        "train {model} {what} --envs 2 --set rollout_steps=32 --set hidden_dims=[8] --batch-size 32 --steps 4 \
         --checkpoint-every 2 --out {out} --quiet"
    )
}

/// A place with a tiny agent on cart and pole in `run`.
fn with_agent() -> Place {
    let place = Place::new();
    place.ok(&tiny_agent("ppo", "--env cartpole", "run"));
    place
}

/// Runs the program with arguments of which one is a command, which must fail.
fn fails_with(place: &Place, arguments: &[&str]) -> String {
    expect_failure(&arguments.join(" "), &place.run(arguments))
}

/// A program that is an environment, in a shell: it walks on a line, and does `third` in its third step.
fn walker(place: &Place, third: &str) -> String {
    let script = format!(
        r#"echo '{{"protocol": 1, "name": "line", "observation": {{"box": {{"low": [0, 0], "high": [9, 9]}}}}, "action": {{"discrete": 2}}, "time_limit": 5}}'
while read -r line; do
  case "$line" in
    *reset*) step=0; echo '{{"observation": [0, 1]}}' ;;
    *step*)
      step=$((step + 1))
      [ $step = 3 ] && {{ {third}; }}
      echo "{{\"observation\": [$step, 1], \"reward\": 1, \"terminated\": false, \"truncated\": false}}" ;;
    *) exit ;;
  esac
done
"#
    );
    fs::write(place.path("walker.sh"), script).unwrap();
    "sh walker.sh".to_owned()
}

#[test]
fn environments_are_listed_and_shown() {
    let place = Place::new();
    let list = place.ok("envs");
    for part in ["cartpole ", "2 choices", "mountain-car-sparse", "hopper", "3 numbers", "475", "MuJoCo"] {
        assert!(list.contains(part), "{part}\n{list}");
    }
    let json = parse(&place.ok("envs --json"));
    let all = json["environments"].as_array().unwrap();
    let named = |name: &str| all.iter().find(|found| found["name"] == name).unwrap();
    assert_eq!(named("cartpole")["action"]["discrete"], 2);
    assert_eq!(named("cartpole")["observation_names"][2], "angle");
    let found = !json["mujoco"]["library"].is_null();
    assert_eq!(named("hopper")["usable"], found);
    assert_eq!(
        (&named("hopper")["observation_width"], &named("hopper")["needs_mujoco"]),
        (&11.into(), &true.into())
    );
    assert!(found || json["mujoco"]["remedy"].as_str().unwrap().contains("pip install"));
    let one = place.ok("envs cartpole");
    assert!(one.contains("angular-velocity: any") && one.contains("500 steps"), "{one}");
    let error = place.fails("envs hoper");
    assert!(
        error.contains("no environment called `hoper`") && error.contains("did you mean `hopper`"),
        "{error}"
    );
}

#[test]
fn a_missing_library_names_the_one_command_that_gets_it() {
    let place = Place::new();
    let bare = |arguments: &str| {
        let mut command = place.command(&words(arguments));
        command.env("HOME", place.path("home")).env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX");
        command.env("POIESIS_MUJOCO", place.path("nowhere")).output().unwrap()
    };
    let listed = parse(&text(&bare("envs --json").stdout));
    if !listed["mujoco"]["library"].is_null() {
        println!("left out: MuJoCo is in the folders of this system");
        return;
    }
    for arguments in ["play hopper", "train ppo --env hopper", "train ppo --env hopper --dry-run"] {
        let error = expect_failure(arguments, &bare(arguments));
        for part in ["mujoco", "nowhere", "pip install", "POIESIS_MUJOCO"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    // What is known without the library is shown.
    let shown = text(&bare("envs hopper").stdout);
    assert!(shown.contains("11 numbers") && shown.contains("3 numbers"), "{shown}");
}

#[test]
fn chance_plays_and_is_drawn() {
    let place = Place::new();
    let played = place.ok("play cartpole --episodes 4 --seed 7 --record play.gif");
    assert!(
        played.contains("random actions") && played.contains("mean ") && played.contains("solved from 475")
    );
    let gif = fs::read(place.path("play.gif")).unwrap();
    assert!(gif.starts_with(b"GIF89a") && gif.len() > 5000);
    let again = parse(&place.ok("play cartpole --episodes 9 --seed 7 --threads 1 --json --record play.png"));
    assert!(fs::read(place.path("play.png")).unwrap().starts_with(b"\x89PNG"));
    // The episodes of a seed are the same however many are played and on however many threads.
    let each = again["episodes"].as_array().unwrap();
    assert_eq!(each.len(), 9);
    for (line, episode) in played.lines().skip(2).zip(&each[..4]) {
        assert!(
            line.split_whitespace().any(|word| word.parse() == Ok(episode["length"].as_u64().unwrap())),
            "{line} {episode}"
        );
    }
    let short = parse(&place.ok("play pendulum --episodes 2 --max-steps 6 --json"));
    assert_eq!(
        (&short["episodes"][0]["length"], &short["episodes"][0]["terminated"]),
        (&6.into(), &false.into())
    );

    for (arguments, parts) in [
        ("play cartpole --record play.gif", ["play.gif exists", "--force"]),
        ("play cartpole --record play.mp4", ["neither a GIF nor a PNG", ".gif or .png"]),
        ("play cartpole --policy mode", ["--policy", "without an agent"]),
        ("play cartpole --env pendulum --step 3", ["--env, --step", "leave it out"]),
        ("play cart-pole-v1", ["no environment called", "cartpole"]),
        ("play cache", ["is not a run", "give the folder of a run"]),
    ] {
        fs::create_dir_all(place.path("cache")).unwrap();
        let error = place.fails(arguments);
        assert!(parts.iter().all(|part| error.contains(part)), "{arguments}\n{error}");
    }
}

#[test]
fn an_agent_is_played_measured_and_compared() {
    let place = with_agent();
    let played = place.ok("play run --episodes 2 --policy sample --record agent.gif");
    assert!(played.contains("run after 4 steps, drawn actions"), "{played}");
    assert!(place.path("agent.gif").exists());
    let report = place.ok("evaluate run --episodes 6");
    for part in [
        "most probable actions (6 episodes",
        "drawn actions (6 episodes",
        "random actions: mean",
        "not solved",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
    assert!(!report.contains("likelihood"), "{report}");
    let measured = parse(&place.ok("evaluate run --episodes 6 --json"));
    let found = &measured["return"];
    assert_eq!((&found["episodes"], &found["environment"]), (&6.into(), &"cartpole".into()));
    assert!(
        found["mean"].is_f64() && found["random"].is_f64() && measured.get("split").is_none(),
        "{measured}"
    );
    // The same numbers are kept once.
    let kept = fs::read_dir(place.path("run")).unwrap().flatten();
    let kept = kept.filter(|file| file.file_name().to_string_lossy().starts_with("evaluation-")).count();
    assert_eq!(kept, 1);

    place.ok(&tiny_agent("trpo", "--env cartpole", "other"));
    place.ok("evaluate other --episodes 6");
    let table = place.ok("compare run other");
    assert!(
        table.contains("in cartpole, seed 0") && table.contains("return, most probable actions"),
        "{table}"
    );
    place.ok("evaluate other --episodes 7");
    let error = place.fails("compare run other");
    assert!(error.contains("return.episodes is 6 for run and 7 for other"), "{error}");
}

#[test]
fn recorded_episodes_teach_others() {
    let place = with_agent();
    let said = place.ok("record run --episodes 5 --out demos --policy sample");
    assert!(said.contains("demos: 5 episodes in cartpole"), "{said}");
    let card = parse(&place.ok("inspect demos --json"));
    assert_eq!(card["experience"]["environment"], "cartpole");
    assert!(card["sources"][0].as_str().unwrap().contains("ppo after 4 steps, run, drawn actions"), "{card}");
    let error = place.fails("record run --episodes 5 --out demos");
    assert!(error.contains("demos") && !error.contains("bug"), "{error}");
    let error = place.fails("record run --episodes 2 --min-return 100000 --out best");
    assert!(error.contains("0 of 200 episodes reach it") && error.contains("--min-return"), "{error}");
    assert!(!place.path("best").exists());

    // The card names the environment.
    place.ok("train bc --demos demos --steps 4 --checkpoint-every 2 --out clone --quiet");
    let report = place.ok("evaluate clone --episodes 3");
    assert!(report.contains("expert: mean"), "{report}");
    place.ok(&tiny_agent("gail", "--demos demos --env cartpole", "imitator"));
    place.ok("evaluate imitator --episodes 3");
    // Without demonstrations of its own, a run is compared with those that are named.
    let report = place.ok("evaluate run --episodes 3 --demos demos");
    assert!(report.contains("expert: mean"), "{report}");

    let error = place.fails("train gail --env pendulum --demos demos --out wrong");
    assert!(error.contains("demonstrations") && error.contains("pendulum"), "{error}");
    let error = place.fails("train gail --env cartpole --demos nowhere --out wrong");
    assert!(error.contains("no data at `nowhere`"), "{error}");
    // Demonstrations that are gone are a note, not an error.
    fs::rename(place.path("demos"), place.path("moved")).unwrap();
    let output = place.run(&words("evaluate imitator --episodes 3"));
    assert!(
        output.status.success() && text(&output.stderr).contains("--demos DATA"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn visited_states_are_mapped() {
    let place = with_agent();
    let said = place
        .ok("discover states run --against random --steps 500 --bins 16 --dims angle,3 --out states.png");
    for part in
        ["angle from", "angular-velocity from", "16×16 cells", "run ", "random actions", "COVERAGE", " %"]
    {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let (_, made) = poiesis::picture::Picture::read_png(&place.path("states.png")).unwrap();
    assert_eq!(made.unwrap()["verb"], "discover states");
    place.ok(&tiny_agent("reinforce", "--env cartpole", "other"));
    let both = parse(&place.ok("discover states run --against other --steps 300 --json --out both.png"));
    let players = both["found"]["players"].as_array().unwrap();
    assert_eq!((players.len(), &players[1]["name"], &players[1]["steps"]), (2, &"other".into(), &300.into()));
    let error = place.fails("discover states run --dims anlge,0 --out no.png");
    assert!(error.contains("did you mean `angle`?"), "{error}");
    let error = place.fails("discover states run --dims 0,4 --out no.png");
    assert!(error.contains("numbers from 0 to 3") && error.contains("--dims"), "{error}");
}

#[test]
fn what_cannot_act_and_what_does_not_fit_is_refused() {
    let place = with_agent();
    place.ok(&tiny("dcgan", "gan", "--quiet"));
    for arguments in ["play gan", "record gan --episodes 1 --out x", "discover states gan --out x.png"] {
        let error = place.fails(arguments);
        assert!(error.contains("`dcgan` cannot act") && error.contains("ppo"), "{arguments}\n{error}");
    }
    let error = place.fails("sample run");
    assert!(error.contains("`ppo` cannot sample"), "{error}");
    for verb in
        ["play run", "evaluate run", "record run --episodes 1 --out x", "discover states run --out x.png"]
    {
        let error = place.fails(&format!("{verb} --env pendulum"));
        for part in ["pendulum", "3 numbers", "cartpole", "4 numbers", "2 choices", "(--env ENV)"] {
            assert!(error.contains(part), "{verb}: {part}\n{error}");
        }
    }
    assert!(!place.path("x").exists() && !place.path("x.png").exists());
    for (arguments, flags) in [
        ("train dcgan --env cartpole --envs 3 --demos x", "--env, --envs, --demos"),
        ("train ppo --data cartpole", "--env ENV"),
        ("train ppo --env cartpole --size 3", "--size"),
        ("evaluate run --images 3 --samples 4", "--images, --samples"),
        ("evaluate run --data shapes", "--data"),
        ("evaluate gan --episodes 3 --demos x", "--episodes, --demos"),
        ("train ppo --env cartpol", "did you mean `cartpole`?"),
        ("train gail --env pendulum --out none", "--demos DATA"),
    ] {
        let error = place.fails(arguments);
        assert!(error.contains(flags), "{arguments}\n{error}");
    }
}

#[test]
fn the_recipe_of_an_environment_is_used_and_runs_are_named_after_it() {
    let place = Place::new();
    let dry = place.ok("train vime --env mountain-car-sparse --envs 2 --set rollout_steps=20 --dry-run");
    assert!(
        dry.contains("runs/vime-mountain-car-sparse") && dry.contains("recipe vime/mountain-car-sparse"),
        "{dry}"
    );
    let dry = place.ok(
        "train ppo --env pendulum --envs 3 --seed 2 --set rollout_steps=20 --batch-size 20 --dry-run --json",
    );
    let settings = parse(&dry)["settings"].as_array().unwrap().clone();
    let set = |key: &str| settings.iter().find(|found| found["key"] == key).unwrap().clone();
    assert_eq!(
        (&set("data.source")["value"], &set("data.source")["origin"]),
        (&"pendulum".into(), &"--env".into())
    );
    assert_eq!(set("data.environments")["origin"], "--envs");
}

#[cfg(unix)]
#[test]
fn a_program_is_an_environment_and_its_end_is_an_error_with_its_last_words() {
    let place = Place::new();
    let command = walker(&place, ":");
    let output = place.run(&["play", &command, "--episodes", "2", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(parse(&text(&output.stdout))["returns"]["mean"], 5.0);
    let error = fails_with(&place, &["play", &command, "--record", "line.gif"]);
    assert!(error.contains("draws nothing") && error.contains("--record"), "{error}");
    let train = |steps: &'static str| {
        let more = "--envs 2 --set rollout_steps=8 --set hidden_dims=[8] --batch-size 16 --checkpoint-every 1 --out run --quiet";
        [&["train", "reinforce", "--env", &command, "--steps", steps][..], &words(more)].concat()
    };
    let arguments = train("2");
    assert!(place.run(&arguments).status.success());
    assert!(place.path("run/checkpoints").exists());

    walker(&place, "echo 'the wheel came off' >&2; exit 3");
    for arguments in [&["play", &command][..], &["resume", "run", "--steps", "9"], &["evaluate", "run"]] {
        let error = fails_with(&place, arguments);
        for part in ["step 3", "exit status: 3", "the wheel came off"] {
            assert!(error.contains(part), "{arguments:?}: {part}\n{error}");
        }
    }
    // Nothing of the step that failed was saved, and the run is continued once the program works again.
    walker(&place, ":");
    let output = place.run(&["resume", "run", "--steps", "3", "--quiet"]);
    assert!(output.status.success(), "{}", text(&output.stderr));

    let error = fails_with(&place, &["play", "no-such-program x"]);
    assert!(error.contains("could not be started"), "{error}");
    walker(&place, "echo nonsense; exit");
    let error = fails_with(&place, &["play", &command]);
    assert!(error.contains("nonsense") && error.contains("one line of JSON"), "{error}");
}
