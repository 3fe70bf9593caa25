//! Memory of GPUs: what of a device's memory may be used (`budget`), what is and when it will be too much (`growth`,
//! `pressure`), whose it is (`ledger`) and where it lies (`pool`), what can be given back and in which order (`shelf`,
//! `clean`), whether a model fits (`admission`), and in what and in which batches it should compute (`recommend`). All of
//! that is pure. `manager` and `cleaner` are the shell: locks, the driver, and a thread that looks once a second.

pub mod admission;
pub mod budget;
pub mod clean;
pub mod cleaner;
pub mod growth;
pub mod ledger;
pub mod manager;
pub mod pool;
pub mod pressure;
pub mod recommend;
pub mod report;
pub mod shelf;
