//! A request on its way through the graph of an ensemble: which tensors are there, and which steps can run. A tensor is let
//! go of when the last step that takes it has it.

use bytes::Bytes;
use proofload_wire::tensor::{DataType, Tensor};

use super::graph::{Feed, Fit, Plan};

/// A request on its way.
pub struct Flow<'a> {
    plan: &'a Plan,
    tensors: Vec<Slot>,
    /// By step: what it still lacks; `None` for steps that nobody needs.
    lacks: Vec<Option<usize>>,
}

#[derive(Default, Clone)]
struct Slot {
    tensor: Option<Tensor>,
    /// How many have still to take it.
    takers: usize,
}

impl<'a> Flow<'a> {
    /// A request that wants these outputs of the ensemble. Steps that lead to none of them do not run.
    pub fn new(plan: &'a Plan, wanted: impl IntoIterator<Item = usize>) -> Self {
        let mut flow = Self { plan, tensors: vec![Slot::default(); plan.tensors], lacks: vec![None; plan.steps.len()] };
        let mut wanted: Vec<usize> = wanted.into_iter().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut needed: Vec<usize> =
            wanted.iter().filter_map(|&output| plan.outputs.get(output)).map(|(_, feed)| feed.tensor).collect();
        while let Some(tensor) = needed.pop() {
            flow.tensors[tensor].takers += 1;
            let writer = plan.steps.iter().position(|step| step.outputs.iter().any(|(_, own)| *own == Some(tensor)));
            if let Some(step) = writer.filter(|&step| flow.lacks[step].is_none()) {
                flow.lacks[step] = Some(plan.steps[step].inputs.len());
                needed.extend(plan.steps[step].inputs.iter().map(|(_, feed)| feed.tensor));
            }
        }
        flow
    }

    /// Takes the inputs of the ensemble and says which steps can run.
    pub fn begin(&mut self, inputs: Vec<Tensor>) -> Vec<usize> {
        inputs.into_iter().enumerate().flat_map(|(number, tensor)| self.arrived(number, tensor)).collect()
    }

    /// The inputs of a step that can run, as its model wants them.
    ///
    /// # Errors
    /// When one of them has another shape than its model takes.
    pub fn inputs(&mut self, step: usize) -> Result<Vec<Tensor>, String> {
        let plan = self.plan;
        plan.steps[step].inputs.iter().map(|(port, feed)| self.take(port, *feed)).collect()
    }

    /// The outputs of a step that somebody needs, by the model's names.
    pub fn wanted(&self, step: usize) -> Vec<&'a str> {
        let outputs = self.plan.steps[step].outputs.iter();
        let needed = |tensor: &Option<usize>| tensor.is_some_and(|tensor| self.tensors[tensor].takers > 0);
        outputs.filter(|(_, tensor)| needed(tensor)).map(|(port, _)| port.as_str()).collect()
    }

    /// Takes the outputs of a step and says which steps can run now.
    pub fn done(&mut self, step: usize, outputs: Vec<Tensor>) -> Vec<usize> {
        let plan = self.plan;
        let number = |name: &str| plan.steps[step].outputs.iter().find(|(port, _)| port == name)?.1;
        let numbered = outputs.into_iter().filter_map(|tensor| Some((number(&tensor.name)?, tensor)));
        numbered.flat_map(|(number, tensor)| self.arrived(number, tensor)).collect()
    }

    /// The outputs of the ensemble, in its order. Those that are not wanted are empty.
    ///
    /// # Errors
    /// When one of them has another shape than the ensemble declares.
    pub fn outputs(&mut self) -> Result<Vec<Tensor>, String> {
        let plan = self.plan;
        let output = |(name, feed): &(String, Feed)| {
            if self.tensors[feed.tensor].takers == 0 { Ok(nothing(name)) } else { self.take(name, *feed) }
        };
        plan.outputs.iter().map(output).collect()
    }

    fn arrived(&mut self, number: usize, tensor: Tensor) -> Vec<usize> {
        if self.tensors[number].takers == 0 {
            return Vec::new();
        }
        self.tensors[number].tensor = Some(tensor);
        let mut ready = Vec::new();
        for (index, (step, lacks)) in self.plan.steps.iter().zip(&mut self.lacks).enumerate() {
            let Some(lacks) = lacks else { continue };
            let takes = step.inputs.iter().filter(|(_, feed)| feed.tensor == number).count();
            *lacks = lacks.saturating_sub(takes);
            if takes > 0 && *lacks == 0 {
                ready.push(index);
            }
        }
        ready
    }

    /// A tensor under another name, and in the shape in which it is taken.
    fn take(&mut self, name: &str, feed: Feed) -> Result<Tensor, String> {
        let slot = &mut self.tensors[feed.tensor];
        slot.takers = slot.takers.saturating_sub(1);
        let tensor = if slot.takers == 0 { slot.tensor.take() } else { slot.tensor.clone() };
        let mut tensor = tensor.ok_or_else(|| format!("'{name}' is missing"))?;
        match feed.fit {
            Fit::AsIs => {}
            Fit::AddBatch => tensor.shape.insert(0, 1),
            Fit::DropBatch if tensor.shape.first() == Some(&1) => _ = tensor.shape.remove(0),
            Fit::DropBatch => {
                let shape = &tensor.shape;
                return Err(format!("'{name}' must be of a batch of 1 to be taken without one, not {shape:?}"));
            }
        }
        name.clone_into(&mut tensor.name);
        Ok(tensor)
    }
}

/// In place of an output that nobody wants.
fn nothing(name: &str) -> Tensor {
    Tensor { name: name.to_owned(), datatype: DataType::Uint8, shape: vec![0], data: Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::super::graph::Step;
    use super::*;

    /// A diamond: `x` goes to two steps, a third joins them; beside it a fourth writes an output of its own.
    fn diamond() -> Plan {
        let feed = |tensor| Feed { tensor, fit: Fit::AsIs };
        let step = |inputs: &[(&str, usize)], output: usize| Step {
            inputs: inputs.iter().map(|(name, tensor)| ((*name).to_owned(), feed(*tensor))).collect(),
            outputs: vec![("out".to_owned(), Some(output)), ("nobody's".to_owned(), None)],
        };
        Plan {
            steps: vec![
                step(&[("a", 0)], 1),
                step(&[("b", 0)], 2),
                step(&[("c", 1), ("d", 2)], 3),
                step(&[("e", 0)], 4),
            ],
            outputs: vec![("y".to_owned(), feed(3)), ("z".to_owned(), feed(4))],
            tensors: 5,
        }
    }

    fn tensor(name: &str, numbers: &[f32]) -> Tensor {
        let shape = vec![1, i64::try_from(numbers.len()).expect("small")];
        Tensor::from_f32(name, shape, numbers).expect("well-formed")
    }

    #[test]
    fn steps_run_as_soon_as_their_inputs_are_there() {
        let plan = diamond();
        let mut flow = Flow::new(&plan, [0, 1, 0]);
        assert_eq!(flow.begin(vec![tensor("x", &[1.0])]), [0, 1, 3]);
        assert_eq!(flow.inputs(0).expect("there"), [tensor("a", &[1.0])]);
        assert_eq!(flow.inputs(1).expect("there"), [tensor("b", &[1.0])]);
        assert!(flow.tensors[0].tensor.is_some());
        assert_eq!(flow.inputs(3).expect("there"), [tensor("e", &[1.0])]);
        assert!(flow.tensors[0].tensor.is_none(), "the last one has it");
        assert_eq!(flow.wanted(1), ["out"]);
        assert!(flow.done(1, vec![tensor("out", &[2.0])]).is_empty());
        assert!(flow.done(3, vec![tensor("out", &[4.0])]).is_empty());
        assert_eq!(flow.done(0, vec![tensor("out", &[3.0])]), [2]);
        assert_eq!(flow.inputs(2).expect("there"), [tensor("c", &[3.0]), tensor("d", &[2.0])]);
        assert!(flow.done(2, vec![tensor("out", &[5.0])]).is_empty());
        assert_eq!(flow.outputs().expect("there"), [tensor("y", &[5.0]), tensor("z", &[4.0])]);
    }

    #[test]
    fn nothing_is_computed_that_nobody_wants() {
        let plan = diamond();
        let mut flow = Flow::new(&plan, [1]);
        assert_eq!(flow.begin(vec![tensor("x", &[1.0])]), [3]);
        flow.inputs(3).expect("there");
        flow.done(3, vec![tensor("out", &[4.0])]);
        let outputs = flow.outputs().expect("there");
        assert_eq!((outputs[0].data.len(), &outputs[1]), (0, &tensor("z", &[4.0])));
    }

    #[test]
    fn a_batch_of_one_comes_and_goes() {
        let check = |fit, shape: &[i64], expected: Result<&[i64], &str>| {
            let mut plan = diamond();
            plan.steps[3].inputs[0].1.fit = fit;
            let mut flow = Flow::new(&plan, [1]);
            flow.begin(vec![Tensor::from_f32("x", shape.to_vec(), &[0.0; 6]).expect("well-formed")]);
            let taken = flow.inputs(3).map(|inputs| inputs[0].shape.clone());
            match expected {
                Ok(shape) => assert_eq!(taken.as_deref(), Ok(shape)),
                Err(part) => assert!(taken.clone().is_err_and(|error| error.contains(part)), "{taken:?}"),
            }
        };
        check(Fit::AsIs, &[2, 3], Ok(&[2, 3]));
        check(Fit::AddBatch, &[2, 3], Ok(&[1, 2, 3]));
        check(Fit::DropBatch, &[1, 6], Ok(&[6]));
        check(Fit::DropBatch, &[2, 3], Err("'e' must be of a batch of 1"));
    }
}
