//! A reader of the few instructions of Python's pickles with which PyTorch describes tensors. It runs nothing: a name of Python is
//! compared with the five that are known, and any other is an error, as is every instruction that is not needed for tensors.

use std::rc::Rc;

use super::value::{Value, made, name, shallow, storage, tuple};

/// Most instructions of a pickle, and thus most values: a network has thousands.
const LONGEST: usize = 1 << 20;

/// Reads the pickle at the beginning of `bytes`; returns its value and how many bytes it has.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, usize), String> {
    let mut machine = Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: Vec::new() };
    for _ in 0..LONGEST {
        if let Some(value) = machine.step()? {
            return Ok((value, machine.at));
        }
    }
    Err("its pickle has more instructions than any network needs".into())
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Value>,
}

impl Machine<'_> {
    /// Follows one instruction; the last one returns the value.
    fn step(&mut self) -> Result<Option<Value>, String> {
        let instruction = self.byte()?;
        match instruction {
            // PROTO and FRAME say only how the rest is written.
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::Nothing),
            0x88 | 0x89 => self.stack.push(Value::Bool(instruction == 0x88)),
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(i128::from(value)));
            }
            0x8a => {
                let len = usize::from(self.byte()?);
                self.long(len)?;
            }
            b'X' => {
                let len = u32::from_le_bytes(self.array()?) as usize;
                self.text(len)?;
            }
            0x8c => {
                let len = usize::from(self.byte()?);
                self.text(len)?;
            }
            b'}' => self.stack.push(Value::Dict(Vec::new())),
            b']' => self.stack.push(Value::List(Vec::new())),
            b')' => self.stack.push(Value::Tuple([].into(), 1)),
            0x85..=0x87 => {
                let parts = self.last(usize::from(instruction - 0x84))?;
                self.stack.push(tuple(parts)?);
            }
            b't' => {
                let parts = self.marked()?;
                self.stack.push(tuple(parts)?);
            }
            b'q' => {
                let place = usize::from(self.byte()?);
                self.remember(place)?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?) as usize;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let place = usize::from(self.byte()?);
                self.recall(place)?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?) as usize;
                self.recall(place)?;
            }
            b'c' => {
                let (module, own) = (self.line()?, self.line()?);
                self.stack.push(Value::Name(name(&module, &own)?));
            }
            b'Q' => {
                let id = self.pop()?;
                self.stack.push(Value::Storage(Rc::new(storage(&id)?)));
            }
            b'R' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.stack.push(made(&callee, &arguments)?);
            }
            // The attributes of an object, which are no tensors.
            b'b' => drop(self.pop()?),
            b'a' => {
                let value = shallow(self.pop()?)?;
                self.list()?.push(value);
            }
            b'e' => {
                let values: Vec<Value> = self.marked()?.into_iter().map(shallow).collect::<Result<_, _>>()?;
                self.list()?.extend(values);
            }
            b's' => {
                let (value, key) = (shallow(self.pop()?)?, shallow(self.pop()?)?);
                self.dict()?.push((key, value));
            }
            b'u' => {
                let values = self.marked()?;
                let mut values = values.into_iter();
                while let Some(key) = values.next() {
                    let value = values.next().ok_or("its pickle has a key without a value")?;
                    self.dict()?.push((shallow(key)?, shallow(value)?));
                }
            }
            b'.' => return self.pop().map(Some),
            other => {
                return Err(format!("its pickle has the instruction {other:#04x}, which no tensor needs"));
            }
        }
        Ok(None)
    }

    fn take(&mut self, len: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or("its pickle ends too early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn skip(&mut self, len: usize) -> Result<(), String> {
        self.take(len).map(|_| ())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A whole number without sign of `len` bytes.
    fn integer(&mut self, len: usize) -> Result<(), String> {
        let value = self.take(len)?.iter().rev().fold(0, |value, &byte| value << 8 | i128::from(byte));
        self.stack.push(Value::Int(value));
        Ok(())
    }

    /// A whole number in two's complement of `len` bytes.
    fn long(&mut self, len: usize) -> Result<(), String> {
        let bytes = self.take(len)?;
        if len > 15 {
            return Err("its pickle has a number of more than 15 bytes".into());
        }
        let magnitude = bytes.iter().rev().fold(0, |value, &byte| value << 8 | i128::from(byte));
        let is_negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let value = if is_negative { magnitude - (1 << (8 * len)) } else { magnitude };
        self.stack.push(Value::Int(value));
        Ok(())
    }

    fn text(&mut self, len: usize) -> Result<(), String> {
        let text =
            std::str::from_utf8(self.take(len)?).map_err(|_| "its pickle has text that is not UTF-8")?;
        let text = Value::Text(text.into());
        self.stack.push(text);
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take(256).position(|&byte| byte == b'\n');
        let len = len.ok_or("its pickle has a name without an end")?;
        let line = String::from_utf8_lossy(&rest[..len]).into_owned();
        self.at += len + 1;
        Ok(line)
    }

    /// What is on the stack above the last mark is nobody else's.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, String> {
        if self.stack.len() <= self.floor() {
            return Err("its pickle takes more values than it has".into());
        }
        self.stack.pop().ok_or_else(|| "its pickle takes more values than it has".into())
    }

    fn last(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let first = self.stack.len().checked_sub(count).filter(|&first| first >= self.floor());
        Ok(self.stack.split_off(first.ok_or("its pickle takes more values than it has")?))
    }

    fn marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("its pickle has no mark where it needs one")?;
        Ok(self.stack.split_off(mark))
    }

    fn list(&mut self) -> Result<&mut Vec<Value>, String> {
        match self.stack.last_mut() {
            Some(Value::List(list)) => Ok(list),
            _ => Err("its pickle adds to something that is no list".into()),
        }
    }

    fn dict(&mut self) -> Result<&mut Vec<(Value, Value)>, String> {
        match self.stack.last_mut() {
            Some(Value::Dict(dict)) => Ok(dict),
            _ => Err("its pickle adds to something that is no dictionary".into()),
        }
    }

    fn remember(&mut self, place: usize) -> Result<(), String> {
        if place > self.memo.len() {
            return Err("its pickle remembers values out of order".into());
        }
        let value = match self.stack.last() {
            Some(Value::List(_) | Value::Dict(_)) => Value::Again,
            Some(value) => value.clone(),
            None => return Err("its pickle remembers nothing".into()),
        };
        if place == self.memo.len() {
            self.memo.push(value);
        } else {
            self.memo[place] = value;
        }
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Result<(), String> {
        let value = self.memo.get(place).cloned().ok_or("its pickle recalls what it never had")?;
        self.stack.push(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        read(bytes).unwrap_err()
    }

    #[test]
    fn code_is_refused_by_name() {
        // os.system("true"), as in every warning about pickles.
        let hostile = b"cos\nsystem\n(X\x04\0\0\0truetR.";
        assert!(refused(hostile).contains("`os.system`"));
        for name in ["builtins\neval", "torch\nload", "collections\ndefaultdict", "torch._utils\n__class__"] {
            assert!(refused(format!("c{name}\n.").as_bytes()).contains("is not run"), "{name}");
        }
        // The other instructions that make objects or call something.
        for instruction in [b'i', b'o', 0x81, 0x92, 0x93, 0x82, b'P', b'I', b'S', b'd', b'l', 0x97] {
            assert!(refused(&[b'(', instruction]).contains("instruction"), "{instruction:#x}");
        }
        assert!(refused(b"c\x1b[31m\n\x1b]\n.").contains("\\u001b"), "no control characters in messages");
    }

    #[test]
    fn damaged_and_endless_pickles_are_errors() {
        for bytes in [
            &b""[..],
            b"(",
            b"X\xff\xff\xff\xffa",
            b"X\x02\0\0\0\xff\xfe.",
            b"\x85.",
            b"R.",
            b"u",
            b"}(K\x01u.",
            b"h\x07.",
            b"q\x01",
            b"Kxq\x05.",
            b"ctorch",
            b".",
            b"(.",
            b"K\x01(.",
            b"]K\x01s.",
            b"a",
            b"\x8a\xff",
            b"J\x01",
            b"Q",
            b"NQ.",
            b")Q.",
        ] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        assert!(refused(&vec![b'N'; LONGEST + 1]).contains("instructions"));
        // A tuple of two of the one before, again and again: two to the depth values, if they were copied.
        let nested = |depth: u8| {
            let pairs = (0..depth).flat_map(|level| [b'h', level, b'h', level, 0x86, b'q', level + 1]);
            [b")q\0".to_vec(), pairs.collect(), b".".to_vec()].concat()
        };
        assert!(matches!(read(&nested(12)).unwrap().0, Value::Tuple(parts, 13) if parts.len() == 2));
        assert!(refused(&nested(60)).contains("too deep"));
        assert!(
            refused(&[b"}K\x01".repeat(1000), b"}".to_vec(), b"s".repeat(1000)].concat())
                .contains("too deep")
        );
    }

    #[test]
    fn numbers_and_texts_are_those_that_were_written() {
        let (value, len) = read(
            b"\x80\x02(K\xffM\x01\x02J\xff\xff\xff\xff\x8a\x02\xff\x00\x8a\x01\xfeX\x01\0\0\0a\x88Nt.rest",
        )
        .unwrap();
        let Value::Tuple(parts, _) = value else { panic!("{value:?}") };
        let int = Value::Int;
        assert_eq!(parts[..5], [int(255), int(513), int(-1), int(255), int(-2)]);
        assert_eq!(parts[5..], [Value::Text("a".into()), Value::Bool(true), Value::Nothing]);
        assert_eq!(len, 30);
    }
}
