//! The table alone, in this process: look-up and update beside Redis and a bare map, memory beside Redis, memberships, whether
//! cost grows with the table, and what the machine's memory can do.
//!
//! `cargo bench --bench core [-- --json] [--quick] [look-up] [memory] [memberships] [growth] [limits]`. The public
//! doors of `jims::identity` and `jims::writer` are used as the service uses them; what is left out (sockets, formats, the disk)
//! says each part. Redis is a process of its own on loopback, without persistence, and ends with this one.

#[path = "core/bare.rs"]
mod bare;
#[path = "core/growth.rs"]
mod growth;
#[path = "core/limits.rs"]
mod limits;
#[path = "core/look_up.rs"]
mod look_up;
#[path = "measure/mod.rs"]
mod measure;
#[path = "core/memberships.rs"]
mod memberships;
#[path = "core/memory.rs"]
mod memory;
#[path = "core/redis.rs"]
mod redis;
#[path = "core/world.rs"]
mod world;

use measure::Options;

fn main() {
    let options = Options::read(&[
        "look-up",
        "memory",
        "memberships",
        "growth",
        "limits",
        memory::ALONE,
    ]);
    if options.parts == [memory::ALONE] {
        return memory::alone(&options);
    }
    if options.wants("memory") {
        memory::run(&options);
    }
    if options.wants("look-up") {
        look_up::run(&options);
    }
    if options.wants("memberships") {
        memberships::run(&options);
    }
    if options.wants("growth") {
        growth::run(&options);
    }
    if options.wants("limits") {
        limits::run(&options);
    }
}
