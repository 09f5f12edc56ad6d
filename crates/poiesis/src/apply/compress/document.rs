//! Documents, and the files they are read from and written to.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::archive::damaged;
use crate::atomic;
use crate::data::DataSpec;
use crate::error::{Error, Result};
use crate::media::{Chunk, Codec, Media, chunks, files};

/// A document to compress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The path of its file, with `/` between folders, without a root and without `..`.
    pub name: String,
    /// Its bytes: a text as it is; the 8-bit values of one or several images of the model's shape, row by row; the 16-bit
    /// samples of a clip, low byte first.
    pub content: Vec<u8>,
    /// What else its file holds, such as the colour profile of a PNG image. Empty for a text.
    pub chunks: Vec<Chunk>,
}

impl Document {
    /// Reads a file of the kind in `spec`: an 8-bit PNG image, a text or a 16-bit WAV file.
    ///
    /// # Errors
    ///
    /// Those of [`media::files::read`](files::read), and [`Error::NotOfTheModel`] when an image is of another size, or the file holds
    /// something that would be lost.
    pub fn read(path: &Path, spec: &DataSpec) -> Result<Document> {
        let name = name_of(path).ok_or_else(|| Error::NotOfTheModel {
            name: path.display().to_string(),
            reason: "its path is not UTF-8, and an archive could not give it back".into(),
            remedy: "rename it".into(),
        })?;
        let bytes = poiesis_collect::regular::read(path).map_err(Error::io("read", path))?;
        let media = files::from_bytes(&bytes, path, spec)?;
        let content = Codec::new(spec, None).content(&media, &path.display().to_string())?;
        let chunks = chunks::of_file(&bytes, &media, spec, path)?;
        Ok(Document { name, content, chunks })
    }

    /// The files of the document in `folder`: one, or a folder of files for several images.
    fn files(&self, folder: &Path, spec: &DataSpec) -> Result<Vec<OutputFile>> {
        let name = inside(&self.name)?;
        let all = Codec::new(spec, None).media_of_content(&self.content);
        let single = all.len() == 1;
        let ending = files::extension(spec);
        let file = |(index, media): (usize, Media)| {
            let path = match &media {
                Media::Text(_) => folder.join(name),
                _ if single => folder.join(with_ending(name, ending)),
                _ => folder.join(name).join(format!("{index:06}.{ending}")),
            };
            Ok(OutputFile { bytes: chunks::to_bytes(&media, &self.chunks, spec, &path)?, path })
        };
        all.into_iter().enumerate().map(file).collect()
    }
}

/// The name of a file in an archive: its path as given, without a root and without `..`.
///
/// `None` when it is not UTF-8.
fn name_of(path: &Path) -> Option<String> {
    let part = |component| match component {
        Component::Normal(name) => Some(name.to_str()),
        _ => None,
    };
    Some(path.components().filter_map(part).collect::<Option<Vec<_>>>()?.join("/"))
}

/// A name from an archive as a path; an error if it points outside the folder.
fn inside(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    if !plain || name.is_empty() || name.contains('\0') {
        return Err(damaged(&format!(
            "it holds a document called {name:?}, which is not a path below a folder"
        )));
    }
    Ok(path)
}

/// The path with the ending, which is added if it has another one or none.
fn with_ending(path: &Path, ending: &str) -> PathBuf {
    if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending)) {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// A file to write.
#[derive(Clone, Debug)]
pub struct OutputFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl OutputFile {
    /// Writes it atomically, making its parent folders.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn write(&self) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        }
        atomic::write(&self.path, &self.bytes)
    }
}

/// The files of `documents` in `folder`.
///
/// # Errors
///
/// [`Error::ArchiveDamaged`] when a name points outside the folder; [`Error::SameName`] when two files have one path, or one would be
/// a folder of another; [`Error::Picture`] and [`Error::Sound`] when a file cannot be made.
pub fn output_files(documents: &[Document], folder: &Path, spec: &DataSpec) -> Result<Vec<OutputFile>> {
    let files: Result<Vec<Vec<OutputFile>>> =
        documents.iter().map(|document| document.files(folder, spec)).collect();
    let files = files?.concat();
    let mut paths = BTreeSet::new();
    let clash = files.iter().find(|file| !paths.insert(file.path.as_path()));
    let above =
        || files.iter().find(|file| file.path.ancestors().skip(1).any(|folder| paths.contains(folder)));
    match clash.or_else(above) {
        Some(file) => Err(Error::SameName { name: file.path.display().to_string() }),
        None => Ok(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Content, TextShape};

    fn text(name: &str) -> Document {
        Document { name: name.into(), content: b"a".to_vec(), chunks: Vec::new() }
    }

    fn paths(names: &[&str]) -> Result<Vec<PathBuf>> {
        let documents: Vec<Document> = names.iter().map(|name| text(name)).collect();
        let text =
            TextShape { vocabulary: poiesis_collect::Vocabulary::Bytes, documents: false, lines: false };
        let spec = DataSpec { content: Content::Text(text), classes: 0, unlabelled: false };
        let files = output_files(&documents, Path::new("out"), &spec)?;
        Ok(files.into_iter().map(|file| file.path).collect())
    }

    #[test]
    fn names_are_paths_below_a_folder() {
        for (path, name) in [
            ("a/x.txt", "a/x.txt"),
            ("./a//x.txt", "a/x.txt"),
            ("../a/x.txt", "a/x.txt"),
            ("/tmp/a/x.txt", "tmp/a/x.txt"),
        ] {
            assert_eq!(name_of(Path::new(path)).as_deref(), Some(name));
        }
    }

    #[test]
    fn documents_of_one_name_in_two_folders_stay_apart() {
        let expected = ["out/a/x.txt", "out/b/x.txt"].map(PathBuf::from);
        assert_eq!(paths(&["a/x.txt", "b/x.txt"]).unwrap(), expected);
    }

    #[test]
    fn paths_that_clash_are_refused() {
        for names in [["a", "a"], ["a", "a/b"], ["a/b", "a"]] {
            assert!(matches!(paths(&names), Err(Error::SameName { .. })), "{names:?}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["../a", "/etc/a", "a/../../b", "", ".", "a\0"] {
            assert!(matches!(paths(&[name]), Err(Error::ArchiveDamaged { .. })), "{name:?}");
        }
    }

    #[test]
    fn an_ending_is_kept_or_added() {
        let with = |path| with_ending(Path::new(path), "png").display().to_string();
        assert_eq!([with("a/b.PNG"), with("photo.v2"), with("7")], ["a/b.PNG", "photo.v2.png", "7.png"]);
    }
}
