//! The fields of a model configuration that say how its requests are scheduled: instances, batches and queues.

use proofload_wire::grpc::inference::model_instance_group::Kind;
use proofload_wire::grpc::inference::model_queue_policy::TimeoutAction;
use proofload_wire::grpc::inference::model_rate_limiter::Resource;
use proofload_wire::grpc::inference::{ModelDynamicBatching, ModelInstanceGroup, ModelQueuePolicy, ModelRateLimiter};

use super::fields::{Reader, boolean, named, number, text};
use super::text::Message;

impl Reader {
    pub(super) fn instance_group(&mut self, message: &Message) -> ModelInstanceGroup {
        let mut group = ModelInstanceGroup::default();
        for field in &message.fields {
            match field.name.as_str() {
                "name" => self.set(field, text(field), &mut group.name),
                "count" => self.set(field, number(field), &mut group.count),
                "kind" => self.set(field, named(field, Kind::from_str_name), &mut group.kind),
                "gpus" => {
                    if group.gpus.is_empty() {
                        self.warn(field, "has no effect: what runs on a GPU runs on the one that gpu.device names");
                    }
                    self.push(field, number(field), &mut group.gpus);
                }
                "rate_limiter" => group.rate_limiter = Some(self.nested(field, Self::rate_limiter)),
                _ => self.other(field, "an instance group"),
            }
        }
        group
    }

    fn rate_limiter(&mut self, message: &Message) -> ModelRateLimiter {
        let mut limiter = ModelRateLimiter::default();
        for field in &message.fields {
            match field.name.as_str() {
                "resources" => limiter.resources.push(self.nested(field, Self::resource)),
                "priority" => self.set(field, number(field), &mut limiter.priority),
                _ => self.other(field, "a rate limiter"),
            }
        }
        limiter
    }

    fn resource(&mut self, message: &Message) -> Resource {
        let mut resource = Resource::default();
        for field in &message.fields {
            match field.name.as_str() {
                "name" => self.set(field, text(field), &mut resource.name),
                "count" => self.set(field, number(field), &mut resource.count),
                "global" => self.set(field, boolean(field), &mut resource.global),
                _ => self.other(field, "a resource"),
            }
        }
        resource
    }

    pub(super) fn dynamic_batching(&mut self, message: &Message) -> ModelDynamicBatching {
        let mut batching = ModelDynamicBatching::default();
        for field in &message.fields {
            match field.name.as_str() {
                "preferred_batch_size" => self.push(field, number(field), &mut batching.preferred_batch_size),
                "max_queue_delay_microseconds" => {
                    self.set(field, number(field), &mut batching.max_queue_delay_microseconds);
                }
                "preserve_ordering" => self.set(field, boolean(field), &mut batching.preserve_ordering),
                "priority_levels" => self.set(field, number(field), &mut batching.priority_levels),
                "default_priority_level" => self.set(field, number(field), &mut batching.default_priority_level),
                "default_queue_policy" => {
                    batching.default_queue_policy = Some(self.nested(field, Self::queue_policy));
                }
                "priority_queue_policy" => {
                    let (level, policy) = self.nested(field, Self::level_policy);
                    if batching.priority_queue_policy.insert(level, policy).is_some() {
                        self.error(field, format!("the 'priority_queue_policy' of level {level} is given twice"));
                    }
                }
                _ => self.other(field, "dynamic batching"),
            }
        }
        batching
    }

    fn level_policy(&mut self, message: &Message) -> (u64, ModelQueuePolicy) {
        let mut entry = (0, ModelQueuePolicy::default());
        for field in &message.fields {
            match field.name.as_str() {
                "key" => self.set(field, number(field), &mut entry.0),
                "value" => entry.1 = self.nested(field, Self::queue_policy),
                _ => self.other(field, "a level's queue policy"),
            }
        }
        entry
    }

    fn queue_policy(&mut self, message: &Message) -> ModelQueuePolicy {
        let mut policy = ModelQueuePolicy::default();
        for field in &message.fields {
            match field.name.as_str() {
                "timeout_action" => {
                    self.set(field, named(field, TimeoutAction::from_str_name), &mut policy.timeout_action);
                }
                "default_timeout_microseconds" => {
                    self.set(field, number(field), &mut policy.default_timeout_microseconds);
                }
                "allow_timeout_override" => self.set(field, boolean(field), &mut policy.allow_timeout_override),
                "max_queue_size" => self.set(field, number(field), &mut policy.max_queue_size),
                _ => self.other(field, "a queue policy"),
            }
        }
        policy
    }
}
