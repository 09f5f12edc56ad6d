//! FLAC: any number of bits; a file whose checksum over the samples is wrong, or that has fewer than its header says,
//! is refused.

use std::io::Cursor;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::MediaSourceStream;
use symphonia::default::codecs::FlacDecoder;
use symphonia::default::formats::FlacReader;

use super::clip::{Clip, Samples};

/// Decodes a FLAC file of at most `most` samples.
pub(crate) fn decode(encoded: Vec<u8>, most: usize) -> Result<Clip, String> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(encoded)), Default::default());
    let mut reader = FlacReader::try_new(stream, FormatOptions::default()).map_err(|e| reason(&e))?;
    let track = reader.tracks().first().ok_or("it has no sound")?;
    let promised = track.num_frames;
    let parameters = track.codec_params.as_ref().and_then(CodecParameters::audio);
    let parameters: AudioCodecParameters = parameters.ok_or("it has no sound")?.clone();
    let verify = AudioDecoderOptions::default().verify(true);
    let mut decoder = FlacDecoder::try_new(&parameters, &verify).map_err(|e| reason(&e))?;
    let parameters = decoder.codec_params();
    let (rate, bits) = (parameters.sample_rate.unwrap_or(0), parameters.bits_per_sample.unwrap_or(0));
    if !(4..=32).contains(&bits) {
        return Err(format!("its samples have {bits} bits"));
    }
    let channels = parameters.channels.as_ref().map_or(0, symphonia::core::audio::Channels::count);
    let mut samples = Samples::new(channels as u16, most)?;
    let (mut frames, mut block) = (0, Vec::<i32>::new());
    while let Some(packet) = reader.next_packet().map_err(|e| reason(&e))? {
        let decoded = decoder.decode(&packet).map_err(|e| reason(&e))?;
        frames += decoded.frames() as u64;
        if promised.is_some_and(|promised| frames > promised) {
            return Err("it is damaged: it has more samples than its header says".to_owned());
        }
        decoded.copy_to_vec_interleaved(&mut block);
        // The decoder brings all samples to 32 bits.
        block.iter().try_for_each(|&sample| samples.push_whole(sample >> (32 - bits), bits))?;
    }
    if promised.is_some_and(|promised| frames < promised) {
        return Err("the file ends early".to_owned());
    }
    if decoder.finalize().verify_ok == Some(false) {
        return Err("it is damaged: its samples do not have the checksum that its header names".to_owned());
    }
    samples.clip(rate)
}

fn reason(error: &Error) -> String {
    match error {
        // All bytes are in memory: the only failure of reading them is their end.
        Error::IoError(_) => "the file ends early".to_owned(),
        other => format!("it is not valid FLAC: {other}"),
    }
}
