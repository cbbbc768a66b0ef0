//! Noise levels and timesteps as a picture: a panel for each schedule.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{Error, trace::Trace};

const COLUMNS: usize = 3;
const PANEL: (u32, u32) = (270, 170);
const LEGEND: u32 = 34;
const LINE_OF_TITLE: u32 = 15;
/// Levels below this have no place on a logarithmic axis.
const LEAST_SIGMA: f64 = 1e-3;
const TIMESTEP: RGBColor = RGBColor(190, 75, 10);
const SIGMA: RGBColor = RGBColor(20, 90, 170);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Schedulers that go through the same timesteps and sigmas.
struct Panel<'a> {
    names: Vec<&'a str>,
    trace: &'a Trace,
}

/// Writes the picture, complete or not at all.
pub(crate) fn save(traces: &[Trace], path: &Path) -> Result<(), Error> {
    let mut svg = String::new();
    draw(&panels(traces), &mut svg)?;
    Ok(t2v_mp4::write_file(path, svg.as_bytes())?)
}

fn panels(traces: &[Trace]) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    for trace in traces {
        let name = trace.scheduler.trim_end_matches("Scheduler");
        let same =
            |panel: &&mut Panel<'_>| panel.trace.timesteps == trace.timesteps && panel.trace.sigmas == trace.sigmas;
        match panels.iter_mut().find(same) {
            Some(panel) => panel.names.push(name),
            None => panels.push(Panel {
                names: vec![name],
                trace,
            }),
        }
    }
    panels
}

fn draw(panels: &[Panel<'_>], svg: &mut String) -> Result<(), Error> {
    let columns = panels.len().clamp(1, COLUMNS);
    let rows: Vec<&[Panel<'_>]> = panels.chunks(columns).collect();
    let height = |row: &[Panel<'_>]| PANEL.1 + LINE_OF_TITLE * title_lines(row);
    let total = LEGEND + rows.iter().map(|row| height(row)).sum::<u32>();
    let root = SVGBackend::with_string(svg, (PANEL.0 * columns as u32, total)).into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, mut rest) = root.split_vertically(LEGEND);
    for (x, colour, name) in [(12, TIMESTEP, "timestep"), (110, SIGMA, "sigma")] {
        legend.draw(&PathElement::new([(x, 16), (x + 18, 16)], colour.stroke_width(2)))?;
        legend.draw(&Text::new(name, (x + 24, 9), ("sans-serif", 14)))?;
    }
    for row in rows {
        let (areas, below) = rest.split_vertically(height(row));
        for (panel, area) in row.iter().zip(areas.split_evenly((1, columns))) {
            draw_panel(&area, panel, LINE_OF_TITLE * title_lines(row))?;
        }
        rest = below;
    }
    root.present()?;
    Ok(())
}

fn title_lines(row: &[Panel<'_>]) -> u32 {
    row.iter().map(|panel| panel.names.len()).max().unwrap_or(1) as u32
}

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>, title: u32) -> Result<(), Error> {
    let (heading, area) = area.split_vertically(title);
    for (i, name) in panel.names.iter().rev().enumerate() {
        let y = title as i32 - LINE_OF_TITLE as i32 * (i as i32 + 1);
        heading.draw(&Text::new((*name).to_owned(), (50, y), ("sans-serif", 14)))?;
    }
    let timesteps = points(&panel.trace.timesteps, 0.0);
    let sigmas = points(&panel.trace.sigmas, LEAST_SIGMA);
    let greatest = round_above(timesteps.iter().map(|point| point.1).fold(0.0, f64::max));
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .x_label_area_size(22)
        .y_label_area_size(42)
        .right_y_label_area_size(42)
        .build_cartesian_2d(0.0..1.0, 0.0..greatest)?
        .set_secondary_coord(0.0..1.0, decades(&sigmas).log_scale());
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(BLACK.mix(0.1))
        .axis_style(BLACK.mix(0.4))
        .x_labels(3)
        .y_labels(5)
        .x_label_formatter(&share)
        .y_label_formatter(&f64::to_string)
        .y_label_style(("sans-serif", 12, &TIMESTEP))
        .draw()?;
    chart.draw_series(LineSeries::new(timesteps.iter().copied(), &TIMESTEP))?;
    chart.draw_series(timesteps.iter().map(|&point| Circle::new(point, 2, TIMESTEP.filled())))?;
    if !sigmas.is_empty() {
        chart
            .configure_secondary_axes()
            .axis_style(BLACK.mix(0.4))
            .y_labels(5)
            .y_label_formatter(&f64::to_string)
            .label_style(("sans-serif", 12, &SIGMA))
            .draw()?;
        chart.draw_secondary_series(LineSeries::new(sigmas.iter().copied(), &SIGMA))?;
        chart.draw_secondary_series(sigmas.iter().map(|&point| Circle::new(point, 2, SIGMA.filled())))?;
    }
    Ok(())
}

/// Values against the share of the run that is done, so that schedules of different lengths compare.
fn points(values: &[f64], least: f64) -> Vec<(f64, f64)> {
    let last = (values.len().max(2) - 1) as f64;
    let points = values.iter().enumerate().map(|(i, &value)| (i as f64 / last, value));
    points.filter(|point| point.1 >= least).collect()
}

fn share(done: &f64) -> String {
    format!("{:.0} %", done * 100.0)
}

/// The least of 1, 2, 5, 10, … and of their tenths that is not below a value.
fn round_above(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let decade = 10f64.powf(value.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    let fitting = factors.iter().find(|factor| *factor * decade >= value);
    fitting.unwrap_or(&10.0) * decade
}

/// The powers of ten around all values.
fn decades(points: &[(f64, f64)]) -> Range<f64> {
    let logs = || points.iter().map(|point| point.1.log10());
    let least = logs().fold(f64::INFINITY, f64::min).min(2.0).floor();
    let greatest = logs().fold(f64::NEG_INFINITY, f64::max).max(least + 1.0).ceil();
    10f64.powf(least)..10f64.powf(greatest)
}
