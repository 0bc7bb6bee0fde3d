//! Which node is meant, and the way to it.

use std::{path::Path, sync::Arc};

use callsign::{
    Channel, Operator,
    core::{Node, Service, ServiceName, model::Address},
};

use crate::{
    config::Secret,
    context::Context,
    error::{CliError, Result},
    exit::Exit,
    suggest,
};

/// A node that somebody has named.
pub(super) struct Meant {
    pub(super) node: Node,
    /// Whether another node of the service takes calls, as far as the registry shows.
    others: bool,
}

// === impl Meant ===

impl Meant {
    /// By its id or its address. An address need not be registered: who left the registry is found by it.
    ///
    /// # Errors
    ///
    /// Exit code 4 with the nearest name if there is no such service or node.
    pub(super) async fn find(name: &str, node: &str, context: &Context) -> Result<Self> {
        let service = ServiceName::new(name)?;
        let registry = context.registry()?;
        let services = context.service(&*registry, &service).await;
        let nodes = services.as_deref().unwrap_or_default().iter().flat_map(Service::nodes);
        let nodes: Vec<Arc<Node>> = nodes.cloned().collect();
        let known = nodes.iter().find(|known| known.id().as_str() == node || known.address() == node);
        if let Some(known) = known {
            let takes_calls = |other: &Node| other.id() != known.id() && other.weight() != Some(0);
            let others = nodes.iter().any(|other| takes_calls(other));
            return Ok(Self { node: (**known).clone(), others });
        }
        let address = node.parse::<Address>().ok().filter(|_| node.contains(':'));
        if let Some(address) = address {
            let address = address.to_string();
            let node = Node::builder(name, address.clone(), address).in_domain(&context.settings.domain);
            return Ok(Self { node: node.build()?, others: true });
        }
        // That there is no such service says more than that it has no such node.
        services.map_err(|error| match error.exit() {
            Exit::RegistryUnreachable => {
                error.also("name the node by its address, HOST:PORT, which needs no registry")
            }
            _ => error,
        })?;
        let ids = || nodes.iter().map(|node| node.id().as_str());
        let error = CliError::new(Exit::NotFound, format!("{name} has no node {node}"))
            .because(format!("its nodes are {}", suggest::enumerate(ids())));
        Err(match suggest::nearest(node, ids()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("a node that has left the registry is found by its address, HOST:PORT"),
        })
    }

    /// What speaks to it.
    ///
    /// # Errors
    ///
    /// A token that cannot be read or fits into no header.
    pub(super) fn operator(&self, token_file: Option<&Path>, context: &Context) -> Result<Operator> {
        let builder = Channel::builder(self.node.service().as_str()).nodes([self.node.clone()]);
        let operator = Operator::new(context.settings.tls.apply(builder)?.build()?);
        let token = match token_file {
            Some(file) => Some(Secret::new(std::fs::read_to_string(file).map_err(|error| {
                CliError::usage(format!("cannot read the token in {}", file.display())).because_of(&error)
            })?)),
            None => context.settings.operator_token.clone(),
        };
        Ok(match token {
            Some(token) => operator.token(token.reveal())?,
            None => operator,
        })
    }

    /// Clients call a drained node rather than none.
    pub(super) fn warn_of_the_last(&self, context: &Context) {
        if !self.others {
            let text = format!(
                "no other node of {} takes calls: clients go on calling this one",
                self.node.service()
            );
            context.out.say(&format!("{} {text}", context.out.talk.warn("warning:")));
        }
    }
}
