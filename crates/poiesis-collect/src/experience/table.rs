//! Episodes in a parquet table with a row for each transition. Other tables are read in a separate process too; see
//! [`isolation`](crate::isolation).

use std::path::Path;

use parquet::record::Field;

use super::assemble::{Assembler, Numbers, Outcome, Row};
use super::names::{Role, roles};
use crate::error::{Error, Result};
use crate::options::Limits;
use crate::source::parquet::{About, each_row, number};

/// The columns that play a role; `None` where there are no observations or no actions.
pub(super) fn played(about: &About) -> Option<Vec<(Role, String)>> {
    let found = roles(&about.numbers.iter().map(String::as_str))?;
    Some(found.into_iter().map(|(role, name)| (role, name.to_owned())).collect())
}

/// Reads the episodes of a table in order. Those of more than `most` bytes cannot be used.
pub(super) fn read<E: From<Error>>(
    table: &Path,
    limits: &Limits,
    most: u64,
    visit: &mut dyn FnMut(Outcome) -> Result<(), E>,
) -> Result<(), E> {
    let about = About::of(table, limits)?;
    let Some(columns) = played(&about) else {
        let reason = format!(
            "none of its columns of numbers ({}) holds observations or actions",
            about.numbers.join(", ")
        );
        return Err(Error::malformed(table, reason).into());
    };
    let has = |role: Role| columns.iter().any(|(known, _)| *known == role);
    if ![Role::Episode, Role::Terminated, Role::Truncated].into_iter().any(has) {
        let reason = "no column says where episodes end";
        return Err(Error::damaged(table, reason, "add `terminated` and `truncated`, or `episode`").into());
    }
    let names: Vec<&String> = columns.iter().map(|(_, name)| name).collect();
    let mut assembler = Assembler::new(most);
    let mut at = 0_u64;
    each_row(table, &names, limits, &mut |values| {
        let row = row(columns.iter().zip(values).map(|((role, _), value)| (*role, value)));
        at += 1;
        match row {
            Ok(row) => assembler.push(row).map_or(Ok(()), &mut *visit),
            Err(reason) => {
                assembler.spoil(format!("in row {}, {reason}", at - 1));
                Ok(())
            }
        }
    })?;
    assembler.end().map_or(Ok(()), visit)
}

/// The transition in a row.
fn row<'a>(values: impl Iterator<Item = (Role, &'a Field)>) -> Result<Row, String> {
    let mut row = Row::default();
    for (role, value) in values {
        let flag = || number(value).is_some_and(|number| number != 0.0);
        match role {
            Role::Observations => {
                row.observation = numbers(value)?.ok_or("there is no observation")?;
            }
            Role::Actions => row.action = numbers(value)?,
            Role::Next => row.next = numbers(value)?,
            Role::Rewards => {
                row.observation.wide |= matches!(value, Field::Double(_));
                row.reward = number(value);
            }
            Role::Terminated => row.terminated = flag(),
            Role::Truncated => row.truncated = flag(),
            Role::Episode => row.episode = number(value).map(|number| number as i64),
            Role::Cuts => {}
        }
    }
    Ok(row)
}

/// A number, or a list of them; `None` where there is none.
fn numbers(value: &Field) -> Result<Option<Numbers>, String> {
    let one = |value: &Field, all: &mut Numbers| {
        all.whole &= !matches!(value, Field::Float16(_) | Field::Float(_) | Field::Double(_));
        all.wide |= matches!(value, Field::Double(_));
        all.values.push(number(value).ok_or("a value is not a number")?);
        Ok::<(), String>(())
    };
    let mut all = Numbers { whole: true, ..Numbers::default() };
    match value {
        Field::Null => return Ok(None),
        Field::ListInternal(list) => list.elements().iter().try_for_each(|value| one(value, &mut all))?,
        // A list that comes from the other process.
        Field::Group(row) => row.get_column_iter().try_for_each(|(_, value)| one(value, &mut all))?,
        value => one(value, &mut all)?,
    }
    Ok(Some(all))
}
