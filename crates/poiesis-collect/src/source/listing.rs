//! What the files of a folder, or a list of files, are opened as: what most of them are, by their names, or text where most of them are
//! text whose names do not say so, such as source code.

use std::path::Path;

use super::contents::Filter;
use super::folder::Files;
use super::plain_text::is_mostly_text;
use super::survey::Survey;
use super::{Source, braces, expand};
use crate::card::Kind;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::stored_card::is_packed;

/// The files of a folder, or those that a name with braces stands for; `None` for anything else.
pub(super) fn files_of(source: &Path) -> Result<Option<Files>> {
    if source.is_dir() {
        if is_packed(source) {
            return Err(Error::AlreadyPacked { path: source.to_owned() });
        }
        return Ok(Some(Files::Below(source.to_owned())));
    }
    if source.exists() {
        return Ok(None);
    }
    let listed = braces::listed(expand(source));
    Ok(if listed.is_empty() { None } else { Some(Files::Listed(listed)) })
}

/// Opens what most of the files are.
pub(super) fn open(source: &Path, files: Files, options: &Options) -> Result<Box<dyn Source>> {
    let survey = survey(source, &files, options)?;
    if survey.is_outweighed(options) && may_be_text(&files, options) {
        return open_as_text(source, files, options);
    }
    let all_is_seen = options.kind.is_none() && options.include.is_empty();
    let instead = survey.unread().instead().filter(|_| all_is_seen);
    let only_in_tools = survey.only_in_tools().filter(|_| all_is_seen);
    match survey.open(source, files.clone(), options) {
        // Archives and arrays that hold nothing, among text.
        Err(Error::Empty { .. }) if may_be_text(&files, options) => open_as_text(source, files, options),
        Err(Error::Empty { path }) => Err(match (instead, only_in_tools) {
            (Some((reason, remedy)), _) => Error::damaged(&path, reason, remedy),
            (None, Some((reason, remedy))) => Error::NoDataSet { path, reason, remedy },
            (None, None) => Error::Empty { path },
        }),
        opened => opened,
    }
}

/// Whether the options leave it open what the files are, and most of those that they include are text.
fn may_be_text(files: &Files, options: &Options) -> bool {
    let is_open = options.kind.is_none() && !options.are_of_other_data();
    is_open && is_mostly_text(files, &Filter::new(options))
}

fn survey(source: &Path, files: &Files, options: &Options) -> Result<Survey> {
    Survey::new(source.is_dir().then_some(source), files, options)
}

/// Opens every file that is text by what it holds.
fn open_as_text(source: &Path, files: Files, options: &Options) -> Result<Box<dyn Source>> {
    let as_text = Options { kind: Some(Kind::Text), ..options.clone() };
    let mut survey = survey(source, &files, &as_text)?;
    if options.include.is_empty() {
        let note = "its files are read as text, as most of them are; choose with `kind` or `include`";
        survey.note(note.to_owned());
    }
    survey.open(source, files, &as_text)
}

/// The kind of data to choose for a model that learns `kinds`; see [`Survey::meant_for`].
pub(crate) fn meant_for(source: &Path, kinds: &[Kind], options: &Options) -> Result<Option<Kind>> {
    let Some(files) = files_of(source)? else { return Ok(None) };
    let survey = survey(source, &files, options)?;
    let is_text = survey.is_outweighed(options) && may_be_text(&files, options);
    Ok(survey.meant_for(kinds, is_text.then_some(Kind::Text)))
}
