//! How Mesos writes identifiers, enums and bytes in JSON.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A proto enum whose later versions may know more names: known ones cost no allocation, others
/// are kept as text in `Unknown`.
macro_rules! open_enum {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A name of a version of Mesos newer than this program.
            Unknown(String),
        }

        impl $name {
            /// The name as it is on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    _ => Self::Unknown(text.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::mesos::v1::codec::name(deserializer)
            }
        }
    };
}

/// A text identifier that Mesos wraps: `{"value": "…"}`.
macro_rules! wire_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::mesos::v1::codec::id::write(&self.0, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::mesos::v1::codec::id::read(deserializer).map(Self)
            }
        }
    };
}

/// Reads an enum's name without copying it first.
pub(super) fn name<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: for<'a> From<&'a str>,
{
    struct Name<T>(std::marker::PhantomData<T>);

    impl<T: for<'a> From<&'a str>> Visitor<'_> for Name<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the name of an enum value")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            Ok(T::from(text))
        }
    }

    deserializer.deserialize_str(Name(std::marker::PhantomData))
}

/// The identifiers of [`crate::words`], which are plain text in etcd, in Mesos' wrapping:
/// `#[serde(with = "id")]`.
pub(super) mod id {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use crate::words::{AgentId, TaskId};

    #[derive(Serialize)]
    struct Borrowed<'a> {
        value: &'a str,
    }

    #[derive(Deserialize)]
    struct Owned {
        value: String,
    }

    /// Text in and out of an identifier.
    pub(in super::super) trait Text: From<String> {
        fn text(&self) -> &str;
    }

    impl Text for AgentId {
        fn text(&self) -> &str {
            self.as_str()
        }
    }

    impl Text for TaskId {
        fn text(&self) -> &str {
            self.as_str()
        }
    }

    pub(in super::super) fn write<S: Serializer>(value: &str, s: S) -> Result<S::Ok, S::Error> {
        Borrowed { value }.serialize(s)
    }

    pub(in super::super) fn read<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
        Owned::deserialize(d).map(|id| id.value)
    }

    pub(in super::super) fn serialize<T: Text, S: Serializer>(
        id: &T,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        write(id.text(), s)
    }

    pub(in super::super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        d: D,
    ) -> Result<T, D::Error> {
        read(d).map(T::from)
    }

    /// The same for an optional identifier; combine with `default` and `skip_serializing_if`.
    pub(in super::super) mod option {
        use super::{Deserialize, Deserializer, Owned, Serializer, Text, write};

        #[expect(clippy::ref_option, reason = "serde gives it so")]
        pub(in super::super::super) fn serialize<T: Text, S: Serializer>(
            id: &Option<T>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            match id {
                Some(id) => write(id.text(), s),
                None => s.serialize_none(),
            }
        }

        pub(in super::super::super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<T>, D::Error> {
            Ok(Option::<Owned>::deserialize(d)?.map(|id| T::from(id.value)))
        }
    }
}

/// Bytes: padded standard base64 on the wire. The UUID of a status update (16 bytes, not printed
/// as a UUID's text) and the opaque `data` of tasks, statuses and messages.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blob(pub Vec<u8>);

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&base64::display::Base64Display::new(&self.0, &STANDARD), f)
    }
}

/// A UUID is shown, a payload only by its length: logs are no place for it.
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0..=16 => write!(f, "Blob({self})"),
            length => write!(f, "Blob({length} bytes)"),
        }
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                STANDARD.decode(text).map(Blob).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Base64)
    }
}
