//! The controller's laws, in a model of the service: whatever happens to brokers, in whichever order, and whoever decides.

mod cases;
mod laws;
mod world;
