//! Which nodes of a service a command is about: options that `call` and `explain` have in common.

use std::path::PathBuf;

use callsign::{
    CallOptions, Channel,
    client::{ChannelBuilder, ServiceConfig},
    core::{NodeId, ServiceName, select::Filter},
};

use crate::{context::Context, error::Result};

/// Which nodes may be called, and how one of them is chosen.
#[derive(Debug, clap::Args)]
pub(crate) struct Aim {
    /// Call this node only, by its id
    #[arg(long, value_name = "ID")]
    node: Option<String>,
    /// Call nodes of this group only
    #[arg(long)]
    group: Option<String>,
    /// Call nodes of this version only
    #[arg(long, value_name = "VERSION")]
    node_version: Option<String>,
    /// How the node is chosen: adaptive, random, round-robin, weighted-round-robin, least-request, ring-hash,
    /// maglev or rendezvous
    #[arg(long)]
    strategy: Option<String>,
    /// gRPC's service config, as JSON: retries, hedging, timeouts, how the node is chosen
    #[arg(long, value_name = "FILE")]
    service_config: Option<PathBuf>,
}

// === impl Aim ===

impl Aim {
    /// A channel to `name`, which is a service or a target. With `expected`, a service of which no node is registered is an error.
    ///
    /// # Errors
    ///
    /// A strategy or a target that makes no sense; a service that is not there.
    pub(super) async fn channel(&self, name: &str, expected: bool, context: &Context) -> Result<Channel> {
        if name.contains("://") {
            let builder = self.configured(ChannelBuilder::for_target(name.parse()?)?)?;
            return Ok(context.settings.tls.apply(builder)?.build()?);
        }
        let registry = context.registry()?;
        let service = ServiceName::new(name)?;
        if expected {
            context.service(&*registry, &service).await?;
        }
        let builder =
            Channel::builder(service.as_str()).registry(registry).domain(context.settings.domain.clone());
        Ok(context.settings.tls.apply(self.choosing(self.configured(builder)?)?)?.build()?)
    }

    /// Adds the choice of nodes to the options of a call.
    ///
    /// # Errors
    ///
    /// An id that can be no node's.
    pub(super) fn narrow(&self, mut options: CallOptions) -> Result<CallOptions> {
        if let Some(node) = &self.node {
            options = options.node(NodeId::new(node)?);
        }
        if let Some(group) = &self.group {
            options = options.group(group);
        }
        if let Some(version) = &self.node_version {
            options = options.filter(Filter::version(version));
        }
        Ok(options)
    }

    fn configured(&self, builder: ChannelBuilder) -> Result<ChannelBuilder> {
        Ok(match &self.service_config {
            Some(file) => builder.service_config(ServiceConfig::from_file(file)?),
            None => builder,
        })
    }

    fn choosing(&self, builder: ChannelBuilder) -> Result<ChannelBuilder> {
        Ok(match &self.strategy {
            Some(strategy) => builder.strategy(strategy.parse()?),
            None => builder,
        })
    }
}
