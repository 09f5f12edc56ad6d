//! The published data sets that are known by name: where they are, and how each is read.

use poiesis_collect::Options;

/// A published data set that is known by name.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name, which is also that of its folder.
    pub name: &'static str,
    /// Shape of its images, if it has any: height, width, channels.
    pub shape: Option<[usize; 3]>,
    /// Its folder or file in the folder of data sets where none has its name: the first of these that is there.
    pub places: &'static [&'static str],
    /// The files that belong there, in words.
    pub files: &'static str,
    /// How it is read.
    pub reading: Reading,
}

/// How the documents, classes and splits of a data set are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Each line of text is a document.
    pub lines: bool,
    /// The class of a file is its name up to the first `_`.
    pub label_from_name: bool,
    /// Files held out for validation, as comma-separated patterns; empty for none.
    pub validation_files: &'static str,
    /// Files held out for testing, likewise.
    pub test_files: &'static str,
}

const PLAIN: Reading = Reading { lines: false, label_from_name: false, validation_files: "", test_files: "" };

/// All known data sets, those of images first.
pub static KNOWN: &[Known] = &[
    Known {
        name: "mnist",
        shape: Some([28, 28, 1]),
        places: &["mnist"],
        files: "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and the two t10k files",
        reading: PLAIN,
    },
    Known {
        name: "fashion-mnist",
        shape: Some([28, 28, 1]),
        places: &["fashion-mnist"],
        files: "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and the two t10k files",
        reading: PLAIN,
    },
    Known {
        name: "binarized-mnist",
        shape: Some([28, 28, 1]),
        places: &["binarized-mnist"],
        files: "binarized_mnist_train.amat and those of valid and test, or the same as IDX files",
        reading: PLAIN,
    },
    Known {
        name: "noto-emoji",
        shape: Some([72, 72, 3]),
        places: &["noto-emoji"],
        files: "the PNG files, or one archive of them",
        reading: PLAIN,
    },
    Known {
        name: "cifar10",
        shape: Some([32, 32, 3]),
        places: &["cifar10"],
        files: "cifar-10-binary.tar.gz, or the files data_batch_1.bin to data_batch_5.bin and test_batch.bin that are in it",
        reading: PLAIN,
    },
    // Its single document is cut after 90 %, the usual split.
    Known {
        name: "tinyshakespeare",
        shape: None,
        places: &["text/tinyshakespeare.txt"],
        files: "the text of char-rnn",
        reading: PLAIN,
    },
    Known {
        name: "names",
        shape: None,
        places: &["text/names.txt"],
        files: "the list of makemore, a name a line",
        reading: Reading { lines: true, ..PLAIN },
    },
    // No author is in two splits.
    Known {
        name: "novels",
        shape: None,
        places: &["text/novels", "text/novels.tar.gz"],
        files: "the novels AUTHOR_TITLE_YEAR.txt",
        reading: Reading { validation_files: "Stevenson*", test_files: "Doyle*", ..PLAIN },
    },
    // The published split: the first five recordings of each digit by each speaker are the test.
    Known {
        name: "fsdd",
        shape: None,
        places: &["fsdd"],
        files: "the recordings DIGIT_SPEAKER_INDEX.wav, or an archive of them",
        reading: Reading { label_from_name: true, test_files: "*_[0-4].wav", ..PLAIN },
    },
];

/// Returns the data set called `name`, or `None` when it is not known.
pub fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

impl Reading {
    /// Default options for this way of reading.
    pub fn options(&self) -> Options {
        Options {
            lines: self.lines,
            label_from_name: self.label_from_name,
            validation_files: patterns(self.validation_files),
            test_files: patterns(self.test_files),
            ..Options::default()
        }
    }
}

/// Splits comma-separated patterns.
pub(super) fn patterns(text: &str) -> Vec<String> {
    text.split(',').map(|pattern| pattern.trim().to_owned()).filter(|pattern| !pattern.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_once() {
        for known in KNOWN {
            assert_eq!(KNOWN.iter().filter(|other| other.name == known.name).count(), 1, "{}", known.name);
            assert!(std::ptr::eq(find(known.name).unwrap(), known));
            assert!(!known.places.is_empty(), "{}", known.name);
        }
        assert!(find("mnits").is_none());
    }

    #[test]
    fn patterns_are_split_at_commas() {
        assert_eq!(patterns("a*, b*,"), ["a*", "b*"]);
        assert!(patterns("").is_empty());
    }
}
