//! The tree of an expression: nodes in one list, children before their parents.

use berth_json::Text;

use crate::types::Type;
use crate::value::Value;

/// The number of a node.
pub(crate) type Id = u32;

/// A node of the tree.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// The byte of the source that errors point at.
    pub(crate) at: usize,
    /// How deep an evaluation of it goes, and how deep its value can be on top of its operands'.
    pub(crate) depth: u32,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Value<'static>),
    Ident(Text),
    /// `operand.field`
    Select {
        operand: Id,
        field: Text,
        mode: Access,
    },
    /// `operand[index]`
    Index {
        operand: Id,
        index: Id,
        is_optional: bool,
    },
    /// A function with its arguments, the receiver first.
    Call {
        function: Text,
        arguments: Vec<Id>,
        is_member: bool,
    },
    Binary {
        operator: Operator,
        left: Id,
        right: Id,
    },
    Not(Id),
    Negate(Id),
    /// All operands of a chain of `&&` or `||`, and where the operators stand.
    Logic {
        is_or: bool,
        operands: Vec<Id>,
    },
    Conditional {
        condition: Id,
        yes: Id,
        no: Id,
    },
    /// Elements, and which of them are left out when they are none.
    List(Vec<(Id, bool)>),
    Map(Vec<Entry>),
    /// `Name{field: value}`
    Message {
        name: Text,
        values: Vec<Id>,
    },
    Fold(Box<Fold>),
}

impl Kind {
    /// Visits the nodes right below.
    pub(crate) fn each_child(&self, mut visit: impl FnMut(Id)) {
        match self {
            Self::Literal(_) | Self::Ident(_) => {}
            Self::Select { operand, .. } | Self::Not(operand) | Self::Negate(operand) => visit(*operand),
            Self::Index { operand: a, index: b, .. } | Self::Binary { left: a, right: b, .. } => {
                visit(*a);
                visit(*b);
            }
            Self::Call { arguments: ids, .. }
            | Self::Logic { operands: ids, .. }
            | Self::Message { values: ids, .. } => {
                ids.iter().copied().for_each(visit);
            }
            Self::Conditional { condition, yes, no } => [*condition, *yes, *no].into_iter().for_each(visit),
            Self::List(elements) => elements.iter().for_each(|(element, _)| visit(*element)),
            Self::Map(entries) => entries.iter().for_each(|entry| {
                visit(entry.key);
                visit(entry.value);
            }),
            Self::Fold(fold) => [fold.range, fold.body].into_iter().chain(fold.filter).for_each(visit),
        }
    }
}

/// How a field is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// `a.b`
    Value,
    /// `a.?b`
    Optional,
    /// `has(a.b)`
    Test,
}

/// `key: value` in a map; left out when it is none, if it is optional.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Id,
    pub(crate) value: Id,
    pub(crate) is_optional: bool,
}

/// A macro that evaluates its body with variables of its own.
#[derive(Debug)]
pub(crate) struct Fold {
    pub(crate) name: Macro,
    pub(crate) range: Id,
    pub(crate) variable: Text,
    /// The value's variable, when the first one is the index or the key.
    pub(crate) second: Option<Text>,
    pub(crate) filter: Option<Id>,
    pub(crate) body: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Macro {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    TransformMap,
    TransformMapEntry,
    SortBy,
    OptMap,
    OptFlatMap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

impl Operator {
    /// How tightly it binds: a product before a sum before a comparison.
    pub(crate) fn of(text: &str) -> Option<(Self, u8)> {
        Some(match text {
            "*" => (Self::Multiply, 3),
            "/" => (Self::Divide, 3),
            "%" => (Self::Modulo, 3),
            "+" => (Self::Add, 2),
            "-" => (Self::Subtract, 2),
            "==" => (Self::Equal, 1),
            "!=" => (Self::NotEqual, 1),
            "<" => (Self::Less, 1),
            "<=" => (Self::LessEqual, 1),
            ">" => (Self::Greater, 1),
            ">=" => (Self::GreaterEqual, 1),
            "in" => (Self::In, 1),
            _ => return None,
        })
    }

    /// The name of the function behind it.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Add => "_+_",
            Self::Subtract => "_-_",
            Self::Multiply => "_*_",
            Self::Divide => "_/_",
            Self::Modulo => "_%_",
            Self::Equal => "_==_",
            Self::NotEqual => "_!=_",
            Self::Less => "_<_",
            Self::LessEqual => "_<=_",
            Self::Greater => "_>_",
            Self::GreaterEqual => "_>=_",
            Self::In => "@in",
        }
    }
}

/// An expression and, once it is checked, what each node means.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Id,
}

impl Tree {
    pub(crate) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }
}

/// What the checker found out about a node.
#[derive(Clone, Debug)]
pub(crate) struct Meaning {
    pub(crate) value: Type,
    pub(crate) target: Target,
}

/// What a node refers to.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    None,
    /// A variable of the environment.
    Variable(usize),
    /// A variable of a macro: its place on the stack of them.
    Local(usize),
    /// A type by its name.
    TypeName(Type),
    /// The overloads that the arguments may have at run time, by their numbers.
    Call {
        overloads: Vec<u16>,
        is_namespaced: bool,
    },
}

impl Target {
    /// The overload, if the types leave no other.
    pub(crate) fn only(&self) -> Option<u16> {
        match self {
            Self::Call { overloads, .. } => {
                if let [only] = overloads[..] {
                    Some(only)
                } else {
                    None
                }
            }
            _ => None,
        }
    }
}
