//! What things cost, and what is known of the machine: the built-in table, a user's file over it, and what the command line
//! adds. First as written, where an unknown key is a mistake, then validated, where all mistakes are told at once.

use proofload_run::findings::PriceUnit;
use serde::{Deserialize, Serialize};

use super::traffic::{Traffic, TrafficAsWritten};

/// The prices that come with the program.
const BUILT_IN: &str = include_str!("prices.toml");

/// A file as written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AsWritten {
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_w: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_per_hour: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headroom: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spare: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<TrafficAsWritten>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    price: Vec<PriceAsWritten>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceAsWritten {
    name: String,
    per: String,
    price: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
    currency: String,
    date: String,
    source: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    matches: Vec<String>,
}

/// A price, validated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Price {
    pub(super) name: String,
    pub(super) unit: PriceUnit,
    /// Of one unit.
    pub(super) per_hour: f64,
    pub(super) range: Option<[f64; 2]>,
    pub(super) currency: String,
    pub(super) date: String,
    pub(super) source: String,
    matches: Vec<String>,
}

impl Price {
    /// How many words of the GPU's name say that the price is for it; `None` where they do not.
    fn words_for(&self, gpu: &str) -> Option<usize> {
        let name = words(gpu);
        let fits = |pattern: &&String| words(pattern).iter().all(|word| name.contains(word));
        self.matches.iter().filter(fits).map(|pattern| words(pattern).len()).max()
    }
}

/// The words of a GPU's name: `NVIDIA A100-SXM4-80GB` has four, and `A10` is none of them.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect()
}

/// Prices, and what is known of the machine and of the demand.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    prices: Vec<Price>,
    /// Name of the price of the machine that served, where the user says so.
    pub(super) machine: Option<String>,
    /// How many units a machine has, where the user says so.
    pub(super) units: Option<f64>,
    /// How many such machines served, 1 or more.
    pub(super) replicas: u32,
    /// Power of all GPUs while idle, W, where the user says so.
    pub(super) idle_w: Option<f64>,
    /// What the cache itself costs for an hour.
    pub(super) cache_per_hour: f64,
    /// Share of what is sustainable that is left free, 0 to below 1.
    pub(super) headroom: f64,
    /// Machines beyond those that the demand needs.
    pub(super) spare: u32,
    /// The demand, where the user says so.
    pub(super) traffic: Option<Traffic>,
}

/// What the command line says of the machine, over what a file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stated {
    /// Name of its price.
    pub machine: Option<String>,
    /// How many units it has.
    pub units: Option<f64>,
    /// How many of them served.
    pub replicas: Option<u32>,
    /// Text of a file with a `[traffic]` table, or of a CSV file with a rate a line.
    pub traffic: Option<String>,
}

impl Stated {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Something that is wrong with a file of prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}; {remedy}")]
pub struct Problem {
    /// Where, such as `price "h200", low`.
    pub place: String,
    /// What is wrong there.
    pub what: String,
    /// What would be right.
    pub remedy: String,
}

impl Problem {
    pub(super) fn new(place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), remedy: remedy.into() }
    }
}

/// All that is wrong with a file of prices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct TermsError(pub Vec<Problem>);

impl Terms {
    /// The built-in prices, files over them, the later over the earlier, and what the command line says over all.
    ///
    /// # Errors
    /// All that is wrong with the files, or with what the command line says.
    pub fn read(files: &[&str], stated: &Stated) -> Result<Self, TermsError> {
        validated(with(together(files)?, stated)?)
    }

    /// The file that says the same as files and the command line together.
    ///
    /// # Errors
    /// As [`Terms::read`].
    pub fn merged(files: &[&str], stated: &Stated) -> Result<String, TermsError> {
        let written = with(together(files)?, stated)?;
        validated(written.clone())?;
        toml::to_string(&written).map_err(|error| TermsError(vec![Problem::new("the file", error.to_string(), "")]))
    }

    /// The price of a name.
    pub(super) fn named(&self, name: &str) -> Option<&Price> {
        self.prices.iter().find(|price| price.name == name)
    }

    /// The price of a GPU, by the most words of its name; of equal ones the last, so the user's before ours.
    pub(super) fn of_gpu(&self, gpu: &str) -> Option<&Price> {
        let fitting = self.prices.iter().filter_map(|price| Some((price.words_for(gpu)?, price)));
        fitting.max_by_key(|(words, _)| *words).map(|(_, price)| price)
    }

    /// The demand, where one is stated.
    pub fn traffic(&self) -> Option<&Traffic> {
        self.traffic.as_ref()
    }

    /// The names of all prices.
    pub fn names(&self) -> Vec<&str> {
        self.prices.iter().map(|price| price.name.as_str()).collect()
    }
}

/// Files as one, the later over the earlier.
fn together(files: &[&str]) -> Result<AsWritten, TermsError> {
    let mut all = AsWritten::default();
    for file in files {
        let next = as_written(file)?;
        let mut price = all.price;
        price.retain(|known| !next.price.iter().any(|new| new.name == known.name));
        price.extend(next.price);
        all = AsWritten {
            machine: next.machine.or(all.machine),
            units: next.units.or(all.units),
            replicas: next.replicas.or(all.replicas),
            idle_w: next.idle_w.or(all.idle_w),
            cache_per_hour: next.cache_per_hour.or(all.cache_per_hour),
            headroom: next.headroom.or(all.headroom),
            spare: next.spare.or(all.spare),
            traffic: next.traffic.or(all.traffic),
            price,
        };
    }
    Ok(all)
}

fn as_written(text: &str) -> Result<AsWritten, TermsError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let known =
            "keys are machine, units, replicas, idle_w, cache_per_hour, headroom, spare, [traffic] and [[price]]";
        TermsError(vec![Problem::new(format!("line {line}"), error.message().trim().replace('\n', " "), known)])
    })
}

/// The file with what the command line says in place of what it says of the same.
fn with(mut written: AsWritten, stated: &Stated) -> Result<AsWritten, TermsError> {
    written.machine = stated.machine.clone().or(written.machine);
    written.units = stated.units.or(written.units);
    written.replicas = stated.replicas.or(written.replicas);
    if let Some(text) = &stated.traffic {
        written.traffic = Some(TrafficAsWritten::read(text).map_err(|problem| TermsError(vec![problem]))?);
    }
    Ok(written)
}

fn validated(written: AsWritten) -> Result<Terms, TermsError> {
    let mut problems = Vec::new();
    let own = as_written(BUILT_IN)?.price;
    let prices = merged(own, &written.price, &mut problems);
    if let Some(name) = written.machine.as_ref().filter(|name| !prices.iter().any(|price| price.name == **name)) {
        let names: Vec<&str> = prices.iter().map(|price| price.name.as_str()).collect();
        let remedy = format!("use one of {}, or add a [[price]] of this name", names.join(", "));
        problems.push(Problem::new("machine", format!("there is no price called {name:?}"), remedy));
    }
    let mut positive = |place: &str, value: Option<f64>, least: f64| {
        if value.is_some_and(|value| !(value.is_finite() && value >= least)) {
            problems.push(Problem::new(
                place,
                "not a number that can be",
                format!("write a number of {least} or more"),
            ));
        }
    };
    positive("units", written.units, 1e-3);
    positive("replicas", written.replicas.map(f64::from), 1.0);
    positive("idle_w", written.idle_w, 0.0);
    positive("cache_per_hour", written.cache_per_hour, 0.0);
    let headroom = written.headroom.unwrap_or(DEFAULT_HEADROOM);
    if !(0.0..0.95).contains(&headroom) {
        problems.push(Problem::new("headroom", format!("{headroom} is no share"), "write 0 to 0.95, such as 0.3"));
    }
    let traffic = written.traffic.as_ref().and_then(|traffic| traffic.validated(&mut problems));
    if !problems.is_empty() {
        return Err(TermsError(problems));
    }
    Ok(Terms {
        prices,
        machine: written.machine,
        units: written.units,
        replicas: written.replicas.unwrap_or(1),
        idle_w: written.idle_w,
        cache_per_hour: written.cache_per_hour.unwrap_or(0.0),
        headroom,
        spare: written.spare.unwrap_or(DEFAULT_SPARE),
        traffic,
    })
}

/// What is left free of what is sustainable, where nothing is said.
const DEFAULT_HEADROOM: f64 = 0.3;
/// One machine may fail.
const DEFAULT_SPARE: u32 = 1;

/// Ours, those of the user in place of ours of the same name, then the user's others.
fn merged(own: Vec<PriceAsWritten>, users: &[PriceAsWritten], problems: &mut Vec<Problem>) -> Vec<Price> {
    for (at, price) in users.iter().enumerate() {
        if users[..at].iter().any(|before| before.name == price.name) {
            let place = format!("price {:?}", price.name);
            problems.push(Problem::new(place, "there are two of this name", "leave one, or rename the other"));
        }
    }
    let kept = own.into_iter().filter(|price| !users.iter().any(|user| user.name == price.name));
    let all: Vec<PriceAsWritten> = kept.chain(users.iter().cloned()).collect();
    all.iter().filter_map(|price| price_of(price, problems)).collect()
}

fn price_of(written: &PriceAsWritten, problems: &mut Vec<Problem>) -> Option<Price> {
    let before = problems.len();
    let mut wrong = |key: &str, what: String, remedy: &str| {
        problems.push(Problem::new(format!("price {:?}, {key}", written.name), what, remedy));
    };
    if written.name.trim().is_empty() {
        wrong("name", "it is empty".to_owned(), "write a name for --machine");
    }
    let unit = [PriceUnit::Gpu, PriceUnit::Core, PriceUnit::Machine].into_iter().find(|u| u.as_str() == written.per);
    if unit.is_none() {
        wrong("per", format!("{:?} is not known", written.per), "write gpu, core or machine");
    }
    if !(written.price.is_finite() && written.price > 0.0) {
        wrong("price", format!("{} is no price", written.price), "write what an hour costs, above 0");
    }
    let range = match (written.low, written.high) {
        (None, None) => None,
        (Some(low), Some(high)) if 0.0 < low && low <= written.price && written.price <= high && high.is_finite() => {
            Some([low, high])
        }
        _ => {
            wrong("low and high", "they are no range around the price".to_owned(), "write both, or neither");
            None
        }
    };
    if written.currency.len() != 3 || !written.currency.bytes().all(|c| c.is_ascii_uppercase()) {
        wrong("currency", format!("{:?} is none", written.currency), "write three capitals, such as USD");
    }
    if !is_date(&written.date) {
        wrong("date", format!("{:?} is no day", written.date), "write when the price was seen, as YYYY-MM-DD");
    }
    if written.source.trim().is_empty() {
        wrong("source", "it is empty".to_owned(), "say where the price comes from");
    }
    if written.matches.iter().any(|pattern| words(pattern).is_empty()) {
        wrong("matches", "an entry has no word".to_owned(), "write words of a GPU's name");
    }
    (problems.len() == before).then_some(())?;
    Some(Price {
        name: written.name.clone(),
        unit: unit?,
        per_hour: written.price,
        range,
        currency: written.currency.clone(),
        date: written.date.clone(),
        source: written.source.clone(),
        matches: written.matches.clone(),
    })
}

/// Whether it looks like a day of the calendar.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |part: &str, digits: usize| (part.len() == digits).then(|| part.parse::<u32>().ok()).flatten();
    matches!((number(year, 4), number(month, 2), number(day, 2)), (Some(_), Some(1..=12), Some(1..=31)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Terms, TermsError> {
        Terms::read(&[text], &Stated::default())
    }

    const PRICE: &str = "[[price]]\nname = \"mine\"\nper = \"gpu\"\nprice = 1.5\ncurrency = \"EUR\"\ndate = \"2026-11-20\"\nsource = \"our contract\"\n";

    #[test]
    fn the_built_in_table_is_sound_and_finds_gpus_by_name() {
        let terms = Terms::read(&[], &Stated::default()).unwrap();
        let check = |gpu: &str, expected: Option<&str>| {
            assert_eq!(terms.of_gpu(gpu).map(|price| price.name.as_str()), expected, "{gpu}");
        };
        check("NVIDIA H200", Some("h200"));
        check("NVIDIA H100 80GB HBM3", Some("h100-sxm"));
        check("NVIDIA H100 PCIe", None);
        check("NVIDIA A100-SXM4-80GB", Some("a100-80gb"));
        check("NVIDIA A100 80GB PCIe", Some("a100-80gb"));
        check("NVIDIA A100-PCIE-40GB", None);
        check("NVIDIA A10", Some("a10"));
        check("NVIDIA A10G", None);
        check("NVIDIA L40S", Some("l40s"));
        check("NVIDIA GeForce RTX 4090", Some("rtx-4090"));
        check("NVIDIA GeForce RTX 4090 Laptop GPU", Some("rtx-4090"));
        check("Tesla T4", None);
        assert!(terms.prices.iter().all(|price| price.range.is_none_or(|[low, high]| low < high)));
    }

    #[test]
    fn a_users_price_is_over_ours() {
        let ours = Terms::read(&[], &Stated::default()).unwrap().names().len();
        let file = PRICE.to_owned() + "matches = [\"H200\"]\n" + &PRICE.replace("mine", "cpu").replace("gpu", "core");
        let terms = read(&file).unwrap();
        assert_eq!(terms.names().len(), ours + 1);
        assert_eq!(terms.of_gpu("NVIDIA H200").unwrap().name, "mine", "the user's before ours");
        let cpu = terms.named("cpu").unwrap();
        assert_eq!((cpu.per_hour, cpu.currency.as_str(), cpu.unit), (1.5, "EUR", PriceUnit::Core));
    }

    #[test]
    fn what_the_command_line_says_is_over_the_file() {
        let file = "machine = \"h200\"\nreplicas = 3\nunits = 8.0\n".to_owned() + PRICE;
        let stated = Stated { machine: Some("mine".to_owned()), replicas: Some(2), ..Stated::default() };
        let merged = Terms::merged(&[&file], &stated).unwrap();
        let terms = read(&merged).unwrap();
        assert_eq!(terms, Terms::read(&[&file], &stated).unwrap(), "{merged}");
        assert_eq!((terms.machine.as_deref(), terms.replicas, terms.units), (Some("mine"), 2, Some(8.0)));
    }

    #[test]
    fn mistakes_are_told_all_at_once_with_a_remedy() {
        let check = |text: &str, expected: &[&str]| {
            let found = read(text).unwrap_err().to_string();
            let lines: Vec<&str> = found.lines().collect();
            assert_eq!(lines.len(), expected.len(), "{found}");
            for (line, expected) in lines.iter().zip(expected) {
                assert!(line.starts_with(expected) && line.contains("; "), "{line} is not {expected}");
            }
        };
        check("replica = 2\n", &["line 1: unknown field `replica`"]);
        check("\n\nreplicas = \"2\"\n", &["line 3: invalid type"]);
        check("machine = \"toaster\"\n", &["machine: there is no price called \"toaster\"; use one of"]);
        check(
            "units = 0.0\nreplicas = 0\nheadroom = 1.0\nidle_w = nan\n",
            &["units", "replicas", "idle_w", "headroom"],
        );
        check(&PRICE.replace("1.5", "-1"), &["price \"mine\", price: -1 is no price"]);
        check(&(PRICE.to_owned() + "low = 2.0\nhigh = 3.0\n"), &["price \"mine\", low and high"]);
        check(&(PRICE.to_owned() + "low = 1.0\n"), &["price \"mine\", low and high"]);
        check(&PRICE.replace("EUR", "eur"), &["price \"mine\", currency"]);
        check(&PRICE.replace("2026-11-20", "20.11.2026"), &["price \"mine\", date"]);
        check(&PRICE.replace("our contract", " "), &["price \"mine\", source"]);
        check(&(PRICE.to_owned() + PRICE), &["price \"mine\": there are two of this name"]);
        let three = PRICE.replace("\"gpu\"", "\"hour\"").replace("1.5", "0").replace("EUR", "€");
        check(&three, &["price \"mine\", per", "price \"mine\", price", "price \"mine\", currency"]);
        check("[traffic]\nhourly_per_s = [1.0, 2.0]\n", &["traffic, hourly_per_s"]);
    }
}
