//! One file of text, sound or points.

use std::path::{Path, PathBuf};

use super::contents::{Contents, Media};
use super::folder::placed;
use super::names::Rules;
use super::{Halt, Payload, Plan, Sink, Source, file_name, source_name};
use crate::error::Result;
use crate::options::Options;

pub(crate) struct Single {
    path: PathBuf,
    rules: Rules,
    plan: Plan,
}

impl Single {
    /// Plans with the name of the file alone.
    pub(crate) fn open(path: &Path, media: Media, options: &Options) -> Result<Single> {
        let mut contents = Contents::new(options);
        let name = file_name(path);
        // An array of points counts as the table that it is, which its name does not say.
        let is_array = media == Media::Points && Media::of(&name) != Some(Media::Points);
        contents.add(&if is_array { format!("{name}.csv") } else { name });
        let (rules, plan) = contents.plan(source_name(path), media)?;
        let plan = Plan { single: true, total: Some(1), notes: Vec::new(), ..plan };
        Ok(Single { path: path.to_owned(), rules, plan })
    }
}

impl Source for Single {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        sink.send(placed(&self.rules, &file_name(&self.path), Payload::File(self.path.clone())))
    }
}
