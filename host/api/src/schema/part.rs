//! A part of a schema, for kinds that have a schema of their own.

use std::collections::HashMap;

use super::{Schema, TypeId, ValueKind};

impl Schema {
    /// A schema of the types of those names and of all that they are made of. Names that it does not have are left out.
    pub fn part(&self, names: &[&str]) -> Self {
        let mut wanted: Vec<TypeId> = names.iter().filter_map(|name| self.id_of(name)).collect();
        let mut places: HashMap<TypeId, TypeId> = HashMap::new();
        let mut part = Self::default();
        while let Some(id) = wanted.pop() {
            if places.contains_key(&id) {
                continue;
            }
            let found = self.get(id).clone();
            let place = part.place(&found.name);
            places.insert(id, place);
            for kind in &found.kinds {
                part.by_kind.insert(kind.clone(), place);
            }
            let inner = found.fields.iter().filter_map(|field| match field.kind {
                ValueKind::Struct(id) => Some(id),
                _ => None,
            });
            wanted.extend(inner);
            part.types[place.0 as usize] = found;
        }
        for found in &mut part.types {
            for field in &mut found.fields {
                if let ValueKind::Struct(id) = &mut field.kind {
                    *id = places[id];
                }
            }
            found.json.iter_mut().for_each(|entry| entry.owner = places[&entry.owner]);
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use crate::Schema;

    #[test]
    fn a_part_is_whole() {
        let part = Schema::builtin().part(&["meta.v1.ObjectMeta", "no.such"]);
        let meta = part.named("meta.v1.ObjectMeta").unwrap();
        assert!(part.field(meta, "ownerReferences").is_some());
        let owner = part.named("meta.v1.OwnerReference").unwrap();
        assert!(part.field(owner, "uid").is_some());
        assert!(part.named("core.v1.Pod").is_none() && part.types().count() < 10);
    }
}
