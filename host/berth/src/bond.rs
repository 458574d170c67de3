//! Which node and which objects this machine's containers belong to, from the agent's first start until `berth down`: under
//! another name, or with other objects, an agent would find containers that nobody wants, and remove them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};

use crate::data_dir;

const NODE: &str = "node-name";
const OBJECTS: &str = "objects-id";

/// What is written down.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Bond {
    /// The node's name.
    pub(crate) node: Option<String>,
    /// The uid of the namespace `kube-system`, by which a cluster's objects are known wherever they are stored.
    pub(crate) objects: Option<String>,
}

impl Bond {
    /// Reads what is written down in a data directory.
    pub(crate) fn read(data: &Path) -> anyhow::Result<Bond> {
        Ok(Bond { node: data_dir::read(&data.join(NODE))?, objects: data_dir::read(&data.join(OBJECTS))? })
    }

    /// The name for the node: the one it has, which a host that is renamed does not change, else the one asked for, else
    /// the host's.
    ///
    /// # Errors
    /// When another one is asked for.
    pub(crate) fn node_name<'a>(&'a self, asked: Option<&'a str>, host: &'a str) -> anyhow::Result<&'a str> {
        match (self.node.as_deref(), asked) {
            (Some(kept), Some(asked)) if kept != asked => bail!(
                "--node-name {asked}: the containers of this cluster on this machine are those of the node {kept}; start \
                 berth with --node-name {kept}, or remove them first with `berth down`"
            ),
            (Some(kept), _) => Ok(kept),
            (None, asked) => Ok(asked.unwrap_or(host)),
        }
    }

    /// Refuses the objects of another cluster.
    ///
    /// # Errors
    /// When these are not the ones that the containers belong to.
    pub(crate) fn check_objects(&self, id: &str, store: &str) -> anyhow::Result<()> {
        match self.objects.as_deref() {
            Some(kept) if kept != id => bail!(
                "--store {store}: the containers of this cluster on this machine belong to other objects than these; \
                 start berth with the store that holds those, or remove the containers first with `berth down`"
            ),
            _ => Ok(()),
        }
    }

    /// Writes down what the containers belong to from now on.
    pub(crate) fn write(data: &Path, node: &str, objects: &str) -> anyhow::Result<()> {
        for (file, text) in [(NODE, node), (OBJECTS, objects)] {
            let path = data.join(file);
            if data_dir::read(&path)?.as_deref() != Some(text) {
                data_dir::write_durably(&path, text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Forgets it: there are no containers any more.
    pub(crate) fn release(data: &Path) -> anyhow::Result<()> {
        for path in [NODE, OBJECTS].map(|file| data.join(file)) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name() {
        let new = Bond::default();
        assert_eq!(new.node_name(None, "host").unwrap(), "host");
        assert_eq!(new.node_name(Some("a"), "host").unwrap(), "a");
        let old = Bond { node: Some("a".to_owned()), ..Bond::default() };
        assert_eq!(old.node_name(None, "renamed").unwrap(), "a");
        assert_eq!(old.node_name(Some("a"), "renamed").unwrap(), "a");
        assert_eq!(
            old.node_name(Some("b"), "renamed").unwrap_err().to_string(),
            "--node-name b: the containers of this cluster on this machine are those of the node a; start berth with \
             --node-name a, or remove them first with `berth down`"
        );
    }

    #[test]
    fn containers_keep_their_objects_until_they_are_gone() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        assert_eq!(Bond::read(data).unwrap(), Bond::default());
        Bond::write(data, "a", "1").unwrap();
        let bond = Bond::read(data).unwrap();
        bond.check_objects("1", "s").unwrap();
        let refused = bond.check_objects("2", "sqlite:/other").unwrap_err().to_string();
        assert!(refused.starts_with("--store sqlite:/other: the containers"), "{refused}");
        Bond::release(data).unwrap();
        assert_eq!(Bond::read(data).unwrap(), Bond::default());
        Bond::release(data).unwrap();
    }
}
