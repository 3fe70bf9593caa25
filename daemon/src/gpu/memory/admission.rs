//! Whether a model finds room on a device before it is loaded, and what would help if not. Pure.

use std::fmt;

use super::ledger::Class;

/// What a model takes on a device, at a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Its weights, once.
    pub weight_bytes: u64,
    /// The values of a plan, of all instances.
    pub activation_bytes: u64,
    /// What libraries compute with, of all instances.
    pub workspace_bytes: u64,
}

impl Need {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.weight_bytes + self.activation_bytes + self.workspace_bytes
    }
}

/// What a device has for a model that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What may be used of its memory.
    pub budget_bytes: u64,
    /// What is, and by whom does not matter.
    pub used_bytes: u64,
    /// What of that can be given back: plans that are kept, and models that nobody asks for.
    pub droppable_bytes: u64,
}

/// What a model would take otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alternatives {
    /// At smaller batches, largest first.
    pub smaller: Vec<(u32, Need)>,
    /// With FP16 numbers, where it has FP32 now.
    pub half: Option<Need>,
}

/// A model that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "at batch {batch} it takes {} of GPU memory ({} {}, {} {}, {} {}), and {} of a budget of {} can be had: {} too much; {}",
    Size(need.bytes()),
    Class::Weights.as_str(),
    Size(need.weight_bytes),
    Class::Activations.as_str(),
    Size(need.activation_bytes),
    Class::Workspace.as_str(),
    Size(need.workspace_bytes),
    Size(*available_bytes),
    Size(*budget_bytes),
    Size(self.lacking_bytes()),
    help
)]
pub struct TooLarge {
    /// At which batch.
    pub batch: u32,
    /// What it takes.
    pub need: Need,
    /// What there is for it.
    pub available_bytes: u64,
    /// Of which budget.
    pub budget_bytes: u64,
    /// What would make it fit.
    pub help: String,
}

impl TooLarge {
    /// By how much.
    pub fn lacking_bytes(&self) -> u64 {
        self.need.bytes().saturating_sub(self.available_bytes)
    }
}

/// Bytes as people read them.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1024 => write!(f, "{} B", self.0),
            1024..1_048_576 => write!(f, "{:.1} KiB", bytes / 1024.0),
            1_048_576..1_073_741_824 => write!(f, "{:.1} MiB", bytes / 1_048_576.0),
            _ => write!(f, "{:.2} GiB", bytes / 1_073_741_824.0),
        }
    }
}

/// How many bytes have to be given back before the model comes.
///
/// # Errors
/// When all that can be given back is not enough; says by how much, and what would help.
pub fn admit(batch: u32, need: Need, room: &Room, otherwise: &Alternatives) -> Result<u64, Box<TooLarge>> {
    let free_bytes = room.budget_bytes.saturating_sub(room.used_bytes);
    let available_bytes = free_bytes + room.droppable_bytes.min(room.used_bytes);
    if need.bytes() <= available_bytes {
        return Ok(need.bytes().saturating_sub(free_bytes));
    }
    let help = help(available_bytes, otherwise);
    Err(Box::new(TooLarge { batch, need, available_bytes, budget_bytes: room.budget_bytes, help }))
}

fn help(available_bytes: u64, otherwise: &Alternatives) -> String {
    let mut ways = Vec::new();
    let smaller = otherwise.smaller.iter().find(|(_, need)| need.bytes() <= available_bytes);
    ways.extend(smaller.map(|(batch, need)| format!("a max_batch_size of {batch} ({})", Size(need.bytes()))));
    let half = otherwise.half.filter(|need| need.bytes() <= available_bytes);
    ways.extend(half.map(|need| format!("the parameter precision \"fp16\" ({})", Size(need.bytes()))));
    ways.push("a larger gpu.memory_budget".to_owned());
    format!("what would help: {}, or an instance_group of KIND_CPU", ways.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn need(weights: u64, activations: u64) -> Need {
        Need { weight_bytes: weights * MIB, activation_bytes: activations * MIB, workspace_bytes: 2 * MIB }
    }

    #[test]
    fn a_model_comes_where_there_is_room_or_room_can_be_made() {
        let check = |used: u64, droppable: u64, expected: Result<u64, u64>| {
            let room = Room { budget_bytes: 100 * MIB, used_bytes: used * MIB, droppable_bytes: droppable * MIB };
            let found = admit(8, need(10, 28), &room, &Alternatives::default());
            let found = found.map(|bytes| bytes / MIB).map_err(|error| error.lacking_bytes() / MIB);
            assert_eq!(found, expected, "{used} used, {droppable} droppable");
        };
        check(0, 0, Ok(0));
        check(60, 0, Ok(0));
        check(61, 0, Err(1));
        check(90, 30, Ok(30));
        check(100, 39, Err(1));
        check(200, 200, Ok(40));
    }

    #[test]
    fn a_refusal_says_by_how_much_and_what_would_help() {
        let room = Room { budget_bytes: 64 * MIB, used_bytes: 32 * MIB, droppable_bytes: 8 * MIB };
        let otherwise = Alternatives {
            smaller: vec![(16, need(10, 48)), (8, need(10, 24)), (4, need(10, 12))],
            half: Some(need(5, 48)),
        };
        let error = admit(32, need(10, 96), &room, &otherwise).unwrap_err().to_string();
        let expected = "at batch 32 it takes 108.0 MiB of GPU memory (weights 10.0 MiB, activations 96.0 MiB, workspace \
                        2.0 MiB), and 40.0 MiB of a budget of 64.0 MiB can be had: 68.0 MiB too much; what would help: a \
                        max_batch_size of 8 (36.0 MiB), a larger gpu.memory_budget, or an instance_group of KIND_CPU";
        assert_eq!(error, expected);
        let half = Alternatives { smaller: Vec::new(), half: Some(need(5, 33)) };
        let error = admit(1, need(10, 66), &room, &half).unwrap_err().to_string();
        assert!(error.contains("help: the parameter precision \"fp16\" (40.0 MiB), a larger"), "{error}");
    }
}
