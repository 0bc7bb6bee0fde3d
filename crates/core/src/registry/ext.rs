//! What callers want on top of a backend.

use async_trait::async_trait;

use super::{GetOptions, ListOptions, Registry};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Domain, Service, ServiceName},
};

/// Conveniences over any [`Registry`].
#[async_trait]
pub trait RegistryExt: Registry {
    /// One service of the default domain.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when the registry answered and knows no node of it; else why it did not answer.
    async fn service(&self, name: &str) -> Result<Service> {
        let name = ServiceName::new(name)?;
        let listing = self.get(&name, &GetOptions::default()).await?;
        Service::group(listing.nodes).pop().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "find service",
                format!("no node of {name} is registered in {self}"),
            )
            .with_hint("run `callsign ls` to see which services are there")
        })
    }

    /// All services of a domain.
    ///
    /// # Errors
    ///
    /// Why the registry did not answer.
    async fn services(&self, domain: Domain) -> Result<Vec<Service>> {
        Ok(Service::group(self.list(&ListOptions::in_domain(domain)).await?.nodes))
    }
}

impl<R: Registry + ?Sized> RegistryExt for R {}
