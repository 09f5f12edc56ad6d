//! Sound that was compressed with loss: MP3, and Vorbis in Ogg. A file of which a part cannot be decoded is refused.

use std::io::Cursor;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::codecs::{MpaDecoder, VorbisDecoder};
use symphonia::default::formats::{MpaReader, OggReader};

use super::clip::{Clip, Samples};

/// Decodes an MP3 file of at most `most` samples.
pub(crate) fn decode_mp3(encoded: Vec<u8>, most: usize) -> Result<Clip, String> {
    let mut reader =
        MpaReader::try_new(stream(encoded), FormatOptions::default()).map_err(|e| reason("MP3", &e))?;
    let parameters = parameters(&reader)?;
    if parameters.codec != CODEC_ID_MP3 {
        return Err("it is MPEG sound of another layer than III, which is not read".to_owned());
    }
    let mut decoder =
        MpaDecoder::try_new(&parameters, &AudioDecoderOptions::default()).map_err(|e| reason("MP3", &e))?;
    decode("MP3", &mut reader, &mut decoder, most)
}

/// Decodes an Ogg file of at most `most` samples.
pub(crate) fn decode_ogg(encoded: Vec<u8>, most: usize) -> Result<Clip, String> {
    let mut reader =
        OggReader::try_new(stream(encoded), FormatOptions::default()).map_err(|e| reason("Ogg", &e))?;
    let parameters = parameters(&reader)?;
    match parameters.codec {
        CODEC_ID_VORBIS => {}
        CODEC_ID_OPUS => return Err("its sound is Opus, which is not read; Vorbis is".to_owned()),
        _ => return Err("its sound is not Vorbis".to_owned()),
    }
    let mut decoder = VorbisDecoder::try_new(&parameters, &AudioDecoderOptions::default())
        .map_err(|e| reason("Ogg", &e))?;
    decode("Ogg", &mut reader, &mut decoder, most)
}

fn stream(encoded: Vec<u8>) -> MediaSourceStream<'static> {
    MediaSourceStream::new(Box::new(Cursor::new(encoded)), Default::default())
}

/// The parameters of the first track.
fn parameters(reader: &dyn FormatReader) -> Result<AudioCodecParameters, String> {
    let track = reader.tracks().first().ok_or("it has no sound")?;
    let parameters = track.codec_params.as_ref().and_then(CodecParameters::audio);
    Ok(parameters.ok_or("it has no sound")?.clone())
}

/// Decodes the first track.
fn decode(
    format: &str,
    reader: &mut dyn FormatReader,
    decoder: &mut dyn AudioDecoder,
    most: usize,
) -> Result<Clip, String> {
    let track = reader.tracks().first().map_or(0, |track| track.id);
    let parameters = decoder.codec_params();
    let rate = parameters.sample_rate.unwrap_or(0);
    let channels = parameters.channels.as_ref().map_or(0, Channels::count);
    let mut samples = Samples::new(channels as u16, most)?;
    let mut block = Vec::<f32>::new();
    while let Some(packet) = reader.next_packet().map_err(|e| reason(format, &e))? {
        if packet.track_id != track {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(|e| reason(format, &e))?;
        if decoded.spec().rate() != rate || decoded.spec().channels().count() != channels {
            return Err("its sample rate or its channels change on the way".to_owned());
        }
        decoded.copy_to_vec_interleaved(&mut block);
        block.iter().try_for_each(|&sample| samples.push_float(f64::from(sample)))?;
    }
    samples.clip(rate)
}

fn reason(format: &str, error: &Error) -> String {
    match error {
        // All bytes are in memory: the only failure of reading them is their end.
        Error::IoError(_) => "the file ends early".to_owned(),
        other => format!("it is not valid {format}: {other}"),
    }
}
