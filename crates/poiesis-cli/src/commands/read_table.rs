//! `poiesis read-table`: reads a parquet table for another process of this program, which can then end it.

use std::env;
use std::io;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis_collect::isolation::{Reader, serve};

/// Read a table for another process of this program
#[derive(Args, Debug)]
pub(crate) struct ReadTable {
    table: PathBuf,
}

impl ReadTable {
    pub(crate) fn run(self) -> Result<()> {
        Ok(serve(&self.table, &mut io::stdin(), &mut io::stdout())?)
    }
}

/// How this program starts itself to read a table; `None` where it cannot be found any more.
pub(crate) fn reader() -> Option<Reader> {
    let program = env::current_exe().ok()?;
    Some(Reader { program, arguments: vec!["read-table".into()], timeout: Reader::TIMEOUT })
}
