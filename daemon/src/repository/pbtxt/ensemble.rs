//! The fields of a model configuration that say of which steps an ensemble is made.

use std::collections::BTreeMap;

use proofload_wire::grpc::inference::ModelEnsembling;
use proofload_wire::grpc::inference::model_ensembling::Step;

use super::fields::{Reader, number, text};
use super::text::{Field, Message};

impl Reader {
    pub(super) fn ensemble(&mut self, message: &Message) -> ModelEnsembling {
        let mut ensemble = ModelEnsembling::default();
        for field in &message.fields {
            match field.name.as_str() {
                "step" => ensemble.step.push(self.nested(field, Self::step)),
                "max_inflight_requests" => {
                    self.set(field, number(field), &mut ensemble.max_inflight_requests);
                    let what = "has no effect here: it is for steps with several responses";
                    self.warn_unless_default(field, &ensemble.max_inflight_requests, what);
                }
                _ => self.other(field, "an ensemble"),
            }
        }
        ensemble
    }

    fn step(&mut self, message: &Message) -> Step {
        let mut step = Step::default();
        for field in &message.fields {
            match field.name.as_str() {
                "model_name" => self.set(field, text(field), &mut step.model_name),
                "model_version" => self.set(field, number(field), &mut step.model_version),
                "input_map" => self.link(field, &mut step.input_map),
                "output_map" => self.link(field, &mut step.output_map),
                _ => self.other(field, "a step"),
            }
        }
        step
    }

    fn link(&mut self, field: &Field, links: &mut BTreeMap<String, String>) {
        let (port, tensor) = self.nested(field, Self::map_entry);
        if links.insert(port.clone(), tensor).is_some() {
            self.error(field, format!("'{}' is given twice in '{}'", port.escape_debug(), field.name));
        }
    }

    fn map_entry(&mut self, message: &Message) -> (String, String) {
        let mut entry = (String::new(), String::new());
        for field in &message.fields {
            match field.name.as_str() {
                "key" => self.set(field, text(field), &mut entry.0),
                "value" => self.set(field, text(field), &mut entry.1),
                _ => self.other(field, "a map of tensors"),
            }
        }
        entry
    }
}
