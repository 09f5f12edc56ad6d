//! What TensorBoard's HPARAMS tab reads: the settings of a run, and that it is done.
//!
//! Messages of `tensorboard/plugins/hparams/plugin_data.proto`. There is none about the experiment, which would list the settings and
//! measures of all runs: without it TensorBoard finds the settings in the runs, and every scalar is a measure.

use super::message::Message;
use super::summary::metadata_alone;

/// Fields of `HParamsPluginData`; its version is 0, which is not written.
mod field {
    pub(super) const SESSION_START: u64 = 3;
    pub(super) const SESSION_END: u64 = 4;
}

/// `STATUS_SUCCESS` of `tensorboard/plugins/hparams/api.proto`.
const SUCCESS: u64 = 1;

/// The settings by their dotted keys, and when training began, in seconds since 1970.
pub(super) fn session_start(settings: &toml::Table, time: f64) -> Message {
    let mut start = Message::default();
    for (key, setting) in dotted("", settings) {
        let mut entry = Message::default();
        entry.bytes(1, key.as_bytes());
        entry.bytes(2, &value(setting).0);
        start.bytes(1, &entry.0);
    }
    start.double(5, time);
    let mut data = Message::default();
    data.bytes(field::SESSION_START, &start.0);
    metadata_alone("_hparams_/session_start_info", "hparams", &data)
}

/// That all steps are done, and since when.
pub(super) fn session_end(time: f64) -> Message {
    let mut end = Message::default();
    end.varint(1, SUCCESS);
    end.double(2, time);
    let mut data = Message::default();
    data.bytes(field::SESSION_END, &end.0);
    metadata_alone("_hparams_/session_end_info", "hparams", &data)
}

/// A setting as `google.protobuf.Value`; a list as its TOML.
fn value(setting: &toml::Value) -> Message {
    let mut value = Message::default();
    match setting {
        toml::Value::Integer(number) => value.double(2, *number as f64),
        toml::Value::Float(number) => value.double(2, *number),
        toml::Value::String(word) => value.bytes(3, word.as_bytes()),
        toml::Value::Boolean(yes) => value.varint(4, u64::from(*yes)),
        other => value.bytes(3, other.to_string().as_bytes()),
    }
    value
}

/// All settings of a table and those in it, each with its dotted key, in the table's order.
fn dotted<'a>(before: &str, table: &'a toml::Table) -> Vec<(String, &'a toml::Value)> {
    let mut all = Vec::new();
    for (key, setting) in table {
        let key = format!("{before}{key}");
        match setting {
            toml::Value::Table(inner) => all.extend(dotted(&format!("{key}."), inner)),
            setting => all.push((key, setting)),
        }
    }
    all
}
