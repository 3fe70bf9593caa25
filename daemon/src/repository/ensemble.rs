//! The steps of an ensemble, as its configuration has them, and where each of its words is written: whether they can be
//! followed shows only when the models of the steps are known. Pure.

use std::collections::BTreeMap;

use proofload_wire::grpc::inference::model_config::SchedulingChoice;
use proofload_wire::grpc::inference::model_ensembling::Step;
use proofload_wire::grpc::inference::{ModelConfig, ModelEnsembling};

use super::complaint::{Complaint, at, is_called, within};
use super::pbtxt::text::{Field, Message, Value};
use crate::ensemble::{EnsembleSpec, Link, StepSpec, step_name};

/// The platform of an ensemble.
pub const ENSEMBLE: &str = "ensemble";

/// The steps of an ensemble. What is wrong with them alone is said here.
pub(super) fn read(config: &ModelConfig, errors: &mut Vec<Complaint>) -> EnsembleSpec {
    if !config.instance_group.is_empty() {
        let what = "an ensemble has no 'instance_group'; the models of its steps have";
        errors.push(at(["instance_group"], what));
    }
    let steps: &[Step] = match &config.scheduling_choice {
        Some(SchedulingChoice::EnsembleScheduling(ModelEnsembling { step, .. })) => step,
        _ => &[],
    };
    if steps.is_empty() {
        errors.push(at(["ensemble_scheduling"], "an ensemble needs 'ensemble_scheduling' with at least one 'step'"));
    }
    for (number, step) in steps.iter().enumerate() {
        let name = step_name(number, &step.model_name);
        let complain =
            |(field, what)| within(["ensemble_scheduling", "step", field], number, format!("{name}: {what}"));
        errors.extend(mistakes(step).into_iter().map(complain));
    }
    EnsembleSpec { steps: steps.iter().map(spec).collect(), ..EnsembleSpec::default() }
}

fn mistakes(step: &Step) -> Vec<(&'static str, &'static str)> {
    let rules = [
        (step.model_name.is_empty(), "model_name", "it has no 'model_name'"),
        (step.model_version < -1, "model_version", "'model_version' must be above 0, or -1 for the newest that serves"),
        (step.input_map.is_empty(), "input_map", "it has no 'input_map'"),
        (step.output_map.is_empty(), "output_map", "it has no 'output_map'"),
    ];
    rules.into_iter().filter(|rule| rule.0).map(|(_, field, what)| (field, what)).collect()
}

fn spec(step: &Step) -> StepSpec {
    let links = |map: &BTreeMap<String, String>| {
        let link =
            |(port, tensor): (&String, &String)| Link { port: port.clone(), tensor: tensor.clone(), at: String::new() };
        map.iter().map(link).collect()
    };
    StepSpec {
        model: step.model_name.clone(),
        version: Some(step.model_version).filter(|version| *version > 0),
        inputs: links(&step.input_map),
        outputs: links(&step.output_map),
        at: String::new(),
    }
}

/// Says of everything in an ensemble where it is written. `written` is the text, where there are lines to name.
pub(super) fn locate(spec: &mut EnsembleSpec, config: &ModelConfig, place: &str, written: Option<&Message>) {
    let line = |field: Option<&Field>| match field {
        Some(field) => format!("{place}:{}", field.line),
        None => place.to_owned(),
    };
    let top = |name: &str, called: &str| line(written.and_then(|text| named(text, name, called)));
    spec.inputs_at = config.input.iter().map(|input| top("input", &input.name)).collect();
    spec.outputs_at = config.output.iter().map(|output| top("output", &output.name)).collect();
    let steps = written.and_then(|text| fields(text, "ensemble_scheduling").next()).and_then(message);
    for (number, step) in spec.steps.iter_mut().enumerate() {
        let field = steps.and_then(|steps| fields(steps, "step").nth(number));
        let text = field.and_then(message);
        let link = |map: &str, port: &str| line(text.and_then(|text| named(text, map, port)).or(field));
        step.inputs.iter_mut().for_each(|one| one.at = link("input_map", &one.port));
        step.outputs.iter_mut().for_each(|one| one.at = link("output_map", &one.port));
        step.at = line(field);
    }
}

fn fields<'a>(message: &'a Message, name: &str) -> impl Iterator<Item = &'a Field> {
    message.fields.iter().filter(move |field| field.name == name)
}

fn message(field: &Field) -> Option<&Message> {
    match &field.value {
        Value::Message(message) => Some(message),
        _ => None,
    }
}

/// The field of that name whose `name` or `key` this is.
fn named<'a>(message: &'a Message, name: &str, called: &str) -> Option<&'a Field> {
    fields(message, name).find(|field| is_called(field, called))
}
