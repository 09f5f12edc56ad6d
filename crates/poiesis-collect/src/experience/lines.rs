//! Episodes in a file `.jsonl`, compressed or not: a record for each episode, whose observations are a list of lists, or for each
//! transition.

use std::fmt;
use std::io::{BufRead, Read};
use std::path::Path;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::assemble::{Assembler, Numbers, Outcome, Row};
use super::names::{Role, roles};
use crate::error::{Error, Result};
use crate::options::Limits;
use crate::source::Payload;

/// Most bytes of the first record that are looked at to see what a file is.
const LOOKED_AT: u64 = 16 << 20;

/// Whether the first record has observations and actions that are numbers.
pub(super) fn is_experience(file: &Path) -> bool {
    let Ok(reader) = Payload::File(file.to_owned()).open() else { return false };
    let mut records = serde_json::Deserializer::from_reader(reader.take(LOOKED_AT)).into_iter::<Outline>();
    let Some(Ok(Outline(fields))) = records.next() else { return false };
    roles(&fields.iter().map(String::as_str)).is_some()
}

/// The fields of a record that are numbers or lists.
struct Outline(Vec<String>);

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Outline, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Outline;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Outline, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if map.next_value::<IsNumbers>()?.0 {
                        fields.push(name);
                    }
                }
                Ok(Outline(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Whether a value is a number or begins like a list of them.
struct IsNumbers(bool);

impl<'de> Deserialize<'de> for IsNumbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<IsNumbers, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = IsNumbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<IsNumbers, E> {
                Ok(IsNumbers(true))
            }

            fn visit_i64<E>(self, _: i64) -> Result<IsNumbers, E> {
                Ok(IsNumbers(true))
            }

            fn visit_u64<E>(self, _: u64) -> Result<IsNumbers, E> {
                Ok(IsNumbers(true))
            }

            fn visit_f64<E>(self, _: f64) -> Result<IsNumbers, E> {
                Ok(IsNumbers(true))
            }

            fn visit_str<E>(self, _: &str) -> Result<IsNumbers, E> {
                Ok(IsNumbers(false))
            }

            fn visit_unit<E>(self) -> Result<IsNumbers, E> {
                Ok(IsNumbers(false))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<IsNumbers, A::Error> {
                let first = list.next_element::<IsNumbers>()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(first.unwrap_or(IsNumbers(false)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IsNumbers, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(IsNumbers(false))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A number, or a list.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Missing,
    Number { value: f64, whole: bool },
    List(Vec<Value>),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a list of numbers")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Number { value: f64::from(u8::from(value)), whole: true })
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Number { value: value as f64, whole: true })
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Number { value: value as f64, whole: true })
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Number { value, whole: false })
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Missing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut all = Vec::new();
                while let Some(value) = list.next_element()? {
                    all.push(value);
                }
                Ok(Value::List(all))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Value {
    /// An observation or an action; `None` where it is missing.
    fn numbers(self) -> Result<Option<Numbers>, String> {
        let mut all = Numbers { whole: true, ..Numbers::default() };
        let mut add = |value: Value| match value {
            Value::Number { value, whole } => {
                all.whole &= whole;
                all.values.push(value);
                Ok(())
            }
            Value::Missing | Value::List(_) => Err("a list has something else than numbers".to_owned()),
        };
        match self {
            Value::Missing => return Ok(None),
            Value::List(values) => values.into_iter().try_for_each(add)?,
            number @ Value::Number { .. } => add(number)?,
        }
        Ok(Some(all))
    }

    fn number(&self) -> Option<f64> {
        match self {
            Value::Number { value, .. } => Some(*value),
            // A list of one, as some programs write rewards.
            Value::List(values) if values.len() == 1 => values[0].number(),
            _ => None,
        }
    }

    fn is_true(&self) -> bool {
        self.number().is_some_and(|number| number != 0.0)
    }

    /// Its value for one step of an episode: of a list, that element.
    fn step(&mut self, step: usize) -> Value {
        match self {
            Value::List(values) => {
                values.get_mut(step).map_or(Value::Missing, |v| std::mem::replace(v, Value::Missing))
            }
            _ => Value::Missing,
        }
    }

    /// How many steps it is of.
    fn steps(&self) -> usize {
        match self {
            Value::List(values) => values.len(),
            _ => 0,
        }
    }
}

/// One record: the values that play a role.
struct Record(Vec<(Role, Value)>);

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Record, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut values: Vec<(String, Value)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if Role::ALL.into_iter().any(|role| role.find(&[name.as_str()]).is_some()) {
                        values.push((name, map.next_value()?));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                let found = roles(&values.iter().map(|(name, _)| name.as_str()));
                let found = found.ok_or_else(|| A::Error::custom("it has no observation or no action"))?;
                let found: Vec<(Role, String)> =
                    found.into_iter().map(|(role, name)| (role, name.to_owned())).collect();
                let take = |(role, name): (Role, String)| {
                    let at = values.iter().position(|(known, _)| *known == name)?;
                    Some((role, values.swap_remove(at).1))
                };
                Ok(Record(found.into_iter().filter_map(take).collect()))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Record {
    fn take(&mut self, role: Role) -> Value {
        let found = self.0.iter_mut().find(|(known, _)| *known == role);
        found.map_or(Value::Missing, |(_, value)| std::mem::replace(value, Value::Missing))
    }

    /// Whether it is of a whole episode: its observations are a list of lists.
    fn is_episode(&self) -> bool {
        let observations = self.0.iter().find(|(role, _)| *role == Role::Observations);
        match observations {
            Some((_, Value::List(values))) => matches!(values.first(), Some(Value::List(_)) | None),
            _ => false,
        }
    }

    /// The transition that it is.
    fn transition(mut self) -> Result<Row, String> {
        Ok(Row {
            observation: self.take(Role::Observations).numbers()?.ok_or("there is no observation")?,
            action: self.take(Role::Actions).numbers()?,
            reward: self.take(Role::Rewards).number(),
            next: self.take(Role::Next).numbers()?,
            terminated: self.take(Role::Terminated).is_true(),
            truncated: self.take(Role::Truncated).is_true(),
            episode: self.take(Role::Episode).number().map(|number| number as i64),
        })
    }

    /// The episode that it is, as rows.
    fn episode(mut self, most: u64) -> Outcome {
        let [mut observations, mut actions, mut rewards, mut next, mut terminated] =
            [Role::Observations, Role::Actions, Role::Rewards, Role::Next, Role::Terminated]
                .map(|role| self.take(role));
        let (seen, steps) = (observations.steps(), actions.steps());
        if !(seen == steps || seen == steps + 1) {
            return Err(format!("{steps} actions go with {} observations, and there are {seen}", steps + 1));
        }
        for (what, value) in [("rewards", &rewards), ("flags", &terminated), ("next observations", &next)] {
            if value.steps() > 0 && value.steps() != steps {
                return Err(format!("there are {} {what} and {steps} actions", value.steps()));
            }
        }
        let whole = terminated.is_true() && terminated.steps() != steps;
        let mut assembler = Assembler::new(most);
        for step in 0..seen {
            let flag = terminated.step(step).is_true() || (whole && step + 1 == steps);
            // The key holds all of it together, whatever flags say.
            let row = Row {
                observation: observations.step(step).numbers()?.ok_or("an observation is missing")?,
                action: if step < steps { actions.step(step).numbers()? } else { None },
                reward: rewards.step(step).number(),
                next: next.step(step).numbers()?,
                terminated: flag,
                truncated: false,
                episode: Some(0),
            };
            assembler.push(row);
        }
        assembler.end().unwrap_or_else(|| Err("it has no transition".to_owned()))
    }
}

/// Reads the episodes of a file in order, each with the line at which it ends. Those of more than `most` bytes cannot be used.
pub(super) fn read<E: From<Error>>(
    file: &Path,
    limits: &Limits,
    most: u64,
    visit: &mut dyn FnMut(u64, Outcome) -> Result<(), E>,
) -> Result<(), E> {
    // As numbers, a line takes up to 16 times its length.
    let longest = limits.max_memory / 64;
    let malformed = |reason: String| Error::damaged(file, reason, crate::source::FETCH);
    let mut reader = Payload::File(file.to_owned()).open().map_err(malformed)?;
    let mut assembler = Assembler::new(most);
    let (mut number, mut last) = (0_u64, 0_u64);
    // Whether the last record was a whole episode.
    let mut by_line = true;
    let mut line = Vec::new();
    loop {
        line.clear();
        number += 1;
        let read = (&mut reader).take(longest + 1).read_until(b'\n', &mut line);
        if read.map_err(|e| malformed(format!("line {number} cannot be read: {e}")))? == 0 {
            break;
        }
        if line.len() as u64 > longest {
            let reason = format!("line {number} is longer than {longest} bytes, the memory for one");
            let remedy =
                "allow more memory with `max_memory`, or write a line for each transition".to_owned();
            let (path, option) = (file.to_owned(), Some("max_memory".to_owned()));
            return Err(Error::Malformed { path, reason, remedy, option }.into());
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Record>(text) {
            Ok(record) if record.is_episode() => {
                by_line = true;
                if let Some(before) = assembler.end() {
                    visit(last, before)?;
                }
                visit(number, record.episode(most))?;
            }
            Ok(record) => {
                by_line = false;
                match record.transition() {
                    Ok(row) => {
                        if let Some(before) = assembler.push(row) {
                            visit(last, before)?;
                        }
                    }
                    Err(reason) => assembler.spoil(format!("line {number}: {reason}")),
                }
            }
            Err(error) if by_line => visit(number, Err(plain(&error)))?,
            Err(error) => assembler.spoil(format!("line {number}: {}", plain(&error))),
        }
        last = number;
    }
    assembler.end().map_or(Ok(()), |outcome| visit(last, outcome))
}

/// What is wrong with a record, without the line, which is always the first of what is parsed.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    format!("{reason} (at byte {})", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_record_is_an_episode_or_a_transition() {
        let episode = record(
            r#"{"obs": [[1], [2]], "acts": [0], "rews": [0.5], "terminal": true, "info": {"a": [1]}}"#,
        );
        assert!(episode.is_episode());
        let found = episode.episode(1000).unwrap();
        assert_eq!(
            (&found.episode.observations[..], &found.episode.rewards[..]),
            (&[1.0, 2.0][..], &[0.5][..])
        );
        assert!(found.episode.terminated && found.whole);
        let transition = record(r#"{"observation": [1, 2], "action": null, "episode": 3}"#);
        assert!(!transition.is_episode());
        let row = transition.transition().unwrap();
        assert_eq!((row.observation.values, row.action, row.episode), (vec![1.0, 2.0], None, Some(3)));
    }

    #[test]
    fn lists_of_wrong_lengths_are_refused() {
        let fault = |text: &str| record(text).episode(1000).unwrap_err();
        assert!(fault(r#"{"obs": [[1], [2], [3]], "acts": [0]}"#).contains("1 actions go with 2"));
        assert!(
            fault(r#"{"obs": [[1], [2]], "acts": [0], "rews": [1, 2]}"#).contains("2 rewards and 1 actions")
        );
        assert!(fault(r#"{"obs": [], "acts": []}"#).contains("no transition"));
        assert!(fault(r#"{"obs": [[1], [2, 3]], "acts": [0]}"#).contains("2 numbers"));
    }
}
