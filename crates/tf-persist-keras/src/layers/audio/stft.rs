//! `STFTSpectrogram`: two convolutions, whose kernels hold cosines and sines.

use tf_persist_savedmodel::DType;

use crate::config::Config;
use crate::graph::{Dim, Graph, Padding, Shape, Slice, TensorRef};
use crate::layers::conv::Edges;
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::reason::{Result, refuse};

/// Keras's epsilon.
const EPSILON: f64 = 1e-7;

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "STFTSpectrogram" => finished(Spectrogram::new(config), config),
        _ => return None,
    })
}

/// What a spectrogram shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Log,
    Magnitude,
    Density,
    Real,
    Imaginary,
    Angle,
    Both,
}

#[derive(Debug)]
struct Spectrogram {
    mode: Mode,
    length: u64,
    step: u64,
    /// The number of frequencies.
    bins: u64,
    padding: Padding,
    /// Whether channels and frequencies are two dimensions.
    expand_dims: bool,
    channels_first: bool,
}

impl Spectrogram {
    fn new(config: &Config<'_>) -> Result<Self> {
        // They make the kernels, which are saved.
        config.without_effect(&["window", "scaling", "periodic"]);
        let mode = match config.str_or("mode", "log")? {
            "log" => Mode::Log,
            "magnitude" => Mode::Magnitude,
            "psd" => Mode::Density,
            "real" => Mode::Real,
            "imag" => Mode::Imaginary,
            "angle" => Mode::Angle,
            "stft" => Mode::Both,
            other => refuse!("`mode` is `{}`, which is not supported", other.escape_debug()),
        };
        let length = config.size_or("frame_length", 256)?;
        if length == 0 || length > 1 << 30 {
            refuse!("`frame_length` is {length}, which is not supported");
        }
        let fft_length = config.size_or("fft_length", length.next_power_of_two())?;
        Ok(Self {
            mode,
            length,
            step: config.size_or("frame_step", length / 2)?,
            bins: fft_length / 2 + 1,
            padding: Edges::of(config, false)?.padding(),
            expand_dims: config.bool_or("expand_dims", false)?,
            channels_first: config.channels_first()?,
        })
    }
}

impl Layer for Spectrogram {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        if x.rank() != 3 || !matches!(x.dtype, DType::Float16 | DType::Float32 | DType::Float64) {
            refuse!("its input is {}{}, and a float tensor of rank 3 is needed", x.dtype, x.shape);
        }
        // Batch, channels, time.
        let x = if self.channels_first { x.tensor } else { g.transpose(&x, &[0, 2, 1])? };
        let shape = [self.length, 1, self.bins];
        let real = (self.mode != Mode::Imaginary).then(|| cx.weight("real_kernel", &shape)).transpose()?;
        let imaginary = (self.mode != Mode::Real).then(|| cx.weight("imag_kernel", &shape)).transpose()?;
        let real = real.map(|kernel| self.filtered(g, &x, &kernel)).transpose()?;
        let imaginary = imaginary.map(|kernel| self.filtered(g, &x, &kernel)).transpose()?;
        let y = match (real, imaginary) {
            (Some(real), Some(imaginary)) => self.combined(g, &real, &imaginary)?,
            (Some(one), None) | (None, Some(one)) => self.arranged(g, &one)?,
            (None, None) => refuse!("it has no kernel"),
        };
        Ok(y.into())
    }
}

impl Spectrogram {
    /// A convolution of each channel: `[batch, channels, bins, time]`.
    fn filtered(&self, g: &Graph, x: &TensorRef, kernel: &TensorRef) -> Result<TensorRef> {
        let channels = x.size(1)?;
        let series = reshaped(g, x, &[None, x.dims()[2], Some(1)], 2)?;
        let (series, kernel) = (g.expand_dims(&series, 1)?, g.expand_dims(kernel, 0)?);
        let y = g.squeeze(&g.conv_2d(&series, &kernel, [1, self.step], self.padding)?, &[1])?;
        let y = g.transpose(&y, &[0, 2, 1])?;
        reshaped(g, &y, &[x.dims()[0], Some(channels), Some(self.bins), y.dims()[2]], 2)
    }

    /// `[batch, channels, bins, time]` as the layer returns it.
    fn arranged(&self, g: &Graph, y: &TensorRef) -> Result<TensorRef> {
        if self.expand_dims {
            return g.transpose(y, if self.channels_first { &[0, 1, 3, 2] } else { &[0, 3, 2, 1] });
        }
        let Some(rows) = y.size(1)?.checked_mul(y.size(2)?) else { refuse!("it has too many frequencies") };
        let flat = reshaped(g, y, &[y.dims()[0], Some(rows), y.dims()[3]], 3)?;
        if self.channels_first { Ok(flat) } else { g.transpose(&flat, &[0, 2, 1]) }
    }

    fn combined(&self, g: &Graph, real: &TensorRef, imaginary: &TensorRef) -> Result<TensorRef> {
        match self.mode {
            Mode::Angle => return self.arranged(g, &g.atan2(imaginary, real)?),
            Mode::Both => return self.arranged(g, &g.concat(&[real, imaginary], 2)?),
            _ => {}
        }
        let power = g.add_v2(&g.square(real)?, &g.square(imaginary)?)?;
        if self.mode == Mode::Density {
            let inner = g.strided_slice(&power, &[Slice::ALL, Slice::ALL, Slice::range(1, -1)])?;
            let inner = g.pad(&inner, &[(0, 0), (0, 0), (1, 1), (0, 0)], None)?;
            return self.arranged(g, &g.add_v2(&power, &inner)?);
        }
        let magnitude = g.sqrt(&g.with_scalar(&power, EPSILON, Graph::maximum)?)?;
        let magnitude = self.arranged(g, &magnitude)?;
        match self.mode {
            Mode::Magnitude => Ok(magnitude),
            _ => g.log(&g.with_scalar(&magnitude, EPSILON, Graph::maximum)?),
        }
    }
}

/// Reshapes, and computes the batch from the other sizes. `time` is the axis of `x` that has the time.
fn reshaped(g: &Graph, x: &TensorRef, dims: &[Dim], time: i64) -> Result<TensorRef> {
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(x, dims);
    }
    let sizes = g.pack_dims(dims, |axis| if axis == 0 { g.scalar_i32(-1) } else { g.dim_of(x, time) })?;
    g.reshape_to(x, &sizes, Shape::new(dims))
}
