//! Groups: pods that are placed together or not at all.

use std::collections::HashMap;

use berth_api::views::Pod;
use berth_state::Stored;

use crate::policy::Group;

/// The pod label that names a pod's group, within its namespace.
pub const GROUP_LABEL: &str = "scheduling.berth.dev/group";
/// The pod annotation that says how many of the group must find a place before any gets one; 1 when it is absent.
pub const GROUP_MIN_MEMBERS_ANNOTATION: &str = "scheduling.berth.dev/min-members";

/// Groups by number.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_name: HashMap<(Box<str>, Box<str>), u32>,
    members: HashMap<u32, usize>,
    pub(crate) all: HashMap<u32, Group>,
    last: u32,
}

impl Groups {
    /// The group that a pod names, with one more member; `None` when it names none.
    pub(crate) fn join(&mut self, stored: &Stored, pod: &Pod) -> Option<u32> {
        let name = stored.label(GROUP_LABEL)?;
        let least = pod.annotations.get(GROUP_MIN_MEMBERS_ANNOTATION);
        let min_members = least.and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
        let id = *self.by_name.entry(((&*stored.key.namespace).into(), name.into())).or_insert_with(|| {
            self.last += 1;
            self.last
        });
        *self.members.entry(id).or_default() += 1;
        self.all.entry(id).or_insert(Group { id, min_members, placed: 0 }).min_members = min_members;
        Some(id)
    }

    /// A member is gone.
    pub(crate) fn leave(&mut self, id: u32) {
        let Some(members) = self.members.get_mut(&id) else { return };
        *members -= 1;
        if *members == 0 {
            self.members.remove(&id);
            self.all.remove(&id);
            self.by_name.retain(|_, group| *group != id);
        }
    }

    /// A member found a place (1) or lost it (-1).
    pub(crate) fn placed(&mut self, id: u32, by: i32) {
        if let Some(group) = self.all.get_mut(&id) {
            group.placed = group.placed.saturating_add_signed(by);
        }
    }
}
