//! Which nodes calls may go to, and which they should.

use callsign_core::{
    Result,
    select::{Filter, Filters, Shape},
};

use super::options::Options;

/// What nodes must have.
pub(super) fn filters(options: &mut Options<'_>) -> Result<Filters> {
    let mut filters = Filters::default();
    let mut meet = |key, filter: fn(String) -> Filter| -> Result<()> {
        if let Some(value) = options.take(key) {
            filters = filters.and(filter(value.text()?));
        }
        Ok(())
    };
    meet("group", Filter::group)?;
    meet("version", Filter::version)?;
    meet("zone", Filter::zone)?;
    meet("endpoint", Filter::endpoint)?;
    for (label, value) in options.take_labels()? {
        filters = filters.and(Filter::label(label, value));
    }
    Ok(filters)
}

/// What nodes should have.
pub(super) fn shape(options: &mut Options<'_>) -> Result<Shape> {
    let mut shape = Shape::default();
    if let Some(value) = options.take("split") {
        shape = shape.with_splits(&value.text()?)?;
    }
    if let Some(value) = options.take("prefer") {
        shape = shape.with_preferences(&value.text()?)?;
    }
    if let Some(value) = options.take("near") {
        let zones = value.text()?;
        if zones.split(',').any(str::is_empty) {
            return Err(options.malformed("a zone that is to be near has no name"));
        }
        shape = shape.near(zones.split(','));
    }
    Ok(shape)
}
