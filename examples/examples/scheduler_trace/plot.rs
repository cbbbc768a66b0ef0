//! Noise levels and timesteps as a picture.

use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::{Error, trace::Trace};

const SIZE: (u32, u32) = (1100, 460);
const LEGEND: u32 = 210;
/// Levels below this have no place on a logarithmic axis.
const LEAST_SIGMA: f64 = 1e-3;

/// Points of one line.
type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// Writes the picture, complete or not at all.
pub(crate) fn save(traces: &[Trace], path: &Path) -> Result<(), Error> {
    let mut svg = String::new();
    draw(traces, &mut svg)?;
    let partial = path.with_extension("svg.partial");
    let written = std::fs::write(&partial, svg).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&partial);
        format!("cannot write `{}`: {e}", path.display()).into()
    })
}

fn draw(traces: &[Trace], svg: &mut String) -> Result<(), Error> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (charts, legend) = root.split_horizontally(SIZE.0 - LEGEND);
    let (left, right) = charts.split_horizontally((SIZE.0 - LEGEND) / 2);
    let sigmas = lines(traces, |trace| &trace.sigmas, LEAST_SIGMA);
    let timesteps = lines(traces, |trace| &trace.timesteps, f64::NEG_INFINITY);
    let least = extreme(&sigmas, f64::min).unwrap_or(LEAST_SIGMA);
    let greatest = extreme(&sigmas, f64::max).unwrap_or(1.0);
    panel(&left, "sigma", (least..greatest * 1.2).log_scale(), &sigmas)?;
    let greatest = extreme(&timesteps, f64::max).unwrap_or(1.0);
    panel(&right, "timestep", 0.0..greatest * 1.02, &timesteps)?;
    for (i, trace) in traces.iter().enumerate() {
        let y = 30 + 20 * i as i32;
        legend.draw(&PathElement::new([(5, y), (25, y)], colour(i).stroke_width(2)))?;
        let name = trace.scheduler.trim_end_matches("Scheduler").to_owned();
        legend.draw(&Text::new(name, (30, y - 7), ("sans-serif", 14)))?;
    }
    root.present()?;
    Ok(())
}

/// Values against the share of the model calls that is done, so that schedules of different lengths compare.
fn lines<'a>(traces: &'a [Trace], values: fn(&Trace) -> &Vec<f64>, least: f64) -> Vec<Line<'a>> {
    let line = |trace: &'a Trace| {
        let values = values(trace);
        let last = (values.len().max(2) - 1) as f64;
        let points = values.iter().enumerate().map(|(i, &value)| (i as f64 / last, value));
        (
            trace.scheduler.as_str(),
            points.filter(|point| point.1 >= least).collect(),
        )
    };
    traces.iter().map(line).collect()
}

fn extreme(lines: &[Line<'_>], pick: fn(f64, f64) -> f64) -> Option<f64> {
    let values = lines.iter().flat_map(|(_, points)| points).map(|point| point.1);
    values.reduce(pick)
}

fn panel<Y>(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    name: &str,
    range: Y,
    lines: &[Line<'_>],
) -> Result<(), Error>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(55)
        .build_cartesian_2d(0.0..1.0, range)?;
    chart
        .configure_mesh()
        .x_desc("share of the model calls")
        .light_line_style(WHITE)
        .draw()?;
    for (i, (_, points)) in lines.iter().enumerate() {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour(i).stroke_width(2)))?;
    }
    Ok(())
}

fn colour(index: usize) -> HSLColor {
    // Neighbours in the list get hues far apart.
    HSLColor(index as f64 * 0.381_966 % 1.0, 0.75, 0.3 + 0.12 * (index % 3) as f64)
}
