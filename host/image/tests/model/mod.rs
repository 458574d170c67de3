//! What layers make of a file system, the simple way: one tree in memory to which all entries are applied in turn.

use std::collections::BTreeMap;

/// As many links as Linux follows.
const LINKS_MAX: usize = 40;
/// How often hard links that came before their targets are gone through.
const LATE_PASSES: usize = 4;

/// An entry of a layer. Paths have no leading slash.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    File(String, String),
    Directory(String),
    Link(String, String),
    HardLink(String, String),
    /// The directory, and the name in it that is hidden.
    Whiteout(String, String),
    Opaque(String),
}

/// Makes layers of arbitrary bytes, of few names, so that they meet. `outside` is a place that links point to.
pub(crate) fn layers(input: &[u8], outside: &str) -> Vec<Vec<Entry>> {
    let mut layers = vec![Vec::new()];
    for chunk in input.chunks_exact(4) {
        let path = path(chunk[1]);
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let entry = match chunk[0] % 16 {
            0..=3 => Entry::File(path.clone(), format!("{}", chunk[3])),
            4..=6 => Entry::Directory(path.clone()),
            7..=10 => Entry::Link(path.clone(), target(chunk[2], chunk[3], outside)),
            11..=12 => Entry::HardLink(path.clone(), self::path(chunk[2])),
            13 => Entry::Whiteout(parent.to_owned(), name.to_owned()),
            14 => Entry::Opaque(parent.to_owned()),
            _ => {
                layers.push(Vec::new());
                continue;
            }
        };
        layers.last_mut().unwrap().push(entry);
    }
    layers
}

fn path(byte: u8) -> String {
    let name = |bits: u8| ["a", "b", "c"][usize::from(bits % 3)];
    match byte / 27 % 3 {
        0 => name(byte).to_owned(),
        1 => format!("{}/{}", name(byte), name(byte / 3)),
        _ => format!("{}/{}/{}", name(byte), name(byte / 3), name(byte / 9)),
    }
}

fn target(kind: u8, byte: u8, outside: &str) -> String {
    let path = path(byte);
    match kind % 6 {
        0 => path,
        1 => format!("/{path}"),
        2 => format!("../{path}"),
        3 => format!("../../../../{path}"),
        4 => format!("{path}/../b"),
        _ => outside.to_owned(),
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Directory,
    File(String),
    Link(String),
}

/// The tree. Nodes by path; `true` are those that the layer being applied has itself.
#[derive(Default)]
pub(crate) struct Model {
    nodes: BTreeMap<String, (Kind, bool)>,
}

impl Model {
    pub(crate) fn apply(&mut self, layer: &[Entry]) -> Result<(), ()> {
        self.nodes.values_mut().for_each(|(_, here)| *here = false);
        let mut late = Vec::new();
        for entry in layer {
            match entry {
                Entry::File(path, content) => self.put(path, Kind::File(content.clone()))?,
                Entry::Link(path, target) => self.put(path, Kind::Link(target.clone()))?,
                Entry::Directory(path) => {
                    let path = self.place(path)?;
                    match self.nodes.get_mut(&path) {
                        Some((Kind::Directory, here)) => *here = true,
                        _ => self.set(path, Kind::Directory),
                    }
                }
                Entry::HardLink(path, target) => {
                    self.place(path)?;
                    if !self.hard_link(path, target)? {
                        late.push((path, target));
                    }
                }
                Entry::Whiteout(parent, name) => self.white_out(parent, name)?,
                Entry::Opaque(parent) => {
                    if let Some(parent) = self.existing(parent)? {
                        self.hide_below(&parent);
                    }
                }
            }
        }
        for _ in 0..LATE_PASSES {
            for (path, target) in std::mem::take(&mut late).into_iter().rev() {
                let place = self.place(path)?;
                let is_taken = self.nodes.get(&place).is_some_and(|(_, here)| *here);
                if !is_taken && !self.hard_link(path, target)? {
                    late.push((path, target));
                }
            }
        }
        if late.is_empty() { Ok(()) } else { Err(()) }
    }

    pub(crate) fn listing(&self) -> String {
        let mut lines: Vec<(&String, String)> = self
            .nodes
            .iter()
            .map(|(path, (kind, _))| {
                let line = match kind {
                    Kind::Directory => format!("{path}/\n"),
                    Kind::File(content) => format!("{path} = {content}\n"),
                    Kind::Link(target) => format!("{path} -> {target}\n"),
                };
                (path, line)
            })
            .collect();
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// Follows links to a directory, which may not be there yet.
    fn walk(&self, path: &str) -> Result<Vec<String>, ()> {
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut at: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(step) = todo.pop() {
            match step.as_str() {
                "" => {}
                ".." => _ = at.pop(),
                name => {
                    at.push(name.to_owned());
                    match self.nodes.get(&at.join("/")) {
                        None | Some((Kind::Directory, _)) => {}
                        Some((Kind::File(_), _)) => return Err(()),
                        Some((Kind::Link(target), _)) => {
                            links += 1;
                            if links > LINKS_MAX {
                                return Err(());
                            }
                            at.pop();
                            if target.starts_with('/') {
                                at.clear();
                            }
                            todo.extend(target.split('/').rev().map(str::to_owned));
                        }
                    }
                }
            }
        }
        Ok(at)
    }

    /// The layer has these directories from now on.
    fn make(&mut self, path: &[String]) {
        for depth in 1..=path.len() {
            self.nodes.entry(path[..depth].join("/")).or_insert((Kind::Directory, true)).1 = true;
        }
    }

    /// Where something of this path lies, its directories made.
    fn place(&mut self, path: &str) -> Result<String, ()> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = self.walk(parent)?;
        self.make(&at);
        at.push(name.to_owned());
        Ok(at.join("/"))
    }

    fn existing(&mut self, path: &str) -> Result<Option<String>, ()> {
        let at = self.walk(path)?;
        let joined = at.join("/");
        if !at.is_empty() && !self.nodes.contains_key(&joined) {
            return Ok(None);
        }
        self.make(&at);
        Ok(Some(joined))
    }

    fn put(&mut self, path: &str, kind: Kind) -> Result<(), ()> {
        let path = self.place(path)?;
        self.set(path, kind);
        Ok(())
    }

    fn set(&mut self, path: String, kind: Kind) {
        self.remove(&path);
        self.nodes.insert(path, (kind, true));
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.nodes.retain(|known, _| known != path && !known.starts_with(&below));
    }

    fn hide_below(&mut self, path: &str) {
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        self.nodes.retain(|known, (_, here)| !known.starts_with(&below) || *here);
    }

    fn white_out(&mut self, parent: &str, name: &str) -> Result<(), ()> {
        let Some(parent) = self.existing(parent)? else { return Ok(()) };
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        match self.nodes.get(&path) {
            Some((Kind::Directory, true)) => self.hide_below(&path),
            Some((_, true)) | None => {}
            Some((_, false)) => self.remove(&path),
        }
        Ok(())
    }

    /// Whether the target was there.
    fn hard_link(&mut self, path: &str, target: &str) -> Result<bool, ()> {
        let (parent, name) = target.rsplit_once('/').unwrap_or(("", target));
        let mut from = self.walk(parent)?;
        let directory = from.clone();
        from.push(name.to_owned());
        let from = from.join("/");
        let kind = match self.nodes.get(&from) {
            None => return Ok(false),
            Some((Kind::Directory, _)) => return Err(()),
            Some((kind, _)) => kind.clone(),
        };
        self.make(&directory);
        let to = self.place(path)?;
        if let Some((_, here)) = self.nodes.get_mut(&from) {
            // Linked to itself, it stays where it is.
            *here = *here || to != from;
        }
        if to == from {
            return Ok(true);
        }
        if from.starts_with(&format!("{to}/")) {
            return Err(()); // Its own directory is replaced.
        }
        self.set(to, kind);
        Ok(true)
    }
}
