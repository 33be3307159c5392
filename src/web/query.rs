//! What is looked for, as a query says it: the same words for the page and the API.

use serde::Deserialize;

use super::problem::{Kind, Problem};
use crate::surface::hosts::Wanted;

/// Hosts in one answer, if nobody asks for another number, and at most.
const SOME: usize = 100;
const MOST: usize = 1000;

/// The query of a list of hosts. An empty field is as good as none: forms send all of theirs.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct HostsQuery {
    /// A reason's word, or `in-sync`.
    reason: Option<String>,
    /// A pool's name.
    pool: Option<String>,
    /// `NAME:VALUE` of an attribute of the agent.
    attribute: Option<String>,
    /// A part of the name.
    search: Option<String>,
    /// How many to leave out.
    offset: Option<String>,
    /// How many to show.
    limit: Option<String>,
}

impl HostsQuery {
    /// What is looked for.
    pub(super) fn wanted(&self) -> Result<Wanted, Problem> {
        let attribute = match given(self.attribute.as_ref()) {
            None => None,
            Some(text) => Some(text.split_once(':').ok_or_else(|| {
                Problem::new(Kind::BadRequest, "write `attribute` as NAME:VALUE")
            })?),
        };
        Ok(Wanted {
            reason: given(self.reason.as_ref()).map(str::to_owned),
            pool: given(self.pool.as_ref()).map(str::to_owned),
            attribute: attribute.map(|(name, value)| (name.to_owned(), value.to_owned())),
            search: given(self.search.as_ref()).map(str::to_owned),
        })
    }

    /// How many to leave out.
    pub(super) fn offset(&self) -> Result<usize, Problem> {
        number("offset", self.offset.as_ref(), 0)
    }

    /// How many to leave out, and how many to show after them.
    pub(super) fn range(&self) -> Result<(usize, usize), Problem> {
        Ok((self.offset()?, number("limit", self.limit.as_ref(), SOME)?.min(MOST)))
    }
}

/// Without an end or with an empty one it is `otherwise`.
pub(super) fn number(
    name: &str,
    text: Option<&String>,
    otherwise: usize,
) -> Result<usize, Problem> {
    let Some(text) = given(text) else { return Ok(otherwise) };
    text.parse()
        .map_err(|_| Problem::new(Kind::BadRequest, format!("write `{name}` as a whole number")))
}

fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}
