//! What is in a node's file: the node as every registry holds it, then a line about the file's owner.
//!
//! The second line names the domain, which go-micro's JSON has no field for, and the owner's process, which an error about
//! two owners wants to name. As it is written last, a file without it was cut short.

use std::sync::Arc;

use callsign_core::{
    Domain, Node,
    error::{Error, ErrorKind, Result},
    model::wire,
};
use serde::{Deserialize, Serialize};

use super::name;

/// The largest file that is read. A node of the most metadata and 1,000 endpoints stays below it.
pub(super) const ENTRY_BYTES_MAX: u64 = 4 << 20;

const OP: &str = "read registry entry";

/// One entry, understood.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) node: Arc<Node>,
    /// The process that wrote it.
    pub(super) pid: u32,
}

#[derive(Serialize, Deserialize)]
struct Owner<'a> {
    #[serde(borrow)]
    domain: std::borrow::Cow<'a, str>,
    pid: u32,
}

/// The file's content.
pub(super) fn encode(node: &Node, pid: u32) -> Vec<u8> {
    let owner = Owner { domain: node.domain().as_str().into(), pid };
    // A text and a number cannot fail to be written; an empty line would be read as cut short.
    let owner = serde_json::to_string(&owner).unwrap_or_default();
    format!("{}\n{owner}\n", wire::encode(node)).into_bytes()
}

/// Understands the content of the file called `name`.
///
/// # Errors
///
/// [`Corrupt`](ErrorKind::Corrupt), saying what is wrong with it.
pub(super) fn decode(name: &str, bytes: &[u8], decoder: &mut wire::Decoder) -> Result<Entry> {
    let lines = bytes.strip_suffix(b"\n").and_then(|text| {
        let end = text.iter().rposition(|byte| *byte == b'\n')?;
        Some((&text[..end], &text[end + 1..]))
    });
    let Some((node, owner)) = lines else {
        return Err(corrupt(format!("its {} bytes do not end in a line about its owner", bytes.len())));
    };
    let owner: Owner<'_> = serde_json::from_slice(owner)
        .map_err(|error| corrupt("its last line does not name its owner".into()).with_source(error))?;
    let domain = Domain::new(&owner.domain)
        .map_err(|error| corrupt("its domain is no name".into()).with_source(error))?;
    let mut read = decoder.decode(node, &domain)?;
    if let Some(error) = read.skipped.pop() {
        return Err(error);
    }
    let (Some(node), true) = (read.nodes.pop(), read.nodes.is_empty()) else {
        return Err(corrupt("it does not hold exactly one node".into()));
    };
    let key = node.key();
    if name::file_name(&key) != name {
        return Err(corrupt(format!("it holds {key}, whose file has another name")));
    }
    Ok(Entry { node: Arc::new(node), pid: owner.pid })
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, OP, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node() -> Node {
        Node::builder("greeter", "greeter-1", "127.0.0.1:4000")
            .domain("shop")
            .weight(7)
            .metadata("note", "two\nlines \"quoted\"")
            .build()
            .unwrap()
    }

    fn read(name: &str, bytes: &[u8]) -> Result<Entry> {
        decode(name, bytes, &mut wire::Decoder::default())
    }

    const NAME: &str = "shop+greeter+greeter-1.json";

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        let entry = read(NAME, &encode(&node(), 42)).unwrap();
        assert_eq!(*entry.node, node());
        assert_eq!(entry.pid, 42);
    }

    #[test]
    fn an_entry_cut_short_anywhere_is_never_taken_for_whole() {
        let whole = encode(&node(), 42);
        for end in 0..whole.len() {
            assert_eq!(read(NAME, &whole[..end]).unwrap_err().kind(), ErrorKind::Corrupt, "{end} bytes");
        }
    }

    #[test]
    fn an_entry_under_the_name_of_another_is_refused() {
        let error = read("shop+greeter+greeter-2.json", &encode(&node(), 42)).unwrap_err();
        assert!(error.to_string().contains("shop/greeter/greeter-1"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(NAME, &bytes).is_err());
        }

        #[test]
        fn a_damaged_entry_is_read_without_a_panic(at in 0usize..200, byte in any::<u8>()) {
            let mut bytes = encode(&node(), 42);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read(NAME, &bytes);
        }
    }
}
