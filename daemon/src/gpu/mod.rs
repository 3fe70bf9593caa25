//! Everything about GPUs: what they report (`monitor`), whose their memory is and what of it is given back when (`memory`), a model as a
//! graph (`graph`), what of it is computed where in memory (`plan`), the kernels of our own (`kernels`), what is launched from a
//! picture to a mesh (`relief`), and the shell around the driver (`cuda`).

pub mod cuda;
pub mod graph;
pub mod kernels;
pub mod memory;
pub mod monitor;
pub mod plan;
pub mod relief;
