//! `MelSpectrogram`.

use serde_json::Value;
use tf_persist_savedmodel::{DType, Tensor};

use crate::config::Config;
use crate::graph::{Dim, Graph, Shape, Slice, TensorRef};
use crate::layers::size::Size;
use crate::layers::{Argument, Arguments, Context, Layer, finished};
use crate::parse::constant;
use crate::reason::{Result, refuse};

/// The most elements of a table that the layer makes.
const MAX_ELEMENTS: u64 = 1 << 26;

pub(super) fn build(class: &str, config: &Config<'_>) -> Option<Result<Box<dyn Layer>>> {
    Some(match class {
        "MelSpectrogram" => finished(MelSpectrogram::new(config), config),
        _ => return None,
    })
}

/// The factors by which frames are multiplied.
#[derive(Debug)]
enum Window {
    None,
    /// `a − b · cos`.
    Cosine(f64, f64),
    Given(Value),
}

#[derive(Debug)]
struct MelSpectrogram {
    fft_length: u64,
    step: u64,
    /// The length of the window.
    length: u64,
    window: Window,
    sampling_rate: f64,
    bins: u64,
    frequencies: [f64; 2],
    exponent: f64,
    decibels: Option<Decibels>,
}

/// How powers become decibels.
#[derive(Debug)]
struct Decibels {
    range: f64,
    least: f64,
    reference: f64,
}

impl MelSpectrogram {
    fn new(config: &Config<'_>) -> Result<Self> {
        let fft_length = config.size_or("fft_length", 2048)?;
        let length = config.size_or("sequence_length", fft_length)?;
        let step = config.size_or("sequence_stride", 512)?;
        let bins = config.size_or("num_mel_bins", 128)?;
        if fft_length < 2 || length == 0 || length > fft_length || step == 0 || bins == 0 {
            refuse!("its lengths {fft_length}, {length}, {step} and {bins} are not supported");
        }
        if [fft_length, step, bins].iter().any(|size| *size > 1 << 20) || fft_length * bins > MAX_ELEMENTS {
            refuse!("its lengths {fft_length}, {step} and {bins} are too large");
        }
        let window = match config.get("window") {
            None => Window::None,
            Some(Value::String(name)) if name == "hann" => Window::Cosine(0.5, 0.5),
            Some(Value::String(name)) if name == "hamming" => Window::Cosine(0.54, 0.46),
            Some(value @ Value::Array(_)) => Window::Given(value.clone()),
            Some(Value::Object(object)) => match object.get("config").and_then(|config| config.get("value")) {
                Some(value @ Value::Array(_)) => Window::Given(value.clone()),
                _ => refuse!("`window` is an object that is not supported"),
            },
            Some(value) => refuse!("`window` is {}, which is not supported", crate::config::shown(value)),
        };
        let sampling_rate = config.float_or("sampling_rate", 16000.0)?;
        let highest = config.float_or("max_freq", (sampling_rate / 2.0).trunc())?;
        let to_decibels = config.bool_or("power_to_db", true)?;
        let decibels = Decibels {
            range: config.float_or("top_db", 80.0)?,
            least: config.float_or("min_power", 1e-10)?,
            reference: config.float_or("ref_power", 1.0)?,
        };
        Ok(Self {
            fft_length,
            step,
            length,
            window,
            sampling_rate,
            bins,
            frequencies: [config.float_or("min_freq", 20.0)?, highest],
            exponent: config.float_or("mag_exp", 2.0)?,
            decibels: to_decibels.then_some(decibels),
        })
    }
}

impl Layer for MelSpectrogram {
    fn call(&self, cx: &Context<'_>, arguments: &mut Arguments) -> Result<Argument> {
        let x = arguments.input()?;
        let g = cx.g;
        if x.rank() == 0 {
            refuse!("it is called with a scalar");
        }
        let dtype = if cx.policy.compute == DType::Float64 { DType::Float64 } else { DType::Float32 };
        let x = g.cast(&x, dtype)?;
        let spectrum = self.spectrum(g, &x)?;
        let mut y = product(g, &spectrum, &g.cast(&self.weights(g)?, dtype)?)?;
        if let Some(decibels) = &self.decibels {
            y = decibels.apply(g, &y)?;
        }
        let mut order: Vec<usize> = (0..y.rank()).collect();
        let last = order.len() - 1;
        order.swap(last, last - 1);
        Ok(g.cast(&g.transpose(&y, &order)?, cx.policy.compute)?.into())
    }
}

impl MelSpectrogram {
    /// The powers of the frequencies in each frame: `[.., frames, fft_length / 2 + 1]`.
    fn spectrum(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let half = self.fft_length / 2;
        let mut paddings = vec![(0, 0); x.rank()];
        if let Some(last) = paddings.last_mut() {
            *last = (half, half);
        }
        if x.dim(-1)?.is_some_and(|size| size <= half) {
            refuse!("its input of shape {} is shorter than half of `fft_length`", x.shape);
        }
        let x = g.mirror_pad(x, &paddings, "REFLECT")?;
        let mut frames = self.frames(g, &x)?;
        if let Some(window) = self.window(g, x.dtype)? {
            frames = g.mul(&frames, &window)?;
        }
        let complex = if x.dtype == DType::Float64 { DType::Complex128 } else { DType::Complex64 };
        let mut dims: Vec<Dim> = frames.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = Some(half + 1);
        }
        let length = g.vector_i32(&[self.fft_length as i64])?;
        let attrs = vec![("Treal", x.dtype.into()), ("Tcomplex", complex.into())];
        let spectrum = g.add("RFFT", &[&frames, &length], attrs, complex, Shape::new(dims))?;
        let (real, imaginary) = (g.part("Real", &spectrum)?, g.part("Imag", &spectrum)?);
        let magnitude = g.sqrt(&g.add_v2(&g.square(&real)?, &g.square(&imaginary)?)?)?;
        g.with_scalar(&magnitude, self.exponent, Graph::pow)
    }

    /// The frames of the last dimension, which overlap.
    fn frames(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let axis = x.rank() - 1;
        let size = Size::of(g, x, axis)?;
        let count = match &size {
            Size::Known(size) => Size::from(size.checked_sub(self.fft_length).map_or(0, |rest| rest / self.step + 1)),
            Size::Computed(size) => {
                let rest = g.sub(size, &g.scalar_i32(self.fft_length as i32)?)?;
                let steps = g.floor_div(&rest, &g.scalar_i32(self.step as i32)?)?;
                Size::Computed(g.maximum(&g.add_v2(&steps, &g.scalar_i32(1)?)?, &g.scalar_i32(0)?)?)
            }
        };
        let (zero, one) = (g.scalar_i32(0)?, g.scalar_i32(1)?);
        let starts = g.range(&zero, &count.scalar(g)?, &one, count.dim())?;
        let starts = g.expand_dims(&g.mul(&starts, &g.scalar_i32(self.step as i32)?)?, -1)?;
        let offsets = g.range(&zero, &g.scalar_i32(self.fft_length as i32)?, &one, Some(self.fft_length))?;
        g.gather(x, &g.add_v2(&starts, &offsets)?, axis as i64)
    }

    /// The window in the middle of a frame.
    fn window(&self, g: &Graph, dtype: DType) -> Result<Option<TensorRef>> {
        let window = match &self.window {
            Window::None => return Ok(None),
            Window::Given(values) => {
                let values = constant(values, dtype)?;
                if values.shape() != [self.length as usize] {
                    refuse!("`window` has shape {:?}, and {} values are needed", values.shape(), self.length);
                }
                g.constant(values)?
            }
            Window::Cosine(..) if self.length == 1 => g.constant(Tensor::from_slice(&[1], &[1.0_f32])?)?,
            Window::Cosine(a, b) => {
                let (zero, one) = (g.scalar_i32(0)?, g.scalar_i32(1)?);
                let steps = g.range(&zero, &g.scalar_i32(self.length as i32)?, &one, Some(self.length))?;
                let period = self.length - self.length % 2;
                let angle = g.mul(&g.scalar(std::f64::consts::TAU, dtype)?, &g.cast(&steps, dtype)?)?;
                let cosine = g.cos(&g.with_scalar(&angle, period as f64, Graph::real_div)?)?;
                g.sub(&g.scalar(*a, dtype)?, &g.mul(&g.scalar(*b, dtype)?, &cosine)?)?
            }
        };
        let before = (self.fft_length - self.length) / 2;
        let after = self.fft_length - self.length - before;
        Ok(Some(g.pad(&g.cast(&window, dtype)?, &[(before, after)], None)?))
    }

    /// How much each frequency counts for each bin, float32: `[fft_length / 2 + 1, bins]`.
    fn weights(&self, g: &Graph) -> Result<TensorRef> {
        let steps = self.fft_length / 2;
        let highest = self.sampling_rate as f32 / 2.0;
        let delta = highest / steps as f32;
        // The first frequency is 0 and belongs to no bin.
        let frequencies: Vec<f32> =
            (1..=steps).map(|step| if step == steps { highest } else { delta * step as f32 }).collect();
        let spectrum = g.expand_dims(&mel(g, &frequencies)?, 1)?;

        let edges = mel(g, &self.frequencies.map(|frequency| frequency as f32))?;
        let (first, last) =
            (g.strided_slice(&edges, &[Slice::range(0, 1)])?, g.strided_slice(&edges, &[Slice::range(1, 2)])?);
        let width = g.with_scalar(&g.sub(&last, &first)?, (self.bins + 1) as f64, Graph::real_div)?;
        let counts: Vec<f32> = (1..=self.bins).map(|step| step as f32).collect();
        let counts = g.constant(Tensor::from_slice(&[counts.len()], &counts)?)?;
        let inner = g.add_v2(&first, &g.mul(&width, &counts)?)?;
        let edges = g.concat(&[&first, &inner, &last], 0)?;
        let bins = self.bins as i64;
        let part = |begin: i64| -> Result<TensorRef> {
            let part = g.strided_slice(&edges, &[Slice::range(begin, begin + bins)])?;
            g.reshape(&part, &[Some(1), Some(self.bins)])
        };
        let (lower, center, upper) = (part(0)?, part(1)?, part(2)?);
        let rising = g.real_div(&g.sub(&spectrum, &lower)?, &g.sub(&center, &lower)?)?;
        let falling = g.real_div(&g.sub(&upper, &spectrum)?, &g.sub(&upper, &center)?)?;
        let weights = g.maximum(&g.scalar(0.0, DType::Float32)?, &g.minimum(&rising, &falling)?)?;
        g.pad(&weights, &[(1, 0), (0, 0)], None)
    }
}

/// Frequencies in hertz on the mel scale. TensorFlow computes the logarithm.
fn mel(g: &Graph, hertz: &[f32]) -> Result<TensorRef> {
    let ratios: Vec<f32> = hertz.iter().map(|hertz| 1.0 + hertz / 700.0).collect();
    let logs = g.log(&g.constant(Tensor::from_slice(&[ratios.len()], &ratios)?)?)?;
    g.with_scalar(&logs, 1127.0, |g, logs, factor| g.mul(factor, logs))
}

/// The product of the last dimension with a matrix.
fn product(g: &Graph, x: &TensorRef, matrix: &TensorRef) -> Result<TensorRef> {
    let rows = g.reshape(x, &[None, Some(x.size(-1)?)])?;
    let y = g.mat_mul(&rows, matrix)?;
    let mut dims: Vec<Dim> = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = matrix.dim(1)?;
    }
    if dims.iter().filter(|dim| dim.is_none()).count() <= 1 {
        return g.reshape(&y, &dims);
    }
    let sizes = g.pack_dims(&dims, |axis| g.dim_of(x, axis as i64))?;
    g.reshape_to(&y, &sizes, Shape::new(dims))
}

impl Decibels {
    fn apply(&self, g: &Graph, x: &TensorRef) -> Result<TensorRef> {
        let of = |x: &TensorRef| -> Result<TensorRef> {
            let log = g.log(&g.with_scalar(x, self.least, Graph::maximum)?)?;
            let log = g.real_div(&log, &g.log(&g.scalar(10.0, x.dtype)?)?)?;
            g.with_scalar(&log, 10.0, |g, log, factor| g.mul(factor, log))
        };
        let reference = g.cast(&of(&g.abs(&g.scalar(self.reference, DType::Float32)?)?)?, x.dtype)?;
        let y = g.sub(&of(x)?, &reference)?;
        let axes: Vec<i64> = (0..y.rank() as i64).collect();
        let least = g.with_scalar(&g.max(&y, &axes, false)?, self.range, Graph::sub)?;
        g.maximum(&y, &least)
    }
}
