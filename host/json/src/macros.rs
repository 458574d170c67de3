//! Values written as JSON.

/// A [`Value`](crate::Value) written as JSON. A key is a literal, a constant or an expression in parentheses; a value is
/// JSON again, or an expression of a type with [`ToValue`](crate::ToValue), which is borrowed.
#[macro_export]
macro_rules! json {
    (null) => { $crate::Value::Null };
    ([ $($elements:tt)* ]) => {{
        #[allow(unused_mut)]
        let mut list = ::std::vec::Vec::new();
        $crate::json_elements!(list $($elements)*);
        $crate::Value::Array(list)
    }};
    ({ $($entries:tt)* }) => {{
        #[allow(unused_mut)]
        let mut map = $crate::Map::new();
        $crate::json_entries!(map $($entries)*);
        $crate::Value::Object(map)
    }};
    ($value:expr) => { $crate::ToValue::to_value(&$value) };
}

/// The elements of a list, one after the other. Part of [`json!`].
#[doc(hidden)]
#[macro_export]
macro_rules! json_elements {
    ($list:ident) => {};
    ($list:ident null $(, $($rest:tt)*)?) => {
        $list.push($crate::Value::Null);
        $crate::json_elements!($list $($($rest)*)?);
    };
    ($list:ident [ $($inner:tt)* ] $(, $($rest:tt)*)?) => {
        $list.push($crate::json!([ $($inner)* ]));
        $crate::json_elements!($list $($($rest)*)?);
    };
    ($list:ident { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $list.push($crate::json!({ $($inner)* }));
        $crate::json_elements!($list $($($rest)*)?);
    };
    ($list:ident $value:expr $(, $($rest:tt)*)?) => {
        $list.push($crate::ToValue::to_value(&$value));
        $crate::json_elements!($list $($($rest)*)?);
    };
}

/// The entries of an object, one after the other. Part of [`json!`].
#[doc(hidden)]
#[macro_export]
macro_rules! json_entries {
    ($map:ident) => {};
    ($map:ident $key:tt : null $(, $($rest:tt)*)?) => {
        $map.insert($key, $crate::Value::Null);
        $crate::json_entries!($map $($($rest)*)?);
    };
    ($map:ident $key:tt : [ $($inner:tt)* ] $(, $($rest:tt)*)?) => {
        $map.insert($key, $crate::json!([ $($inner)* ]));
        $crate::json_entries!($map $($($rest)*)?);
    };
    ($map:ident $key:tt : { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $map.insert($key, $crate::json!({ $($inner)* }));
        $crate::json_entries!($map $($($rest)*)?);
    };
    ($map:ident $key:tt : $value:expr $(, $($rest:tt)*)?) => {
        $map.insert($key, $crate::ToValue::to_value(&$value));
        $crate::json_entries!($map $($($rest)*)?);
    };
}
