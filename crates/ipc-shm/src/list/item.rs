//! What a list can contain.

use serde::{Deserialize, Serialize};

use crate::Error;

/// An element of a [`ShareableList`](crate::ShareableList): what Python puts into its own.
///
/// Made by [`From`], taken apart by `match` or [`TryFrom`]; the conversions never go from one kind of number to another.
///
/// ```
/// use ipc_shm::{Error, Item};
///
/// # fn main() -> Result<(), Error> {
/// let item = Item::from("text");
/// assert!(matches!(i64::try_from(item.clone()), Err(Error::WrongType { expected: "an integer", found: "a text" })));
/// assert_eq!(String::try_from(item)?, "text");
/// assert_eq!(Item::from(Some(1.5)), Item::Float(1.5));
/// assert_eq!(Item::from(None::<bool>), Item::None);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// `None`.
    #[default]
    None,
    /// `bool`.
    Bool(bool),
    /// `int`, as far as 64 bits go: Python refuses greater ones too.
    Int(i64),
    /// `float`. Not-a-numbers keep their bits; none equals another.
    Float(f64),
    /// `str`.
    Str(String),
    /// `bytes`.
    Bytes(Vec<u8>),
}

impl Item {
    fn kind(&self) -> &'static str {
        match self {
            Item::None => "None",
            Item::Bool(_) => "a boolean",
            Item::Int(_) => "an integer",
            Item::Float(_) => "a float",
            Item::Str(_) => "a text",
            Item::Bytes(_) => "bytes",
        }
    }
}

macro_rules! from {
    ($($type:ty => |$value:ident| $item:expr),* $(,)?) => {$(
        impl From<$type> for Item {
            fn from($value: $type) -> Item {
                $item
            }
        }
    )*};
}

from! {
    bool => |value| Item::Bool(value),
    i8 => |value| Item::Int(value.into()),
    i16 => |value| Item::Int(value.into()),
    i32 => |value| Item::Int(value.into()),
    i64 => |value| Item::Int(value),
    u8 => |value| Item::Int(value.into()),
    u16 => |value| Item::Int(value.into()),
    u32 => |value| Item::Int(value.into()),
    f32 => |value| Item::Float(value.into()),
    f64 => |value| Item::Float(value),
    &str => |value| Item::Str(value.to_owned()),
    &String => |value| Item::Str(value.clone()),
    String => |value| Item::Str(value),
    &[u8] => |value| Item::Bytes(value.to_vec()),
    Vec<u8> => |value| Item::Bytes(value),
    &Item => |value| value.clone(),
}

impl<const N: usize> From<&[u8; N]> for Item {
    fn from(value: &[u8; N]) -> Item {
        Item::Bytes(value.to_vec())
    }
}

impl<T: Into<Item>> From<Option<T>> for Item {
    fn from(value: Option<T>) -> Item {
        value.map_or(Item::None, Into::into)
    }
}

macro_rules! try_from {
    ($($variant:ident => $type:ty, $expected:literal;)*) => {$(
        impl TryFrom<Item> for $type {
            type Error = Error;

            fn try_from(item: Item) -> Result<$type, Error> {
                match item {
                    Item::$variant(value) => Ok(value),
                    other => Err(Error::WrongType { expected: $expected, found: other.kind() }),
                }
            }
        }
    )*};
}

try_from! {
    Bool => bool, "a boolean";
    Int => i64, "an integer";
    Float => f64, "a float";
    Str => String, "a text";
    Bytes => Vec<u8>, "bytes";
}
