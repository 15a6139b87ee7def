//! What several stories have in common about places off-site.

use anyhow::Result;

use super::Scene;
use crate::values::failure::Failure;
use crate::values::offsite::Place;

pub mod bring;
pub mod copies;
pub mod look;
pub mod send;

/// The places of this run, of which there must be one.
pub fn places<'a>(scene: &'a Scene) -> Result<&'a [Place]> {
    match scene.settings.offsite.as_slice() {
        [] => Err(Failure::usage("no place off-site is known")
            .hint(
                "name one: cargo xtask db push --offsite-url s3://bucket/prefix, or set `OFFSITE_URL`",
            )
            .into()),
        places => Ok(places),
    }
}
