//! PLY: a header that says what follows, then text or binary numbers of either byte order. Coordinates and the corners of
//! faces are read, everything else is passed over.

use super::{Builder, MAX_TRIANGLES, MAX_VERTICES, ReadError, words};
use crate::mesh::Mesh;

const FORMAT: &str = "PLY";

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Text,
    Little,
    Big,
}

#[derive(Debug, Clone, Copy)]
enum Type {
    Signed(usize),
    Unsigned(usize),
    Float,
    Double,
}

impl Type {
    fn parse(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"char" | b"int8" => Self::Signed(1),
            b"short" | b"int16" => Self::Signed(2),
            b"int" | b"int32" => Self::Signed(4),
            b"uchar" | b"uint8" => Self::Unsigned(1),
            b"ushort" | b"uint16" => Self::Unsigned(2),
            b"uint" | b"uint32" => Self::Unsigned(4),
            b"float" | b"float32" => Self::Float,
            b"double" | b"float64" => Self::Double,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Signed(bytes) | Self::Unsigned(bytes) => bytes,
            Self::Float => 4,
            Self::Double => 8,
        }
    }

    /// The number in so many bytes, the lowest first.
    fn number(self, little: [u8; 8]) -> f64 {
        match self {
            Self::Unsigned(_) => u64::from_le_bytes(little) as f64,
            Self::Signed(bytes) => {
                let unused = 64 - 8 * bytes as u32;
                ((i64::from_le_bytes(little) << unused) >> unused) as f64
            }
            Self::Float => f64::from(f32::from_le_bytes([little[0], little[1], little[2], little[3]])),
            Self::Double => f64::from_le_bytes(little),
        }
    }
}

struct Property {
    name: Vec<u8>,
    /// Type of the count in front of a list.
    count: Option<Type>,
    item: Type,
}

struct Element {
    name: Vec<u8>,
    rows: usize,
    properties: Vec<Property>,
}

/// The numbers behind the header.
struct Numbers<'a> {
    encoding: Encoding,
    rest: &'a [u8],
}

impl Numbers<'_> {
    fn next(&mut self, kind: Type) -> Option<f64> {
        match self.encoding {
            Encoding::Text => self.word(),
            Encoding::Little | Encoding::Big => self.binary(kind),
        }
    }

    fn word(&mut self) -> Option<f64> {
        let text = self.rest.trim_ascii_start();
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        std::str::from_utf8(word).ok()?.parse().ok()
    }

    fn binary(&mut self, kind: Type) -> Option<f64> {
        let (bytes, rest) = self.rest.split_at_checked(kind.bytes())?;
        self.rest = rest;
        let mut little = [0; 8];
        little[..bytes.len()].copy_from_slice(bytes);
        if matches!(self.encoding, Encoding::Big) {
            little[..bytes.len()].reverse();
        }
        Some(kind.number(little))
    }
}

pub(super) fn read(file: &[u8]) -> Result<Mesh, ReadError> {
    let mut builder = Builder::new(FORMAT);
    let (elements, mut numbers) = header(file, &builder)?;
    for element in &elements {
        // Rows of nothing take no bytes, so nothing would bound them.
        if element.properties.is_empty() {
            continue;
        }
        for _ in 0..element.rows {
            row(element, &mut numbers, &mut builder)?;
        }
    }
    builder.finish()
}

fn header<'a>(file: &'a [u8], builder: &Builder) -> Result<(Vec<Element>, Numbers<'a>), ReadError> {
    let (mut elements, mut encoding) = (Vec::new(), None);
    let mut rest = file;
    let mut number = 0;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, behind) = rest.split_at(end + 1);
        rest = behind;
        number += 1;
        let words: Vec<&[u8]> = words(line).take(6).collect();
        let wrong = || builder.damaged(format!("line {number} of its header cannot be understood"));
        match words.as_slice() {
            [b"end_header"] => {
                let encoding = encoding.ok_or_else(|| builder.damaged("its header names no format"))?;
                return Ok((elements, Numbers { encoding, rest }));
            }
            [b"format", name, ..] => encoding = Some(parse_encoding(name).ok_or_else(wrong)?),
            [b"element", name, rows, ..] => elements.push(element(name, rows).ok_or_else(wrong)??),
            [b"property", described @ ..] => {
                let element: &mut Element = elements.last_mut().ok_or_else(wrong)?;
                element.properties.push(property(described).ok_or_else(wrong)?);
            }
            _ => {}
        }
    }
    Err(builder.damaged("its header has no line `end_header`"))
}

fn parse_encoding(name: &[u8]) -> Option<Encoding> {
    Some(match name {
        b"ascii" => Encoding::Text,
        b"binary_little_endian" => Encoding::Little,
        b"binary_big_endian" => Encoding::Big,
        _ => return None,
    })
}

fn element(name: &[u8], rows: &[u8]) -> Option<Result<Element, ReadError>> {
    let rows: usize = std::str::from_utf8(rows).ok()?.parse().ok()?;
    let most = match name {
        b"vertex" => MAX_VERTICES,
        b"face" => MAX_TRIANGLES,
        _ => usize::MAX,
    };
    let element = Element { name: name.to_vec(), rows, properties: Vec::new() };
    Some(if rows > most { Err(ReadError::TooLarge) } else { Ok(element) })
}

fn property(described: &[&[u8]]) -> Option<Property> {
    match *described {
        [b"list", count, item, name] => {
            Some(Property { name: name.to_vec(), count: Some(Type::parse(count)?), item: Type::parse(item)? })
        }
        [item, name] => Some(Property { name: name.to_vec(), count: None, item: Type::parse(item)? }),
        _ => None,
    }
}

fn row(element: &Element, numbers: &mut Numbers<'_>, builder: &mut Builder) -> Result<(), ReadError> {
    let (mut place, mut corners) = ([0.0; 3], None);
    for property in &element.properties {
        let cut = || {
            let name = String::from_utf8_lossy(&element.name);
            builder.damaged(format!(
                "it ends, or has something else than a number, within an element `{}`",
                name.escape_debug()
            ))
        };
        let Some(count) = property.count else {
            let value = numbers.next(property.item).ok_or_else(cut)?;
            let axis = [b"x", b"y", b"z"].iter().position(|axis| axis.as_slice() == property.name);
            axis.into_iter().for_each(|axis| place[axis] = value as f32);
            continue;
        };
        let count = numbers.next(count).ok_or_else(cut)? as usize;
        let items: Option<Vec<f64>> = (0..count).map(|_| numbers.next(property.item)).collect();
        let items = items.ok_or_else(cut)?;
        if matches!(property.name.as_slice(), b"vertex_indices" | b"vertex_index") {
            corners = Some(items);
        }
    }
    match (element.name.as_slice(), corners) {
        (b"vertex", _) => builder.vertex(place).map(drop),
        (b"face", Some(corners)) => builder.face(&indices(&corners, builder)?),
        _ => Ok(()),
    }
}

fn indices(corners: &[f64], builder: &Builder) -> Result<Vec<u32>, ReadError> {
    let index = |&corner: &f64| {
        let whole = corner >= 0.0 && corner <= f64::from(u32::MAX) && corner.fract() == 0.0;
        whole.then_some(corner as u32).ok_or_else(|| builder.damaged(format!("a face names vertex {corner}")))
    };
    corners.iter().map(index).collect()
}
