//! A column of any table: a name and as many values as the table has rows.

/// Values of one kind. What is missing is `None`, or no number.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Whole numbers.
    U64(Vec<u64>),
    /// Whole numbers, of which some may be missing.
    OptionalU64(Vec<Option<u64>>),
    /// Numbers; those that are none are missing.
    F64(Vec<f64>),
    /// Words.
    Text(Vec<String>),
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// With its unit.
    pub name: &'static str,
    /// As many as the table has rows.
    pub values: Values,
}

impl Column {
    /// A column.
    pub fn new(name: &'static str, values: Values) -> Self {
        Self { name, values }
    }

    /// How many values.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::U64(values) => values.len(),
            Values::OptionalU64(values) => values.len(),
            Values::F64(values) => values.len(),
            Values::Text(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A value as text; empty where it is missing or there is none.
    pub fn text(&self, row: usize) -> String {
        let found = match &self.values {
            Values::U64(values) => values.get(row).map(u64::to_string),
            Values::OptionalU64(values) => values.get(row).copied().flatten().map(|value| value.to_string()),
            Values::F64(values) => values.get(row).filter(|value| value.is_finite()).map(f64::to_string),
            Values::Text(values) => values.get(row).cloned(),
        };
        found.unwrap_or_default()
    }
}
