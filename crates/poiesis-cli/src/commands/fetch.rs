//! `poiesis fetch`: brings published data sets into the folder of data sets. It is the only command that opens a connection.

use std::env;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use poiesis::data::open::locate;
use poiesis::error::in_bytes;
use poiesis_fetch::{Error, Fetched, File, Options, Place, Proxies, Published, State, find, published};
use serde_json::{Value, json};

use super::transfer::Transfer;
use crate::args::DataDir;
use crate::render::{count, facts, failure, in_json, json, note, program, quoted, result, table};
use crate::signals;

/// Download published data sets: the only command that uses the network
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis fetch
      what there is, with sizes and licences, and what is here already
  poiesis fetch mnist
      into data/mnist, where `poiesis train vae --recipe mnist` finds it
  poiesis fetch tinyshakespeare names --data-dir /data/sets
      two of them, into another folder
  poiesis fetch cifar10 --from /media/usb/data
      without a network: from a folder that another machine has filled
  poiesis fetch fashion-mnist --from https://mirror.example.com/data
      from another server
  poiesis fetch mnist --again
      once more, replacing what is there
  poiesis fetch --list --json
      the list for a program, with addresses and checksums

The licence, the source and the size are shown before anything is downloaded. A file gets its name only when it has the \
published sha256; until then `.part` is at the end of it. A download that was stopped or killed continues when the same \
command is given again. Files that are there and right are left alone, and others are never replaced without --again.

A server that fails is tried again, and then the next address. HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are \
followed, and SSL_CERT_FILE names certificates to trust in place of the built-in ones. Ctrl-C keeps what has come, and the \
exit status is then 130.")]
pub(crate) struct Fetch {
    /// Names of data sets; without any, all are listed.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// List them and download nothing.
    #[arg(long, conflicts_with_all = ["again", "from"])]
    list: bool,
    /// Download files that are there already, and replace them.
    #[arg(long, requires = "names")]
    again: bool,
    /// Where the files are, in place of the published addresses: a folder, or an https://, http:// or file:// address; they may be in
    /// the folders that they have in --data-dir, or all in one.
    #[arg(long, value_name = "FOLDER|URL", requires = "names")]
    from: Option<String>,
    /// Seconds that a server may be silent before it is tried again.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Fetch {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let sets = self.sets()?;
        if self.list || self.names.is_empty() {
            self.print_list(&sets)?;
            return Ok(ExitCode::SUCCESS);
        }
        let options = self.options()?;
        let stop = stop_on_signals()?;
        let mut all = Vec::new();
        for &set in &sets {
            self.announce(set);
            let mut transfer = Transfer::new(self.json);
            let fetched = poiesis_fetch::fetch(set, &self.data_dir.data_dir, &options, &mut |event| {
                transfer.see(&event);
                if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            transfer.end();
            match fetched {
                Ok(fetched) => {
                    if !self.json {
                        result(&self.done(set, &fetched))?;
                    }
                    all.push((set, fetched));
                }
                Err(Error::Stopped { file, kept }) => {
                    let again = format!("{} fetch {}{}", program(), set.name, self.data_dir.flags(&set.name));
                    note(&format!("stopped with {} of {file}; `{again}` continues", in_bytes(kept)));
                    return Ok(ExitCode::from(130));
                }
                Err(error) => return Err(told(error)),
            }
        }
        if self.json {
            json(&all.iter().map(|(set, fetched)| self.fetched_as_json(set, fetched)).collect())?;
        } else {
            let next: String = sets.iter().map(|set| format!("  {}\n", self.next(set))).collect();
            result(&format!("what to try next\n{next}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The sets that were asked for, each once; all if none was.
    fn sets(&self) -> Result<Vec<&'static Published>> {
        let mut sets: Vec<&Published> = Vec::new();
        for name in &self.names {
            let set = find(name).ok_or_else(|| {
                poiesis::Error::unknown("data set", name, published().iter().map(|set| set.name.as_str()))
            })?;
            if sets.iter().all(|other| other.name != set.name) {
                sets.push(set);
            }
        }
        if sets.is_empty() { Ok(published().iter().collect()) } else { Ok(sets) }
    }

    fn options(&self) -> Result<Options> {
        let from = self.from.as_deref().map(Place::parse).transpose().map_err(told)?;
        if let Some(Place::Folder(folder)) = &from
            && !folder.is_dir()
        {
            let what = if folder.exists() { "is not a folder" } else { "does not exist" };
            return Err(failure(
                format!("{} {what}", folder.display()),
                "check the path; an address begins with https://, http:// or file:// (--from FOLDER|URL)",
            ));
        }
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Ok(Options {
            from,
            again: self.again,
            timeout: Duration::from_secs(self.timeout),
            proxies: proxies(&variable),
            certificates: env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(Into::into),
            ..Options::default()
        })
    }

    /// Says what a set is, and what will be downloaded of it, if anything is.
    fn announce(&self, set: &Published) {
        let is_there = |file: &File| {
            let path = set.path(&self.data_dir.data_dir, file);
            fs::metadata(path).is_ok_and(|found| found.len() == file.bytes)
        };
        let missing: Vec<&File> = set.files.iter().filter(|file| self.again || !is_there(file)).collect();
        if missing.is_empty() {
            return;
        }
        let place = self.data_dir.data_dir.join(&set.folder);
        let source = self.from.as_deref().unwrap_or(&set.home);
        let about = facts(&[
            ("data set", format!("{}, {}", set.name, set.title)),
            ("source", source.to_owned()),
            ("licence", set.licence.clone()),
            ("cite", set.cite.clone()),
            ("download", format!("{}, into {}", size(&missing), place.display())),
        ]);
        note(about.trim_end());
    }

    /// The line that says that a set is there.
    fn done(&self, set: &Published, fetched: &Fetched) -> String {
        let new = fetched.files.iter().filter(|file| file.from.is_some()).count();
        let what = if new == 0 { "already there" } else { "fetched" };
        let (all, place) = (files(set.files.len()), self.data_dir.data_dir.join(&set.folder));
        format!("{what}: {}, {all}, {} in {}\n", set.name, in_bytes(set.bytes()), place.display())
    }

    /// The command that trains on a set.
    fn next(&self, set: &Published) -> String {
        format!("{} train {}{}", program(), set.train, self.data_dir.flags(&set.name))
    }

    fn print_list(&self, sets: &[&Published]) -> Result<()> {
        let folder = &self.data_dir.data_dir;
        if self.json {
            return json(&sets.iter().map(|set| as_json(set, folder)).collect());
        }
        let rows: Vec<Vec<String>> = sets
            .iter()
            .map(|set| {
                vec![
                    set.name.clone(),
                    in_bytes(set.transferred()),
                    here(set, folder).to_owned(),
                    set.licence.clone(),
                    set.title.clone(),
                ]
            })
            .collect();
        let table = table(&["NAME", ">DOWNLOAD", "HERE", "LICENCE", "WHAT IT IS"], &rows);
        let command = format!("{} fetch NAME", program());
        let place = quoted(&folder.display().to_string());
        result(&format!("{table}\n`{command}` downloads into {place}; HERE is what is there\n"))
    }

    fn fetched_as_json(&self, set: &Published, fetched: &Fetched) -> Value {
        let mut object = as_json(set, &self.data_dir.data_dir);
        let files = set.files.iter().zip(&fetched.files).map(|(file, fetched)| {
            json!({
                "path": in_json(&fetched.path), "bytes": file.bytes, "sha256": file.sha256,
                "from": fetched.from,
            })
        });
        object["files"] = files.collect();
        object["next"] = self.next(set).into();
        object
    }
}

fn as_json(set: &Published, data_dir: &Path) -> Value {
    let file = |file: &File| {
        let mirrors = set.mirrors.iter().map(|mirror| format!("{mirror}{}", file.name));
        let addresses: Vec<String> = mirrors.chain(file.urls.iter().cloned()).collect();
        json!({
            "path": in_json(&set.path(data_dir, file)), "bytes": file.bytes, "sha256": file.sha256,
            "addresses": addresses, "archive": file.archive.as_ref().map(|archive| &archive.name),
        })
    };
    json!({
        "name": set.name, "title": set.title, "folder": in_json(&data_dir.join(&set.folder)),
        "home": set.home, "licence": set.licence, "cite": set.cite, "bytes": set.bytes(),
        "download": set.transferred(), "here": here(set, data_dir),
        "files": set.files.iter().map(file).collect::<Vec<_>>(),
    })
}

/// How much of a set is in the folder of data sets.
fn here(set: &Published, data_dir: &Path) -> &'static str {
    let found = || locate(&set.name, data_dir).is_ok_and(|found| Path::new(&found).starts_with(data_dir));
    match set.state(data_dir) {
        State::There => "yes",
        State::Partly => "in part",
        State::Absent if found() => "in another form",
        State::Absent => "no",
    }
}

/// What is downloaded for these files, and what they take on the disk where that differs because they come in archives.
fn size(missing: &[&File]) -> String {
    let kept: u64 = missing.iter().map(|file| file.bytes).sum();
    let transferred = |file: &&File| file.archive.as_ref().map_or(file.bytes, |archive| archive.bytes);
    match missing.iter().any(|file| file.archive.is_some()) {
        false => format!("{} in {}", in_bytes(kept), files(missing.len())),
        true => {
            let transferred = missing.iter().map(transferred).sum();
            format!("about {} to download, {} on the disk afterwards", in_bytes(transferred), in_bytes(kept))
        }
    }
}

fn files(number: usize) -> String {
    if number == 1 { "1 file".to_owned() } else { format!("{} files", count(number as u64)) }
}

/// The proxies of the environment, by the variables that other programs read too.
fn proxies(variable: &dyn Fn(&str) -> Option<String>) -> Proxies {
    let first = |names: [&str; 4]| names.into_iter().find_map(variable);
    let except = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
    Proxies {
        https: first(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
        http: first(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
        except: except.split(',').map(str::to_owned).collect(),
    }
}

/// An error with the flags and variables of this command that mend it.
fn told(error: Error) -> anyhow::Error {
    let flags = match &error {
        Error::NoAddress { tried, .. } => {
            let untrusted =
                |tried: &poiesis_fetch::Tried| matches!(tried.fault, poiesis_fetch::Fault::Certificate(_));
            Some(if tried.iter().any(untrusted) { "SSL_CERT_FILE=FILE" } else { "--from FOLDER|URL" })
        }
        Error::OtherContent { .. } => Some("--again"),
        Error::Io { .. } => Some("--data-dir FOLDER"),
        Error::BadOption { option: "from", .. } => Some("--from FOLDER|URL"),
        Error::BadOption { option: "proxies", .. } => Some("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY"),
        Error::BadOption { option: "certificates", .. } => Some("SSL_CERT_FILE"),
        _ => None,
    };
    let hint = match &error {
        // What is not in a folder now is not there later either.
        Error::NoAddress { tried, .. } if !tried.is_empty() && tried.iter().all(is_local) => {
            Some("give a folder that has the files, below the folder of the set or all in one".to_owned())
        }
        _ => error.hint(),
    };
    match (hint, flags) {
        (Some(hint), Some(flags)) => failure(error.to_string(), format!("{hint} ({flags})")),
        (Some(hint), None) => failure(error.to_string(), hint),
        (None, _) => error.into(),
    }
}

/// Whether an address is a path of this machine.
fn is_local(tried: &poiesis_fetch::Tried) -> bool {
    !tried.address.contains("://")
}

/// Ends the download at the first signal, and the program at the second.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    signals::on_first(move || {
        asked.store(true, Ordering::Relaxed);
        note("stopping; press Ctrl-C again after a second to stop at once");
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use poiesis::catalogue::{self, CATALOGUE};
    use poiesis::data::known::{self, KNOWN};

    use super::*;

    #[test]
    fn what_is_fetched_is_what_is_known_by_name() {
        let names: Vec<&str> = published().iter().map(|set| set.name.as_str()).collect();
        assert!(KNOWN.iter().all(|known| names.contains(&known.name)), "{names:?}");
        for set in published() {
            let known = known::find(&set.name).unwrap();
            let whole = |place: &str| place == set.folder;
            let single = |place: &str| {
                set.files.len() == 1 && place == format!("{}/{}", set.folder, set.files[0].name)
            };
            assert!(known.places.iter().any(|place| whole(place) || single(place)), "{}", set.name);
        }
    }

    #[test]
    fn each_set_names_a_recipe_that_trains_on_it() {
        for set in published() {
            let (model, recipe) = set.train.split_once(" --recipe ").unwrap();
            let entry = *CATALOGUE.iter().find(|entry| entry.name() == model).unwrap();
            let recipe = catalogue::find_recipe(entry, recipe).unwrap();
            let config: toml::Table = toml::from_str(recipe.toml).unwrap();
            assert_eq!(config["data"]["source"].as_str(), Some(set.name.as_str()), "{}", set.train);
        }
    }

    #[test]
    fn proxies_are_those_of_the_environment() {
        let of = |variables: &[(&str, &str)]| {
            let Proxies { https, http, except } = proxies(&|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            });
            (https.unwrap_or_default(), http.unwrap_or_default(), except)
        };
        let text = str::to_owned;
        assert_eq!(of(&[]), (String::new(), String::new(), vec![String::new()]));
        let all = [("ALL_PROXY", "a"), ("https_proxy", "s"), ("NO_PROXY", "x.org,*.y.org")];
        assert_eq!(of(&all), (text("s"), text("a"), vec![text("x.org"), text("*.y.org")]));
    }

    #[test]
    fn sizes_say_what_is_downloaded_and_what_is_kept() {
        let size = |name: &str| size(&find(name).unwrap().files.iter().collect::<Vec<_>>());
        assert_eq!(size("mnist"), "11.6 MB in 4 files");
        assert_eq!(size("names"), "228.1 kB in 1 file");
        assert_eq!(size("noto-emoji"), "about 160.0 MB to download, 13.7 MB on the disk afterwards");
    }

    #[test]
    fn errors_name_what_mends_them() {
        let said = |error: Error| crate::render::error_with_hint(&told(error)).1.unwrap();
        let bad = |option| Error::BadOption { option, value: "x".into(), reason: "it is".into() };
        assert!(said(bad("from")).ends_with("(--from FOLDER|URL)"));
        assert!(said(bad("proxies")).ends_with("(HTTPS_PROXY, HTTP_PROXY, ALL_PROXY)"));
        let busy = Error::Busy { path: "a.part".into() };
        assert_eq!(said(busy), "wait until it is done");
        assert!(
            said(Error::NoAddress { file: "a".into(), tried: Vec::new() }).ends_with("(--from FOLDER|URL)")
        );
    }
}
