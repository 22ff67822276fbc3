//! What a service could have told: the same for every test of this room.
