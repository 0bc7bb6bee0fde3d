//! JSON that knows where it stands: each value has its path and its line, for errors that point at it.
//!
//! serde_json reads; what is done here is to ask for one level at a time, as slices of the text, whose place in it is their line.

use std::fmt;

use callsign_core::{Error, Result};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A value somewhere in a text.
pub(super) struct Tree<'a> {
    text: &'a str,
    raw: &'a str,
    path: String,
}

/// The fields of an object, each of which is to be taken or objected to.
pub(super) struct Fields<'a> {
    object: Tree<'a>,
    left: Vec<(String, Tree<'a>)>,
    known: Vec<&'static str>,
}

/// The fields of an object as they stand there, twins among them.
struct Raw<'a>(Vec<(String, &'a RawValue)>);

/// An error of the whole text.
pub(super) fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::invalid("read service config", message)
}

// === impl Tree ===

impl<'a> Tree<'a> {
    /// Reads a text, all of which is one value.
    pub(super) fn read(text: &'a str) -> Result<Self> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { text, raw: raw.get(), path: String::new() })
    }

    pub(super) fn object(self) -> Result<Fields<'a>> {
        let Ok(Raw(fields)) = serde_json::from_str(self.raw) else { return Err(self.not("an object")) };
        let mut left: Vec<(String, Self)> = Vec::with_capacity(fields.len());
        for (name, raw) in fields {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            let field = Self { text: self.text, raw: raw.get(), path };
            if left.iter().any(|(other, _)| *other == name) {
                return Err(field.error("is there twice"));
            }
            left.push((name, field));
        }
        Ok(Fields { object: self, left, known: Vec::new() })
    }

    pub(super) fn list(self) -> Result<Vec<Self>> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(self.raw) else {
            return Err(self.not("a list"));
        };
        let item = |(index, raw): (usize, &'a RawValue)| Self {
            text: self.text,
            raw: raw.get(),
            path: format!("{}[{index}]", self.path),
        };
        Ok(items.into_iter().enumerate().map(item).collect())
    }

    pub(super) fn string(&self) -> Result<String> {
        self.scalar("a string")
    }

    pub(super) fn bool(&self) -> Result<bool> {
        self.scalar("true or false")
    }

    pub(super) fn number(&self) -> Result<f64> {
        self.scalar("a number")
    }

    /// A whole number of at least zero.
    pub(super) fn count(&self) -> Result<u32> {
        self.scalar("a whole number of zero or more")
    }

    pub(super) fn is_string(&self) -> bool {
        self.raw.starts_with('"')
    }

    /// What is wrong with this value.
    pub(super) fn error(&self, what: impl fmt::Display) -> Error {
        let offset = self.raw.as_ptr() as usize - self.text.as_ptr() as usize;
        let line = self.text[..offset].matches('\n').count() + 1;
        let path = if self.path.is_empty() { "the whole" } else { &self.path };
        wrong(format!("line {line}: {path} {what}"))
    }

    fn not(&self, wanted: &str) -> Error {
        let mut text: String = self.raw.chars().take(40).collect();
        if text.len() < self.raw.len() {
            text.push('…');
        }
        self.error(format!("must be {wanted}, and is {text}"))
    }

    fn scalar<T: Deserialize<'a>>(&self, wanted: &str) -> Result<T> {
        serde_json::from_str(self.raw).map_err(|_| self.not(wanted))
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The field of this name. One that is `null` counts as not there, as in protobuf's JSON.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Tree<'a>> {
        self.known.push(name);
        let index = self.left.iter().position(|(other, _)| other == name)?;
        let (_, field) = self.left.swap_remove(index);
        (field.raw != "null").then_some(field)
    }

    /// The same for one that must be there.
    pub(super) fn need(&mut self, name: &'static str) -> Result<Tree<'a>> {
        self.take(name).ok_or_else(|| self.object.error(format!("lacks {name}")))
    }

    /// The name and the value of the only field.
    pub(super) fn only(mut self) -> Result<(String, Tree<'a>)> {
        match self.left.len() {
            1 => Ok(self.left.swap_remove(0)),
            _ => Err(self.object.error("must have one field, the name of a policy")),
        }
    }

    /// Nothing more is expected here.
    pub(super) fn end(self) -> Result<Tree<'a>> {
        match self.left.first() {
            None => Ok(self.object),
            Some((_, field)) => {
                let known = self.known.join(", ");
                Err(field.error("is not known").with_hint(format!("what is known here: {known}")))
            }
        }
    }
}

// === impl Raw ===

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Raw<'de>, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Raw(fields))
            }
        }
        deserializer.deserialize_map(Each)
    }
}
