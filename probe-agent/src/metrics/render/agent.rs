//! Series of the agent as a whole: what it takes, and what is wrong beside the captures.

use probe_capture::{source::ProgramCost, trouble};

use super::{super::process::ProcessCounts, Samples, Scrape, float, single};

impl Scrape<'_> {
    /// All kinds have a series, so that one which is over shows 0.
    pub(super) fn troubles(&self) -> Samples<'_> {
        let of_kind = |kind| {
            let troubles = self.status.troubles.iter();
            troubles.filter(|it| it.kind == kind).count() as u64
        };
        trouble::TroubleKind::ALL
            .map(|kind| (vec![kind.name()], float(of_kind(kind))))
            .into()
    }

    pub(super) fn clock_steps(&self) -> Samples<'_> {
        let steps = self.status.clock_steps;
        vec![
            (vec!["forward"], float(steps.forward)),
            (vec!["backward"], float(steps.backward)),
        ]
    }

    pub(super) fn programs(&self, value: fn(&ProgramCost) -> f64) -> Samples<'_> {
        let programs = self.status.costs.programs.iter();
        programs
            .map(|cost| (vec![&*cost.program], value(cost)))
            .collect()
    }

    pub(super) fn map_memory(&self) -> Samples<'_> {
        let maps = self.status.costs.maps.iter();
        maps.map(|(map, bytes)| (vec![&**map], float(*bytes)))
            .collect()
    }

    pub(super) fn records(&self) -> Samples<'_> {
        let records = self.status.costs.records;
        vec![
            (vec!["ring"], float(records.ring)),
            (vec!["cache"], float(records.cache)),
        ]
    }

    pub(super) fn drain_lag(&self) -> Samples<'_> {
        let lag = self.status.costs.drain_lag.unwrap_or_default();
        single(lag.as_secs_f64())
    }

    pub(super) fn of_process(&self, value: fn(&ProcessCounts) -> f64) -> Samples<'_> {
        let process = self.process.as_ref();
        process.map_or_else(Vec::new, |process| single(value(process)))
    }
}
