//! Limits for decoding what a peer sent: how deep values nest, how many elements may come out of nothing.
//!
//! serde formats recurse once per level of the data, and a hostile megabyte of postcard can hold a million levels: the stack
//! overflows and the process is gone. Likewise 10 bytes can claim a `Vec<()>` of 2⁶⁰ elements, each of which takes no bytes,
//! only time. The adapter stands between any serde `Deserializer` and the type and counts both.
//!
//! All of it is forced into the caller: left to itself the compiler makes a function of each layer, and moving a value from one to the next
//! took as long as decoding it.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use crate::complaint;

/// How many levels values may nest.
const MAX_DEPTH: u32 = 128;
/// How many elements may come without taking bytes of the input.
const FREE_ELEMENTS: u64 = 65_536;

/// What decoding one message may still use up.
///
/// A claim of elements that take no bytes is refused as well:
///
/// ```
/// use ipc_core::{Budget, Limited};
/// use serde::Deserialize;
///
/// let bytes = [0x80, 0x80, 0x80, 0x80, 0x80, 0x20]; // postcard for 2^40 elements, of `()`
/// let mut postcard = postcard::Deserializer::from_bytes(&bytes);
/// let budget = Budget::for_input(bytes.len());
/// assert!(<Vec<()>>::deserialize(Limited::new(&mut postcard, &budget)).is_err()); // after 65,542 of them
/// ```
#[derive(Debug)]
pub struct Budget {
    depth: Cell<u32>,
    elements: Cell<u64>,
}

impl Budget {
    /// The budget for a message of `len` bytes: 128 levels, and an element of a sequence or map for each byte and 65,536 more.
    pub fn for_input(len: usize) -> Budget {
        Budget { depth: Cell::new(MAX_DEPTH), elements: Cell::new((len as u64).saturating_add(FREE_ELEMENTS)) }
    }

    #[inline(always)]
    fn nested<T, E: serde::de::Error>(&self, decode: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let left = self.depth.get();
        if left == 0 {
            return Err(E::custom(complaint::note(format!("the value nests deeper than {MAX_DEPTH} levels"))));
        }
        self.depth.set(left - 1);
        let result = decode();
        self.depth.set(left);
        result
    }

    #[inline(always)]
    fn element<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.elements.get() {
            0 => Err(E::custom(complaint::note("more elements than the bytes of the message can hold"))),
            left => {
                self.elements.set(left - 1);
                Ok(())
            }
        }
    }
}

/// A serde deserializer, or one of its parts, that decodes within a [`Budget`].
///
/// Wrap the deserializer of a format to make a [`Decode`](crate::Decode) that is safe to use on a peer's bytes, as the default
/// codec does:
///
/// ```
/// use ipc_core::{Budget, Limited};
/// use serde::Deserialize;
///
/// #[derive(Debug, Deserialize)]
/// enum Nest { End, More(Box<Nest>) }
///
/// let bytes = vec![1; 1_000_000]; // "More" a million times
/// let mut postcard = postcard::Deserializer::from_bytes(&bytes);
/// let budget = Budget::for_input(bytes.len());
/// assert!(Nest::deserialize(Limited::new(&mut postcard, &budget)).is_err()); // and no stack overflow
/// ```
#[derive(Debug)]
pub struct Limited<'b, D> {
    inner: D,
    budget: &'b Budget,
    /// Whether elements are counted: the length of a tuple or struct is the type's, that of a sequence the peer's.
    counted: bool,
}

impl<'b, D> Limited<'b, D> {
    /// Wraps `inner`.
    pub fn new(inner: D, budget: &'b Budget) -> Self {
        Limited { inner, budget, counted: false }
    }

    #[inline(always)]
    fn counting(inner: D, budget: &'b Budget) -> Self {
        Limited { inner, budget, counted: true }
    }
}

/// Passes the methods for values without parts straight to the format.
macro_rules! scalars {
    ($($method:ident)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        }
    )*};
}

/// Passes the methods for values with parts on, one level deeper, with a visitor that wraps the parts.
macro_rules! nests {
    ($($method:ident($($arg:ident: $ty:ty),*) $wrap:ident;)*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, $($arg: $ty,)* visitor: V) -> Result<V::Value, D::Error> {
            let budget = self.budget;
            budget.nested(move || self.inner.$method($($arg,)* Limited::$wrap(visitor, budget)))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = D::Error;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
    }

    nests! {
        deserialize_any() counting;
        deserialize_ignored_any() counting;
        deserialize_seq() counting;
        deserialize_map() counting;
        deserialize_option() new;
        deserialize_newtype_struct(name: &'static str) new;
        deserialize_tuple(len: usize) new;
        deserialize_tuple_struct(name: &'static str, len: usize) new;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) new;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) new;
    }

    #[inline(always)]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    #[inline(always)]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Passes on what a self-describing format may find.
macro_rules! visits {
    ($($method:ident($ty:ty))*) => {$(
        #[inline(always)]
        fn $method<E: serde::de::Error>(self, value: $ty) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Limited<'_, V> {
    type Value = V::Value;

    #[inline(always)]
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visits! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128) visit_u8(u8)
        visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128) visit_f32(f32) visit_f64(f64) visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String) visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    #[inline(always)]
    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    #[inline(always)]
    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    #[inline(always)]
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Limited::new(deserializer, self.budget))
    }

    #[inline(always)]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Limited::new(deserializer, self.budget))
    }

    #[inline(always)]
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Limited { inner: seq, budget: self.budget, counted: self.counted })
    }

    #[inline(always)]
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Limited { inner: map, budget: self.budget, counted: self.counted })
    }

    #[inline(always)]
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Limited::new(data, self.budget))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Limited<'_, S> {
    type Value = S::Value;

    #[inline(always)]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Limited::new(deserializer, self.budget))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        if self.counted {
            self.budget.element::<A::Error>()?;
        }
        self.inner.next_element_seed(Limited::new(seed, self.budget))
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    #[inline(always)]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        if self.counted {
            self.budget.element::<A::Error>()?;
        }
        self.inner.next_key_seed(Limited::new(seed, self.budget))
    }

    #[inline(always)]
    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(Limited::new(seed, self.budget))
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'b, A> {
    type Error = A::Error;
    type Variant = Limited<'b, A::Variant>;

    #[inline(always)]
    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(Limited::new(seed, self.budget))?;
        Ok((value, Limited::new(variant, self.budget)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = A::Error;

    #[inline(always)]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    #[inline(always)]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.newtype_variant_seed(Limited::new(seed, self.budget))
    }

    #[inline(always)]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(len, Limited::new(visitor, self.budget))
    }

    #[inline(always)]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Limited::new(visitor, self.budget))
    }
}

#[cfg(test)]
mod tests {
    use crate::{Decode, Encode, Postcard};
    use serde::{Deserialize, Serialize};
    use std::collections::{BTreeMap, HashMap};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Nest {
        End,
        More(Box<Nest>),
        Fields { inner: Box<Nest> },
        Pair(u8, Box<Nest>),
    }

    fn nested(depth: usize) -> Vec<u8> {
        let mut bytes = vec![1; depth];
        bytes.push(0);
        bytes
    }

    #[test]
    fn depth_is_limited_before_the_stack_is() {
        // Each level of this enum is one level of the budget; the innermost is a level too.
        assert!(<Postcard as Decode<Nest>>::decode(&nested(127)).is_ok());
        let error = <Postcard as Decode<Nest>>::decode(&nested(128)).unwrap_err();
        assert_eq!(error.to_string(), "the value nests deeper than 128 levels");
        // A thread's stack is enough for the deepest value, also in a debug build.
        std::thread::Builder::new()
            .stack_size(512 * 1024)
            .spawn(|| {
                for variant in [1, 2] {
                    assert!(<Postcard as Decode<Nest>>::decode(&vec![variant; 1 << 20]).is_err());
                }
                let pairs: Vec<u8> = [3, 7].repeat(1 << 19);
                assert!(<Postcard as Decode<Nest>>::decode(&pairs).is_err());
            })
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn depth_is_given_back_when_a_level_ends() {
        let wide: Vec<Vec<Vec<u8>>> = vec![vec![vec![7]; 50]; 50];
        let mut bytes = Vec::new();
        Postcard::encode(&wide, &mut bytes).unwrap();
        assert_eq!(<Postcard as Decode<Vec<Vec<Vec<u8>>>>>::decode(&bytes).unwrap(), wide);
    }

    #[test]
    fn elements_out_of_nothing_are_limited() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]; // a length of 2^63 - 1
        let error = <Postcard as Decode<Vec<()>>>::decode(&huge).unwrap_err();
        assert_eq!(error.to_string(), "more elements than the bytes of the message can hold");
        assert!(<Postcard as Decode<Vec<Vec<()>>>>::decode(&[&[1][..], &huge[..]].concat()).is_err());
        assert!(<Postcard as Decode<BTreeMap<(), ()>>>::decode(&huge).is_err());
        let mut bytes = Vec::new();
        Postcard::encode(&vec![(); 65_536], &mut bytes).unwrap();
        assert_eq!(<Postcard as Decode<Vec<()>>>::decode(&bytes).unwrap().len(), 65_536);
    }

    #[test]
    fn every_kind_of_value_passes_unharmed() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct All {
            numbers: (i8, i16, i32, i64, i128, u8, u16, u32, u64, u128, f32, f64),
            text: (char, String, Option<String>, Option<()>),
            bytes: [u8; 32],
            maps: HashMap<String, Vec<Nest>>,
            unit: (),
            newtype: Wrapper,
            tuple: Point,
        }
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Wrapper(u32);
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Point(i32, i32);

        let value = All {
            numbers: (-1, -2, -3, -4, -5, 6, 7, 8, 9, 10, 11.5, 12.5),
            text: ('ß', "text".into(), Some("more".into()), None),
            bytes: [3; 32],
            maps: [("k".into(), vec![Nest::Fields { inner: Nest::Pair(1, Nest::End.into()).into() }])].into(),
            unit: (),
            newtype: Wrapper(13),
            tuple: Point(14, -15),
        };
        let mut bytes = Vec::new();
        Postcard::encode(&value, &mut bytes).unwrap();
        assert_eq!(<Postcard as Decode<All>>::decode(&bytes).unwrap(), value);
        bytes.push(0);
        assert!(<Postcard as Decode<All>>::decode(&bytes).unwrap_err().to_string().contains("left over"));
    }
}
