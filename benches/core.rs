//! The table alone, in this process: look-up and update beside Redis and a bare map, memory beside Redis, memberships, and
//! whether cost grows with the table.
//!
//! `cargo bench --bench core [-- --json] [--quick] [look-up] [memory] [memberships] [growth]`. The public doors of
//! `jims::identity` and `jims::writer` are used as the service uses them; what is left out (sockets, formats, the disk)
//! says each part. Redis is a process of its own on loopback, without persistence, and ends with this one.

#[path = "core/bare.rs"]
mod bare;
#[path = "core/growth.rs"]
mod growth;
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

/// The service's allocator, as memory and time are measured of what it has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let options = Options::read(&["look-up", "memory", "memberships", "growth", memory::ALONE]);
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
}
