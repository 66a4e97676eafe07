//! The encoding of values between guest and host: bincode 1 of the types in Lunatic's guest library.
//!
//! ```text
//! u32, i32, i64, f64   little-endian
//! usize, a length      8 bytes, little-endian
//! string, bytes        length, content
//! list                 length, elements
//! option               1 byte: 0, or 1 and the value
//! enum                 4 bytes: which alternative, in the order of its declaration; its fields
//!
//! BindList             list of (BindKey, BindValue)
//! BindKey              None | Numeric(usize) | String(string)
//! BindValue            Null | Blob(bytes) | Text(string) | Double(f64) | Int(i32) | Int64(i64)
//! SqliteRow            list of SqliteValue
//! SqliteValue          Null | Blob(bytes) | Text(string) | Double(f64) | Integer(i64) | I64(i64)
//! SqliteError          option of u32, option of string
//! ```
//!
//! Decoding allocates nothing, whatever the lengths are: decoded values borrow the input. Trailing bytes are ignored,
//! as in bincode.

use super::error::SqlError;

/// Error for malformed input from a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the values to bind are malformed at byte {at}")]
pub struct Malformed {
    at: usize,
}

/// The parameter to bind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key<'a> {
    /// The first parameter, used for a value without a key.
    None,
    Number(u64),
    Name(&'a str),
}

/// A value to bind, or a value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Blob(&'a [u8]),
    Text(&'a str),
    Double(f64),
    Integer(i64),
}

/// Iterator over the pairs of a `BindList`. Ends after a malformed pair.
pub struct Binds<'a> {
    input: Reader<'a>,
    left: u64,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Binds<'a> {
    /// Starts decoding.
    ///
    /// # Errors
    ///
    /// Returns an error if the list's length is incomplete.
    pub fn new(bytes: &'a [u8]) -> Result<Binds<'a>, Malformed> {
        let mut input = Reader { bytes, at: 0 };
        let left = input.u64()?;
        Ok(Binds { input, left })
    }
}

impl<'a> Iterator for Binds<'a> {
    type Item = Result<(Key<'a>, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let pair = self.input.key().and_then(|key| Ok((key, self.input.value()?)));
        if pair.is_err() {
            self.left = 0;
        }
        Some(pair)
    }
}

impl<'a> Reader<'a> {
    fn key(&mut self) -> Result<Key<'a>, Malformed> {
        Ok(match self.u32()? {
            0 => Key::None,
            1 => Key::Number(self.u64()?),
            2 => Key::Name(self.str()?),
            _ => return Err(self.malformed()),
        })
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        Ok(match self.u32()? {
            0 => Value::Null,
            1 => Value::Blob(self.bytes()?),
            2 => Value::Text(self.str()?),
            3 => Value::Double(f64::from_le_bytes(self.array()?)),
            4 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            5 => Value::Integer(i64::from_le_bytes(self.array()?)),
            _ => return Err(self.malformed()),
        })
    }

    fn str(&mut self) -> Result<&'a str, Malformed> {
        let malformed = self.malformed();
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let malformed = self.malformed();
        let length = usize::try_from(self.u64()?).map_err(|_| malformed)?;
        let bytes = self.bytes[self.at..].get(..length).ok_or(malformed)?;
        self.at += length;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let array = self.bytes[self.at..].first_chunk().copied().ok_or(self.malformed())?;
        self.at += N;
        Ok(array)
    }

    fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }
}

/// An encoded row.
#[derive(Debug)]
pub struct Row {
    bytes: Vec<u8>,
    /// End offset of each value.
    ends: Vec<usize>,
}

/// Bytes before a row's first value.
const HEAD: usize = size_of::<u64>();

impl Row {
    /// Creates an empty row for `columns` values.
    pub(super) fn with_columns(columns: usize) -> Row {
        Row { bytes: (columns as u64).to_le_bytes().to_vec(), ends: Vec::with_capacity(columns) }
    }

    /// Creates a row of NULLs, which guests read when there is no current row.
    pub fn of_nulls(columns: usize) -> Row {
        let mut row = Row::with_columns(columns);
        (0..columns).for_each(|_| row.push(Value::Null));
        row
    }

    /// Appends a value.
    pub(super) fn push(&mut self, value: Value<'_>) {
        let out = &mut self.bytes;
        match value {
            Value::Null => put_u32(out, 0),
            Value::Blob(bytes) => {
                put_u32(out, 1);
                put_bytes(out, bytes);
            }
            Value::Text(text) => {
                put_u32(out, 2);
                put_bytes(out, text.as_bytes());
            }
            Value::Double(number) => {
                put_u32(out, 3);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Value::Integer(number) => {
                put_u32(out, 4);
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        self.ends.push(self.bytes.len());
    }

    /// Returns the whole row, a `SqliteRow`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns a column, a `SqliteValue`, or `None` if the index is out of range.
    pub fn column(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(HEAD, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }
}

/// Encodes a list of strings.
pub fn strings(strings: &[String]) -> Vec<u8> {
    let mut out = (strings.len() as u64).to_le_bytes().to_vec();
    strings.iter().for_each(|string| put_bytes(&mut out, string.as_bytes()));
    out
}

/// Encodes a `SqliteError`. `None` has neither code nor message.
pub fn error(error: Option<&SqlError>) -> Vec<u8> {
    let Some(error) = error else { return vec![0, 0] };
    let mut out = vec![1];
    put_u32(&mut out, error.code);
    out.push(1);
    put_bytes(&mut out, error.message.as_bytes());
    out
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;

    // The guests' types, for the original encoder.

    #[derive(Clone, Debug, Serialize)]
    enum BindKey {
        None,
        Numeric(usize),
        String(String),
    }

    #[derive(Clone, Debug, Serialize)]
    enum BindValue {
        Null,
        Blob(Vec<u8>),
        Text(String),
        Double(f64),
        Int(i32),
        Int64(i64),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum SqliteValue {
        Null,
        Blob(Vec<u8>),
        Text(String),
        Double(f64),
        Integer(i64),
        #[allow(dead_code)] // Never encoded by the host.
        I64(i64),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct SqliteError {
        code: Option<u32>,
        message: Option<String>,
    }

    fn key() -> impl Strategy<Value = BindKey> {
        prop_oneof![
            Just(BindKey::None),
            any::<usize>().prop_map(BindKey::Numeric),
            ".{0,9}".prop_map(BindKey::String)
        ]
    }

    fn value() -> impl Strategy<Value = BindValue> {
        prop_oneof![
            Just(BindValue::Null),
            any::<Vec<u8>>().prop_map(BindValue::Blob),
            ".{0,9}".prop_map(BindValue::Text),
            (-1e300..1e300).prop_map(BindValue::Double),
            any::<i32>().prop_map(BindValue::Int),
            any::<i64>().prop_map(BindValue::Int64),
        ]
    }

    fn read_key(key: &BindKey) -> Key<'_> {
        match key {
            BindKey::None => Key::None,
            BindKey::Numeric(number) => Key::Number(*number as u64),
            BindKey::String(name) => Key::Name(name),
        }
    }

    fn read_value(value: &BindValue) -> Value<'_> {
        match value {
            BindValue::Null => Value::Null,
            BindValue::Blob(bytes) => Value::Blob(bytes),
            BindValue::Text(text) => Value::Text(text),
            BindValue::Double(number) => Value::Double(*number),
            BindValue::Int(number) => Value::Integer((*number).into()),
            BindValue::Int64(number) => Value::Integer(*number),
        }
    }

    proptest! {
        #[test]
        fn bincode_output_is_decoded(list in prop::collection::vec((key(), value()), 0..6), cut in 1usize..9) {
            let bytes = bincode::serialize(&list).unwrap();
            let read: Vec<_> = Binds::new(&bytes).unwrap().map(Result::unwrap).collect();
            let meant: Vec<_> = list.iter().map(|(key, value)| (read_key(key), read_value(value))).collect();
            prop_assert_eq!(read, meant);
            let short = &bytes[..bytes.len() - cut.min(bytes.len())];
            let is_malformed = Binds::new(short).is_err_and(|_| true)
                || Binds::new(short).is_ok_and(|mut binds| binds.any(|pair| pair.is_err()));
            prop_assert!(is_malformed);
        }

        #[test]
        fn any_bytes_can_be_read(bytes in any::<Vec<u8>>()) {
            if let Ok(binds) = Binds::new(&bytes) {
                prop_assert!(binds.count() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_length_takes_no_memory() {
        let mut bytes = (1u64 << 60).to_le_bytes().to_vec();
        assert_eq!(Binds::new(&bytes).unwrap().collect::<Vec<_>>(), [Err(Malformed { at: 8 })]);
        bytes = bincode::serialize(&vec![(BindKey::None, BindValue::Blob(vec![1]))]).unwrap();
        bytes[16..24].copy_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(Binds::new(&bytes).unwrap().next().unwrap().is_err());
        bytes[12] = 9;
        assert!(Binds::new(&bytes).unwrap().next().unwrap().is_err());
    }

    #[test]
    fn bincode_decodes_our_output() {
        let values =
            [Value::Null, Value::Blob(b"\xff"), Value::Text("ä"), Value::Double(0.5), Value::Integer(-7)];
        let mut row = Row::with_columns(values.len());
        values.into_iter().for_each(|value| row.push(value));
        let read: Vec<SqliteValue> = bincode::deserialize(row.bytes()).unwrap();
        let meant = [
            SqliteValue::Null,
            SqliteValue::Blob(vec![0xff]),
            SqliteValue::Text("ä".into()),
            SqliteValue::Double(0.5),
            SqliteValue::Integer(-7),
        ];
        assert_eq!(read, meant);
        for (index, value) in meant.iter().enumerate() {
            assert_eq!(&bincode::deserialize::<SqliteValue>(row.column(index).unwrap()).unwrap(), value);
        }
        assert_eq!(row.column(5), None);
        assert_eq!(bincode::deserialize::<Vec<SqliteValue>>(Row::of_nulls(2).bytes()).unwrap().len(), 2);
        let names = ["a".to_owned(), String::new()];
        assert_eq!(bincode::deserialize::<Vec<String>>(&strings(&names)).unwrap(), names);
        let decoded: SqliteError = bincode::deserialize(&error(Some(&SqlError::new(1, "no")))).unwrap();
        assert_eq!(decoded, SqliteError { code: Some(1), message: Some("no".into()) });
        let decoded: SqliteError = bincode::deserialize(&error(None)).unwrap();
        assert_eq!(decoded, SqliteError { code: None, message: None });
    }
}
