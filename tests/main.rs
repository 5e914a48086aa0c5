//! Black-box tests: the real binary, real sockets, real files.

mod support;

mod convergence;
mod crash;
mod demo;
mod discovery;
mod faults;
mod golden;
mod http;
mod policies;
mod references;
mod restore;
mod schema_tools;
mod schemas;
mod service;
mod strangers;
mod terminal;
mod tidy;
mod vectors;
