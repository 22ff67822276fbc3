//! What the naive reference knows from directories: who is who, who went, and roles by walking every group.

use std::collections::{BTreeMap, BTreeSet};

use crate::step::{Kind, Object, Part, PolicyText, Read};

/// `domain\name`, in lower case.
pub(crate) type Key = String;

#[derive(Clone, Debug, Default)]
pub(crate) struct Directories {
    /// By directory name.
    known: BTreeMap<String, Directory>,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    domain: String,
    objects: BTreeMap<u32, Object>,
    /// Users it had and lost.
    lost: BTreeSet<Key>,
    /// Named since the full read began.
    named: Option<BTreeSet<u32>>,
}

/// What a batch did to names.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) renamed_users: Vec<(Key, Key)>,
    pub(crate) renamed_devices: Vec<(Key, Key)>,
}

pub(crate) fn key(domain: &str, name: &str) -> Key {
    format!("{}\\{}", domain.to_lowercase(), name.to_lowercase())
}

impl Directories {
    /// Which directories there are; the others' data leave.
    pub(crate) fn configure(&mut self, policy: &PolicyText) {
        let wanted: BTreeMap<String, &String> = policy
            .domains
            .iter()
            .filter(|(_, _, read)| *read)
            .map(|(dns, netbios, _)| (netbios.to_lowercase(), dns))
            .collect();
        self.known.retain(|name, _| wanted.contains_key(name));
        for (name, domain) in wanted {
            let directory = self.known.entry(name).or_default();
            directory.domain.clone_from(domain);
        }
    }

    pub(crate) fn read(&mut self, read: &Read) -> Changes {
        let mut changes = Changes::default();
        let Some(directory) = self.known.get_mut(&read.directory) else {
            return changes;
        };
        if read.part == Part::Begin {
            directory.named = Some(BTreeSet::new());
        }
        for object in &read.objects {
            if let Some(named) = &mut directory.named {
                named.insert(object.id);
            }
            directory.upsert(object, &mut changes);
        }
        for id in &read.gone {
            directory.remove(*id);
        }
        if read.part == Part::End
            && let Some(named) = directory.named.take()
        {
            let unnamed: Vec<u32> = directory
                .objects
                .keys()
                .copied()
                .filter(|id| !named.contains(id))
                .collect();
            for id in unnamed {
                directory.remove(id);
            }
        }
        changes
    }

    /// Whether a directory had the user and lost or disabled him.
    pub(crate) fn is_gone(&self, user: &str) -> bool {
        self.known.values().any(|directory| {
            directory.lost.contains(user)
                || directory.objects.values().any(|object| {
                    matches!(object.kind, Kind::User { enabled: false, .. })
                        && key(&directory.domain, &object.name) == user
                })
        })
    }

    /// Users of a directory, known or lost.
    pub(crate) fn users_of(&self, name: &str) -> Vec<Key> {
        let Some(directory) = self.known.get(name) else {
            return Vec::new();
        };
        let known = directory
            .objects
            .values()
            .filter(|object| matches!(object.kind, Kind::User { .. }))
            .map(|object| key(&directory.domain, &object.name));
        known.chain(directory.lost.iter().cloned()).collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.known.keys().cloned().collect()
    }

    /// The user whose principal name this is.
    pub(crate) fn by_upn(&self, text: &str) -> Option<Key> {
        self.known.values().find_map(|directory| {
            directory
                .objects
                .values()
                .find_map(|object| match &object.kind {
                    Kind::User { upn: Some(upn), .. }
                        if upn.to_lowercase() == text.to_lowercase() =>
                    {
                        Some(key(&directory.domain, &object.name))
                    }
                    _ => None,
                })
        })
    }

    /// The name as the directory writes it.
    pub(crate) fn spelling(&self, subject: &str, device: bool) -> Option<String> {
        self.find(subject, device)
            .map(|(_, object)| object.name.clone())
    }

    fn find(&self, subject: &str, device: bool) -> Option<(&Directory, &Object)> {
        self.known.values().find_map(|directory| {
            directory
                .objects
                .values()
                .find(|object| {
                    let right = match object.kind {
                        Kind::User { .. } => !device,
                        Kind::Device { .. } => device,
                        Kind::Group { .. } => false,
                    };
                    right && key(&directory.domain, &object.name) == subject
                })
                .map(|object| (directory, object))
        })
    }

    /// Groups of a user or device, transitively, sorted.
    pub(crate) fn roles(&self, subject: &str, device: bool, policy: &PolicyText) -> Vec<String> {
        let Some((home, object)) = self.find(subject, device) else {
            return Vec::new();
        };
        let mut within: BTreeSet<u32> = BTreeSet::from([object.id]);
        if let Kind::User { primary, .. } | Kind::Device { primary } = &object.kind {
            within.extend(primary);
        }
        loop {
            let before = within.len();
            for directory in self.known.values() {
                for group in directory.objects.values() {
                    if let Kind::Group { members } = &group.kind
                        && members.iter().any(|member| within.contains(member))
                    {
                        within.insert(group.id);
                    }
                }
            }
            if within.len() == before {
                break;
            }
        }
        let mut roles: Vec<String> = Vec::new();
        for directory in self.known.values() {
            for (id, group) in &directory.objects {
                if within.contains(id) && matches!(group.kind, Kind::Group { .. }) {
                    roles.push(if directory.domain == home.domain {
                        group.name.clone()
                    } else {
                        format!("{}\\{}", directory.domain, group.name)
                    });
                }
            }
        }
        roles.retain(|role| {
            let excluded = &policy.exclude_groups;
            !excluded
                .iter()
                .any(|group| group.eq_ignore_ascii_case(role))
        });
        roles.sort();
        roles.dedup();
        roles
    }
}

impl Directory {
    fn upsert(&mut self, object: &Object, changes: &mut Changes) {
        let new = key(&self.domain, &object.name);
        if let Some(old) = self.objects.get(&object.id) {
            let old = key(&self.domain, &old.name);
            if old != new {
                match object.kind {
                    Kind::User { .. } => changes.renamed_users.push((old, new.clone())),
                    Kind::Device { .. } => changes.renamed_devices.push((old, new.clone())),
                    Kind::Group { .. } => {}
                }
            }
        }
        if matches!(object.kind, Kind::User { .. }) {
            self.lost.remove(&new);
        }
        self.objects.insert(object.id, object.clone());
    }

    fn remove(&mut self, id: u32) {
        if let Some(object) = self.objects.remove(&id)
            && matches!(object.kind, Kind::User { .. })
        {
            self.lost.insert(key(&self.domain, &object.name));
        }
    }
}
