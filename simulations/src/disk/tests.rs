//! The disk alone, and the real store over it.

mod raw;
mod store;
