//! The unit in which people compare negative log-likelihoods: bits per value of an image, per character or byte of a text, per sample of
//! sound; nats for binarised images and for densities.

use std::f64::consts::LN_2;

use poiesis_collect::Vocabulary;

use crate::abilities::{Abilities, Likelihood};
use crate::catalogue;
use crate::data::{Content, DataSpec, PixelEncoding};
use crate::error::Result;
use crate::run::Run;

/// What a negative log-likelihood is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LikelihoodOf {
    /// An image, exactly.
    Image(PixelEncoding),
    /// An image, as a bound.
    BoundedImage(PixelEncoding),
    /// A point.
    Point,
    /// One token.
    Token,
}

/// The unit of a negative log-likelihood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LikelihoodUnit {
    /// What the number is called: `bits/dim`, `NLL`.
    pub(super) name: &'static str,
    /// Its unit, where the name does not say it.
    pub(super) unit: &'static str,
    /// By what nats are multiplied.
    pub(super) per_nat: f64,
}

impl LikelihoodOf {
    /// What the likelihood of a model is of; `None` where it has none.
    fn of(abilities: &Abilities<'_>) -> Option<LikelihoodOf> {
        Some(match abilities.likelihood? {
            Likelihood::Images(model) => LikelihoodOf::Image(model.encoding()),
            Likelihood::Bound(model) => LikelihoodOf::BoundedImage(model.encoding()),
            Likelihood::Points(_) => LikelihoodOf::Point,
            Likelihood::Tokens(_) => LikelihoodOf::Token,
        })
    }

    /// What that of a run's model is of, by its configuration alone: no weights are read.
    ///
    /// # Errors
    ///
    /// Those of reading the run's configuration, and of making its model.
    pub(super) fn of_run(run: &Run, spec: &DataSpec) -> Result<Option<LikelihoodOf>> {
        let config = catalogue::read_config(&run.config()?)?;
        let model = catalogue::find(&config.model)?.blank(&config, spec)?;
        Ok(LikelihoodOf::of(&model.abilities()))
    }

    /// The unit for examples of `spec`.
    pub(super) fn unit(self, spec: &DataSpec) -> LikelihoodUnit {
        let nats = |name| LikelihoodUnit { name, unit: "nats", per_nat: 1.0 };
        let bits =
            |name, values: usize| LikelihoodUnit { name, unit: "", per_nat: 1.0 / (values as f64 * LN_2) };
        match (self, &spec.content) {
            (
                LikelihoodOf::Image(PixelEncoding::EightBit)
                | LikelihoodOf::BoundedImage(PixelEncoding::EightBit),
                Content::Images(shape),
            ) => bits("bits/dim", shape.dims()),
            (LikelihoodOf::BoundedImage(_), _) => nats("bound"),
            (LikelihoodOf::Image(_) | LikelihoodOf::Point, _) => nats("NLL"),
            // The token at which a document begins is no character.
            (LikelihoodOf::Token, Content::Text(text)) if text.documents => bits("bits/token", 1),
            (LikelihoodOf::Token, Content::Text(text)) => match text.vocabulary {
                Vocabulary::Bytes => bits("bits/byte", 1),
                Vocabulary::Characters { .. } => bits("bits/character", 1),
                Vocabulary::Bpe(_) => bits("bits/token", 1),
            },
            (LikelihoodOf::Token, Content::Sound(_)) => bits("bits/sample", 1),
            (LikelihoodOf::Token, Content::Images(_)) => bits("bits/dim", 1),
            (LikelihoodOf::Token, _) => bits("bits/token", 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageShape, PointShape, SoundShape, TextShape};

    fn unit(of: LikelihoodOf, content: Content) -> (&'static str, &'static str, f64) {
        let unit = of.unit(&DataSpec { content, classes: 0, unlabelled: false });
        (unit.name, unit.unit, unit.per_nat)
    }

    #[test]
    fn each_kind_of_data_has_the_unit_of_its_field() {
        let images = || Content::Images(ImageShape { height: 4, width: 8, channels: 3 });
        let text = |vocabulary| Content::Text(TextShape { vocabulary, documents: false, lines: false });
        let per_dim = 1.0 / (96.0 * LN_2);
        assert_eq!(unit(LikelihoodOf::Image(PixelEncoding::EightBit), images()), ("bits/dim", "", per_dim));
        assert_eq!(
            unit(LikelihoodOf::BoundedImage(PixelEncoding::EightBit), images()),
            ("bits/dim", "", per_dim)
        );
        assert_eq!(unit(LikelihoodOf::Image(PixelEncoding::Binary), images()), ("NLL", "nats", 1.0));
        assert_eq!(unit(LikelihoodOf::BoundedImage(PixelEncoding::Binary), images()), ("bound", "nats", 1.0));
        let points = Content::Points(PointShape::new(2));
        assert_eq!(unit(LikelihoodOf::Point, points), ("NLL", "nats", 1.0));
        assert_eq!(unit(LikelihoodOf::Token, images()), ("bits/dim", "", 1.0 / LN_2), "one value each");
        assert_eq!(unit(LikelihoodOf::Token, text(Vocabulary::Bytes)).0, "bits/byte");
        let characters = Vocabulary::Characters { characters: vec!['a', 'b'] };
        assert_eq!(unit(LikelihoodOf::Token, text(characters)).0, "bits/character");
        let documents = TextShape { vocabulary: Vocabulary::Bytes, documents: true, lines: false };
        assert_eq!(unit(LikelihoodOf::Token, Content::Text(documents)).0, "bits/token");
        let sound = Content::Sound(SoundShape { sample_rate: 8000, channels: 1 });
        assert_eq!(unit(LikelihoodOf::Token, sound).0, "bits/sample");
    }
}
