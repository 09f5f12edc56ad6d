//! Latents of images in files, searched by gradients, moved along attributes, and mapped, with the real program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use crate::support::{Place, parse, text, tiny, words};
use poiesis::Trained;
use poiesis::apply::encode::{decode, encode};
use poiesis::picture::Picture;
use poiesis_collect::{Dataset, Split};
use serde_json::Value;

fn read(path: &Path) -> (Picture, Value) {
    let (picture, parameters) = Picture::read_png(path).unwrap();
    (picture, parameters.unwrap_or_default())
}

/// A nearly flat image of 16×16 pixels.
fn flat(path: &Path, level: u8, number: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixel = |i: usize| level + ((i * 7 + number * 13) % 30) as u8;
    Picture::new(16, 16, 1, (0..256).map(pixel).collect()).write_png(path, None).unwrap();
}

/// Folders of dark and bright images, and a VAE that has seen them.
fn photos(place: &Place) {
    for number in 0..60 {
        let (name, level) = if number % 2 == 0 { ("dark", 20) } else { ("bright", 180) };
        flat(&place.path(&format!("photos/{name}/{number}.png")), level, number);
    }
    place.ok("train vae --data photos --paper-defaults --set width=4 --set latent_dim=4 --set blocks=0 --batch-size 8 --steps 60 --quiet --out run");
}

#[test]
fn latents_go_to_files_and_come_back_exactly() {
    let place = Place::new();
    place.ok("collect shapes packed --size 16 --count 300");
    place.ok("train vae --data packed --paper-defaults --set width=4 --set latent_dim=8 --set blocks=0 --batch-size 8 --steps 30 --quiet --out run");
    let said = place.ok("encode run --split validation --images 21 --out a.safetensors");
    assert!(said.contains("21 images as latents of 8 values") && said.ends_with("a.safetensors\n"), "{said}");
    place.ok("encode run --split validation --images 21 --out a.npy --threads 1");
    let description = parse(&fs::read_to_string(place.path("a.json")).unwrap());
    assert_eq!(description["sources"].as_array().unwrap().len(), 21);
    place.ok("decode run a.safetensors --out there");
    place.ok("decode run a.npy --out again");

    // In memory the same images are the same, pixel for pixel.
    let trained = Trained::open(place.path("run")).unwrap();
    let view = Dataset::open(&place.path("packed")).unwrap().split(Split::Validation).unwrap();
    let chosen: Vec<usize> = view.spread(21).collect();
    let pixels: Vec<u8> = chosen.iter().flat_map(|&index| view.image(index)).copied().collect();
    let found = encode(&trained, &pixels, &[None; 21], None, &mut |_| ()).unwrap();
    let rebuilt = decode(trained.latents().unwrap(), &found.latents, &[None; 21], &trained.device);
    for (index, image) in rebuilt.chunks_exact(16 * 16 * 3).enumerate() {
        for folder in ["there", "again"] {
            let (picture, parameters) = read(&place.path(&format!("{folder}/{index:06}.png")));
            assert!(picture.data() == image, "{folder} {index}");
            assert_eq!(parameters["source"], format!("validation {}", chosen[index]));
        }
    }
    // Files are encoded as the images of the split that they are.
    place.ok("encode run there/000003.png --out one.npy --raw");
    place.ok("decode run one.npy --out grid.png --scale 1");
    // One image is that image, without a frame.
    assert_eq!(read(&place.path("grid.png")).0.width(), 16);
    assert_eq!(
        place.ok("encode run there/000003.png").trim().lines().last(),
        Some("run-latents.safetensors")
    );
    let json = parse(&place.ok("encode run there --out all.npy --json"));
    assert_eq!(json["images"].as_array().unwrap().len(), 21);
    assert!(json["images"][0]["psnr"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_is_wrong_with_latents_is_said() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet"));
    place.ok(&tiny("vae", "narrow", "--quiet --set latent_dim=3"));
    place.ok(&tiny("pixelcnn", "pixels", "--quiet"));
    place.ok("encode run --split validation --images 3 --out a.npy");
    for (arguments, parts) in [
        ("decode narrow a.npy", ["8 values", "of the model have 3"]),
        ("decode run none.npy", ["none.npy", "cannot read"]),
        ("decode run run/run.json", ["run.json cannot be used", ".npy"]),
        ("decode pixels a.npy", ["cannot decode", "dcgan"]),
        ("encode pixels --split validation", ["cannot decode", "vae"]),
        ("encode run --split validation --out a.csv", ["a.csv", ".safetensors"]),
        ("encode run --split validation --out a.npy", ["a.npy exists", "--force"]),
        ("encode run none.png", ["none.png", "does not exist"]),
        ("encode run run/config.toml --out b.npy", ["could be read", "PNG"]),
        ("encode run --split validation --starts 3 --seed 1", ["--starts, --seed", "--invert"]),
        ("encode run run --class 0", ["--class", "not conditioned"]),
        ("decode run a.npy --out folder --columns 2", ["--columns", "a folder"]),
    ] {
        let said = text(&place.run(&words(arguments)).stderr);
        place.fails(arguments);
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments}\n{said}");
    }
    // The description alone is in the way too.
    fs::rename(place.path("a.npy"), place.path("b.npy")).unwrap();
    assert!(place.fails("encode run --split validation --out a.npy").contains("a.json exists"));
    assert!(!place.path("a.npy").exists() && !place.path("folder").exists());

    // Another model of the same width decodes them, with a note.
    place.ok(&tiny("vae", "other", "--quiet --seed 1"));
    let output = place.run(&words("decode other b.npy --out b.png"));
    assert!(output.status.success());
    place.ok("encode run --split validation --images 3 --out c.safetensors");
    let output = place.run(&words("decode other c.safetensors --out c.png"));
    assert!(output.status.success() && text(&output.stderr).contains("encoded by run at step 60"));

    // Doubles are converted, and what is not finite is refused.
    let array = |values: [f64; 8]| {
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 8), }\n";
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        file
    };
    fs::write(place.path("doubles.npy"), array([0.5; 8])).unwrap();
    let output = place.run(&words("decode run doubles.npy --out doubles.png"));
    assert!(output.status.success() && text(&output.stderr).contains("64-bit"), "{}", text(&output.stderr));
    fs::write(place.path("doubles.npy"), array([f64::INFINITY; 8])).unwrap();
    assert!(place.fails("decode run doubles.npy --out d.png").contains("not a finite number"));
}

#[test]
fn a_model_without_an_encoder_finds_the_latents_of_its_own_samples() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "gan", "--quiet --set ema_decay=0.0"));
    place.ok("sample gan --count 2 --out drawn/");
    let found = parse(&place.ok("encode gan drawn --out z.npy --json"));
    assert_eq!(found["inverted"], true);
    for image in found["images"].as_array().unwrap() {
        assert!(image["psnr"].as_f64().unwrap() > 45.0, "{found}");
        // Its latents are uniform.
        assert!(image["norm"].is_null(), "{found}");
    }
    // The same bytes, for another number of threads and beside other images.
    place.ok("encode gan drawn --out y.npy --threads 1");
    let bytes = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(bytes("z.npy"), bytes("y.npy"));
    place.ok("encode gan drawn/000001.png --out second.npy");
    assert_eq!(bytes("second.npy")[128..], bytes("z.npy")[128 + 4 * 8..]);
    place.ok("decode gan z.npy --out decoded.png");
    place.ok("encode gan drawn --starts 1 --iterations 5 --seed 2 --out rough.npy");
    assert_ne!(bytes("rough.npy"), bytes("z.npy"));
    // With an encoder, on demand.
    place.ok(&tiny("vae", "run", "--quiet"));
    let psnr = |more: &str| {
        let found = parse(&place.ok(&format!("encode run drawn {more} --json --out v.npy --force")));
        found["images"][0]["psnr"].as_f64().unwrap()
    };
    assert!(psnr("--invert --iterations 100") > psnr(""), "a search describes an image better");
}

#[test]
fn an_attribute_is_found_and_images_are_changed_along_it() {
    let place = Place::new();
    photos(&place);
    let attribute = "discover attribute run --with photos/bright --without photos/dark";
    let said = place.ok(&format!("{attribute} --out bright.json"));
    assert!(
        said.contains("30 images of photos/bright, 30 of photos/dark") && said.contains("ACCURACY"),
        "{said}"
    );
    let found = parse(&fs::read_to_string(place.path("bright.json")).unwrap());
    assert!(found["logistic"]["accuracy"].as_f64().unwrap() > 0.9, "{said}");
    assert_eq!(found["step"], 60);
    let (strip, parameters) = read(&place.path("bright.png"));
    let factor = poiesis::picture::viewing_factor(16, 16);
    assert_eq!((strip.width(), strip.height()), (factor * (9 * 18 + 2), factor * (6 * 18 + 2)));
    assert_eq!(parameters["verb"], "discover attribute");
    assert!(place.fails(&format!("{attribute} --out bright.json")).contains("bright.json exists"));
    assert!(!said.contains("changes besides") && found["leakage"].as_array().unwrap().is_empty(), "{said}");
    // Classes of the data are the same images, and an edit of brightness changes what is between them.
    (0..8).for_each(|number| flat(&place.path(&format!("middle/{number}.png")), 100, number));
    let said =
        place.ok("discover attribute run --with bright --without dark --other middle --out classes.json");
    assert!(said.contains("changes besides") && said.contains("PROBE ACCURACY"), "{said}");
    let classes = parse(&fs::read_to_string(place.path("classes.json")).unwrap());
    let leakage = &classes["leakage"][0];
    assert_eq!((&leakage["name"], &leakage["images"]), (&"middle".into(), &8.into()));
    assert!(leakage["logistic"]["logit"].is_f64() && leakage["means"]["cosine"].is_f64(), "{leakage}");

    let original = read(&place.path("photos/dark/4.png")).0;
    let edit = |more: &str, out: &str| {
        let said = place.ok(&format!("edit run photos/dark/4.png --along bright.json {more} --out {out}"));
        assert!(said.contains("PLACE") && said.ends_with(&format!("{out}\n")), "{said}");
        read(&place.path(out)).0
    };
    assert_eq!(edit("--amount 0", "same.png"), original);
    let mean = |picture: &Picture| {
        picture.data().iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / picture.data().len() as f64
    };
    let [brighter, darker] = [edit("--amount 1", "more.png"), edit("--amount -1.5", "less.png")];
    assert!(
        mean(&brighter) > mean(&original) + 20.0 && mean(&darker) < mean(&original),
        "{}",
        mean(&brighter)
    );
    let strip = edit("--scale 1 --steps 5", "strip.png");
    assert_eq!((strip.width(), strip.height()), (5 * 18 + 2, 18 + 2));
    let decoded = edit("--scale 1 --decoded --amount -1..1 --steps 3 --method means", "decoded.png");
    assert_eq!(decoded.width(), 4 * 18 + 2, "the image is before what is decoded");
    assert_eq!(decoded.pixel(2, 2), original.pixel(0, 0));
    place.ok("edit run photos/dark/4.png photos/dark/6.png --along bright.json --scale 1 --out two.png");
    assert_eq!(read(&place.path("two.png")).0.height(), 2 * 18 + 2);

    // The same set twice cannot be told apart.
    let said = place.fails("discover attribute run --with photos/dark --without photos/dark --out no.json");
    assert!(
        said.contains("held-out") && said.contains("means nothing") && !place.path("no.json").exists(),
        "{said}"
    );
    place.ok("train vae --data photos --paper-defaults --set width=4 --set latent_dim=4 --set blocks=0 --batch-size 8 --steps 6 --quiet --out other");
    for (arguments, parts) in [
        ("edit other photos/dark --along bright.json", ["belongs to run at step 60", "other at step 6"]),
        ("edit run photos/dark --along run/run.json", ["run.json cannot be used", "discover attribute"]),
        ("edit run photos/dark --along none.json", ["none.json", "cannot read"]),
        ("edit run photos/dark --along bright.json --amount 1 --steps 3", ["--steps", "one --amount"]),
        (
            "discover attribute run --with smiles --without dark --out a.json",
            ["smiles is neither", "bright, dark"],
        ),
        (
            "discover attribute run --with photos/dark/4.png --without dark --out a.json",
            ["has 1 image", "at least 5"],
        ),
        ("discover attribute run --with bright --without dark --out a.png", ["a.png", ".json"]),
        (
            "discover attribute run --with bright --without dark --other dark --out a.json",
            ["dark is in --with or --without", "--other"],
        ),
        (
            "discover attribute run --with bright --without dark --other photos/dark/4.png --out a.json",
            ["has 1 image", "--other"],
        ),
    ] {
        let said = text(&place.run(&words(arguments)).stderr);
        place.fails(arguments);
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments}\n{said}");
    }
    assert!(!place.path("a.json").exists());
}

#[test]
fn images_are_mapped_and_a_plane_is_shown_whole() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet"));
    let said = place.ok("discover embed run --split train --images 80 --out map.png");
    assert!(
        said.contains("80 images of the train split by latents of 8 values") && said.contains("t-SNE"),
        "{said}"
    );
    let csv = fs::read_to_string(place.path("map.csv")).unwrap();
    assert_eq!(csv.lines().count(), 81);
    assert!(csv.starts_with("image,class,pc1,pc2,tsne1,tsne2\ntrain "), "{csv}");
    place.ok("discover embed run --split train --images 80 --out again.png --threads 1");
    assert_eq!(fs::read_to_string(place.path("again.csv")).unwrap(), csv);
    let said = place.ok("discover embed run --split train --images 80 --thumbnails --out images.png");
    assert!(said.contains("of 80 images fit"), "{said}");
    assert!(read(&place.path("images.png")).0.width() > read(&place.path("map.png")).0.width());
    assert!(place.fails("discover embed run --out map.png").contains("map.png exists"));
    assert!(place.fails("discover embed run --images 4 --out few.png").contains("at least 10"));

    place.ok(&tiny("dcgan", "gan", "--quiet"));
    let found = parse(&place.ok("discover embed gan --images 20 --split train --out gan.png --json"));
    assert_eq!(
        (found["found"]["of"].as_str(), found["found"]["perplexity"].as_f64()),
        (Some("features"), Some(6.0))
    );
    assert!(place.fails("discover embed gan --of latents --out no.png").contains("encode"));
    place.ok(&tiny("pixelcnn", "pixels", "--quiet"));
    assert!(place.fails("discover embed pixels --out no.png").contains("features"));

    let said = place.fails("discover manifold run");
    assert!(said.contains("8 values") && said.contains("latent_dim=2"), "{said}");
    place.ok(&tiny("vae", "plane", "--quiet --set latent_dim=2"));
    place.ok("discover manifold plane --steps 5 --scale 1 --out plane.png");
    let (picture, parameters) = read(&place.path("plane.png"));
    assert_eq!((picture.width(), picture.height()), (5 * 18 + 2, 5 * 18 + 2));
    assert_eq!(parameters["verb"], "discover manifold");
}

#[test]
fn a_learned_prior_is_drawn_from_and_refused_where_it_does_not_fit() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet --set prior=vamp --set pseudo_inputs=6"));
    place.ok("sample run --count 3 --out drawn/");
    place.ok("sample run --count 1 --first 2 --out third/");
    let bytes = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(bytes("third/000002.png"), bytes("drawn/000002.png"));
    place.ok("discover interpolate run --rows 1 --steps 3 --out walk.png");
    place.ok("discover traverse run --rows 2 --steps 3 --out moved.png");
    for (arguments, parts) in [
        ("sample run --temperature 0.5 --count 1 --out t/", ["does not accept", "temperature"]),
        ("complete run --missing right --out c.png", ["prior is learned", "normal"]),
        ("compress drawn --model run --out no.poi", ["its prior is a mixture", "vae.prior=normal"]),
    ] {
        let said = text(&place.run(&words(arguments)).stderr);
        place.fails(arguments);
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments}\n{said}");
    }
}
