//! Names of addresses and ports, for those who ask for them: from the host's own resolver and its list of
//! services, by whatever way it is configured (`/etc/nsswitch.conf`).
//!
//! Each comes as a column of its own behind the column of what it names, in every format. What has no name
//! has none there. Nobody is asked for a name unless somebody wants it: questions to DNS tell others whom this
//! host has talked to.

mod hosts;
mod services;

use std::{io, sync::Arc};

use clap::ValueEnum;
use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    datatypes::{UInt8Type, UInt16Type},
    record_batch::RecordBatch,
};

use self::{hosts::Hosts, services::Services};
use crate::{
    completeness::{Report, Told},
    output::{Shape, Sink, Totals},
};

/// What gets a name in the answer, on request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Names {
    /// Addresses, by questions to DNS or what the host asks else, for up to 5 s altogether
    Hosts,
    /// Ports, by the host's list of services (/etc/services)
    Services,
}

/// Columns that have names, with the name of the column that is added.
const NAMED: [(&str, &str, Names); 4] = [
    ("src_addr", "src_name", Names::Hosts),
    ("dst_addr", "dst_name", Names::Hosts),
    ("src_port", "src_service", Names::Services),
    ("dst_port", "dst_service", Names::Services),
];

/// Adds names to the rows of another sink.
pub struct Named<'a> {
    inner: Box<dyn Sink + 'a>,
    wanted: Vec<Names>,
    hosts: Hosts,
    services: Services,
    /// Its shape, with the columns of names.
    shape: Option<Shape>,
}

impl<'a> Named<'a> {
    /// Rows go to `inner` with the names that are wanted.
    pub fn new(inner: Box<dyn Sink + 'a>, wanted: Vec<Names>) -> Self {
        Self {
            inner,
            wanted,
            hosts: Hosts::default(),
            services: Services::default(),
            shape: None,
        }
    }

    /// The columns that are named: their places, the names of the new ones, and of what they are.
    fn columns<'b>(
        &'b self,
        shape: &'b Shape,
    ) -> impl Iterator<Item = (usize, &'static str, Names)> + 'b {
        shape.names().enumerate().filter_map(|(place, name)| {
            let (_, added, kind) = NAMED.into_iter().find(|(known, ..)| *known == name)?;
            self.wanted.contains(&kind).then_some((place, added, kind))
        })
    }

    fn with_names(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<RecordBatch> {
        let named: Vec<_> = self.columns(shape).collect();
        let protocols = shape.names().position(|name| name == "ip_protocol");
        let protocols = protocols.and_then(|place| batch.columns().get(place));
        let mut columns = Vec::<(&str, ArrayRef, bool)>::new();
        for ((place, column), name) in batch.columns().iter().enumerate().zip(shape.names()) {
            columns.push((name, Arc::clone(column), true));
            let Some((_, added, kind)) = named.iter().find(|(named, ..)| *named == place) else {
                continue;
            };
            let names = match kind {
                Names::Hosts => self.hosts.names(column),
                Names::Services => self.services(column, protocols),
            };
            columns.push((*added, names, true));
        }
        RecordBatch::try_from_iter_with_nullable(columns).map_err(io::Error::other)
    }

    /// The service of each port of a column.
    fn services(&mut self, ports: &ArrayRef, protocols: Option<&ArrayRef>) -> ArrayRef {
        let numbers = ports.as_primitive_opt::<UInt16Type>();
        let protocols = protocols.and_then(|column| column.as_primitive_opt::<UInt8Type>());
        let names = (0..ports.len()).map(|row| {
            let port = numbers?.value(row);
            let protocol = protocols.map(|column| column.value(row));
            self.services.name(port, protocol).map(str::to_owned)
        });
        Arc::new(names.collect::<StringArray>())
    }
}

impl Sink for Named<'_> {
    fn has_begun(&self) -> bool {
        self.inner.has_begun()
    }

    fn begin(&mut self, shape: &Shape) -> io::Result<()> {
        let named = self.columns(shape).map(|(place, name, _)| (place, name));
        let shape = shape.with_texts(&named.collect::<Vec<_>>());
        self.inner.begin(&shape)?;
        self.shape = Some(shape);
        Ok(())
    }

    fn batch(&mut self, shape: &Shape, batch: &RecordBatch) -> io::Result<()> {
        let batch = self.with_names(shape, batch)?;
        match &self.shape {
            Some(shape) => self.inner.batch(shape, &batch),
            None => Ok(()),
        }
    }

    fn end(&mut self, _: &Shape, totals: Option<&Totals>, report: &Report) -> io::Result<()> {
        match &self.shape {
            Some(shape) => self.inner.end(shape, totals, report),
            None => Ok(()),
        }
    }

    fn interval(&mut self, told: &Told<'_>) -> io::Result<()> {
        self.inner.interval(told)
    }
}
