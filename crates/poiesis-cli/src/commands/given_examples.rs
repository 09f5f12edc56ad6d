//! Examples of any kind that are given as files, folders, archives or packed data sets, prepared as those that a model was trained on.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use poiesis::Trained;
use poiesis::apply::classify::preparation;
use poiesis::apply::score::{Example, examples_of};
use poiesis::data::{Content, ImageShape, MediaKind};
use poiesis::media::{Clip, Media};
use poiesis::picture::Picture;
use poiesis_collect::{
    Dataset, Error as DataError, Options, ReadExample, Split, read_labelled_images, read_points, read_sounds,
    read_texts,
};

use super::classify::name_of;
use super::discover::OfData;
use super::given_images::packed;
use crate::render::{Meter, failure, in_json, note};

/// What examples can be given as.
pub(crate) const FORMS: &str = "files, folders, archives or packed data sets";

/// Examples, and what could not be read, with the reasons.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) examples: Vec<Example>,
    pub(crate) skipped: Vec<(String, String)>,
}

impl Given {
    /// Those of a packed data set: of one split or of all, and `count` of each.
    pub(crate) fn of_dataset(
        trained: &Trained,
        dataset: &Dataset,
        split: Option<Split>,
        count: Option<usize>,
    ) -> Result<Given> {
        let card = dataset.card();
        if let Some(split) = split.filter(|&split| card.count(split) == 0) {
            return Err(DataError::NoSplit { name: card.name.clone(), split }.into());
        }
        let splits = split.map_or(Split::ALL.to_vec(), |split| vec![split]);
        let mut given = Given::default();
        for split in splits {
            given.examples.extend(examples_of(trained, dataset, split, count)?);
        }
        Ok(given)
    }
}

/// Reads examples of the model's kind in the order in which they are given. They are of `class` if that is given, otherwise of the class
/// that the source says, whether the model knows it or not; where it says none, of the class that the folder is named after which was given
/// or holds the file. A folder inside such a folder need not be a class, and belongs to the one around it then, which is told. Of data sets
/// those of a split are taken, `count` of each.
pub(crate) fn read(
    paths: &[PathBuf],
    trained: &Trained,
    data: &OfData,
    class: Option<&str>,
    split: Option<Split>,
    count: Option<usize>,
    quiet: bool,
) -> Result<Given> {
    let meter = Meter::new("reading", "examples", None, quiet);
    let mut given = Given::default();
    let mut told = false;
    for path in paths {
        if let Some(dataset) = packed(path)? {
            let examples = Given::of_dataset(trained, &dataset, split, count)?.examples.into_iter();
            let with_class =
                |example: Example| Example { class: class.map(str::to_owned).or(example.class), ..example };
            given.examples.extend(examples.map(with_class));
        } else {
            let known = &trained.info.data.classes;
            let of_folder = class_of_folder(path, known);
            let inside = Vec::new();
            let mut taking =
                Taking { path, class, known, of_folder, inside, given: &mut given, meter: &meter };
            match &trained.spec.content {
                Content::Images(shape) => {
                    let (options, known) = preparation(trained, data.source(), &data.places()?)?;
                    if !known && !std::mem::replace(&mut told, true) {
                        note("note: the run's data are not there, so images are cropped and resized as its configuration says");
                    }
                    taking.images(&options, *shape)
                }
                Content::Text(text) => {
                    let options = Options { lines: text.lines, ..Options::default() };
                    read_texts(path, &options, &mut |text| {
                        taking.take(text, |text| Media::Text(text.into_bytes()));
                    })
                }
                Content::Sound(shape) => read_sounds(path, shape.sample_rate, shape.channels, &mut |clip| {
                    taking.take(clip, |samples| Media::Sound(Clip { shape: *shape, samples }));
                }),
                Content::Points(shape) => read_points(path, shape.dims, &shape.columns, &mut |point| {
                    taking.take(point, Media::Point);
                })
                .map(|ignored| ignored.iter().for_each(|said| note(&format!("note: {said}")))),
                Content::Experience(_) => Ok(()),
            }
            .map_err(|error| of_another_kind(path, trained, error))?;
            taking.tell_inside();
        }
        meter.at(given.examples.len() as u64, None);
    }
    meter.end();
    Ok(given)
}

/// Takes the examples of one path.
struct Taking<'a> {
    path: &'a Path,
    class: Option<&'a str>,
    /// The classes of the model.
    known: &'a [String],
    /// The one that the folder is named after.
    of_folder: Option<String>,
    /// Folders in it that are no classes of the model.
    inside: Vec<String>,
    given: &'a mut Given,
    meter: &'a Meter,
}

impl Taking<'_> {
    fn images(&mut self, options: &Options, shape: ImageShape) -> Result<(), DataError> {
        let ImageShape { height, width, channels } = shape;
        read_labelled_images(self.path, options, &mut |image| {
            self.take(image, |pixels| Media::Image(Picture::new(width, height, channels, pixels)));
        })
    }

    /// The class of an example with this name inside the source, to which it gives `class`.
    fn class_of(&mut self, name: &str, class: Option<String>) -> Option<String> {
        if let Some(class) = self.class {
            return Some(class.to_owned());
        }
        let Some(class) = class else { return self.of_folder.clone() };
        // A table or a file of records says what the class is; a folder may be there for another reason.
        let is_folder = self.path.is_dir() && name.rsplit('/').skip(1).any(|folder| folder == class);
        match &self.of_folder {
            Some(outer) if is_folder && !self.known.contains(&class) => {
                if !self.inside.contains(&class) {
                    self.inside.push(class);
                }
                Some(outer.clone())
            }
            _ => Some(class),
        }
    }

    /// Says which folders are taken to be of the class of the one around them.
    fn tell_inside(&self) {
        if let (Some(outer), false) = (&self.of_folder, self.inside.is_empty()) {
            let folders = some_of(&self.inside);
            note(&format!(
                "note: the model knows no class {folders}: what is in such a folder of {} counts as {outer}",
                self.path.display()
            ));
        }
    }

    fn take<T>(&mut self, example: ReadExample<T>, media: impl FnOnce(T) -> Media) {
        let ReadExample { name: inside, class, content } = example;
        let name = name_in(self.path, &inside);
        match content {
            Ok(content) => {
                let class = self.class_of(&inside, class);
                self.given.examples.push(Example { name, class, media: media(content) });
                self.meter.at(self.given.examples.len() as u64, None);
            }
            Err(reason) => self.given.skipped.push((name, reason)),
        }
    }
}

/// The class of the model that a folder, or that of a file, is named after.
fn class_of_folder(path: &Path, known: &[String]) -> Option<String> {
    let named = |path: PathBuf| {
        let folder = if path.is_dir() { path.as_path() } else { path.parent()? };
        let name = folder.file_name()?.to_str()?;
        known.iter().find(|class| *class == name).cloned()
    };
    // As it is written, then where links and `..` lead.
    let places = [std::path::absolute(path).ok(), path.canonicalize().ok()];
    places.into_iter().flatten().find_map(named)
}

/// How an example is named: by its path, with the line where its file holds several.
fn name_in(path: &Path, inside: &str) -> String {
    let own = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match inside.strip_prefix(&own).filter(|_| path.is_file()) {
        Some(line) if line.starts_with(':') => format!("{}{line}", in_json(path)),
        _ => name_of(path, inside),
    }
}

/// The error for a source that holds nothing of the model's kind.
fn of_another_kind(path: &Path, trained: &Trained, error: DataError) -> Error {
    let of_another = match &error {
        DataError::BadOption { option: "kind", .. } => true,
        // Of images the reason says more.
        DataError::NoDataSet { .. } => trained.spec.media() != MediaKind::Images,
        _ => false,
    };
    if !of_another {
        return error.into();
    }
    let media = trained.spec.media().name();
    let what = format!("{} holds no {media}", path.display());
    failure(what, format!("give {FORMS} of {media}, which {} was trained on", trained.info.id))
}

/// How many of a list of names are named.
const NAMED: usize = 5;

/// The first of these names: `a, b, …`.
pub(crate) fn some_of(names: &[String]) -> String {
    let more = if names.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

/// Examples without a class that the model knows.
#[derive(Debug, PartialEq)]
pub(crate) struct Unknown {
    /// How many there are.
    pub(crate) all: usize,
    /// How many of them have another class, and the names of those classes in the order in which they come.
    pub(crate) of_others: (usize, Vec<String>),
}

impl Unknown {
    /// Those of `examples`, for a model that knows these classes.
    pub(crate) fn among(examples: &[Example], classes: &[String]) -> Unknown {
        let (mut all, mut of_others, mut names) = (0, 0, Vec::new());
        for example in examples {
            match &example.class {
                Some(class) if classes.contains(class) => {}
                Some(class) => {
                    (all, of_others) = (all + 1, of_others + 1);
                    if !names.contains(class) {
                        names.push(class.clone());
                    }
                }
                None => all += 1,
            }
        }
        Unknown { all, of_others: (of_others, names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_the_class_of_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let known = ["cats", "dogs"].map(String::from);
        let (folder, inner) = (root.path().join("dogs"), root.path().join("dogs/puppies"));
        std::fs::create_dir_all(&inner).unwrap();
        for file in [folder.join("a.txt"), inner.join("b.txt"), root.path().join("c.txt")] {
            std::fs::write(file, "woof").unwrap();
        }
        let class = |path: &Path| class_of_folder(path, &known);
        assert_eq!(class(&folder).as_deref(), Some("dogs"));
        assert_eq!(class(&folder.join("a.txt")).as_deref(), Some("dogs"));
        assert_eq!(class(&inner.join("..")).as_deref(), Some("dogs"));
        assert_eq!(
            [root.path(), &inner, &inner.join("b.txt"), &root.path().join("c.txt")].map(class),
            [None, None, None, None]
        );
        let mut given = Given::default();
        let meter = Meter::new("reading", "examples", None, true);
        let of_folder = class(&folder);
        let inside = Vec::new();
        let mut taking = Taking {
            path: &folder,
            class: None,
            known: &known,
            of_folder,
            inside,
            given: &mut given,
            meter: &meter,
        };
        let of = |taking: &mut Taking<'_>, name: &str, class: Option<&str>| {
            taking.class_of(name, class.map(String::from)).unwrap()
        };
        assert_eq!(of(&mut taking, "a.txt", None), "dogs");
        assert_eq!(of(&mut taking, "cats/a.txt", Some("cats")), "cats");
        assert_eq!(of(&mut taking, "table.csv:3", Some("puppies")), "puppies", "a table says it");
        assert!(taking.inside.is_empty());
        assert_eq!(of(&mut taking, "puppies/a.txt", Some("puppies")), "dogs", "a folder may be no class");
        assert_eq!(taking.inside, ["puppies"]);
        let file = folder.join("a.zip");
        taking.path = &file;
        assert_eq!(of(&mut taking, "puppies/a.txt", Some("puppies")), "puppies", "an archive has its own");
        taking.class = Some("cats");
        assert_eq!(of(&mut taking, "table.csv:3", Some("puppies")), "cats");
        assert_eq!(of(&mut taking, "a.txt", None), "cats");
    }

    #[test]
    fn other_classes_than_those_of_the_model_are_counted_and_named() {
        let example = |class: Option<&str>| Example {
            name: "a".to_owned(),
            class: class.map(str::to_owned),
            media: Media::Text(Vec::new()),
        };
        let classes = [Some("cats"), None, Some("birds"), Some("fish"), Some("birds"), Some("dogs")];
        let unknown = Unknown::among(&classes.map(example), &["cats", "dogs"].map(String::from));
        let of_others = (3, vec!["birds".to_owned(), "fish".to_owned()]);
        assert_eq!(unknown, Unknown { all: 4, of_others });
    }

    #[test]
    fn examples_are_named_by_path_and_line() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("names.txt");
        std::fs::write(&file, "a").unwrap();
        let path = in_json(&file);
        assert_eq!(name_in(&file, "names.txt:12"), format!("{path}:12"));
        assert_eq!(name_in(&file, "names.txt"), path);
        assert_eq!(name_in(root.path(), "names.txt:12"), format!("{path}:12"));
        assert_eq!(name_in(&root.path().join("a.zip"), "b/c.txt").rsplit('/').next(), Some("c.txt"));
    }
}
