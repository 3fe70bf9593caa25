//! Recorded arrivals out of a CSV or Parquet file: one row a request, with a column of moments and maybe one that names
//! the entry. The rows may come in any order. What is made of them is [`crate::plan::Recording`]'s affair.

use std::fmt::Display;
use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use proofload_run::units::NS_PER_S;

/// Most rows: 400 MB of moments in memory.
const MOST_ROWS: usize = 50_000_000;
/// Nanoseconds in a unit, by the ending of a column's name.
const UNITS: [(&str, u64); 4] = [("_s", 1_000_000_000), ("_ms", 1_000_000), ("_us", 1000), ("_ns", 1)];
/// Columns that are taken for moments when none is named: in seconds if they are numbers.
const USUAL: [&str; 5] = ["timestamp", "time", "offset", "arrival_time", "start_time"];

/// What a file recorded.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rows {
    /// When each request came, in whatever epoch the file has.
    pub(super) moments_ns: Vec<u64>,
    /// What each asked for; empty without such a column.
    pub(super) entries: Vec<u16>,
}

/// Which columns are read.
pub(super) struct Columns<'a> {
    /// The column of moments; the first that looks like one when not stated.
    pub(super) moments: Option<&'a str>,
    /// The column of entries, if it is to be read.
    pub(super) entries: Option<&'a str>,
    /// The entries there are.
    pub(super) known: &'a [&'a str],
}

/// Reads a recording.
///
/// # Errors
/// What is wrong, in which row, and what would be right.
pub(super) fn read(path: &Path, columns: &Columns<'_>) -> Result<Rows, String> {
    let rows = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => read_parquet(path, columns),
        Some("csv") => read_csv(path, columns),
        _ => Err("is neither .csv nor .parquet".to_owned()),
    };
    let rows = rows.map_err(|e| format!("{}: {e}", path.display()))?;
    if rows.moments_ns.is_empty() {
        return Err(format!("{}: has no rows; record at least one request", path.display()));
    }
    Ok(rows)
}

/// Where the columns stand, and the unit of the moments.
struct Places {
    moments: usize,
    unit_ns: u64,
    entries: Option<usize>,
}

impl Columns<'_> {
    fn locate(&self, names: &[String]) -> Result<Places, String> {
        let find = |wanted: &str| {
            let missing = || format!("has no column `{wanted}`; its columns are {}", names.join(", "));
            names.iter().position(|name| name == wanted).ok_or_else(missing)
        };
        let moments = match self.moments {
            Some(wanted) => find(wanted)?,
            None => guess(names)?,
        };
        let unit_ns = unit_of(&names[moments]).unwrap_or(NS_PER_S);
        Ok(Places { moments, unit_ns, entries: self.entries.map(find).transpose()? })
    }

    fn entry(&self, word: &str) -> Result<u16, String> {
        let at = self.known.iter().position(|name| *name == word);
        let unknown = || format!("`{word}` is no entry of the mix; there are {}", self.known.join(", "));
        at.map(|at| at as u16).ok_or_else(unknown)
    }
}

fn unit_of(name: &str) -> Option<u64> {
    let name = name.to_ascii_lowercase();
    UNITS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, unit_ns)| *unit_ns)
}

fn guess(names: &[String]) -> Result<usize, String> {
    let usual = |name: &String| USUAL.contains(&name.to_ascii_lowercase().as_str());
    let with_unit = names.iter().position(|name| unit_of(name).is_some());
    with_unit.or_else(|| names.iter().position(usual)).ok_or_else(|| {
        format!("no column looks like moments; name one with column = \"…\": there are {}", names.join(", "))
    })
}

fn read_csv(path: &Path, columns: &Columns<'_>) -> Result<Rows, String> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|e| format!("cannot be read: {e}"))?;
    let names: Vec<String> = reader.headers().map_err(|e| e.to_string())?.iter().map(str::to_owned).collect();
    let places = columns.locate(&names)?;
    let mut rows = Rows::default();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|e| e.to_string())? {
        let line = record.position().map_or(0, csv::Position::line);
        let at = |e: String| format!("line {line}: {e}");
        let field = |place: usize| record.get(place).unwrap_or_default();
        rows.moments_ns.push(moment_of_text(field(places.moments), places.unit_ns).map_err(at)?);
        if let Some(place) = places.entries {
            rows.entries.push(columns.entry(field(place)).map_err(at)?);
        }
        rows.check_length()?;
    }
    Ok(rows)
}

fn read_parquet(path: &Path, columns: &Columns<'_>) -> Result<Rows, String> {
    let unreadable = |e: &dyn Display| format!("cannot be read: {e}");
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    let reader = SerializedFileReader::new(file).map_err(|e| unreadable(&e))?;
    let schema = reader.metadata().file_metadata().schema();
    let names: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let places = columns.locate(&names)?;
    let mut rows = Rows::default();
    for (number, row) in reader.get_row_iter(None).map_err(|e| unreadable(&e))?.enumerate() {
        let at = |e: String| format!("row {}: {e}", number + 1);
        let row = row.map_err(|e| at(e.to_string()))?;
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        rows.moments_ns.push(moment_of_field(fields[places.moments], places.unit_ns).map_err(at)?);
        if let Some(place) = places.entries {
            let Field::Str(word) = fields[place] else { return Err(at("the entry is no text".to_owned())) };
            rows.entries.push(columns.entry(word).map_err(at)?);
        }
        rows.check_length()?;
    }
    Ok(rows)
}

impl Rows {
    fn check_length(&self) -> Result<(), String> {
        if self.moments_ns.len() > MOST_ROWS {
            return Err(format!("has more than {MOST_ROWS} rows; replay a part of it"));
        }
        Ok(())
    }
}

/// A moment that is a number in the column's unit, or a date and time.
fn moment_of_text(text: &str, unit_ns: u64) -> Result<u64, String> {
    // Whole nanoseconds since 1970 are too long for a float.
    if unit_ns == 1
        && let Ok(ns) = text.parse::<u64>()
    {
        return Ok(ns);
    }
    if let Ok(number) = text.parse::<f64>() {
        return moment(number, unit_ns);
    }
    let dated = humantime::parse_rfc3339_weak(text).ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let dated = dated.and_then(|since| u64::try_from(since.as_nanos()).ok());
    dated.ok_or_else(|| format!("`{text}` is no moment; write a number, or a date such as 2026-01-31 18:15:46.25"))
}

fn moment_of_field(field: &Field, unit_ns: u64) -> Result<u64, String> {
    let far = || "lies too far in the future".to_owned();
    let whole = |n: u64| n.checked_mul(unit_ns).ok_or_else(far);
    match field {
        Field::Float(number) => moment(f64::from(*number), unit_ns),
        Field::Double(number) => moment(*number, unit_ns),
        Field::Int(number) => moment(f64::from(*number), unit_ns),
        Field::Long(number) => u64::try_from(*number).map_err(|_| "is negative".to_owned()).and_then(whole),
        Field::UInt(number) => whole(u64::from(*number)),
        Field::ULong(number) => whole(*number),
        Field::TimestampMillis(ms) => moment(*ms as f64, 1_000_000),
        Field::TimestampMicros(us) => {
            u64::try_from(*us).map_err(|_| "is negative".to_owned())?.checked_mul(1000).ok_or_else(far)
        }
        Field::Str(text) => moment_of_text(text, unit_ns),
        other => Err(format!("`{other}` is no moment")),
    }
}

fn moment(number: f64, unit_ns: u64) -> Result<u64, String> {
    let ns = number * unit_ns as f64;
    if !(0.0..1e19).contains(&ns) {
        return Err(format!("{number} is no moment; moments are 0 or later"));
    }
    Ok(ns.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_csv(text: &str, moments: Option<&str>, entries: Option<&str>) -> Result<Rows, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        std::fs::write(&path, text).unwrap();
        read(&path, &Columns { moments, entries, known: &["a", "b"] })
    }

    #[test]
    fn moments_in_their_usual_forms() {
        let check = |text: &str, expected: &[u64]| {
            assert_eq!(from_csv(text, None, None).unwrap().moments_ns, expected, "{text}");
        };
        check("offset_s\n0.5\n2\n", &[500_000_000, 2_000_000_000]);
        check("id, sent_ms\n1, 250\n", &[250_000_000]);
        check("t_ns\n1700000000000000001\n", &[1_700_000_000_000_000_001]);
        check("Timestamp,tokens\n5,472\n", &[5_000_000_000]);
        check("TIMESTAMP\n1970-01-01 00:00:02.2500000\n", &[2_250_000_000]);
        check("time\n1970-01-01T00:00:03Z\n", &[3_000_000_000]);
    }

    #[test]
    fn entries_are_named_and_mistakes_have_a_line() {
        assert_eq!(from_csv("t_s,kind\n1,b\n0,a\n", None, Some("kind")).unwrap().entries, [1, 0]);
        let check = |text: &str, moments: Option<&str>, entries: Option<&str>, expected: &str| {
            let message = from_csv(text, moments, entries).unwrap_err();
            assert!(message.contains(expected) && message.contains("trace.csv"), "{message}");
        };
        check("t_s,kind\n1,b\n0,c\n", None, Some("kind"), "line 3: `c` is no entry of the mix; there are a, b");
        check("t_s\nsoon\n", None, None, "line 2: `soon` is no moment");
        check("t_s\n-1\n", None, None, "0 or later");
        check("x,y\n1,2\n", None, None, "no column looks like moments");
        check("x,y\n1,2\n", Some("z"), None, "has no column `z`; its columns are x, y");
        check("t_s\n", None, None, "has no rows");
        check("t_s,k\n1\n", None, None, "found record with 1 fields");
    }

    #[test]
    fn moments_of_parquet_stay_within_64_bits() {
        let check = |field: Field, unit_ns: u64, expected: Result<u64, &str>| {
            assert_eq!(moment_of_field(&field, unit_ns).as_ref().map_err(String::as_str).copied(), expected, "{field}");
        };
        check(Field::TimestampMicros(7), 1, Ok(7000));
        check(Field::TimestampMicros(i64::MAX), 1, Err("lies too far in the future"));
        check(Field::TimestampMicros(-1), 1, Err("is negative"));
        check(Field::ULong(u64::MAX), 1000, Err("lies too far in the future"));
    }

    #[test]
    fn parquet_files_are_read_too() {
        use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
        use parquet::file::writer::SerializedFileWriter;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.parquet");
        let schema = "message m { REQUIRED DOUBLE offset_ms; REQUIRED BYTE_ARRAY kind (UTF8); }";
        let schema = std::sync::Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
        let mut writer =
            SerializedFileWriter::new(File::create(&path).unwrap(), schema, std::sync::Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[2.5, 1.0], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&["b", "a"].map(ByteArray::from), None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let columns = Columns { moments: None, entries: Some("kind"), known: &["a", "b"] };
        let expected = Rows { moments_ns: vec![2_500_000, 1_000_000], entries: vec![1, 0] };
        assert_eq!(read(&path, &columns).unwrap(), expected);
        assert!(read(&folder.path().join("x.parquet"), &columns).unwrap_err().contains("cannot be read"));
        assert!(read(&folder.path().join("x.txt"), &columns).unwrap_err().contains("neither .csv nor .parquet"));
    }
}
