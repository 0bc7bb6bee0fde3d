//! How a call ended: for a person on stderr, for a script in the exit code.

use callsign::CallReport;
use prost_reflect::MethodDescriptor;
use tonic::{Code, Status};

use crate::{error::CliError, exit::Exit, output::printable, units};

/// `greeter-2 at 127.0.0.1:4001 · adaptive · 1 attempt · 842 µs`: who answered, and how it was reached.
pub(super) fn line(report: &CallReport) -> String {
    let attempts = units::count(report.attempts as usize, "attempt");
    // A node that is called by its address, and registered nowhere, has no other id.
    let node = report.node.id().as_str();
    let text = if node == report.address { node.to_owned() } else { format!("{node} at {}", report.address) };
    let text = format!("{text} · {} · {attempts} · {}", report.strategy, units::short(report.elapsed));
    let text = match &report.instead {
        Some(why) => format!("{text} · {why}"),
        None => text,
    };
    printable(&text, false).into_owned()
}

/// Why a call failed. Statuses that the client made itself mean that no service has answered, and end otherwise.
pub(super) fn failure(method: &MethodDescriptor, status: &Status, report: Option<&CallReport>) -> CliError {
    let answered = report.is_some();
    let path = format!("{}/{}", method.parent_service().full_name(), method.name());
    let error = CliError::new(exit(status, answered), format!("{path} failed with {}", name(status.code())));
    let error = if status.message().is_empty() { error } else { error.because(status.message()) };
    match status.code() {
        Code::DeadlineExceeded => error.hint("give it longer, like --timeout 60s"),
        Code::Unimplemented => {
            error.hint("the node that was called may run another version: see `callsign describe`")
        }
        _ => error,
    }
}

/// Why a schema could not be had, and with it nothing else.
pub(super) fn no_schema(target: &str, status: &Status) -> CliError {
    let ends = |exit, message: String| {
        let error = CliError::new(exit, message);
        if status.message().is_empty() { error } else { error.because(status.message()) }
    };
    match status.code() {
        Code::Unimplemented => {
            let message = format!("{target} offers no reflection, so its methods are not known");
            ends(Exit::Status(Code::Unimplemented), message)
                .hint("add descriptors to its server: Server::builder(..).descriptors(FILE_DESCRIPTOR_SET)")
        }
        code => match exit(status, false) {
            Exit::NoNode => ends(Exit::NoNode, format!("no node of {target} can be called"))
                .hint("run `callsign ls nodes -o wide` to see the nodes there are"),
            Exit::Deadline => ends(Exit::Deadline, format!("{target} did not answer in time"))
                .hint("give it longer, like --timeout 60s"),
            other => ends(other, format!("cannot ask {target} for its schema: {}", name(code))),
        },
    }
}

fn exit(status: &Status, answered: bool) -> Exit {
    match status.code() {
        Code::DeadlineExceeded => Exit::Deadline,
        Code::Unavailable if !answered => Exit::NoNode,
        code => Exit::Status(code),
    }
}

/// `NOT_FOUND (5)`: the name that is in every book, and the number.
fn name(code: Code) -> String {
    let mut name = String::new();
    for (at, c) in format!("{code:?}").chars().enumerate() {
        if at > 0 && c.is_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    // The specification spells it with two l's.
    let name = if code == Code::Cancelled { "CANCELLED".to_owned() } else { name };
    format!("{name} ({})", code as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_that_are_in_the_books() {
        assert_eq!(name(Code::NotFound), "NOT_FOUND (5)");
        assert_eq!(name(Code::Cancelled), "CANCELLED (1)");
        assert_eq!(name(Code::DeadlineExceeded), "DEADLINE_EXCEEDED (4)");
    }

    #[test]
    fn a_status_of_our_own_and_one_of_the_services_end_otherwise() {
        let status = Status::unavailable("no");
        assert_eq!(exit(&status, false), Exit::NoNode);
        assert_eq!(exit(&status, true).code(), 78);
        assert_eq!(exit(&Status::deadline_exceeded(""), true), Exit::Deadline);
        assert_eq!(exit(&Status::not_found(""), true).code(), 69);
    }
}
