//! The levels of values, and the layout of the parameters of a logistic mixture.

/// Number of log probabilities in a row: one for each level of 8 bits.
pub(crate) const LEVELS: usize = 256;

/// Levels spread evenly over [-1, 1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// 256 levels, as the values of images have.
    Bits8,
    /// 65,536 levels, as samples of sound have.
    Bits16,
}

impl Grid {
    /// Number of levels.
    pub fn levels(self) -> usize {
        match self {
            Grid::Bits8 => 1 << 8,
            Grid::Bits16 => 1 << 16,
        }
    }

    /// The value of a level, in [-1, 1].
    #[inline(always)]
    pub fn value(self, level: f32) -> f32 {
        let half = match self {
            Grid::Bits8 => 127.5,
            Grid::Bits16 => 32_767.5,
        };
        level / half - 1.0
    }

    /// Half the width of a level's bin.
    pub(crate) fn half_bin(self) -> f64 {
        1.0 / (self.levels() - 1) as f64
    }

    /// The lower bound of the logarithm of a scale: −7 for bins of 8 bits, and the same number of bins for others.
    pub(crate) fn min_log_scale(self) -> f64 {
        -7.0 + (255.0 * self.half_bin()).ln()
    }
}

/// The layout of the parameters of a pixel, and the levels of its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParameterLayout {
    pub(crate) grid: Grid,
    pub(crate) mixtures: usize,
    pub(crate) channels: usize,
}

impl ParameterLayout {
    pub(crate) fn of(parameters: [usize; 2], x: [usize; 2], grid: Grid) -> Self {
        let channels = x[1];
        let blocks = 1 + 2 * channels + channels * channels.saturating_sub(1) / 2;
        assert!(
            parameters[0] == x[0]
                && parameters[1] > 0
                && parameters[1].is_multiple_of(blocks)
                && channels > 0,
            "logistic_mixture_log_prob: parameters {parameters:?} do not fit data {x:?}: they must be \
             [{}, mixtures · {blocks}]",
            x[0],
        );
        Self { grid, mixtures: parameters[1] / blocks, channels }
    }

    /// Number of parameters.
    pub(crate) fn parameters(self) -> usize {
        self.coefficient(0, self.channels, 0)
    }

    /// The index of a mean.
    pub(crate) fn mean(self, mixture: usize, channel: usize) -> usize {
        (1 + channel) * self.mixtures + mixture
    }

    /// The index of the logarithm of a scale.
    pub(crate) fn log_scale(self, mixture: usize, channel: usize) -> usize {
        (1 + self.channels + channel) * self.mixtures + mixture
    }

    /// The coefficient of `channel` on the `earlier` channel.
    pub(crate) fn coefficient(self, mixture: usize, channel: usize, earlier: usize) -> usize {
        let pair = channel * channel.saturating_sub(1) / 2 + earlier;
        (1 + 2 * self.channels + pair) * self.mixtures + mixture
    }
}
