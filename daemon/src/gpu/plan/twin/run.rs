//! A plan, step by step, in memory laid out as the plan says: a value that lies where another still is wanted gives a wrong
//! result here too.

use super::super::{Operand, Outlet, Place, Plan, Step};
use super::compute;
use crate::gpu::graph::tensor::{Data, Tensor};

/// What the arena holds before anything is written: no number, in every floating-point type.
const UNWRITTEN: u8 = 0xff;

/// Computes a plan.
///
/// # Errors
/// When the inputs are not those of the plan, or a step cannot compute what it finds.
pub fn run(plan: &Plan, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let mut memory = Memory { plan, arena: vec![UNWRITTEN; plan.arena_bytes] };
    if inputs.len() != plan.inputs.len() {
        return Err(format!("{} inputs were given to a plan of {}", inputs.len(), plan.inputs.len()));
    }
    for (outlet, tensor) in plan.inputs.iter().zip(inputs) {
        if tensor.shape() != outlet.shape || tensor.element() != outlet.operand.element {
            return Err(format!("input '{}' is not of shape {:?}", outlet.name, outlet.shape));
        }
        memory.write(outlet.operand, tensor.data())?;
    }
    for step in &plan.steps {
        memory.step(step).map_err(|what| format!("{}: {what}", step.operation.name()))?;
    }
    plan.outputs.iter().map(|outlet| memory.output(outlet)).collect()
}

struct Memory<'a> {
    plan: &'a Plan,
    arena: Vec<u8>,
}

impl Memory<'_> {
    fn read(&self, operand: Operand) -> Result<Data, String> {
        let outside = || format!("{operand:?} lies outside of the memory");
        match operand.place {
            Place::Constant(at) => {
                let constant = self.plan.constants.get(at).ok_or_else(outside)?;
                Ok(constant.tensor.data().cast(operand.element))
            }
            Place::Arena(offset) => {
                let bytes = self.arena.get(offset..).ok_or_else(outside)?;
                Data::from_bytes(operand.element, bytes, operand.count).ok_or_else(outside)
            }
        }
    }

    fn write(&mut self, operand: Operand, data: &Data) -> Result<(), String> {
        let Place::Arena(offset) = operand.place else { return Err("a constant is written".to_owned()) };
        let bytes = data.to_bytes(operand.element);
        let place = self.arena.get_mut(offset..offset + bytes.len()).filter(|_| bytes.len() == operand.bytes());
        place.ok_or_else(|| format!("{operand:?} lies outside of the memory"))?.copy_from_slice(&bytes);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let inputs = step.inputs.iter().map(|operand| self.read(*operand)).collect::<Result<Vec<_>, _>>()?;
        let inputs: Vec<&Data> = inputs.iter().collect();
        let data = compute(&step.operation, &inputs, step.output.count, step.output.element)?;
        self.write(step.output, &data)
    }

    fn output(&self, outlet: &Outlet) -> Result<Tensor, String> {
        let data = self.read(outlet.operand)?;
        let tensor = Tensor::new(outlet.operand.element, outlet.shape.clone(), data);
        tensor.ok_or_else(|| format!("output '{}' is not of shape {:?}", outlet.name, outlet.shape))
    }
}
