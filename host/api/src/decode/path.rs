//! Where a walk is, for the messages.

/// Where the walk is: a list on the stack, so that paths cost nothing until one is printed.
pub(crate) enum Path<'p> {
    Root,
    Field(&'p Path<'p>, &'p str),
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    /// `spec.containers[0].name`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, index_or_key);
        text
    }

    /// `spec.containers.name`: Go's type errors name fields only, neither indexes nor keys.
    pub(crate) fn fields(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, |_, _| {});
        text
    }

    fn write(&self, text: &mut String, other: fn(&mut String, &Path<'_>)) {
        match self {
            Path::Root => {}
            Path::Field(parent, name) => {
                parent.write(text, other);
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Path::Key(parent, _) | Path::Index(parent, _) => {
                parent.write(text, other);
                other(text, self);
            }
        }
    }
}

fn index_or_key(text: &mut String, step: &Path<'_>) {
    match step {
        Path::Index(_, index) => text.push_str(&format!("[{index}]")),
        Path::Key(_, key) => {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(key);
        }
        Path::Root | Path::Field(..) => {}
    }
}
