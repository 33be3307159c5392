//! Cutting what tasks take out of an offer, in the form in which it was offered.

use crate::mesos::v1::{Offer, Resource};

/// What a task or an executor takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub milli_cpus: u32,
    pub mem: u32,
}

impl Ask {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { milli_cpus: self.milli_cpus + other.milli_cpus, mem: self.mem + other.mem }
    }
}

/// What is left of an offer while tasks are cut out of it.
#[derive(Clone, Debug)]
pub(super) struct Rest {
    resources: Vec<Resource>,
}

impl Rest {
    pub(super) fn of(offer: &Offer) -> Self {
        Self { resources: offer.resources.clone() }
    }

    /// What is lacking for `ask`, as a sentence; none if it fits.
    pub(super) fn lacking(&self, ask: Ask) -> Option<String> {
        let short = |name: &str, wanted: u64, has: u64| {
            (has < wanted).then(|| format!("{name} {} ({} offered)", units(wanted), units(has)))
        };
        short("cpus", u64::from(ask.milli_cpus), self.milli("cpus"))
            .or_else(|| short("mem", u64::from(ask.mem) * 1000, self.milli("mem")))
    }

    /// Cuts `ask` out, in the form in which it was offered; none, and nothing cut, if it does
    /// not fit.
    pub(super) fn take(&mut self, ask: Ask) -> Option<Vec<Resource>> {
        if self.lacking(ask).is_some() {
            return None;
        }
        let mut taken = self.cut("cpus", u64::from(ask.milli_cpus));
        taken.extend(self.cut("mem", u64::from(ask.mem) * 1000));
        Some(taken)
    }

    /// `ask` in the form of the offer, whether it fits or not.
    pub(super) fn shape(&self, ask: Ask) -> Vec<Resource> {
        let shape = |(name, milli): (&str, u64)| {
            let mut piece = self.resources.iter().find(|r| r.name == name)?.clone();
            set_milli(&mut piece, milli);
            Some(piece)
        };
        let asked = [("cpus", u64::from(ask.milli_cpus)), ("mem", u64::from(ask.mem) * 1000)];
        asked.into_iter().filter_map(shape).collect()
    }

    fn milli(&self, name: &str) -> u64 {
        self.resources.iter().filter(|r| r.name == name).map(Resource::milli).sum()
    }

    /// Resources of one name may lie in several roles or reservations of the offer.
    fn cut(&mut self, name: &str, mut wanted: u64) -> Vec<Resource> {
        let mut taken = Vec::new();
        for resource in self.resources.iter_mut().filter(|r| r.name == name) {
            let part = resource.milli().min(wanted);
            if part == 0 {
                continue;
            }
            let mut piece = resource.clone();
            set_milli(&mut piece, part);
            let left = resource.milli() - part;
            set_milli(resource, left);
            taken.push(piece);
            wanted -= part;
        }
        taken
    }
}

/// Thousandths as people write them.
pub(super) fn units(milli: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let value = milli as f64 / 1000.0;
    value.to_string()
}

#[expect(clippy::cast_precision_loss, reason = "offers are far below 2^52 thousandths")]
fn set_milli(resource: &mut Resource, milli: u64) {
    if let Some(scalar) = &mut resource.scalar {
        scalar.value = milli as f64 / 1000.0;
    }
}
