//! JSON to messages and back, by protobuf's canonical mapping.

use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _, SerializeOptions};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::misfit;
use crate::{
    error::{CliError, Result},
    output::{Align, Doc, Paint, Render, Table},
};

/// A reply, ready to be shown. Fields that were not sent are shown with their defaults, so that a script finds them.
#[derive(Debug)]
pub(crate) struct Reply(Doc);

struct Whole<'a>(&'a DynamicMessage);

/// Makes a message of JSON.
///
/// # Errors
///
/// Exit code 2, with the field that does not fit and what was expected there.
pub(crate) fn read(descriptor: &MessageDescriptor, json: &Value) -> Result<DynamicMessage> {
    DynamicMessage::deserialize(descriptor.clone(), json).map_err(|error| {
        let name = descriptor.full_name();
        let shown = CliError::usage(format!("the body does not fit {name}"));
        match misfit::find(descriptor, json) {
            Some(misfit) => {
                let shown = shown.because(misfit.problem);
                match misfit.near {
                    Some(near) => shown.hint(format!("did you mean `{near}`?")),
                    None => shown,
                }
            }
            // The search knows less than the parser: then the parser's own words are what there is.
            None => shown.because(error.to_string()),
        }
    })
}

// === impl Reply ===

impl Reply {
    /// Takes a message as it came.
    ///
    /// # Errors
    ///
    /// When it has no JSON form: an `Any` of a type that the schema does not have.
    pub(crate) fn new(message: &DynamicMessage) -> Result<Self> {
        let doc = Doc::of(&Whole(message)).map_err(|error| {
            let name = message.descriptor().full_name().to_owned();
            CliError::new(crate::exit::Exit::Other, format!("the reply, a {name}, cannot be written as JSON"))
                .because_of(&error)
        })?;
        Ok(Self(doc))
    }
}

impl Render for Reply {
    type Data = Doc;

    fn data(&self) -> &Doc {
        &self.0
    }

    fn text(&self, _wide: bool, paint: Paint) -> Vec<String> {
        let Doc::Map(pairs) = &self.0 else { return vec![self.0.inline()] };
        let mut table = Table::new([("FIELD", Align::Left), ("VALUE", Align::Left)]);
        for (name, value) in pairs {
            table.row(&[name.clone(), value.inline()]);
        }
        table.lines(paint)
    }

    fn names(&self) -> Vec<String> {
        let Doc::Map(pairs) = &self.0 else { return vec![self.0.inline()] };
        pairs.iter().map(|(_, value)| value.inline()).collect()
    }
}

// === impl Whole ===

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let options = SerializeOptions::new().skip_default_fields(false);
        self.0.serialize_with_options(serializer, &options)
    }
}
