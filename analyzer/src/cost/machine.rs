//! Which machine a run was on, and what it costs. What is not known is said, with what would have to be given.

use proofload_run::findings::{PriceUnit, PricedMachine};
use proofload_run::manifest::{Gpu, Host, Target};

use super::terms::{Price, Terms};

/// The machine that served, or a sentence that says what is missing.
pub(super) fn machine(host: &Host, target: &Target, terms: &Terms) -> Result<PricedMachine, String> {
    let is_here = target.embedded || is_loopback(&target.http_url) || is_loopback(&target.grpc_url);
    if let Some(name) = &terms.machine {
        let price = terms.named(name).ok_or_else(|| format!("there is no price called {name}"))?;
        return stated(price, host, is_here, terms);
    }
    if !is_here {
        let names = terms.names().join(", ");
        return Err(format!(
            "the target is another machine than the generator's, and which is not known: say so with --machine ({names}), or \
             machine = \"…\" in a file for --prices"
        ));
    }
    let Some(gpu) = host.gpus.first() else {
        let price = terms.named("cpu").ok_or("there is no price called cpu")?;
        return Ok(priced(price, cores(host)?, terms, format!("{} logical processors and no GPU here", host.cores)));
    };
    same(&host.gpus)?;
    let price = terms.of_gpu(&gpu.name).ok_or_else(|| {
        format!(
            "{} has no price: add a [[price]] with matches = [\"{}\"] to a file for --prices, or say --machine",
            gpu.name, gpu.name
        )
    })?;
    Ok(priced(price, host.gpus.len() as f64, terms, format!("{} × {} here", host.gpus.len(), gpu.name)))
}

/// A machine that the user named. How many units it has is counted here where it is this one.
fn stated(price: &Price, host: &Host, is_here: bool, terms: &Terms) -> Result<PricedMachine, String> {
    let units = match (terms.units, price.unit) {
        (Some(units), _) => units,
        (None, PriceUnit::Machine) => 1.0,
        (None, PriceUnit::Gpu) if is_here && !host.gpus.is_empty() => host.gpus.len() as f64,
        (None, PriceUnit::Core) if is_here => cores(host)?,
        (None, unit) => {
            let unit = unit.as_str();
            return Err(format!(
                "{} is a price for a {unit}; how many of them the machine has, say with --units",
                price.name
            ));
        }
    };
    Ok(priced(price, units, terms, "stated by the user".to_owned()))
}

fn cores(host: &Host) -> Result<f64, String> {
    if host.cores == 0 {
        return Err("how many processors this machine has was not recorded: say --machine cpu --units N".to_owned());
    }
    Ok(f64::from(host.cores))
}

fn same(gpus: &[Gpu]) -> Result<(), String> {
    if gpus.iter().all(|gpu| gpu.name == gpus[0].name) {
        return Ok(());
    }
    let names: Vec<&str> = gpus.iter().map(|gpu| gpu.name.as_str()).collect();
    Err(format!("GPUs of several kinds ({}): say with --machine and --units which of them served", names.join(", ")))
}

fn priced(price: &Price, units: f64, terms: &Terms, known_by: String) -> PricedMachine {
    PricedMachine {
        name: price.name.clone(),
        known_by,
        unit: price.unit,
        units,
        replicas: terms.replicas,
        unit_per_hour: price.per_hour,
        unit_range_per_hour: price.range,
        per_hour: price.per_hour * units * f64::from(terms.replicas),
        currency: price.currency.clone(),
        date: price.date.clone(),
        source: price.source.clone(),
    }
}

fn is_loopback(url: &str) -> bool {
    let after = url.split_once("://").map_or(url, |parts| parts.1);
    let host = after.split('/').next().unwrap_or_default();
    host == "localhost" || ["localhost:", "127.", "[::1]"].iter().any(|start| host.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::super::terms::Stated;
    use super::*;

    fn gpu(name: &str) -> Gpu {
        Gpu { name: name.to_owned(), uuid: String::new(), memory_bytes: 0, driver: String::new() }
    }

    #[test]
    fn which_machine_it_was() {
        let check = |gpus: &[&str], cores: u32, url: &str, stated: Stated, expected: Result<(&str, f64), &str>| {
            let host = Host { cores, gpus: gpus.iter().map(|name| gpu(name)).collect(), ..Host::default() };
            let target = Target { http_url: url.to_owned(), ..Target::default() };
            let found = machine(&host, &target, &Terms::read(&[], &stated).unwrap());
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!((found.name.as_str(), found.units), expected, "{found:?}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        };
        let here = "http://127.0.0.1:8000";
        let named =
            |name: &str, units: Option<f64>| Stated { machine: Some(name.to_owned()), units, ..Stated::default() };
        check(&[], 2, here, Stated::default(), Ok(("cpu", 2.0)));
        check(&[], 2, "http://localhost:1/x", Stated::default(), Ok(("cpu", 2.0)));
        check(&[], 0, here, Stated::default(), Err("--machine cpu --units N"));
        check(&["NVIDIA H200", "NVIDIA H200"], 16, here, Stated::default(), Ok(("h200", 2.0)));
        check(&["NVIDIA H200", "NVIDIA L40S"], 16, here, Stated::default(), Err("several kinds"));
        check(&["Tesla T4"], 16, here, Stated::default(), Err("matches = [\"Tesla T4\"]"));
        check(&["NVIDIA H200"], 16, "http://10.0.0.7:8000", Stated::default(), Err("say so with --machine"));
        check(&["NVIDIA H200"], 16, "http://10.0.0.7:8000", named("l40s", None), Err("--units"));
        check(&["NVIDIA H200"], 16, "http://10.0.0.7:8000", named("l40s", Some(4.0)), Ok(("l40s", 4.0)));
        check(&["NVIDIA H200"], 16, here, named("l40s", None), Ok(("l40s", 1.0)));
        check(&["NVIDIA H200"], 16, here, named("cpu", None), Ok(("cpu", 16.0)));
        check(&[], 16, "http://localhost.example.org", Stated::default(), Err("--machine"));
    }

    #[test]
    fn all_machines_are_paid() {
        let stated =
            Stated { machine: Some("l40s".to_owned()), units: Some(4.0), replicas: Some(3), ..Stated::default() };
        let found = machine(&Host::default(), &Target::default(), &Terms::read(&[], &stated).unwrap()).unwrap();
        assert!((found.per_hour - 12.0 * found.unit_per_hour).abs() < 1e-12);
    }
}
