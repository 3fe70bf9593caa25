//! Who holds how much memory, and for what: by model, instance and class, with the most that it ever was. Memory of the host
//! that the GPU reads (staging) is counted beside the device's, never within it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

/// What memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryClass")]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Constants of a model, which its plans share.
    Weights,
    /// Values of a plan that runs or is being made.
    Activations,
    /// Values of plans that are kept for shapes that come again.
    CachedPlans,
    /// What libraries compute with.
    Workspace,
    /// What goes in and comes out, in the host's memory.
    Staging,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Weights, Self::Activations, Self::CachedPlans, Self::Workspace, Self::Staging];

    /// Whether it is the device's memory.
    pub fn on_device(self) -> bool {
        self != Self::Staging
    }

    /// For messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Activations => "activations",
            Self::CachedPlans => "cached plans",
            Self::Workspace => "workspace",
            Self::Staging => "staging",
        }
    }
}

/// Whose memory it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The model.
    pub model: Arc<str>,
    /// Its instance; `None` for what its instances share.
    pub instance: Option<usize>,
}

impl Owner {
    /// What the instances of a model share.
    pub fn shared(&self) -> Self {
        Self { model: Arc::clone(&self.model), instance: None }
    }
}

/// A sum and the most that it ever was, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemorySum")]
pub struct Sum {
    /// Now.
    pub bytes: u64,
    /// The most.
    pub high_water_bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.high_water_bytes = self.high_water_bytes.max(self.bytes);
    }

    fn subtract(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "GpuMemoryEntry")]
pub struct Line {
    /// The model.
    pub model: String,
    /// Its instance; absent for what its instances share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<usize>,
    /// For what.
    pub class: Class,
    /// How much.
    #[serde(flatten)]
    pub sum: Sum,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    lines: BTreeMap<(Owner, Class), Sum>,
    classes: BTreeMap<Class, Sum>,
    device: Sum,
}

impl Ledger {
    /// Somebody has so many bytes more.
    pub fn add(&mut self, owner: &Owner, class: Class, bytes: u64) {
        self.line(owner, class).add(bytes);
        self.classes.entry(class).or_default().add(bytes);
        if class.on_device() {
            self.device.add(bytes);
        }
    }

    /// Somebody has so many bytes less.
    pub fn subtract(&mut self, owner: &Owner, class: Class, bytes: u64) {
        self.line(owner, class).subtract(bytes);
        self.classes.entry(class).or_default().subtract(bytes);
        if class.on_device() {
            self.device.subtract(bytes);
        }
    }

    /// What somebody has is for something else now. Nothing is had twice meanwhile.
    pub fn reclass(&mut self, owner: &Owner, from: Class, to: Class, bytes: u64) {
        self.subtract(owner, from, bytes);
        self.add(owner, to, bytes);
    }

    fn line(&mut self, owner: &Owner, class: Class) -> &mut Sum {
        self.lines.entry((owner.clone(), class)).or_default()
    }

    /// Forgets the lines of a model that has nothing any more; what it still has stays.
    pub fn retire(&mut self, model: &str) {
        self.lines.retain(|(owner, _), sum| &*owner.model != model || sum.bytes > 0);
    }

    /// Bytes of the device.
    pub fn device(&self) -> Sum {
        self.device
    }

    /// Bytes of a class.
    pub fn class(&self, class: Class) -> Sum {
        self.classes.get(&class).copied().unwrap_or_default()
    }

    /// Bytes of a class that a model has, over all its instances.
    pub fn of_model(&self, model: &str, class: Class) -> u64 {
        let of_model = self.lines.iter().filter(|((owner, of), _)| &*owner.model == model && *of == class);
        of_model.map(|(_, sum)| sum.bytes).sum()
    }

    /// Every line, by model, instance and class.
    pub fn lines(&self) -> Vec<Line> {
        let line = |((owner, class), sum): (&(Owner, Class), &Sum)| Line {
            model: owner.model.to_string(),
            instance: owner.instance,
            class: *class,
            sum: *sum,
        };
        self.lines.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(model: &str, instance: usize) -> Owner {
        Owner { model: model.into(), instance: Some(instance) }
    }

    #[test]
    fn sums_are_of_lines_and_remember_the_most() {
        let mut ledger = Ledger::default();
        ledger.add(&owner("a", 0).shared(), Class::Weights, 100);
        ledger.add(&owner("a", 0), Class::Activations, 50);
        ledger.add(&owner("a", 1), Class::Activations, 30);
        ledger.add(&owner("b", 0), Class::Staging, 7);
        ledger.reclass(&owner("a", 0), Class::Activations, Class::CachedPlans, 50);
        ledger.subtract(&owner("a", 0), Class::CachedPlans, 50);
        let sum = |bytes, high_water_bytes| Sum { bytes, high_water_bytes };
        assert_eq!(ledger.device(), sum(130, 180), "what moves is not counted twice, what is the host's not at all");
        let check = |class, expected| assert_eq!(ledger.class(class), expected, "{class:?}");
        check(Class::Weights, sum(100, 100));
        check(Class::Activations, sum(30, 80));
        check(Class::CachedPlans, sum(0, 50));
        check(Class::Workspace, sum(0, 0));
        check(Class::Staging, sum(7, 7));
        assert_eq!(ledger.of_model("a", Class::Activations), 30);
        assert_eq!(ledger.lines().len(), 5);
        assert_eq!(ledger.lines()[0].instance, None);
    }

    #[test]
    fn a_model_that_is_gone_leaves_no_lines() {
        let mut ledger = Ledger::default();
        ledger.add(&owner("a", 0), Class::Activations, 5);
        ledger.add(&owner("a", 0), Class::Workspace, 5);
        ledger.add(&owner("b", 0), Class::Workspace, 5);
        ledger.subtract(&owner("a", 0), Class::Activations, 5);
        ledger.retire("a");
        let left: Vec<_> = ledger.lines().into_iter().map(|line| (line.model, line.class)).collect();
        assert_eq!(left, [("a".to_owned(), Class::Workspace), ("b".to_owned(), Class::Workspace)]);
    }
}
