//! What every command is given.

use std::{path::PathBuf, sync::Arc, time::Duration};

use callsign::core::{
    Domain, Service, ServiceName,
    registry::{GetOptions, ListOptions, Registry, RegistryExt},
};

use crate::{
    config::{Settings, Source},
    error::{CliError, Result},
    exit::Exit,
    output::Out,
    suggest,
};

/// Settings, outputs, and the surroundings of the process.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) out: Out,
}

// === impl Context ===

impl Context {
    /// Opens the registry that the settings name.
    ///
    /// # Errors
    ///
    /// A URL that makes no sense, a kind that is not compiled in, or a folder that cannot be used.
    pub(crate) fn registry(&self) -> Result<Arc<dyn Registry>> {
        crate::config::open_registry(&self.settings)
    }

    /// The wall clock, to tell how old things are.
    #[expect(clippy::disallowed_methods, reason = "the one place where a command reads the wall clock")]
    pub(crate) fn now(&self) -> Duration {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }

    /// This program's file, to start demo nodes from.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        std::env::current_exe().map_err(|error| {
            CliError::new(Exit::Other, "cannot find this program's own file").because_of(&error)
        })
    }

    /// How this program is to be called again from the same place with the same registry: `callsign` where the shell finds
    /// it by that name.
    pub(crate) fn invocation(&self) -> String {
        let mut words = vec![self.settings.name_for_shell()];
        if let Source::Flag(_) = self.settings.registry.source {
            words.push(format!("--registry {}", self.settings.registry.value));
        }
        if self.settings.domain != Domain::default() {
            words.push(format!("--domain {}", self.settings.domain));
        }
        words.join(" ")
    }

    /// A service by its name, in the domain of the settings; in each domain that has it when that is `*`.
    ///
    /// # Errors
    ///
    /// Exit code 4 with the nearest name when no node of it is registered.
    pub(crate) async fn service(&self, registry: &dyn Registry, name: &ServiceName) -> Result<Vec<Service>> {
        let domain = self.settings.domain.clone();
        let listing = registry.get(name, &GetOptions::in_domain(domain.clone())).await?;
        let services = Service::group(listing.nodes);
        if services.is_empty() {
            return Err(self.unknown_service(registry, name, domain).await);
        }
        Ok(services)
    }

    async fn unknown_service(&self, registry: &dyn Registry, name: &ServiceName, domain: Domain) -> CliError {
        let error =
            CliError::new(Exit::NotFound, format!("there is no service {name} in the registry {registry}"));
        let services = registry.services(domain).await.unwrap_or_default();
        let names = || services.iter().map(|service| service.name().as_str());
        let error = match services.len() {
            0 => error.because("no service is registered there at all"),
            _ => error.because(format!("the services are {}", suggest::enumerate(names()))),
        };
        if let Some(near) = suggest::nearest(name.as_str(), names()) {
            return error.hint(format!("did you mean `{near}`?"));
        }
        // A service of the name in another domain is the next likely thing.
        let elsewhere = registry.list(&ListOptions::in_domain(Domain::all())).await.unwrap_or_default();
        match elsewhere.nodes.iter().find(|node| node.service() == name) {
            Some(node) => {
                error.hint(format!("it is registered in another domain: add --domain {}", node.domain()))
            }
            None if services.is_empty() => {
                error.hint("start a service, or `callsign demo --keep` to have some nodes to look at")
            }
            None => error.hint("run `callsign ls` to see the services"),
        }
    }
}
