//! Built-in data as a source: the examples are made by the threads that would otherwise decode them.

use super::{Halt, Item, Payload, Plan, Sink, Source};
use crate::builtin::{Builtin, scenes};
use crate::error::{Error, Result};
use crate::options::Options;

pub(crate) struct Made {
    builtin: Builtin,
    count: u64,
    plan: Plan,
}

impl Made {
    pub(crate) fn new(builtin: Builtin, options: &Options) -> Result<Made> {
        if options.channels == Some(4) {
            return Err(Error::BadOption {
                option: "channels",
                value: "4".to_owned(),
                reason: "built-in images have no transparency",
                remedy: "give 1 or 3",
            });
        }
        let objects = builtin.objects(options);
        if let Some((fewest, most)) = objects.filter(|(_, most)| *most > scenes::MOST) {
            return Err(Error::BadOption {
                option: "objects",
                value: format!("{fewest}..{most}"),
                reason: "so many shapes have no room in a scene",
                remedy: "give at most 4",
            });
        }
        let count = options.count.unwrap_or(builtin.default_count()) as u64;
        let plan = Plan {
            name: builtin.name().to_owned(),
            classes: builtin.classes(options),
            total: Some(count),
            made: Some((builtin.kind(), builtin.shape(options), builtin.factors(options))),
            objects: objects.map_or(0, |(_, most)| most as usize),
            notes: vec![builtin.about().to_owned()],
            ..Plan::default()
        };
        Ok(Made { builtin, count, plan })
    }
}

impl Source for Made {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for index in 0..self.count {
            let name = format!("{} {index}", self.builtin.name());
            let payload = Payload::Made(self.builtin, index);
            sink.send(Item { name, split: None, label: None, payload })?;
        }
        Ok(())
    }
}
