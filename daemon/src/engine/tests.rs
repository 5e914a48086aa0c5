//! Tests of the engine over the real store and the real wire format: devices joined in one thread, and
//! peers played by the test, whose every message is the test's own.

mod checkpoints;
mod damage;
mod forkers;
mod forks;
mod held_back;
mod lanes;
mod lifting;
mod opening;
mod parts;
mod puppet;
mod refusals;
mod repair;
mod resume;
mod schemas;
mod spreading;
mod store_faults;
mod telling;
mod turns;
mod world;
