//! Where a walk is, for the messages.

/// Where the walk is: a list on the stack, so that paths cost nothing until one is printed.
#[derive(Clone, Copy)]
pub(crate) enum Path<'p> {
    /// The object itself.
    Root,
    /// A place of its own name, in front of which nothing stands.
    Named(&'p str),
    /// A field of that name.
    Field(&'p Path<'p>, &'p str),
    /// A key of a map.
    Key(&'p Path<'p>, &'p str),
    /// An element of a list.
    Index(&'p Path<'p>, usize),
}

/// What stands for a path that leads nowhere, as Go prints it.
pub(crate) const NOWHERE: &str = "<nil>";

impl Path<'_> {
    /// `spec.labels.a` and `spec.parts[0].v`: keys are written as fields.
    pub(crate) fn dotted(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, false);
        text
    }

    /// `spec.labels[a]` and `spec.parts[0].v`; [`NOWHERE`] at the root.
    pub(crate) fn bracketed(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, true);
        if text.is_empty() { NOWHERE.to_owned() } else { text }
    }

    fn write(&self, text: &mut String, brackets_keys: bool) {
        match self {
            Path::Root => {}
            Path::Named(name) => text.push_str(name),
            Path::Key(parent, key) if brackets_keys => {
                parent.write(text, brackets_keys);
                text.push_str(&format!("[{key}]"));
            }
            Path::Field(parent, name) | Path::Key(parent, name) => {
                parent.write(text, brackets_keys);
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Path::Index(parent, index) => {
                parent.write(text, brackets_keys);
                text.push_str(&format!("[{index}]"));
            }
        }
    }
}
