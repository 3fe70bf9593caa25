//! The formulas: from what was measured and what it costs to figures, each with the numbers put in. Pure arithmetic.

use proofload_run::capacity::Capacity;
use proofload_run::findings::{CostBasis, CostFigure, Estimate, PricedMachine};
use proofload_run::units::digits;

use super::terms::Terms;
use super::traffic::Fleet;

/// What figures are computed of.
pub(crate) struct Priced<'a> {
    pub(crate) basis: &'a CostBasis,
    pub(crate) machine: &'a PricedMachine,
    pub(crate) capacity: Option<&'a Capacity>,
    /// The share of bad requests that the service level allows, which is what it has at the limit.
    pub(crate) allowed_bad_share: Option<f64>,
    pub(crate) terms: &'a Terms,
}

/// Figures, and sentences on those that cannot be computed.
#[derive(Debug, Default)]
pub(crate) struct Computed {
    pub(crate) figures: Vec<CostFigure>,
    pub(crate) missing: Vec<String>,
}

impl Computed {
    fn add(&mut self, figure: Result<CostFigure, &str>) {
        match figure {
            Ok(figure) => self.figures.push(figure),
            Err("") => {}
            Err(why) => self.missing.push(why.to_owned()),
        }
    }
}

/// Seconds of an hour, and a thousand requests.
const PER_1K: f64 = 1000.0 / 3600.0;

/// All figures that a price is needed for.
pub(crate) fn priced(of: &Priced<'_>) -> Computed {
    let mut all = Computed::default();
    let basis = of.basis;
    all.add(per_1k(of, "per_1k_requests", "1,000 requests", "answered requests per second", &basis.answered_per_s));
    all.add(per_1k(of, "per_1k_good", "1,000 good requests", "good requests per second", &basis.good_per_s));
    all.add(at_the_limit(of));
    all.add(sustained_hour(of));
    all.add(per_gigabyte(of));
    all.add(cache_return(of));
    month(of, &mut all);
    all
}

/// All figures that need no price: energy, and what a cache saved.
pub(crate) fn unpriced(basis: &CostBasis, terms: &Terms) -> Computed {
    let mut all = Computed::default();
    let (gross, net) = energy(basis, terms);
    all.add(gross);
    all.add(net);
    all.add(saved(basis));
    all
}

fn figure(key: &str, name: &str, unit: String, value: f64, n: u64) -> CostFigure {
    CostFigure {
        key: key.to_owned(),
        name: name.to_owned(),
        unit,
        value,
        interval: None,
        n,
        formula: String::new(),
        numbers: String::new(),
        note: String::new(),
    }
}

/// Of `k / rate`, with the rate's interval turned round.
fn inverse(k: f64, rate: &Estimate) -> Option<[f64; 2]> {
    rate.interval.filter(|[low, _]| *low > 0.0).map(|[low, high]| [k / high, k / low])
}

fn per_1k(of: &Priced<'_>, key: &str, what: &str, per_s: &str, rate: &Estimate) -> Result<CostFigure, &'static str> {
    if rate.value <= 0.0 {
        return Err("nothing was answered within the service level: a good request has no price");
    }
    let price = of.machine.per_hour;
    Ok(CostFigure {
        interval: inverse(PER_1K * price, rate),
        formula: format!("1000 × price of an hour / (3600 × {per_s})"),
        numbers: format!("1000 × {} / (3600 × {})", digits(price), digits(rate.value)),
        note: format!("at the load of {}", of.basis.over),
        ..figure(key, what, currency(of, what), PER_1K * price / rate.value, rate.n)
    })
}

fn currency(of: &Priced<'_>, per: &str) -> String {
    format!("{} / {per}", of.machine.currency)
}

const NO_CAPACITY: &str = "what a good request costs at the limit is not known without the capacity: search it with `proofload capacity`, \
                           or drive a stress scenario";

fn at_the_limit(of: &Priced<'_>) -> Result<CostFigure, &'static str> {
    let found = of.capacity.ok_or(NO_CAPACITY)?;
    let rate = found.estimate_per_s.or(found.sustainable_per_s).filter(|rate| *rate > 0.0).ok_or(NO_CAPACITY)?;
    let good = 1.0 - of.allowed_bad_share.unwrap_or(0.0);
    let k = PER_1K * of.machine.per_hour / good;
    let interval = found.interval_per_s.filter(|[low, _]| *low > 0.0).map(|[low, high]| [k / high, k / low]);
    let note = if found.estimate_per_s.is_some() {
        "interval 90 %, that of the capacity; at the sustainable rate it is the upper end"
    } else {
        "the limit was not reached: at most so much"
    };
    Ok(CostFigure {
        interval,
        formula: "1000 × price of an hour / (3600 × capacity × share of good ones there)".to_owned(),
        numbers: format!("1000 × {} / (3600 × {} × {})", digits(of.machine.per_hour), digits(rate), digits(good)),
        note: note.to_owned(),
        ..figure(
            "per_1k_good_at_limit",
            "1,000 good requests at the limit",
            currency(of, "1,000 good requests"),
            k / rate,
            of.basis.good_per_s.n,
        )
    })
}

fn sustained_hour(of: &Priced<'_>) -> Result<CostFigure, &'static str> {
    // The figure before says what is missing.
    let rate = of.capacity.and_then(|found| found.sustainable_per_s).filter(|rate| *rate > 0.0).ok_or("")?;
    let machine = of.machine;
    let (units, replicas) = (digits(machine.units), machine.replicas);
    Ok(CostFigure {
        formula: "units × price of one × machines, which together sustain that rate".to_owned(),
        numbers: format!("{units} × {} × {replicas} for {}/s", digits(machine.unit_per_hour), digits(rate)),
        note: "borne with a probability of 95 %".to_owned(),
        ..figure(
            "per_hour_sustained",
            &format!("an hour of {} requests/s, the sustainable rate", digits(rate)),
            currency(of, "h"),
            machine.per_hour,
            of.basis.good_per_s.n,
        )
    })
}

fn per_gigabyte(of: &Priced<'_>) -> Result<CostFigure, &'static str> {
    let bytes = &of.basis.output_bytes_per_s;
    if bytes.value <= 0.0 {
        return Err("");
    }
    let what = if of.basis.output_is_meshes { "GB of meshes" } else { "GB of answers" };
    let k = of.machine.per_hour / 3600.0 * 1e9;
    Ok(CostFigure {
        interval: inverse(k, bytes),
        formula: format!("price of an hour / (3600 × {what} per second)"),
        numbers: format!("{} / (3600 × {})", digits(of.machine.per_hour), digits(bytes.value / 1e9)),
        note: if of.basis.output_is_meshes {
            "all of the price, though other requests may have had a part"
        } else {
            ""
        }
        .to_owned(),
        ..figure("per_gb", what, currency(of, what), k / bytes.value, bytes.n)
    })
}

/// Energy of a good request, gross and net of what idling takes.
fn energy(basis: &CostBasis, terms: &Terms) -> (Result<CostFigure, &'static str>, Result<CostFigure, &'static str>) {
    const UNMEASURED: &str =
        "energy was not measured: it needs a GPU's counter of energy among the target's metrics, for ten seconds";
    let good = &basis.good_per_s;
    let Some(power) = basis.power_w.filter(|_| good.value > 0.0) else { return (Err(UNMEASURED), Err("")) };
    let of = |key: &str, name: &str, watts: f64| CostFigure {
        interval: power.interval.map(|[low, high]| {
            let idle = power.value - watts;
            let [few, many] = good.interval.unwrap_or([good.value; 2]);
            [(low - idle).max(0.0) / many, (high - idle) / few]
        }),
        formula: "power / good requests per second".to_owned(),
        numbers: format!("{} / {}", digits(watts), digits(good.value)),
        note: format!("by {}, {} windows of 10 s", basis.energy_counter, power.n),
        ..figure(key, name, "J / good request".to_owned(), watts / good.value, good.n)
    };
    let gross = of("energy_per_good", "energy of a good request", power.value);
    let stated = terms.idle_w.map(|watts| (watts, "stated by the user"));
    let idle = stated.or(basis.idle_power_w.map(|idle| (idle.value, "measured while nothing was under way")));
    let Some((idle_w, known)) = idle else {
        let missing = "the energy of a good request net of idling is not known: state idle_w in a file for --prices, or leave the target \
                       ten seconds without load in the scenario";
        return (Ok(gross), Err(missing));
    };
    let watts = (power.value - idle_w).max(0.0);
    let net = CostFigure {
        formula: "(power − idle power) / good requests per second".to_owned(),
        numbers: format!("({} − {}) / {}", digits(power.value), digits(idle_w), digits(good.value)),
        note: format!("idle power {known}"),
        ..of("energy_per_good_net", "the same, net of idling", watts)
    };
    (Ok(gross), Ok(net))
}

/// What a cache saved of computing.
fn saved(basis: &CostBasis) -> Result<CostFigure, &'static str> {
    let computing = basis.computing.filter(|computing| computing.hit_share > 0.0).ok_or("")?;
    let (share, per_success) = (computing.saved_share, computing.per_success_s.value);
    let seconds = per_success * basis.answered_per_s.value * 3600.0 * share / (1.0 - share).max(1e-9);
    Ok(CostFigure {
        formula: "3600 × answered per second × computing a request × saved share / (1 − saved share)".to_owned(),
        numbers: format!(
            "3600 × {} × {} × {} / {}",
            digits(basis.answered_per_s.value),
            digits(per_success),
            digits(share),
            digits(1.0 - share)
        ),
        note: format!(
            "{} % of the answers came from the cache; a hit would have taken what a miss of its entry took",
            digits(computing.hit_share * 100.0)
        ),
        ..figure(
            "cache_saved_s_per_h",
            "computing that the cache saved",
            "s / h".to_owned(),
            seconds,
            computing.per_success_s.n,
        )
    })
}

/// What the cache gives back: machines that are not needed, less what it costs itself. Nothing, as long as none drops.
fn cache_return(of: &Priced<'_>) -> Result<CostFigure, &'static str> {
    let computing = of.basis.computing.filter(|computing| computing.hit_share > 0.0).ok_or("")?;
    let sustained = of.capacity.and_then(|found| found.sustainable_per_s).filter(|rate| *rate > 0.0);
    let missing =
        "what the cache gives back is not known without the capacity: machines are saved only where their number drops";
    let one = fleet(of, sustained.ok_or(missing)?);
    let demand = of.terms.traffic.as_ref().map_or(of.basis.answered_per_s.value, super::traffic::Traffic::peak_per_s);
    let with = one.replicas(demand);
    let without = Fleet { sustained_per_s: one.sustained_per_s * (1.0 - computing.saved_share).max(1e-9), ..one }
        .replicas(demand);
    let (price, cache) = (one.replica_per_hour, of.terms.cache_per_hour);
    let value = f64::from(without - with) * price - cache;
    let note = if without == with {
        "no machine drops: what the cache saves of computing is paid for all the same"
    } else {
        "if computing is what limits the rate, so that without the cache a machine would sustain as much less as there is more to compute"
    };
    Ok(CostFigure {
        formula: "(machines without the cache − machines with it) × price of one − price of the cache".to_owned(),
        numbers: format!("({without} − {with}) × {} − {}", digits(price), digits(cache)),
        note: note.to_owned(),
        ..figure("cache_return_per_h", "what the cache gives back", currency(of, "h"), value, computing.per_success_s.n)
    })
}

/// One machine, when all of them together sustain this.
fn fleet(of: &Priced<'_>, sustained_per_s: f64) -> Fleet {
    let replicas = f64::from(of.machine.replicas);
    Fleet {
        sustained_per_s: sustained_per_s / replicas,
        replica_per_hour: of.machine.per_hour / replicas,
        headroom: of.terms.headroom,
        spare: of.terms.spare,
    }
}

/// A month of the stated traffic.
fn month(of: &Priced<'_>, all: &mut Computed) {
    let Some(traffic) = &of.terms.traffic else { return };
    let Some(found) = of.capacity.filter(|found| found.sustainable_per_s.is_some_and(|rate| rate > 0.0)) else {
        all.missing.push("a month of the traffic cannot be priced without the capacity".to_owned());
        return;
    };
    let one = |rate: f64| traffic.month(&fleet(of, rate));
    let sustained = found.sustainable_per_s.unwrap_or_default();
    let (month, machine) = (one(sustained), fleet(of, sustained));
    let ends = found.interval_per_s.filter(|ends| ends[0] > 0.0).map(|[low, high]| (one(high), one(low)));
    let count = format!(
        "ceil({} / ({} × (1 − {}))) + {}",
        digits(traffic.peak_per_s()),
        digits(machine.sustained_per_s),
        digits(machine.headroom),
        machine.spare
    );
    let n = of.basis.good_per_s.n;
    let made = |key: &str, name: &str, unit: String, of: fn(&super::traffic::Month) -> f64| CostFigure {
        interval: ends.map(|(best, worst)| [of(&best), of(&worst)]),
        note: "interval 90 %, that of the capacity; computed at the sustainable rate".to_owned(),
        ..figure(key, name, unit, of(&month), n)
    };
    let (price, hours) = (digits(machine.replica_per_hour), super::traffic::HOURS_A_MONTH);
    all.figures.push(CostFigure {
        formula: "ceil(peak / (sustainable of one × (1 − headroom))) + spare".to_owned(),
        numbers: count,
        ..made("machines", "machines for the peak", "machines".to_owned(), |month| f64::from(month.peak_replicas))
    });
    all.figures.push(CostFigure {
        formula: "machines for the peak × price of one × hours".to_owned(),
        numbers: format!("{} × {price} × {hours}", month.peak_replicas),
        ..made("per_month", "a month, with the peak's machines all the time", currency(of, "month"), |month| {
            month.fixed
        })
    });
    all.figures.push(CostFigure {
        formula: "sum over the hours of machines for the hour × price of one".to_owned(),
        numbers: format!("{} machine hours × {price}", digits(month.by_hour / machine.replica_per_hour)),
        ..made(
            "per_month_by_hour",
            "a month, with as many machines as each hour needs",
            currency(of, "month"),
            |month| month.by_hour,
        )
    });
    all.figures.push(CostFigure {
        formula: "1000 × price of the month / requests of the month".to_owned(),
        numbers: format!("1000 × {} / {}", digits(month.fixed), digits(month.requests)),
        ..made("per_1k_month", "1,000 requests of that month", currency(of, "1,000 requests"), |month| {
            1000.0 * month.fixed / month.requests
        })
    });
}

#[cfg(test)]
mod tests {
    use super::super::terms::Stated;
    use super::super::traffic::HOURS_A_MONTH;
    use super::*;
    use proofload_run::capacity::Limit;
    use proofload_run::findings::{Computing, PriceUnit};
    use proptest::prelude::*;

    fn estimate(value: f64, share: f64) -> Estimate {
        Estimate { value, interval: Some([value * (1.0 - share), value * (1.0 + share)]), n: 1000 }
    }

    fn measured(good_per_s: f64) -> CostBasis {
        CostBasis {
            over: "the measured time".to_owned(),
            measured_ns: 60_000_000_000,
            answered_per_s: estimate(good_per_s * 1.25, 0.1),
            good_per_s: estimate(good_per_s, 0.1),
            output_bytes_per_s: estimate(2e6, 0.1),
            output_is_meshes: true,
            computing: Some(Computing {
                per_success_s: estimate(0.01, 0.1),
                per_miss_s: Some(0.02),
                hit_share: 0.5,
                saved_share: 0.5,
            }),
            power_w: Some(estimate(300.0, 0.02)),
            idle_power_w: Some(estimate(100.0, 0.02)),
            energy_counter: "nv_energy_consumption".to_owned(),
        }
    }

    fn machine(unit_per_hour: f64, replicas: u32) -> PricedMachine {
        PricedMachine {
            name: "h200".to_owned(),
            known_by: String::new(),
            unit: PriceUnit::Gpu,
            units: 2.0,
            replicas,
            unit_per_hour,
            unit_range_per_hour: None,
            per_hour: 2.0 * unit_per_hour * f64::from(replicas),
            currency: "USD".to_owned(),
            date: "2026-11-01".to_owned(),
            source: "a test".to_owned(),
        }
    }

    fn capacity(rate: f64) -> Capacity {
        Capacity {
            limit: Limit::Knee,
            sustainable_per_s: Some(rate * 0.9),
            not_borne_per_s: None,
            estimate_per_s: Some(rate),
            interval_per_s: Some([rate * 0.9, rate * 1.1]),
            soak_kept: None,
            saturated: Vec::new(),
            sentence: String::new(),
        }
    }

    fn computed(basis: &CostBasis, machine: &PricedMachine, capacity: Option<&Capacity>, file: &str) -> Computed {
        let terms = Terms::read(&[file], &Stated::default()).unwrap();
        let of = Priced { basis, machine, capacity, allowed_bad_share: Some(0.05), terms: &terms };
        let mut all = priced(&of);
        let more = unpriced(basis, &terms);
        all.figures.extend(more.figures);
        all.missing.extend(more.missing);
        all
    }

    fn value(all: &Computed, key: &str) -> Option<f64> {
        all.figures.iter().find(|figure| figure.key == key).map(|figure| figure.value)
    }

    #[test]
    fn figures_by_hand() {
        let traffic = "headroom = 0.0\nspare = 0\ncache_per_hour = 0.5\n[traffic]\npeak_per_s = 150.0\n";
        let all = computed(&measured(36.0), &machine(1.8, 1), Some(&capacity(100.0)), traffic);
        let check = |key: &str, expected: f64| {
            let found = value(&all, key).unwrap_or(f64::NAN);
            assert!((found / expected - 1.0).abs() < 1e-9, "{key}: {found}, not {expected}");
        };
        check("per_1k_good", 1000.0 * 3.6 / (3600.0 * 36.0));
        check("per_1k_requests", 1000.0 * 3.6 / (3600.0 * 45.0));
        check("per_1k_good_at_limit", 0.01 / 0.95);
        check("per_hour_sustained", 3.6);
        check("per_gb", 3.6 / 7.2);
        check("energy_per_good", 300.0 / 36.0);
        check("energy_per_good_net", 200.0 / 36.0);
        check("cache_saved_s_per_h", 3600.0 * 45.0 * 0.01);
        // 150/s: two machines of 90/s, four of 45/s without the cache.
        check("cache_return_per_h", 2.0 * 3.6 - 0.5);
        check("machines", 2.0);
        check("per_month", 7.2 * HOURS_A_MONTH);
        check("per_month_by_hour", 7.2 * HOURS_A_MONTH);
        check("per_1k_month", 7.2 * 1000.0 / (3600.0 * 150.0));
        assert!(all.missing.is_empty(), "{:?}", all.missing);
    }

    #[test]
    fn a_cache_gives_nothing_back_while_no_machine_drops() {
        let all = computed(&measured(36.0), &machine(1.8, 1), Some(&capacity(1000.0)), "cache_per_hour = 0.25\n");
        assert_eq!(value(&all, "cache_return_per_h"), Some(-0.25));
        let found = all.figures.iter().find(|figure| figure.key == "cache_return_per_h").unwrap();
        assert!(found.note.contains("no machine drops"), "{}", found.note);
    }

    #[test]
    fn what_is_not_known_is_said_and_not_invented() {
        let check = |basis: CostBasis, capacity: Option<&Capacity>, key: &str, part: &str| {
            let all = computed(&basis, &machine(1.8, 1), capacity, "");
            assert_eq!(value(&all, key), None, "{key}");
            assert!(all.missing.iter().any(|missing| missing.contains(part)), "{part}: {:?}", all.missing);
        };
        let basis = measured(36.0);
        check(basis.clone(), None, "per_1k_good_at_limit", "proofload capacity");
        check(basis.clone(), None, "cache_return_per_h", "without the capacity");
        check(CostBasis { power_w: None, ..basis.clone() }, None, "energy_per_good", "energy was not measured");
        check(CostBasis { idle_power_w: None, ..basis.clone() }, None, "energy_per_good_net", "state idle_w");
        check(measured(0.0), None, "per_1k_good", "a good request has no price");
        let all = computed(&CostBasis { idle_power_w: None, ..basis }, &machine(1.8, 1), None, "idle_w = 100.0\n");
        assert!((value(&all, "energy_per_good_net").unwrap() - 200.0 / 36.0).abs() < 1e-9);
    }

    proptest! {
        /// Prices scale what is priced and leave the rest; twice the good requests cost half; an interval holds its figure;
        /// a request is never dearer than a good one.
        #[test]
        fn prices_scale(good in 0.1..1e5_f64, price in 0.01..100.0_f64, factor in 0.1..10.0_f64, replicas in 1_u32..20) {
            let found = capacity(good * 2.0);
            let (plain, dearer) = (machine(price, replicas), machine(price * factor, replicas));
            let (a, b) = (computed(&measured(good), &plain, Some(&found), ""), computed(&measured(good), &dearer, Some(&found), ""));
            for (a, b) in a.figures.iter().zip(&b.figures) {
                prop_assert_eq!(&a.key, &b.key);
                let expected = if a.unit.starts_with("USD") { factor } else { 1.0 };
                prop_assert!((b.value - a.value * expected).abs() <= 1e-9 * b.value.abs().max(1e-12), "{}", a.key);
                if let Some([low, high]) = a.interval {
                    prop_assert!(low <= a.value * (1.0 + 1e-9) && a.value <= high * (1.0 + 1e-9), "{}: {low} {} {high}", a.key, a.value);
                }
            }
            let twice = computed(&measured(good * 2.0), &plain, Some(&found), "");
            let per = |all: &Computed| value(all, "per_1k_good").unwrap();
            prop_assert!((per(&a) / per(&twice) - 2.0).abs() < 1e-9);
            prop_assert!(value(&a, "per_1k_requests").unwrap() <= per(&a));
        }
    }
}
