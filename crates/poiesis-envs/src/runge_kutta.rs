//! The classical Runge–Kutta method of fourth order.

/// Integrates `y' = derivative(y)` over one step of length `step`.
pub(crate) fn runge_kutta<const N: usize>(
    y: &[f64; N],
    step: f64,
    derivative: impl Fn(&[f64; N]) -> [f64; N],
) -> [f64; N] {
    let along = |slope: &[f64; N], length: f64| std::array::from_fn(|i| y[i] + length * slope[i]);
    let half = step / 2.0;
    let a = derivative(y);
    let b = derivative(&along(&a, half));
    let c = derivative(&along(&b, half));
    let d = derivative(&along(&c, step));
    std::array::from_fn(|i| y[i] + step / 6.0 * (a[i] + 2.0 * b[i] + 2.0 * c[i] + d[i]))
}

#[cfg(test)]
mod tests {
    use super::runge_kutta;

    /// A rotation has a closed form, and the error falls with the fourth power of the step.
    #[test]
    fn the_order_is_four() {
        let error = |steps: usize| {
            let step = 1.0 / steps as f64;
            let end = (0..steps).fold([1.0, 0.0], |y, _| runge_kutta(&y, step, |y| [-y[1], y[0]]));
            (end[0] - 1_f64.cos()).hypot(end[1] - 1_f64.sin())
        };
        let ratio = error(20) / error(40);
        assert!((15.0..17.0).contains(&ratio), "{ratio}");
    }
}
