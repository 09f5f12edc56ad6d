//! Packs a source from the command line, for measuring: `collect SOURCE OUT [SIZE [CHANNELS]]`.

use std::path::Path;
use std::time::Instant;

use poiesis_collect::{Options, collect};

#[expect(clippy::print_stdout, reason = "an example that reports to a terminal")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, out, rest @ ..] = &arguments[..] else {
        return Err("usage: collect SOURCE OUT [SIZE [CHANNELS]]".into());
    };
    let size = rest.first().map(|size| size.parse()).transpose()?.map(|size: u32| (size, size));
    let channels = rest.get(1).map(|channels| channels.parse()).transpose()?;
    let options = Options { size, channels, ..Options::default() };
    let start = Instant::now();
    let report = collect(Path::new(source), Path::new(out), &options, &|_| ())?;
    let seconds = start.elapsed().as_secs_f64();
    let (done, skipped) = (report.progress.done, report.progress.skipped);
    println!("{done} examples, {skipped} skipped, {seconds:.2} s, {:.0} examples/s", done as f64 / seconds);
    for split in &report.card.splits {
        println!("{}: {}", split.split, split.count);
    }
    println!("fingerprint {}", report.card.fingerprint);
    Ok(())
}
