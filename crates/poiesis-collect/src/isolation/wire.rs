//! The protocol between the two processes: a request as JSON, then replies, each a frame of kind, length and content.

use std::io::{self, Read, Write};

use parquet::data_type::ByteArray;
use parquet::record::{Field, Row};
use serde::{Deserialize, Serialize};

/// A request to the process that reads a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The columns whose rows are wanted; none for what the table says about itself.
    pub(crate) columns: Vec<String>,
    /// Most memory that it may take, in bytes.
    pub(crate) memory: u64,
}

/// A reply of the process that reads a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// What the table says about itself, as JSON.
    About(Vec<u8>),
    /// The values of the columns in one row.
    Row(Vec<Field>),
    /// The table cannot be read: the reason, and what can be done about it.
    Failed { reason: String, remedy: String },
    /// That was all.
    End,
}

const ABOUT: u8 = b'A';
const ROW: u8 = b'R';
const FAILED: u8 = b'F';
const END: u8 = b'E';

impl Reply {
    pub(crate) fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        let mut content = Vec::new();
        let kind = match self {
            Reply::About(json) => {
                content.extend(json);
                ABOUT
            }
            Reply::Row(fields) => {
                put_fields(&mut content, fields.iter());
                ROW
            }
            Reply::Failed { reason, remedy } => {
                put_bytes(&mut content, reason.as_bytes());
                put_bytes(&mut content, remedy.as_bytes());
                FAILED
            }
            Reply::End => END,
        };
        output.write_all(&[kind])?;
        output.write_all(&(content.len() as u64).to_le_bytes())?;
        output.write_all(&content)
    }

    /// Reads the next frame; `None` at the end of the input. One of more than `most` bytes is an error.
    pub(crate) fn read(input: &mut dyn Read, most: u64) -> io::Result<Option<Reply>> {
        let mut head = Vec::new();
        input.take(9).read_to_end(&mut head)?;
        let (kind, length) = match head[..] {
            [] => return Ok(None),
            [kind, ref length @ ..] => (kind, length.try_into().map_err(|_| cut())?),
        };
        let length = u64::from_le_bytes(length);
        if length > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a row has {length} bytes")));
        }
        let mut content = Vec::new();
        input.take(length).read_to_end(&mut content)?;
        if content.len() as u64 != length {
            return Err(cut());
        }
        let mut rest = &content[..];
        Ok(Some(match kind {
            ABOUT => Reply::About(content),
            ROW => Reply::Row(take_fields(&mut rest, 0)?),
            FAILED => Reply::Failed { reason: take_text(&mut rest)?, remedy: take_text(&mut rest)? },
            END => Reply::End,
            _ => return Err(cut()),
        }))
    }
}

fn cut() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// Deepest nesting of values that is passed on; what is deeper becomes null.
const DEEPEST: usize = 4;

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn put_fields<'a>(out: &mut Vec<u8>, fields: impl ExactSizeIterator<Item = &'a Field>) {
    out.extend((fields.len() as u64).to_le_bytes());
    fields.for_each(|field| put(out, field));
}

/// Whole numbers and numbers keep their kinds; values that no column of images or labels has become null.
fn put(out: &mut Vec<u8>, field: &Field) {
    let mut number = |kind: u8, bytes: &[u8]| {
        out.push(kind);
        out.extend(bytes);
        out.resize(out.len() + 8 - bytes.len(), 0);
    };
    match field {
        Field::Bool(value) => number(b'b', &[u8::from(*value)]),
        Field::Byte(value) => number(b'1', &value.to_le_bytes()),
        Field::Short(value) => number(b'2', &value.to_le_bytes()),
        Field::Int(value) => number(b'4', &value.to_le_bytes()),
        Field::Long(value) => number(b'8', &value.to_le_bytes()),
        Field::UByte(value) => number(b'q', &value.to_le_bytes()),
        Field::UShort(value) => number(b'w', &value.to_le_bytes()),
        Field::UInt(value) => number(b'r', &value.to_le_bytes()),
        Field::ULong(value) => number(b'i', &value.to_le_bytes()),
        Field::Float(value) => number(b'f', &value.to_le_bytes()),
        Field::Double(value) => number(b'd', &value.to_le_bytes()),
        Field::Str(text) => {
            out.push(b's');
            put_bytes(out, text.as_bytes());
        }
        Field::Bytes(bytes) => {
            out.push(b'y');
            put_bytes(out, bytes.data());
        }
        Field::Group(row) => {
            out.push(b'g');
            let columns: Vec<_> = row.get_column_iter().collect();
            out.extend((columns.len() as u64).to_le_bytes());
            for (name, field) in columns {
                put_bytes(out, name.as_bytes());
                put(out, field);
            }
        }
        Field::ListInternal(list) => {
            out.push(b'l');
            put_fields(out, list.elements().iter());
        }
        _ => out.push(b'0'),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: u64) -> io::Result<&'a [u8]> {
    let count = usize::try_from(count).map_err(|_| cut())?;
    let (taken, after) = rest.split_at_checked(count).ok_or_else(cut)?;
    *rest = after;
    Ok(taken)
}

fn take_number<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    take(rest, 8)?.first_chunk().copied().ok_or_else(cut)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let length = u64::from_le_bytes(take_number(rest)?);
    take(rest, length)
}

fn take_text(rest: &mut &[u8]) -> io::Result<String> {
    Ok(String::from_utf8_lossy(take_bytes(rest)?).into_owned())
}

fn take_fields(rest: &mut &[u8], depth: usize) -> io::Result<Vec<Field>> {
    let count = u64::from_le_bytes(take_number(rest)?);
    (0..count).map(|_| take_field(rest, depth)).collect()
}

fn take_field(rest: &mut &[u8], depth: usize) -> io::Result<Field> {
    if depth > DEEPEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a value is nested too deeply"));
    }
    Ok(match take(rest, 1)? {
        b"0" => Field::Null,
        b"b" => Field::Bool(take_number::<1>(rest)? != [0]),
        b"1" => Field::Byte(i8::from_le_bytes(take_number(rest)?)),
        b"2" => Field::Short(i16::from_le_bytes(take_number(rest)?)),
        b"4" => Field::Int(i32::from_le_bytes(take_number(rest)?)),
        b"8" => Field::Long(i64::from_le_bytes(take_number(rest)?)),
        b"q" => Field::UByte(u8::from_le_bytes(take_number(rest)?)),
        b"w" => Field::UShort(u16::from_le_bytes(take_number(rest)?)),
        b"r" => Field::UInt(u32::from_le_bytes(take_number(rest)?)),
        b"i" => Field::ULong(u64::from_le_bytes(take_number(rest)?)),
        b"f" => Field::Float(f32::from_le_bytes(take_number(rest)?)),
        b"d" => Field::Double(f64::from_le_bytes(take_number(rest)?)),
        b"s" => Field::Str(take_text(rest)?),
        b"y" => Field::Bytes(ByteArray::from(take_bytes(rest)?.to_vec())),
        b"g" => {
            let count = u64::from_le_bytes(take_number(rest)?);
            let column = |_| Ok((take_text(rest)?, take_field(rest, depth + 1)?));
            Field::Group(Row::new((0..count).map(column).collect::<io::Result<_>>()?))
        }
        b"l" => {
            let elements = take_fields(rest, depth + 1)?;
            // A list can only be made by its library; a group of unnamed columns has the same values.
            Field::Group(Row::new(elements.into_iter().map(|element| (String::new(), element)).collect()))
        }
        _ => return Err(cut()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_back_as_they_were_written() {
        let group = Field::Group(Row::new(vec![("bytes".to_owned(), Field::Bytes(vec![1, 2, 3].into()))]));
        let all = [
            Reply::About(b"{}".to_vec()),
            Reply::Row(vec![
                group,
                Field::Long(-7),
                Field::Null,
                Field::Str("é".to_owned()),
                Field::Bool(true),
            ]),
            Reply::Row(vec![
                Field::Double(0.5),
                Field::UInt(u32::MAX),
                Field::Byte(-1),
                Field::ULong(u64::MAX),
            ]),
            Reply::Failed { reason: "a".to_owned(), remedy: String::new() },
            Reply::End,
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|reply| reply.write(&mut bytes).unwrap());
        let mut input = &bytes[..];
        for reply in &all {
            assert_eq!(Reply::read(&mut input, 1000).unwrap().as_ref(), Some(reply));
        }
        assert_eq!(Reply::read(&mut input, 1000).unwrap(), None);
        // A process that is ended, or was made to say anything, does no harm.
        (1..bytes.len()).for_each(|length| {
            let mut input = &bytes[..length];
            while let Ok(Some(_)) = Reply::read(&mut input, 1000) {}
        });
        assert!(Reply::read(&mut &[b"A".to_vec(), vec![0xff; 8]].concat()[..], 1000).is_err());
        assert!(
            Reply::read(
                &mut &[b"R".to_vec(), vec![8, 0, 0, 0, 0, 0, 0, 0], vec![0xff; 8]].concat()[..],
                1000
            )
            .is_err()
        );
    }
}
