//! What a server offers: its services, and all types they need.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor,
};
use prost_types::FileDescriptorProto;
use tonic::Status;

use super::Session;

/// The services of one server with their types.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    services: Vec<ServiceDescriptor>,
}

/// Most files a schema may have: what a hostile server can make us ask for is bounded.
const FILES_MAX: usize = 2000;

/// Services that every server of ours has, and that nobody looks for.
const HOUSEKEEPING: [&str; 2] = ["grpc.reflection.", "grpc.health."];

// === impl Schema ===

impl Schema {
    /// Asks for everything.
    ///
    /// # Errors
    ///
    /// Why the server did not answer, or INTERNAL when its files do not make a whole.
    pub(crate) async fn load(session: &mut Session) -> Result<Self, Status> {
        let names = session.services().to_vec();
        let mut files = BTreeMap::new();
        for name in &names {
            for file in session.file_of(name).await? {
                files.insert(file.name().to_owned(), file);
            }
        }
        while let Some(name) = missing(&files) {
            for file in dependency(session, &name).await? {
                files.insert(file.name().to_owned(), file);
            }
            if files.len() > FILES_MAX {
                return Err(Status::internal(format!("the schema has more than {FILES_MAX} files")));
            }
            if !files.contains_key(&name) {
                return Err(Status::internal(format!(
                    "the server did not send {name}, which its schema needs"
                )));
            }
        }
        Self::new(&names, files.into_values())
    }

    /// Puts files together.
    ///
    /// # Errors
    ///
    /// INTERNAL when they do not make a whole.
    pub(crate) fn new(
        services: &[String],
        files: impl IntoIterator<Item = FileDescriptorProto>,
    ) -> Result<Self, Status> {
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_protos(files)
            .map_err(|error| Status::internal(format!("the server's schema makes no sense: {error}")))?;
        Ok(Self { services: services.iter().filter_map(|name| pool.get_service_by_name(name)).collect() })
    }

    /// The services, housekeeping last.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ServiceDescriptor> {
        self.services().chain(self.services.iter().filter(|service| is_housekeeping(service)))
    }

    /// The services that are there for their own sake.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceDescriptor> {
        self.services.iter().filter(|service| !is_housekeeping(service))
    }

    /// The messages and enums that the services' methods use, each once, in the order of their first use.
    pub(crate) fn types(&self) -> (Vec<MessageDescriptor>, Vec<EnumDescriptor>) {
        let mut seen = BTreeSet::new();
        let (mut messages, mut enums) = (Vec::new(), Vec::new());
        let mut queue: Vec<MessageDescriptor> = self
            .services()
            .flat_map(ServiceDescriptor::methods)
            .flat_map(|m| [m.input(), m.output()])
            .collect();
        queue.reverse();
        while let Some(message) = queue.pop() {
            if !seen.insert(message.full_name().to_owned())
                || message.full_name().starts_with("google.protobuf.")
            {
                continue;
            }
            let fields: Vec<FieldDescriptor> = message.fields().collect();
            for field in fields.iter().rev() {
                match field.kind() {
                    Kind::Message(inner) => queue.push(inner),
                    Kind::Enum(inner) if seen.insert(inner.full_name().to_owned()) => enums.push(inner),
                    _ => {}
                }
            }
            if !message.is_map_entry() {
                messages.push(message);
            }
        }
        (messages, enums)
    }
}

fn is_housekeeping(service: &ServiceDescriptor) -> bool {
    HOUSEKEEPING.iter().any(|prefix| service.full_name().starts_with(prefix))
}

/// A file that another one needs and that is not there yet.
fn missing(files: &BTreeMap<String, FileDescriptorProto>) -> Option<String> {
    files.values().flat_map(|file| &file.dependency).find(|name| !files.contains_key(*name)).cloned()
}

/// Asks for a file; those that come with every protobuf library are at hand if the server has left them out.
async fn dependency(session: &mut Session, name: &str) -> Result<Vec<FileDescriptorProto>, Status> {
    let refused = match session.file(name).await {
        Ok(files) => return Ok(files),
        Err(status) => status,
    };
    match DescriptorPool::global().get_file_by_name(name) {
        Some(file) => Ok(vec![file.file_descriptor_proto().clone()]),
        None => Err(refused),
    }
}
