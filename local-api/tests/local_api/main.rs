//! The program, called over HTTP as its users would.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "in a test, a panic is how a claim fails"
)]

mod client;
mod data;
mod errors;
mod lists;
mod mirror;
mod operations;
mod program;
