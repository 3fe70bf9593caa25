//! The graph of an ensemble, checked against the models of its steps: every mistake is found, each with the place where it
//! is written. What comes out needs no further check while requests go through it.

use std::collections::BTreeMap;

use super::{EnsembleSpec, Link, StepSpec, step_name};
use crate::repository::spec::{ModelSpec, TensorSpec};

/// What happens to a tensor's shape on its way from one model to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Nothing.
    AsIs,
    /// It gets a batch dimension of 1 in front, because only who takes it has one.
    AddBatch,
    /// It loses its batch dimension, which must be 1, because only who gives it has one.
    DropBatch,
}

/// A tensor of the ensemble, and how it comes to who takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    /// Its number.
    pub tensor: usize,
    /// What happens to its shape.
    pub fit: Fit,
}

/// A step that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its inputs, with the model's name for each, in the model's order.
    pub inputs: Vec<(String, Feed)>,
    /// Which tensors its outputs are, with the model's name for each, in the model's order; those without are not asked for.
    pub outputs: Vec<(String, Option<usize>)>,
}

/// What goes where. Tensors have numbers: first the ensemble's inputs, in its order, then what the steps write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in the order of the configuration.
    pub steps: Vec<Step>,
    /// The outputs of the ensemble, in its order, with its name for each.
    pub outputs: Vec<(String, Feed)>,
    /// How many tensors there are.
    pub tensors: usize,
}

/// Somebody's declaration of a tensor.
#[derive(Clone, Copy)]
struct Declared<'a> {
    spec: &'a TensorSpec,
    batched: bool,
}

/// A tensor of the ensemble.
struct Known<'a> {
    number: usize,
    /// As whoever writes it declares it.
    declared: Declared<'a>,
    writer: Option<usize>,
    /// Where it is written, for messages.
    at: &'a str,
    used: bool,
}

/// Checks the graph of `spec` and numbers its tensors. `find` gives the model of a step, or why there is none.
///
/// # Errors
/// One line for each mistake, with its place.
pub fn plan<'a>(
    spec: &'a ModelSpec,
    ensemble: &'a EnsembleSpec,
    find: impl Fn(&StepSpec) -> Result<&'a ModelSpec, String>,
) -> Result<Plan, Vec<String>> {
    let mut check = Check { spec, ensemble, models: Vec::new(), tensors: BTreeMap::new(), errors: Vec::new() };
    check.find_models(find);
    check.find_tensors();
    let steps: Vec<_> = (0..ensemble.steps.len()).map(|number| check.step(number)).collect();
    let outputs = check.outputs();
    if check.errors.is_empty() {
        // While a tensor that nobody writes is missing, there is more to mend than what nobody reads.
        check.unused();
        check.cycle(&steps);
    }
    if check.errors.is_empty() {
        return Ok(Plan { steps, outputs, tensors: check.tensors.len() });
    }
    Err(check.errors)
}

struct Check<'a> {
    spec: &'a ModelSpec,
    ensemble: &'a EnsembleSpec,
    /// By step; none where it is not there.
    models: Vec<Option<&'a ModelSpec>>,
    tensors: BTreeMap<&'a str, Known<'a>>,
    errors: Vec<String>,
}

impl<'a> Check<'a> {
    fn error(&mut self, at: &str, what: impl AsRef<str>) {
        self.errors.push(format!("{at}: {}", what.as_ref()));
    }

    fn find_models(&mut self, find: impl Fn(&StepSpec) -> Result<&'a ModelSpec, String>) {
        let ensemble = self.ensemble;
        for (number, step) in ensemble.steps.iter().enumerate() {
            let model = find(step).and_then(|model| self.usable(model));
            if let Err(why) = &model {
                self.error(&step.at, format!("{}: {why}", step_name(number, &step.model)));
            }
            self.models.push(model.ok());
        }
    }

    fn usable(&self, model: &'a ModelSpec) -> Result<&'a ModelSpec, String> {
        let (own, its) = (self.spec.max_batch_size, model.max_batch_size);
        if model.decoupled {
            return Err("it is decoupled; a step must answer with exactly one response".to_owned());
        }
        if model.batched() && own > its {
            return Err(format!(
                "it takes batches of {its} at most, the ensemble allows {own}; lower 'max_batch_size'"
            ));
        }
        Ok(model)
    }

    fn find_tensors(&mut self) {
        let (spec, ensemble) = (self.spec, self.ensemble);
        for (input, at) in spec.inputs.iter().zip(&ensemble.inputs_at) {
            let declared = Declared { spec: input, batched: spec.batched() };
            self.know(&input.name, declared, None, at);
        }
        for (number, step) in ensemble.steps.iter().enumerate() {
            let Some(model) = self.models[number] else { continue };
            for link in &step.outputs {
                match model.outputs.iter().find(|output| output.name == link.port) {
                    Some(output) => {
                        let declared = Declared { spec: output, batched: model.batched() };
                        self.know(&link.tensor, declared, Some(number), &link.at);
                    }
                    None => self.no_port(number, "output", link, &model.outputs),
                }
            }
        }
    }

    fn know(&mut self, name: &'a str, declared: Declared<'a>, writer: Option<usize>, at: &'a str) {
        if let Some(before) = self.tensors.get(name) {
            let by = before.writer.map_or_else(
                || "it is an input of the ensemble".to_owned(),
                |number| format!("{} writes it", step_name(number, &self.ensemble.steps[number].model)),
            );
            self.error(at, format!("tensor '{name}' cannot be written again: {by}"));
            return;
        }
        let number = self.tensors.len();
        self.tensors.insert(name, Known { number, declared, writer, at, used: false });
    }

    fn no_port(&mut self, number: usize, direction: &str, link: &Link, known: &[TensorSpec]) {
        let names = known.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>().join(", ");
        let step = step_name(number, &self.ensemble.steps[number].model);
        self.error(&link.at, format!("{step}: the model has no {direction} '{}'; it has {names}", link.port));
    }

    /// A step whose inputs and outputs are tensors that are there. What is wrong is remarked.
    fn step(&mut self, number: usize) -> Step {
        let ensemble = self.ensemble;
        let (step, Some(model)) = (&ensemble.steps[number], self.models[number]) else {
            return Step { inputs: Vec::new(), outputs: Vec::new() };
        };
        for link in &step.inputs {
            if !model.inputs.iter().any(|input| input.name == link.port) {
                self.no_port(number, "input", link, &model.inputs);
            }
        }
        let mut inputs = Vec::with_capacity(model.inputs.len());
        for input in &model.inputs {
            let declared = Declared { spec: input, batched: model.batched() };
            let taker = format!("{}: input '{}'", step_name(number, &step.model), input.name);
            match step.inputs.iter().find(|link| link.port == input.name) {
                Some(link) => {
                    let feed = self.feed(&link.tensor, &taker, declared, &link.at);
                    inputs.extend(feed.map(|feed| (input.name.clone(), feed)));
                }
                None => self.error(&step.at, format!("{taker} is missing in 'input_map'")),
            }
        }
        let written = |port: &str| {
            let link = step.outputs.iter().find(|link| link.port == port)?;
            self.tensors.get(link.tensor.as_str()).map(|known| known.number)
        };
        let outputs = model.outputs.iter().map(|output| (output.name.clone(), written(&output.name))).collect();
        Step { inputs, outputs }
    }

    fn outputs(&mut self) -> Vec<(String, Feed)> {
        let (spec, ensemble) = (self.spec, self.ensemble);
        let mut outputs = Vec::with_capacity(spec.outputs.len());
        for (output, at) in spec.outputs.iter().zip(&ensemble.outputs_at) {
            let declared = Declared { spec: output, batched: spec.batched() };
            let is_written = self.tensors.get(output.name.as_str()).is_some_and(|known| known.writer.is_some());
            // Of a step whose model is missing nobody knows what it writes.
            let unknown = |(step, model): (&StepSpec, &Option<&ModelSpec>)| {
                model.is_none() && step.outputs.iter().any(|link| link.tensor == output.name)
            };
            if is_written {
                let feed = self.feed(&output.name, &format!("output '{}'", output.name), declared, at);
                outputs.extend(feed.map(|feed| (output.name.clone(), feed)));
            } else if !ensemble.steps.iter().zip(&self.models).any(unknown) {
                self.error(at, format!("output '{}' is written by no step", output.name));
            }
        }
        outputs
    }

    /// How a tensor comes to who takes it.
    fn feed(&mut self, tensor: &'a str, taker: &str, to: Declared<'_>, at: &str) -> Option<Feed> {
        let Some(known) = self.tensors.get_mut(tensor) else {
            let unknown = |(step, model): (&StepSpec, &Option<&ModelSpec>)| {
                model.is_none() && step.outputs.iter().any(|link| link.tensor == tensor)
            };
            if !self.ensemble.steps.iter().zip(&self.models).any(unknown) {
                let what = format!("{taker}: tensor '{tensor}' is no input of the ensemble, and no step writes it");
                self.error(at, what);
            }
            return None;
        };
        known.used = true;
        let (number, from) = (known.number, known.declared);
        if from.spec.datatype != to.spec.datatype {
            let (has, wants) = (from.spec.datatype, to.spec.datatype);
            self.error(at, format!("{taker} takes {wants}, but tensor '{tensor}' is {has}"));
            return None;
        }
        let Some(fit) = fit(from, to) else {
            let (has, wants) = (from.spec.full_shape(from.batched), to.spec.full_shape(to.batched));
            self.error(at, format!("{taker} takes the shape {wants:?}, but tensor '{tensor}' has {has:?}"));
            return None;
        };
        Some(Feed { tensor: number, fit })
    }

    fn unused(&mut self) {
        let unused = self.tensors.iter().filter(|(_, known)| !known.used);
        let mut unused: Vec<_> = unused.map(|(name, known)| (known.number, known.at, *name, known.writer)).collect();
        unused.sort_unstable();
        for (_, at, name, writer) in unused {
            let is = if writer.is_some() { "" } else { "an input of the ensemble and " };
            self.error(at, format!("tensor '{name}' is {is}used by no step and no output"));
        }
    }

    /// Steps that wait for each other.
    fn cycle(&mut self, steps: &[Step]) {
        let writers: BTreeMap<usize, usize> =
            self.tensors.values().filter_map(|known| Some((known.number, known.writer?))).collect();
        let before = |step: usize| steps[step].inputs.iter().filter_map(|(_, feed)| writers.get(&feed.tensor).copied());
        let mut open: Vec<usize> = (0..steps.len()).collect();
        loop {
            let waits: Vec<_> = open.iter().copied().filter(|&s| before(s).any(|b| open.contains(&b))).collect();
            if waits.len() == open.len() {
                break;
            }
            open = waits;
        }
        let Some(&first) = open.first() else { return };
        // Backwards from step to step among those that wait, until one comes again.
        let mut path = vec![first];
        while let Some(previous) = path.last().and_then(|&last| before(last).find(|b| open.contains(b))) {
            if let Some(from) = path.iter().position(|&step| step == previous) {
                path.drain(..from);
                path.push(previous);
                break;
            }
            path.push(previous);
        }
        let ensemble = self.ensemble;
        let name = |&step: &usize| step_name(step, &ensemble.steps[step].model);
        let names = path.iter().rev().map(name).collect::<Vec<_>>().join(" -> ");
        self.error(&ensemble.steps[path[0]].at, format!("steps wait for each other: {names}"));
    }
}

/// What happens to a shape between these two, if anything makes it fit.
fn fit(from: Declared<'_>, to: Declared<'_>) -> Option<Fit> {
    let may_be = |one: &[i64], other: &[i64]| {
        let same = |(&one, &other): (&i64, &i64)| one == -1 || other == -1 || one == other;
        one.len() == other.len() && one.iter().zip(other).all(same)
    };
    if may_be(&from.spec.full_shape(from.batched), &to.spec.full_shape(to.batched)) {
        return Some(Fit::AsIs);
    }
    match (from.batched, to.batched) {
        (false, true) if may_be(&from.spec.dims, &to.spec.dims) => Some(Fit::AddBatch),
        (true, false) if may_be(&from.spec.dims, &to.spec.dims) => Some(Fit::DropBatch),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::repository::origin::Origin;
    use crate::repository::source::Source;
    use crate::repository::spec::BackendSpec;
    use crate::repository::{Read, read};
    use crate::sched::queue::Limits;

    fn model(input: &str, output: &str, more: &str) -> String {
        format!(
            r#"backend: "simulated" parameters {{ key: "mean_ms" value {{ string_value: "0" }} }}
               input {{ name: "in" {input} }} output {{ name: "out" {output} }} {more}"#
        )
    }

    /// The models that the steps of a test may name.
    fn models() -> [(&'static str, String); 5] {
        let four = "data_type: TYPE_FP32 dims: 4";
        [
            ("a", model(four, four, "max_batch_size: 8")),
            ("b", model("data_type: TYPE_FP32 dims: -1", four, "max_batch_size: 4")),
            ("single", model(four, four, "")),
            ("batch", model("data_type: TYPE_FP32 dims: [-1, 4]", "data_type: TYPE_FP32 dims: [-1, 4]", "")),
            ("whole", model("data_type: TYPE_INT32 dims: 4", "data_type: TYPE_INT32 dims: 4", "")),
        ]
    }

    /// An ensemble of these steps, one a line, each a model and its tensors: `a x>y`. The first line declares it, the
    /// steps follow from the second on.
    fn ensemble(batch: u32, input: &str, output: &str, steps: &str) -> String {
        let step = |step: &str| {
            let (model, links) = step.split_once(' ').expect("a model and its tensors");
            let (input, output) = links.split_once('>').expect("two tensors");
            format!(
                r#"{{ model_name: "{model}" input_map {{ key: "in" value: "{input}" }} output_map {{ key: "out" value: "{output}" }} }}"#
            )
        };
        let steps = steps.lines().map(|line| step(line.trim())).collect::<Vec<_>>().join(",\n");
        format!(
            "platform: \"ensemble\" max_batch_size: {batch} input {{ name: \"x\" {input} }} output {{ name: \"y\" {output} }} \
             ensemble_scheduling {{ step [\n{steps} ] }}"
        )
    }

    fn planned(text: &str) -> Result<Plan, Vec<String>> {
        let root = tempfile::tempdir().expect("a folder");
        let mut specs = BTreeMap::new();
        for (name, config) in models().into_iter().chain([("e", text.to_owned())]) {
            fs::create_dir(root.path().join(name)).expect("made");
            fs::write(root.path().join(name).join("config.pbtxt"), config).expect("written");
            let limits = Limits { requests: 8, bytes: 1 << 20 };
            let Read { versions, errors, .. } =
                read(name, &Origin::of(&Source::Folder(root.path().to_owned())), limits);
            assert_eq!(errors, Vec::<String>::new(), "{name}");
            specs.extend(versions.into_iter().map(|spec| (name, spec)));
        }
        let BackendSpec::Ensemble(steps) = &specs["e"].backend else { panic!("an ensemble") };
        let find = |step: &StepSpec| specs.get(step.model.as_str()).ok_or_else(|| "there is no such model".to_owned());
        plan(&specs["e"], steps, find)
    }

    const FOUR: &str = "data_type: TYPE_FP32 dims: 4";

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let check = |text: &str, expected: &[(usize, &str)]| {
            let errors = planned(text).expect_err(text);
            assert_eq!(errors.len(), expected.len(), "{text}: {errors:#?}");
            for (error, (line, part)) in errors.iter().zip(expected) {
                assert!(
                    error.contains(&format!("config.pbtxt:{line}: ")) && error.contains(part),
                    "{text}: {errors:#?}"
                );
            }
        };
        let simple = |steps: &str| ensemble(4, FOUR, FOUR, steps);
        check(&simple("none x>y"), &[(2, "step 1 (model 'none'): there is no such model")]);
        check(&ensemble(5, FOUR, FOUR, "a x>t\nb t>y"), &[(3, "step 2 (model 'b'): it takes batches of 4 at most")]);
        check(
            &simple("a x>t\na z>y"),
            &[(3, "input 'in': tensor 'z' is no input of the ensemble, and no step writes it")],
        );
        check(&simple("a x>t"), &[(1, "output 'y' is written by no step")]);
        check(&simple("a x>y\nb x>y"), &[(3, "tensor 'y' cannot be written again: step 1 (model 'a') writes it")]);
        check(
            &simple("a x>x"),
            &[(2, "tensor 'x' cannot be written again: it is an input"), (1, "written by no step")],
        );
        check(&simple("a x>y\na x>t"), &[(3, "tensor 't' is used by no step and no output")]);
        check(
            &simple("a x>y\na t>u\na u>t"),
            &[(3, "wait for each other: step 2 (model 'a') -> step 3 (model 'a') -> step 2 (model 'a')")],
        );
        check(&simple("a t>t\na x>y"), &[(2, "steps wait for each other: step 1 (model 'a') -> step 1 (model 'a')")]);
        check(&simple("whole x>y"), &[(2, "takes INT32, but tensor 'x' is FP32"), (1, "output 'y' takes FP32")]);
        let wide = "data_type: TYPE_FP32 dims: 5";
        check(&ensemble(4, wide, FOUR, "a x>y"), &[(2, "takes the shape [-1, 4], but tensor 'x' has [-1, 5]")]);
        check(&ensemble(4, FOUR, wide, "a x>y"), &[(1, "output 'y' takes the shape [-1, 5]")]);
        let no_port = simple("a x>y").replace("\"in\"", "\"inn\"");
        check(&no_port, &[(2, "the model has no input 'inn'; it has in"), (2, "input 'in' is missing in 'input_map'")]);
        let no_port = simple("a x>y").replace("\"out\"", "\"oot\"");
        check(&no_port, &[(2, "the model has no output 'oot'; it has out"), (1, "written by no step")]);
        let unread = ensemble(4, FOUR, FOUR, "a x>y").replacen(
            "input {",
            "input { name: \"z\" data_type: TYPE_FP32 dims: 4 } input {",
            1,
        );
        check(&unread, &[(1, "tensor 'z' is an input of the ensemble and used by no step")]);
    }

    #[test]
    fn shapes_fit_with_and_without_a_batch() {
        let check = |batch, dims: &str, steps: &str, expected: &[Fit]| {
            let tensor = format!("data_type: TYPE_FP32 dims: {dims}");
            let plan = planned(&ensemble(batch, &tensor, &tensor, steps)).expect(steps);
            let feeds = plan.steps.iter().flat_map(|step| &step.inputs).chain(&plan.outputs);
            assert_eq!(feeds.map(|(_, feed)| feed.fit).collect::<Vec<_>>(), expected, "{steps}");
        };
        check(4, "4", "a x>t\nb t>y", &[Fit::AsIs; 3]);
        check(0, "4", "a x>t\nb t>y", &[Fit::AddBatch, Fit::AsIs, Fit::DropBatch]);
        check(0, "[-1, 4]", "a x>t\nb t>y", &[Fit::AsIs; 3]);
        check(0, "4", "single x>t\na t>y", &[Fit::AsIs, Fit::AddBatch, Fit::DropBatch]);
        check(4, "4", "batch x>t\na t>y", &[Fit::AsIs; 3]);
        check(4, "4", "single x>y", &[Fit::DropBatch, Fit::AddBatch]);
    }
}
