//! Shapes as outlines around the origin.

use std::f32::consts::{PI, TAU};

use super::world::SHAPES;

/// One shape of a size, turned by an angle.
pub(super) struct Outline {
    /// Place in [`SHAPES`].
    pub(super) shape: usize,
    /// Half the size of the shape, roughly, in pixels.
    pub(super) radius: f32,
    /// The corners, in pixels; empty for balls and rings.
    corners: Vec<[f32; 2]>,
}

impl Outline {
    #[must_use]
    pub(super) fn new(shape: usize, radius: f32, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        let turned = |[x, y]: [f32; 2]| [radius * (x * cos - y * sin), radius * (x * sin + y * cos)];
        let corners = corners(SHAPES[shape]).into_iter().map(turned).collect();
        Self { shape, radius, corners }
    }

    /// How far inside the outline a point lies, in pixels; 0 outside.
    #[must_use]
    pub(super) fn depth(&self, x: f32, y: f32) -> f32 {
        let distance = x.hypot(y);
        if self.corners.is_empty() {
            let outer = self.radius - distance;
            let hole = match SHAPES[self.shape] {
                "ring" => self.radius - (self.radius * 0.36).max(0.75),
                _ => return outer.max(0.0),
            };
            return outer.min(distance - hole).max(0.0);
        }
        if distance > 1.25 * self.radius {
            return 0.0;
        }
        let (mut inside, mut nearest) = (false, f32::INFINITY);
        for (i, &[ax, ay]) in self.corners.iter().enumerate() {
            let [bx, by] = self.corners[(i + 1) % self.corners.len()];
            if (ay > y) != (by > y) && x < ax + (bx - ax) * (y - ay) / (by - ay) {
                inside = !inside;
            }
            let (dx, dy) = (bx - ax, by - ay);
            let along = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            nearest = nearest.min((x - ax - along * dx).hypot(y - ay - along * dy));
        }
        if inside { nearest } else { 0.0 }
    }

    /// The angle after which a shape looks the same again.
    #[must_use]
    pub(super) fn period(shape: usize) -> f32 {
        match SHAPES[shape] {
            "square" | "cross" => TAU / 4.0,
            "triangle" => TAU / 3.0,
            "star" => TAU / 5.0,
            "diamond" => TAU / 2.0,
            _ => TAU,
        }
    }
}

/// Corners at radius 1.
fn corners(shape: &str) -> Vec<[f32; 2]> {
    match shape {
        "square" => vec![[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
        "triangle" => vec![[0.0, -1.05], [0.95, 0.75], [-0.95, 0.75]],
        "diamond" => vec![[0.0, -1.2], [0.75, 0.0], [0.0, 1.2], [-0.75, 0.0]],
        "cross" => {
            let (arm, end) = (0.36, 1.0);
            let quarter = [[-arm, -arm], [-arm, -end], [arm, -end]];
            let turns = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]];
            turns
                .iter()
                .flat_map(|[cos, sin]| quarter.map(|[x, y]: [f32; 2]| [x * cos - y * sin, x * sin + y * cos]))
                .collect()
        }
        "star" => (0..10)
            .map(|i| {
                let (radius, angle) = (if i % 2 == 0 { 1.15 } else { 0.48 }, i as f32 * PI / 5.0);
                [radius * angle.sin(), -radius * angle.cos()]
            })
            .collect(),
        "heart" => (0..40)
            .map(|i| {
                let a = i as f32 / 40.0 * TAU;
                let y = 13.0 * a.cos() - 5.0 * (2.0 * a).cos() - 2.0 * (3.0 * a).cos() - (4.0 * a).cos();
                [a.sin().powi(3), -y / 16.0]
            })
            .collect(),
        _ => Vec::new(),
    }
}
