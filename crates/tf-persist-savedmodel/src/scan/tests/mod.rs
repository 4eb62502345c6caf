mod attacks;
mod graphs;
mod hidden;
mod hostile;
mod names;
mod trust;
mod wire;
