//! Which method is meant, and what it looks like.

use std::fmt;

use prost_reflect::MethodDescriptor;

use super::Schema;
use crate::{
    error::{CliError, Result},
    exit::Exit,
    suggest,
};

/// The four shapes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Unary,
    ServerStreaming,
    ClientStreaming,
    Bidirectional,
}

// === impl Shape ===

impl Shape {
    /// The shape of a method.
    pub(crate) fn of(method: &MethodDescriptor) -> Self {
        match (method.is_client_streaming(), method.is_server_streaming()) {
            (false, false) => Self::Unary,
            (false, true) => Self::ServerStreaming,
            (true, false) => Self::ClientStreaming,
            (true, true) => Self::Bidirectional,
        }
    }

    /// Whether many requests make one call.
    pub(crate) fn takes_many(self) -> bool {
        matches!(self, Self::ClientStreaming | Self::Bidirectional)
    }

    /// Whether one call has many replies.
    pub(crate) fn gives_many(self) -> bool {
        matches!(self, Self::ServerStreaming | Self::Bidirectional)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unary => "unary",
            Self::ServerStreaming => "server stream",
            Self::ClientStreaming => "client stream",
            Self::Bidirectional => "both stream",
        })
    }
}

/// Finds a method by any of `Greeter.Hello`, `greeter.Greeter.Hello`, `greeter.Greeter/Hello` and, where there is one only,
/// `Hello`.
///
/// # Errors
///
/// Exit code 4 when there is none, with the nearest one; exit code 2 when several are meant.
pub(crate) fn find(schema: &Schema, written: &str) -> Result<MethodDescriptor> {
    let wanted = written.trim_start_matches('/').replace('/', ".");
    let all: Vec<_> = schema.all().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    let fits = |method: &&MethodDescriptor| {
        let full = method.full_name();
        full == wanted || full.strip_suffix(&*wanted).is_some_and(|rest| rest.ends_with('.'))
    };
    let found: Vec<_> = all.iter().filter(fits).collect();
    match &found[..] {
        [one] => Ok((*one).clone()),
        [] => Err(unknown(schema, written)),
        [first, ..] => {
            // The whole name wins over its being the end of a longer one.
            if let Some(exact) = found.iter().find(|method| method.full_name() == wanted) {
                return Ok((**exact).clone());
            }
            let names: Vec<_> = found.iter().map(|method| path(method)).collect();
            let names = suggest::enumerate(names.iter().map(String::as_str));
            Err(CliError::usage(format!("{written:?} could be {names}"))
                .hint(format!("write it in full, like {}", path(first))))
        }
    }
}

/// `Greeter.Hello(HelloRequest) -> stream HelloReply`: a method in one line.
pub(crate) fn signature(method: &MethodDescriptor) -> String {
    let stream = |on: bool| if on { "stream " } else { "" };
    format!(
        "{}({}{}) -> {}{}",
        short(method),
        stream(method.is_client_streaming()),
        method.input().name(),
        stream(method.is_server_streaming()),
        method.output().name(),
    )
}

/// `Greeter.Hello`.
fn short(method: &MethodDescriptor) -> String {
    format!("{}.{}", method.parent_service().name(), method.name())
}

/// `greeter.Greeter/Hello`: what stands in the request's path.
fn path(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

fn unknown(schema: &Schema, written: &str) -> CliError {
    let methods: Vec<_> =
        schema.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    let names: Vec<_> = methods.iter().map(short).collect();
    let names = || names.iter().map(String::as_str);
    let error = CliError::new(Exit::NotFound, format!("there is no method {written}"));
    let error = match suggest::enumerate(names()) {
        listed if listed == "none" => error.because("the service's schema has no methods at all"),
        listed => error.because(format!("the methods are {listed}")),
    };
    // `Greter.Hello` and `Hello` are both near `Greeter.Hello`; the method's own name counts too.
    let last = written.rsplit(['.', '/']).next().unwrap_or(written);
    let near = suggest::nearest(written, names()).map(str::to_owned).or_else(|| {
        methods.iter().find(|method| suggest::nearest(last, [method.name()]).is_some()).map(short)
    });
    match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}
