//! The losses of a training as a picture.

use std::fmt::Display;

use plotters::prelude::*;

use crate::TrainError;

const SIZE: (u32, u32) = (720, 360);
/// Most points that are drawn; what lies between them is averaged.
const POINTS: usize = 600;
/// The share of a training that the mean goes over, and the least and most steps that it does.
const SHARE: usize = 20;
const WINDOW: [usize; 2] = [5, 500];
const EACH: RGBColor = RGBColor(160, 185, 215);
const MEAN: RGBColor = RGBColor(190, 75, 10);

/// An SVG picture of the loss of each step and of its moving average, on a logarithmic scale: timesteps with little noise have many
/// times the loss of others.
///
/// # Errors
/// It can't be drawn, which should not happen.
pub fn loss_curve(losses: &[f32], title: &str) -> Result<String, TrainError> {
    let mut svg = String::new();
    draw(losses, title, &mut svg).map_err(|reason| TrainError::Curve { reason })?;
    Ok(svg)
}

fn draw(losses: &[f32], title: &str, svg: &mut String) -> Result<(), String> {
    // What is 0 has no place on a logarithmic axis.
    let shown = |mut points: Vec<(f64, f64)>| {
        points.retain(|point| point.1 > 0.0);
        points
    };
    let (each, mean) = (shown(points(losses)), shown(moving_average(losses)));
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(text)?;
    let [least, greatest] = bounds(&each);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..losses.len().max(1) as f64, (least..greatest).log_scale().base(2.0))
        .map_err(text)?;
    chart
        .configure_mesh()
        .bold_line_style(BLACK.mix(0.12))
        .max_light_lines(0)
        .axis_style(BLACK.mix(0.4))
        .x_desc("step")
        .y_desc("loss")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|loss| format!("{}", (loss * 1e6).round() / 1e6))
        .draw()
        .map_err(text)?;
    chart.draw_series(LineSeries::new(each, &EACH)).map_err(text)?;
    chart
        .draw_series(LineSeries::new(mean, MEAN.stroke_width(2)))
        .map_err(text)?;
    drop(chart);
    root.present().map_err(text)
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// Steps, counted from 1, and losses, of which neighbours are averaged where there are too many.
fn points(losses: &[f32]) -> Vec<(f64, f64)> {
    let size = losses.len().div_ceil(POINTS).max(1);
    let point = |(i, chunk): (usize, &[f32])| {
        let sum: f64 = chunk.iter().copied().map(f64::from).sum();
        ((i * size + chunk.len()) as f64, sum / chunk.len() as f64)
    };
    losses.chunks(size).enumerate().map(point).collect()
}

/// The mean of the steps before each point, of which the newest count most.
fn moving_average(losses: &[f32]) -> Vec<(f64, f64)> {
    let window = (losses.len() / SHARE).clamp(WINDOW[0], WINDOW[1]) as f64;
    let (decay, stride) = (1.0 - 1.0 / window, losses.len().div_ceil(POINTS).max(1));
    let (mut sum, mut weights) = (0.0, 0.0);
    let means = losses.iter().enumerate().map(|(i, loss)| {
        sum = sum * decay + f64::from(*loss);
        weights = weights * decay + 1.0;
        ((i + 1) as f64, sum / weights)
    });
    let means: Vec<(f64, f64)> = means.collect();
    means.into_iter().rev().step_by(stride).rev().collect()
}

/// The least and greatest loss, rounded to powers of two, and never the same.
fn bounds(points: &[(f64, f64)]) -> [f64; 2] {
    let losses = || points.iter().map(|point| point.1);
    let least = losses().fold(f64::INFINITY, f64::min);
    let greatest = losses().fold(f64::NEG_INFINITY, f64::max);
    match least.is_finite() {
        true => [
            2f64.powf(least.log2().floor()),
            2f64.powf(greatest.log2().floor() + 1.0),
        ],
        false => [0.5, 1.0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_as_many_as_can_be_seen() {
        let losses: Vec<f32> = (0..1500).map(|i| i as f32).collect();
        let points = points(&losses);
        assert_eq!((points.len(), points[0]), (500, (3.0, 1.0)));
        assert_eq!(points[499], (1500.0, 1498.0));
        assert_eq!(super::points(&losses[..3]), [(1.0, 0.0), (2.0, 1.0), (3.0, 2.0)]);
    }

    #[test]
    fn the_average_is_one_from_the_first_step_on() {
        let means = moving_average(&[2.0; 30]);
        assert_eq!(means.len(), 30);
        assert!(means.iter().all(|point| (point.1 - 2.0).abs() < 1e-9));
        // Of five steps, the newest has a fifth of the weight in the end.
        let mut losses = vec![0.0; 60];
        losses.push(1.0);
        assert!((moving_average(&losses)[60].1 - 0.2).abs() < 1e-3);
        assert_eq!(moving_average(&vec![1.0; 1300]).last(), Some(&(1300.0, 1.0)));
    }

    #[test]
    fn powers_of_two_have_labels() {
        let svg = loss_curve(&[0.3, 0.2], "zorb").unwrap();
        let has = |label: &str| svg.lines().any(|line| line.trim() == label);
        assert!(has("0.25") && has("0.5") && !has("0.3"), "{svg}");
    }

    #[test]
    fn a_curve_is_drawn_of_any_losses() {
        for losses in [vec![], vec![0.0], vec![0.3], vec![1e-9, 1e9], vec![0.25; 2000]] {
            let svg = loss_curve(&losses, "zorb").unwrap();
            assert!(
                svg.starts_with("<svg") && svg.contains("zorb") && svg.contains("loss"),
                "{svg}"
            );
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
