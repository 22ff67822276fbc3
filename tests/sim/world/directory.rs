//! The directory of the world.

use super::{DEVICES, TICK, USERS, World};
use crate::step::{Action, Kind, Object, Part, Read};

impl World {
    pub(super) fn full_read(&mut self) {
        self.lonely_now();
        if self.users.is_empty() {
            for (id, name) in (1..).zip(USERS) {
                self.users.push(user_object(id, name, true));
            }
            for (id, name) in (20..).zip(["Staff", "admins", "vpn", "nested"]) {
                let members = self.members();
                self.groups.push(Object {
                    id,
                    name: name.into(),
                    kind: Kind::Group { members },
                });
            }
        }
        let devices = (10..).zip(DEVICES).take(2).map(|(id, name)| Object {
            id,
            name: name.to_uppercase(),
            kind: Kind::Device { primary: None },
        });
        let read = |part, objects: Vec<Object>| {
            Action::Read(Read {
                directory: "corp".into(),
                part,
                objects,
                gone: Vec::new(),
            })
        };
        let devices: Vec<Object> = devices.collect();
        self.push(read(Part::Begin, self.users.clone()));
        self.push(read(Part::Middle, devices));
        self.push(read(Part::End, self.groups.clone()));
        self.now += TICK - 7;
    }

    fn members(&mut self) -> Vec<u32> {
        let all: Vec<u32> = (1..=5).chain(10..13).chain(20..24).collect();
        let count = self.dice.below(4);
        (0..count).map(|_| *self.dice.pick(&all)).collect()
    }

    /// One change at a poll: a group, or a user who is disabled, deleted, renamed, or comes back.
    pub(super) fn poll(&mut self) {
        if self.users.is_empty() {
            return;
        }
        self.lonely_now();
        let mut read = Read {
            directory: "corp".into(),
            part: Part::Poll,
            objects: Vec::new(),
            gone: Vec::new(),
        };
        let place = self.dice.below(self.users.len());
        let id = self.users[place].id;
        match self.dice.below(10) {
            0..4 => {
                let members = self.members();
                let place = self.dice.below(self.groups.len());
                self.groups[place].kind = Kind::Group { members };
                read.objects.push(self.groups[place].clone());
            }
            4..6 => {
                let name = self.users[place].name.clone();
                self.users[place] = user_object(id, &name, false);
                read.objects.push(self.users[place].clone());
            }
            6 => read.gone.push(id),
            7 => {
                self.renames += 1;
                let name = format!("{}-{}", USERS[place], self.renames);
                self.users[place] = user_object(id, &name, true);
                read.objects.push(self.users[place].clone());
            }
            _ => {
                let name = self.users[place].name.clone();
                self.users[place] = user_object(id, &name, true);
                read.objects.push(self.users[place].clone());
            }
        }
        self.push(Action::Read(read));
        self.now += TICK - 7;
    }
}

fn user_object(id: u32, name: &str, enabled: bool) -> Object {
    Object {
        id,
        name: name.into(),
        kind: Kind::User {
            upn: Some(format!("{name}@corp.example.com")),
            enabled,
            primary: id.is_multiple_of(2).then_some(22),
        },
    }
}
