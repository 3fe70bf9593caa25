//! Admission: who may come in, and how many. Pure: it takes `now` and opens nothing; files, sockets and clocks are at
//! `front` and `engine`.

pub mod concurrency;
pub mod keys;
pub mod quota;
pub mod rate;
pub mod secret;
