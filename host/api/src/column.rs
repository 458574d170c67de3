//! Columns of tables: what `kubectl get` shows of objects.

use std::borrow::Cow;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use berth_json::Value;

use crate::kinds::view;
use crate::time::Timestamp;

/// What a column shows of an object, now.
pub type Cell = Arc<dyn Fn(&Value, Timestamp) -> Value + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// One column of `kubectl get` (`metav1.TableColumnDefinition`), and its cells.
#[derive(Clone)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the object's name, or what a custom resource's definition says; as a rule empty.
    pub format: Cow<'static, str>,
    /// What the column shows.
    pub description: String,
    /// 0: always shown; 1: only with `-o wide`.
    pub priority: i32,
    /// What it shows.
    pub cell: Cell,
}

impl Column {
    /// A column whose cells `cell` makes.
    pub fn new(
        name: impl Into<String>,
        kind: &'static str,
        priority: i32,
        description: impl Into<String>,
        cell: impl Fn(&Value, Timestamp) -> Value + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    ) -> Self {
        let (name, description) = (name.into(), description.into());
        Self { name, kind, format: "".into(), description, priority, cell: Arc::new(cell) }
    }

    /// The text at a dotted path.
    pub fn text(name: &str, priority: i32, description: &str, path: &'static str) -> Self {
        Self::new(name, "string", priority, description, |object, _| view::str_at(object, path).into())
    }

    /// The number at a dotted path; zero when there is none.
    pub fn number(
        name: &str,
        kind: &'static str,
        priority: i32,
        description: &str,
        path: &'static str,
    ) -> Self {
        let cell = |object: &Value, _| view::int_at(object, path).unwrap_or_default().into();
        Self::new(name, kind, priority, description, cell)
    }

    /// The name of the object.
    pub fn of_name() -> Self {
        let description = "Name of the object, unique within its namespace.";
        Self { format: "name".into(), ..Self::text("Name", 0, description, "metadata.name") }
    }

    /// Its age.
    pub fn of_age() -> Self {
        let cell = |object: &Value, now| view::age(object, now).into();
        Self::new("Age", "string", 0, "Time since the object was created.", cell)
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
