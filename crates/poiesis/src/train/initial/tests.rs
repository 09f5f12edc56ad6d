//! What a refused start says, and how data are read with the weights of another run.

use poiesis_collect::Vocabulary;

use super::*;
use crate::config::resolve;
use crate::data::{ImageShape, TextShape};
use crate::nn::Array;
use crate::testing::labelled_images;

#[test]
fn every_array_that_does_not_fit_is_named() {
    let arrays = |all: &[(&str, &[usize])]| -> Arrays {
        let array = |shape: &[usize]| Array::new(shape.to_vec(), vec![0.0; shape.iter().product()]);
        all.iter().map(|(name, shape)| ((*name).to_owned(), array(shape))).collect()
    };
    let there = arrays(&[("a", &[2, 3]), ("b", &[4]), ("old", &[1])]);
    let here = arrays(&[("a", &[2, 3]), ("b", &[5]), ("new", &[1])]);
    let here = StateDict::from_arrays(here, &Device::flex());
    assert_eq!(
        misfits(&there, &here),
        ["`b` is [4] there and [5] here", "`new` is missing there", "`old` is missing here"]
    );
    assert!(misfits(&there, &StateDict::from_arrays(there.clone(), &Device::flex())).is_empty());
}

fn weights(spec: DataSpec, settings: &str) -> InitialWeights {
    weights_of("vae", spec, settings)
}

fn weights_of(model: &str, spec: DataSpec, settings: &str) -> InitialWeights {
    let layer = Layer::parse("test", settings).unwrap();
    let defaults = catalogue::find(model).unwrap().defaults().unwrap();
    InitialWeights {
        parent: Parent { run: "/runs/first".into(), step: 30, ..Parent::default() },
        name: "first".into(),
        config: resolve(&defaults, &[layer]).unwrap().config,
        data: DataInfo { classes: vec!["a".into(); spec.classes], ..DataInfo::default() },
        spec,
        arrays: Arrays::new(),
    }
}

fn images(size: usize, channels: usize, classes: usize) -> DataSpec {
    let shape = ImageShape { height: size, width: size, channels };
    DataSpec { content: Content::Images(shape), classes, unlabelled: false }
}

#[test]
fn the_model_and_the_shape_of_its_data_are_taken_over() {
    let first = weights(images(28, 1, 0), "data.source = 'a'\ndata.labels_file = 'b'\nvae.width = 7");
    let settings = first.settings(false);
    assert_eq!(settings.origin, "run first");
    let data = settings.values["data"].as_table().unwrap();
    assert_eq!((data["size"].as_integer(), data["channels"].as_integer()), (Some(28), Some(1)));
    assert!(!data.contains_key("source") && !data.contains_key("labels_file"));
    assert_eq!(settings.values["vae"]["width"].as_integer(), Some(7));
    assert!(!settings.values.contains_key("train") && !settings.values.contains_key("seed"));
    let same = first.settings(true);
    assert_eq!(same.values["data"]["source"].as_str(), Some("a"));
    assert_eq!(same.values["data"]["labels_file"].as_str(), Some("b"));
    let defaults = catalogue::find("vae").unwrap().defaults().unwrap();
    let resolved = resolve(&defaults, &[settings, Layer::single("--set", "vae.width", 9)]).unwrap();
    assert_eq!(resolved.origin("vae.width"), Some("--set"), "what is given wins");
    assert_eq!(resolved.origin("vae.latent_dim"), Some("run first"));
    assert_eq!(resolved.origin("train.steps"), Some("default"));
}

#[test]
fn warm_ups_of_the_model_are_not_begun_again() {
    let first = weights(images(28, 1, 0), "vae.kl_warmup_steps = 1000\noptimizer.warmup_steps = 50");
    let settings = first.settings(true);
    assert_eq!(settings.values["vae"]["kl_warmup_steps"].as_integer(), Some(0));
    assert!(!settings.values.contains_key("optimizer"));
}

#[test]
fn a_refusal_says_what_differs_first_in_the_data_then_in_the_settings() {
    let first = weights(images(28, 1, 10), "vae.width = 7");
    let arrays: Vec<String> = (0..20).map(|i| format!("`a.{i}` is [1] there and [2] here")).collect();
    let other = weights(images(32, 3, 3), "vae.width = 8").config;
    let error = first.misfit(&arrays, None, &other, &images(32, 3, 3));
    let said = error.to_string();
    assert!(said.starts_with("a run cannot start from the weights of /runs/first: "), "{said}");
    assert!(said.contains("its images are 28×28×1 and these 32×32×3"), "{said}");
    assert!(!said.contains("classes"), "not every model reads them: {said}");
    assert!(said.contains("`a.7` is [1] there and [2] here, and 12 more"), "{said}");
    assert!(!said.contains("vae.width"), "{said}");
    assert!(error.hint().unwrap().contains("the size and the channels of that run, 28×28×1"));
    let error = first.misfit(&arrays, None, &other, &images(28, 1, 10));
    assert!(error.to_string().contains("`vae.width` is 7 there and 8 here"), "{error}");
    assert!(error.hint().unwrap().contains("leave out `vae.width`"));
    let error = first.misfit(&arrays, None, &first.config, &images(28, 1, 3));
    assert!(!error.to_string().contains("classes"), "it does not read them: {error}");
    assert!(first.expect_model("vae").is_ok());
    assert!(first.expect_model("dcgan").unwrap_err().to_string().contains("the model `vae`"));
}

#[test]
fn text_in_other_tokens_is_refused_and_other_names_are_noted() {
    let text = |characters: &str| DataSpec {
        content: Content::Text(TextShape {
            vocabulary: Vocabulary::Characters { characters: characters.chars().collect() },
            documents: false,
            lines: false,
        }),
        classes: 0,
        unlabelled: false,
    };
    let first = weights(text("abc"), "");
    assert_eq!(first.other_tokens(&text("abc")), None);
    let (what, remedy) = first.other_tokens(&text("abd")).unwrap();
    assert!(what.contains("stand for different text") && remedy.contains("bytes"), "{what}");
    let info = DataInfo { classes: vec!["b".into(); 2], ..DataInfo::default() };
    let notes = weights(images(8, 1, 2), "").notes(&images(8, 1, 2), &info);
    assert_eq!(notes, ["the classes of first have other names than these"]);
}

/// What a refused start says, with these settings and data.
fn refusal(first: &InitialWeights, config: &RunConfig, spec: &DataSpec) -> (String, String) {
    let error = first.misfit(&["`a` is missing here".to_owned()], None, config, spec);
    (error.to_string(), error.hint().unwrap())
}

#[test]
fn classes_are_named_where_both_models_read_them() {
    let settings = "vae.conditional = true\nvae.kl_warmup_steps = 1000";
    let first = weights(images(28, 1, 10), settings);
    let again = |more: &str| weights(images(28, 1, 10), &format!("vae.conditional = true\n{more}")).config;
    // As the settings of the run are taken over.
    let (said, hint) = refusal(&first, &again("vae.kl_warmup_steps = 0"), &images(28, 1, 3));
    assert!(said.contains("its data have 10 classes and these 3 classes"), "{said}");
    assert!(hint.contains("give data with 10 classes") && !said.contains("warmup"), "{said}");
    let (said, _) = refusal(&first, &again("vae.kl_weight = 2.0"), &images(28, 1, 3));
    assert!(!said.contains("kl_weight"), "it does not change the size: {said}");
    let (said, hint) = refusal(&first, &again("vae.width = 8"), &images(28, 1, 3));
    assert!(said.contains("10 classes and these 3") && said.contains("`vae.width` is"), "{said}");
    assert!(hint.contains("give data with 10 classes"), "{hint}");
    let (said, hint) = refusal(&first, &weights(images(28, 1, 0), "").config, &images(28, 1, 3));
    assert!(said.contains("`vae.conditional` is true there") && !said.contains("10 classes"), "{said}");
    assert!(hint.contains("leave out `vae.conditional`"), "{hint}");
}

#[test]
fn examples_outside_of_classes_need_a_token_where_the_model_reads_tokens() {
    let some = DataSpec { unlabelled: true, ..images(8, 1, 2) };
    let found = |model: &str, there: &DataSpec, here: &DataSpec| {
        let first = weights_of(model, there.clone(), "");
        first.other_classes(&first.config, here)
    };
    let (said, hint) = found("transformer", &images(8, 1, 2), &some).unwrap();
    assert!(said.starts_with("that run has no token for examples without a class"), "{said}");
    assert_eq!(hint, "give each example a class, or train a new run");
    // The start token of the third class is then that of no class, and the arrays are as large.
    let (said, _) = found("transformer", &images(8, 1, 3), &some).unwrap();
    assert!(said.contains("3 classes and these 2 classes"), "{said}");
    assert_eq!(found("transformer", &some, &some), None);
    assert_eq!(found("transformer", &images(8, 1, 0), &images(8, 1, 1)), None, "both have one start token");
    let some = DataSpec { unlabelled: true, ..images(28, 1, 2) };
    assert_eq!(found("vae", &images(28, 1, 3), &some), None, "it reads no classes");
    let first = weights(images(28, 1, 2), "vae.conditional = true");
    assert_eq!(first.other_classes(&first.config, &some), None, "it reads no tokens");
}

#[test]
fn data_are_read_as_the_run_reads_them_that_the_weights_are_from() {
    let data = |labels: &str| TrainingData::of(&labelled_images(4, labels).1).unwrap();
    let all = || data("0.png,ant\n1.png,bee\n2.png,ant\n3.png,bee\n");
    let some = || data("0.png,ant\n1.png,bee\n");
    let of = |data: &TrainingData, unlabelled: bool| InitialWeights {
        data: data.info.clone(),
        ..weights(DataSpec { unlabelled, ..data.spec.clone() }, "")
    };
    let read = |first: &InitialWeights, data: TrainingData| {
        let read = first.reading(data);
        assert_eq!(read.info.spec.as_ref(), Some(&read.spec), "what run.json says");
        read.spec.unlabelled
    };
    assert!(some().spec.unlabelled && !all().spec.unlabelled);
    assert!(!read(&of(&some(), false), some()), "an earlier version did not tell them apart");
    assert!(read(&of(&some(), true), some()));
    assert!(read(&of(&some(), true), all()), "the token that is there is kept");
    assert!(read(&of(&all(), false), some()), "which is refused where the model reads tokens");
    assert!(!read(&of(&all(), false), all()));
}

#[test]
fn a_run_continues_only_with_the_parent_that_it_has() {
    let first = weights(images(8, 1, 0), "");
    let parent = |run: &str| Parent { run: run.into(), ..Parent::default() };
    assert_eq!(other_parent(Some(&parent("/a")), None), None, "it is not needed again");
    assert_eq!(other_parent(None, None), None);
    assert_eq!(other_parent(Some(&parent("/runs/first")), Some(&first)), None);
    let (_, saved, given) = other_parent(Some(&parent("/a")), Some(&first)).unwrap();
    assert_eq!((saved.as_str(), given.as_str()), ("/a", "/runs/first"));
    assert_eq!(other_parent(None, Some(&first)).unwrap().1, "nothing");
}
