//! Simulation: a seeded world against the identity core and a naive reference.
