//! Layers, keys of earlier versions, and faults.

use super::*;
use crate::catalogue;
use crate::catalogue::CATALOGUE;

fn dcgan() -> Defaults {
    defaults("dcgan").unwrap()
}

fn defaults(name: &str) -> Result<Defaults> {
    catalogue::find(name)?.defaults()
}

fn origin<'a>(resolved: &'a Resolved, key: &str) -> (&'a str, &'a str) {
    let (_, value, origin) = resolved.origins.iter().find(|(k, ..)| k == key).unwrap();
    (value, origin)
}

#[test]
fn later_layers_win_and_every_value_knows_its_origin() {
    let recipe = Layer::parse("recipe", "[train]\nsteps = 10\nbatch_size = 8").unwrap();
    let flag = Layer::single("--steps", "train.steps", 20);
    let resolved = resolve(&dcgan(), &[recipe, flag]).unwrap();
    assert_eq!((resolved.config.train.steps, resolved.config.train.batch_size), (20, 8));
    assert_eq!(origin(&resolved, "train.steps"), ("20", "--steps"));
    assert_eq!(origin(&resolved, "train.batch_size"), ("8", "recipe"));
    assert_eq!(origin(&resolved, "seed"), ("0", "default"));
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_valid_one() {
    let error = resolve(&dcgan(), &[Layer::assignment("test", "train.stesp=3").unwrap()]).unwrap_err();
    assert!(error.hint().unwrap().contains("train.steps"), "{error}");
}

#[test]
fn a_key_may_leave_out_its_section_when_that_is_clear() {
    let resolved = resolve(&dcgan(), &[Layer::assignment("test", "latent_dim=7").unwrap()]).unwrap();
    assert_eq!(origin(&resolved, "dcgan.latent_dim"), ("7", "test"));
}

#[test]
fn values_of_the_wrong_type_name_their_key() {
    let error = resolve(&dcgan(), &[Layer::assignment("test", "train.steps=many").unwrap()]).unwrap_err();
    assert!(error.to_string().contains("train.steps"), "{error}");
    let error = resolve(&dcgan(), &[Layer::assignment("test", "dcgan.prior=cauchy").unwrap()]).unwrap();
    let error = error.config.model::<crate::models::gan::DcganConfig>().unwrap_err();
    assert!(
        error.to_string().starts_with("`dcgan.prior` cannot be cauchy: there is no such choice"),
        "{error}"
    );
    assert!(error.hint().unwrap().starts_with("choose one of "), "{error:?}");
}

#[test]
fn a_resolved_config_survives_its_file() {
    for entry in CATALOGUE {
        let config = resolve(&entry.defaults().unwrap(), &[]).unwrap().config;
        assert_eq!(RunConfig::from_toml(&config.to_toml(), defaults).unwrap(), config);
    }
}

#[test]
fn every_recipe_resolves_and_starts_with_a_summary() {
    for entry in CATALOGUE {
        for recipe in entry.about().recipes {
            let layer = Layer::parse(recipe.name, recipe.toml).unwrap();
            resolve(&entry.defaults().unwrap(), &[layer])
                .unwrap_or_else(|error| panic!("{}: {error}", recipe.name));
            assert!(!recipe.summary().is_empty(), "{}", recipe.name);
        }
    }
}

#[test]
fn a_recipe_for_another_model_is_refused() {
    let error = resolve(&dcgan(), &[Layer::parse("x.toml", "model = \"vae\"").unwrap()]).unwrap_err();
    assert!(error.to_string().contains("x.toml"), "{error}");
}

#[test]
fn keys_of_earlier_versions_are_still_read() {
    let old = "model = \"dcgan\"\n[train]\nschedule = \"cosine\"\nwarmup_steps = 7\n\
               [dcgan]\nlearning_rate = 1e-4\nbeta1 = 0.25\nbeta2 = 0.75\nweight_decay = 0.5\n";
    let config = RunConfig::from_toml(old, defaults).unwrap();
    let optimizer = &config.optimizer;
    assert_eq!((optimizer.learning_rate, optimizer.betas, optimizer.weight_decay), (1e-4, [0.25, 0.75], 0.5));
    assert_eq!((optimizer.schedule, optimizer.warmup_steps), (crate::optim::Decay::Cosine, 7));

    let old = "model = \"transformer\"\n[transformer]\noptimizer = \"adamw\"\nweight_decay = 0.25\nmomentum = 0.5\n";
    let optimizer = RunConfig::from_toml(old, defaults).unwrap().optimizer;
    assert_eq!(
        (optimizer.weight_decay, optimizer.muon_weight_decay, optimizer.muon_momentum),
        (0.25, 0.25, 0.5)
    );
    assert_eq!(optimizer.kind, crate::optim::OptimizerKind::AdamW);
}

#[test]
fn lists_are_given_whole_or_by_their_elements() {
    let resolved = resolve(&dcgan(), &[Layer::assignment("test", "betas=[0, 0.99]").unwrap()]).unwrap();
    assert_eq!(resolved.config.optimizer.betas, [0.0, 0.99]);
    let resolved =
        resolve(&dcgan(), &[Layer::assignment("test", "optimizer.betas.1=0.9").unwrap()]).unwrap_err();
    assert!(resolved.to_string().contains("optimizer.betas"), "{resolved}");
    assert!(resolve(&dcgan(), &[Layer::assignment("test", "betas=[0.5]").unwrap()]).is_err());
}

/// What is wrong with a model's defaults after `assignments`.
fn refusal(model: &str, assignments: &[&str]) -> String {
    let layers: Vec<Layer> =
        assignments.iter().map(|text| Layer::assignment("test", text).unwrap()).collect();
    let config = resolve(&defaults(model).unwrap(), &layers).unwrap().config;
    catalogue::find(model).unwrap().check(&config).map_or_else(|error| error.to_string(), |()| String::new())
}

#[test]
fn all_faults_are_told_at_once() {
    let message = refusal(
        "dcgan",
        &[
            "train.steps=0",
            "train.ema_decay=1",
            "learning_rate=-1",
            "betas=[2, 0.5]",
            "latent_dim=0",
            "holdout=nan",
        ],
    );
    for key in
        ["train.steps", "ema_decay", "optimizer.learning_rate", "betas", "dcgan.latent_dim", "data.holdout"]
    {
        assert!(message.contains(key), "{key}: {message}");
    }
}

#[test]
fn what_is_zero_or_beyond_any_machine_is_refused_with_its_key() {
    let keys = ["batch_size", "steps", "sample_count", "checkpoint_every", "log_every", "keep_checkpoints"];
    for key in keys {
        for value in ["0", "9000000000000000000"] {
            assert!(refusal("dcgan", &[&format!("{key}={value}")]).contains(key), "{key} = {value}");
        }
    }
    for key in ["sample_frames", "sample_length"] {
        assert!(refusal("dcgan", &[&format!("{key}=9000000000000000000")]).contains(key), "{key}");
    }
    for value in ["-1", "nan", "inf"] {
        for key in ["learning_rate", "weight_decay", "epsilon", "clip"] {
            assert!(refusal("vae", &[&format!("optimizer.{key}={value}")]).contains(key), "{key} = {value}");
        }
    }
}

#[test]
fn sizes_that_collecting_refuses_are_refused_before_it() {
    let places = crate::data::Places { data_dir: "nowhere".into(), cache: "nowhere".into() };
    for (key, values) in [
        ("size", ["8193", "4000000000"]),
        ("channels", ["2", "5"]),
        ("vocabulary_size", ["1", "1048577"]),
        ("sample_rate", ["999", "384001"]),
    ] {
        for value in values {
            let setting = format!("data.{key}={value}");
            assert!(refusal("dcgan", &[&setting]).contains(&format!("`data.{key}`")), "{setting}");
            let vocabulary = Layer::assignment("test", "data.vocabulary=bpe").unwrap();
            let layers = [Layer::assignment("test", &setting).unwrap(), vocabulary];
            let config = resolve(&dcgan(), &layers).unwrap().config;
            assert!(crate::data::open(&config.data, &places, &|_| ()).is_err(), "{setting}");
        }
    }
    for setting in
        ["data.size=8192", "data.vocabulary_size=257", "data.sample_rate=384000", "data.channels=4"]
    {
        assert_eq!(refusal("dcgan", &[setting]), "");
    }
}

#[test]
fn a_number_that_does_not_fit_is_refused_with_its_key() {
    let layers = |text: &str| [Layer::assignment("test", text).unwrap()];
    let error = resolve(&dcgan(), &layers("data.channels=300")).unwrap_err().to_string();
    assert!(error.contains("`data.channels` cannot be 300"), "{error}");
    assert!(refusal("dcgan", &["width=-1"]).contains("`dcgan.width` cannot be -1: it is below 0"));
}
