//! The functions that expressions can call: one table, a line for each overload.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::error::EvalError;
use crate::library;
use crate::meter::Meter;
use crate::regexes::Regexes;
use crate::types::{Opaque, Type};
use crate::value::Value;

/// What functions work with beside their arguments.
pub(crate) struct Tools {
    pub(crate) meter: Meter,
    pub(crate) regexes: Regexes,
}

pub(crate) type Answer<'v> = Result<Value<'v>, EvalError>;
pub(crate) type Run = for<'v> fn(&mut Tools, &[Value<'v>]) -> Answer<'v>;

/// An overload as the libraries declare it: `string, int -> string`, single capitals for any type.
pub(crate) struct Declaration {
    function: &'static str,
    id: &'static str,
    is_member: bool,
    signature: &'static str,
    run: Option<Run>,
}

impl Declaration {
    pub(crate) const fn member(
        function: &'static str,
        id: &'static str,
        signature: &'static str,
        run: Run,
    ) -> Self {
        Self { function, id, is_member: true, signature, run: Some(run) }
    }

    pub(crate) const fn global(
        function: &'static str,
        id: &'static str,
        signature: &'static str,
        run: Run,
    ) -> Self {
        Self { function, id, is_member: false, signature, run: Some(run) }
    }

    /// One that the evaluator knows itself.
    pub(crate) const fn operator(function: &'static str, id: &'static str, signature: &'static str) -> Self {
        Self { function, id, is_member: false, signature, run: None }
    }

    pub(crate) const fn native_member(
        function: &'static str,
        id: &'static str,
        signature: &'static str,
    ) -> Self {
        Self { function, id, is_member: true, signature, run: None }
    }
}

/// One way to call a function.
pub(crate) struct Overload {
    pub(crate) function: &'static str,
    pub(crate) id: &'static str,
    pub(crate) is_member: bool,
    pub(crate) parameters: Vec<Type>,
    pub(crate) result: Type,
    pub(crate) run: Option<Run>,
}

/// All overloads.
pub(crate) struct Functions {
    overloads: Vec<Overload>,
    by_name: HashMap<&'static str, Vec<u16>>,
}

/// The functions of kube-apiserver v1.37.
pub(crate) static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let mut functions = Functions { overloads: Vec::new(), by_name: HashMap::new() };
    for declaration in library::DECLARATIONS.iter().flat_map(|part| part.iter()) {
        let (parameters, result) = signature(declaration.signature);
        let number = functions.overloads.len() as u16;
        functions.by_name.entry(declaration.function).or_default().push(number);
        functions.overloads.push(Overload {
            function: declaration.function,
            id: declaration.id,
            is_member: declaration.is_member,
            parameters,
            result,
            run: declaration.run,
        });
    }
    functions
});

impl Functions {
    pub(crate) fn overload(&self, number: u16) -> &Overload {
        &self.overloads[usize::from(number)]
    }

    /// The overloads of a name; `None` when nothing is called so.
    pub(crate) fn named(&self, name: &str) -> Option<&[u16]> {
        self.by_name.get(name).map(Vec::as_slice)
    }
}

fn signature(text: &'static str) -> (Vec<Type>, Type) {
    let (parameters, result) = text.split_once("->").unwrap_or(("", text));
    (parts(parameters).into_iter().map(named).collect(), named(result))
}

/// What commas outside of brackets separate.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let split = text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    split.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn named(text: &str) -> Type {
    let text = text.trim();
    let inside = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    if let Some(element) = inside("list(") {
        return Type::list(named(element));
    }
    if let Some(value) = inside("optional(") {
        return Type::optional(named(value));
    }
    if let Some(value) = inside("type(") {
        return Type::Type(named(value).into());
    }
    if let Some([key, value]) = inside("map(").map(parts).as_deref() {
        return Type::map(named(key), named(value));
    }
    match text {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::STRING,
        "bytes" => Type::BYTES,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "quantity" => Type::Opaque(Opaque::Quantity),
        "ip" => Type::Opaque(Opaque::Ip),
        "cidr" => Type::Opaque(Opaque::Cidr),
        "url" => Type::Opaque(Opaque::Url),
        "semver" => Type::Opaque(Opaque::Semver),
        "format" => Type::Opaque(Opaque::Format),
        "dyn" => Type::DYN,
        letter => Type::Parameter(u32::from(letter.as_bytes()[0])),
    }
}

/// Whether a value can be an argument of that type, by its kind alone.
pub(crate) fn accepts(parameter: &Type, value: &Value<'_>) -> bool {
    match (parameter, value) {
        (Type::Dyn(_) | Type::Parameter(_), _)
        | (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Uint, Value::Uint(_))
        | (Type::Double, Value::Double(_))
        | (Type::String(_), Value::String(_))
        | (Type::Bytes(_), Value::Bytes(_))
        | (Type::Timestamp, Value::Timestamp(_))
        | (Type::Duration, Value::Duration(_))
        | (Type::List(_), Value::List(_))
        | (Type::Map(_), Value::Map(_))
        | (Type::Optional(_), Value::Optional(_))
        | (Type::Type(_), Value::Type(_)) => true,
        (Type::Opaque(opaque), Value::Foreign(foreign)) => foreign.opaque() == *opaque,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A type that is misspelt would be a parameter of that letter.
    #[test]
    fn signatures_name_types() {
        for declaration in library::DECLARATIONS.iter().flat_map(|part| part.iter()) {
            let words =
                declaration.signature.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1);
            for word in words.filter(|word| !["list", "map", "optional", "type"].contains(word)) {
                assert!(!matches!(named(word), Type::Parameter(_)), "{}: {word}", declaration.id);
            }
        }
    }

    #[test]
    fn overloads_have_names_of_their_own() {
        let mut ids: Vec<_> = FUNCTIONS.overloads.iter().map(|overload| overload.id).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        // `in` and `size` of a list or a map are the same function by either spelling.
        assert_eq!(ids.len(), all);
    }
}
