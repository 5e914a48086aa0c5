//! What happens at a moment on a device, as a plan writes it: `{"at_ms":1,"device":0,"kill":{"down_ms":5}}`.
//!
//! The third key is the name of a variant of a closed list. Serde's `flatten` reads that form too, but cannot refuse
//! keys that nobody knows; here each is an error at its place in the line.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, VariantAccess,
    Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

/// A moment, a device, and what happens then and there.
#[derive(Debug)]
pub(super) struct Timed<T> {
    pub(super) at_ms: u64,
    pub(super) device: usize,
    pub(super) what: T,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Timed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TimedVisitor(PhantomData))
    }
}

struct TimedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TimedVisitor<T> {
    type Value = Timed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with at_ms, device and what happens")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Timed<T>, A::Error> {
        let (mut at_ms, mut device, mut what) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let is_first = match key.as_str() {
                "at_ms" => at_ms.replace(map.next_value()?).is_none(),
                "device" => device.replace(map.next_value()?).is_none(),
                _ => {
                    let mut named = Named {
                        name: key.clone(),
                        map: &mut map,
                    };
                    what.replace(T::deserialize(&mut named)?).is_none()
                }
            };
            if !is_first {
                let why = format!("{key:?} is too much; write a line of its own for it");
                return Err(A::Error::custom(why));
            }
        }
        let nothing = "nothing happens; name one thing beside at_ms and device";
        Ok(Timed {
            at_ms: at_ms.ok_or_else(|| A::Error::missing_field("at_ms"))?,
            device: device.ok_or_else(|| A::Error::missing_field("device"))?,
            what: what.ok_or_else(|| A::Error::custom(nothing))?,
        })
    }
}

/// A variant whose name has been read and whose content is the map's next value.
struct Named<'a, A> {
    name: String,
    map: &'a mut A,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for &mut Named<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for &mut Named<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), A::Error> {
        let name: StringDeserializer<A::Error> = self.name.clone().into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for &mut Named<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.map.next_value()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(Content(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(Content(visitor))
    }
}

/// A variant's fields, for the visitor that knows them.
struct Content<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Content<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(self.0)
    }
}
