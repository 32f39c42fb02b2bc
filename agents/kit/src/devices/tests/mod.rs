mod broker;
mod delivery;
mod erasure;
mod registry;
mod session;
