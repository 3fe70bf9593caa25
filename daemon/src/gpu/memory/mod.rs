//! Memory of GPUs under watch: what of a device's memory may be used, what is, and when it will be too much. Pure. Whose it
//! is, and what can be given back, is for whoever holds it.

pub mod growth;
pub mod pressure;
