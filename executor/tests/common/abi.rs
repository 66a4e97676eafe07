//! Reads the table of host functions, `executor/ABI.md`, for tests.

/// The table.
const TABLE: &str = include_str!("../../ABI.md");

/// A host function.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) result: Option<String>,
    /// A version of Lunatic, or a plain number for a version of the extensions.
    pub(crate) since: String,
}

/// The kind of an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    /// A pointer to a result of this number of bytes.
    Place(u32),
    /// A pointer to elements of this number of bytes. The next argument is the number of elements.
    Array(u32),
    /// A pointer to text. The next argument is its length.
    Text,
    /// The number of elements.
    Length,
    /// Five arguments.
    Address,
    /// The identifier of a resource of the process.
    Identifier(String),
    /// Any number of this type.
    Number(&'static str),
}

impl Row {
    /// All rows of the table.
    pub(crate) fn all() -> Vec<Row> {
        let mut module = "";
        let mut rows = Vec::new();
        for line in TABLE.lines() {
            if let Some(heading) = line.strip_prefix("## ") {
                module = heading;
            } else if let Some(row) = line.strip_prefix("| `") {
                rows.push(Row::read(module, row));
            }
        }
        assert!(rows.len() > 100, "the table is there");
        rows
    }

    fn read(module: &str, row: &str) -> Row {
        let (signature, rest) = row.split_once("` | ").expect("a row has columns");
        let (name, types) = signature.split_once('(').expect("a function has parameters, or ()");
        let (params, result) = types.split_once(')').expect("what was opened is closed");
        Row {
            module: module.into(),
            name: name.into(),
            params: params.split(", ").filter(|param| !param.is_empty()).map(Param::read).collect(),
            result: result.strip_prefix(" -> ").map(String::from),
            since: rest.split(" |").next().expect("a row has columns").into(),
        }
    }

    /// `module::name(i32, i64) -> i64`.
    pub(crate) fn signature(&self) -> String {
        let types: Vec<_> = self.types().collect();
        let result: String = self.result.iter().map(|ty| format!(" -> {ty}")).collect();
        format!("{}::{}({}){result}", self.module, self.name, types.join(", "))
    }

    /// The types of its parameters.
    pub(crate) fn types(&self) -> impl Iterator<Item = &'static str> {
        self.params.iter().flat_map(Param::types).copied()
    }
}

impl Param {
    fn read(text: &str) -> Param {
        let sized = |prefix: &str| {
            let size = text.strip_prefix(prefix)?.strip_prefix('[')?.strip_suffix(']')?;
            Some(size.parse().expect("a number of bytes"))
        };
        if let Some(size) = sized("place") {
            return Param::Place(size);
        }
        if let Some(size) = sized("array") {
            return Param::Array(size);
        }
        match text {
            "bytes" | "buffer" => Param::Array(1),
            "buffers" => Param::Array(8),
            "params" => Param::Array(1),
            "text" => Param::Text,
            "length" => Param::Length,
            "address" => Param::Address,
            "i32" => Param::Number("i32"),
            "f64" => Param::Number("f64"),
            "i64" | "process" | "node" | "tag" | "time" | "config?" | "module?" => Param::Number("i64"),
            other => Param::Identifier(other.into()),
        }
    }

    pub(crate) fn types(&self) -> &[&'static str] {
        match self {
            Param::Place(_) | Param::Array(_) | Param::Text | Param::Length => &["i32"],
            Param::Address => &["i32"; 5],
            Param::Identifier(_) => &["i64"],
            Param::Number(ty) => std::slice::from_ref(ty),
        }
    }
}
