//! Shapes as coverage of pixels, to be laid over a picture of where the subject seems to be.

use super::{
    outline::Outline,
    world::{SHAPES, SIZE},
};

/// Radii, in pixels, are tried in steps of this.
const RADIUS_STEP: f32 = 0.5;
const RADII: std::ops::Range<usize> = 6..52;
/// Angles are tried in steps of about this.
const ANGLE_STEP: f32 = 0.27;

/// One shape, size and angle.
struct Template {
    /// Offset from the centre and how much of the pixel is covered.
    pixels: Vec<(i32, i32, f32)>,
}

impl Template {
    fn new(outline: &Outline) -> Self {
        let reach = (1.25 * outline.radius).ceil() as i32;
        let mut pixels = Vec::new();
        for dy in -reach..=reach {
            for dx in -reach..=reach {
                let inside = [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)]
                    .iter()
                    .filter(|(x, y)| outline.depth(dx as f32 + x, dy as f32 + y) > 0.0)
                    .count();
                if inside > 0 {
                    pixels.push((dx, dy, inside as f32 / 4.0));
                }
            }
        }
        Self { pixels }
    }
}

/// Shapes at every size and angle.
pub(super) struct Templates {
    /// By shape, angle and radius.
    bank: Vec<Vec<Vec<Template>>>,
}

/// Where a shape fits best.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub(super) x: i32,
    pub(super) y: i32,
    /// In pixels.
    pub(super) radius: f32,
    /// In radians, within the shape's period.
    pub(super) angle: f32,
    /// What the fit leaves unexplained, less what an empty picture would: the lower the better.
    pub(super) error: f32,
}

/// Where the subject seems to be, pixel by pixel of a frame.
pub(super) struct Likeness {
    /// 0 for the background, 1 for the subject.
    pub(super) subject: Vec<f32>,
    /// How well the two can be told apart there.
    pub(super) weight: Vec<f32>,
}

impl Likeness {
    /// Σ weight ((subject − template)² − subject²) over a template's pixels.
    fn error(&self, template: &Template, x: i32, y: i32) -> f32 {
        let mut error = 0.0;
        for &(dx, dy, cover) in &template.pixels {
            let (px, py) = (x + dx, y + dy);
            if (0..SIZE as i32).contains(&px) && (0..SIZE as i32).contains(&py) {
                let i = py as usize * SIZE + px as usize;
                error += self.weight[i] * cover * (cover - 2.0 * self.subject[i]);
            }
        }
        error
    }
}

impl Templates {
    /// Templates of the first `shapes` of [`SHAPES`].
    #[must_use]
    pub(super) fn new(shapes: usize) -> Self {
        let bank = (0..shapes)
            .map(|shape| {
                let angles = match SHAPES[shape] {
                    "ball" | "ring" => 1,
                    _ => (Outline::period(shape) / ANGLE_STEP).round() as usize,
                };
                (0..angles)
                    .map(|i| {
                        let angle = i as f32 * Outline::period(shape) / angles as f32;
                        RADII
                            .map(|r| Template::new(&Outline::new(shape, r as f32 * RADIUS_STEP, angle)))
                            .collect()
                    })
                    .collect()
            })
            .collect();
        Self { bank }
    }

    /// How many shapes there are.
    #[must_use]
    pub(super) fn shapes(&self) -> usize {
        self.bank.len()
    }

    /// A place and radius to start from: the ball that fits best, tried on a coarse grid.
    #[must_use]
    pub(super) fn locate(&self, likeness: &Likeness) -> Fit {
        let mut best: Option<Fit> = None;
        for radius in (8..44).step_by(4) {
            for y in (0..SIZE as i32).step_by(3) {
                for x in (0..SIZE as i32).step_by(3) {
                    let error = likeness.error(&self.bank[0][0][radius - RADII.start], x, y);
                    if best.is_none_or(|b| error < b.error) {
                        let radius = radius as f32 * RADIUS_STEP;
                        best = Some(Fit {
                            x,
                            y,
                            radius,
                            angle: 0.0,
                            error,
                        });
                    }
                }
            }
        }
        best.unwrap_or(Fit {
            x: 0,
            y: 0,
            radius: 1.0,
            angle: 0.0,
            error: 0.0,
        })
    }

    /// The best fit of a shape near a place, upright or at any angle.
    #[must_use]
    pub(super) fn fit(&self, likeness: &Likeness, shape: usize, near: Fit, turned: bool) -> Fit {
        let angles = &self.bank[shape];
        let count = if turned { angles.len() } else { 1 };
        (0..count)
            .map(|i| {
                let angle = i as f32 * Outline::period(shape) / angles.len() as f32;
                self.descend(
                    likeness,
                    &angles[i],
                    Fit {
                        angle,
                        error: f32::INFINITY,
                        ..near
                    },
                )
            })
            .fold(None, |best: Option<Fit>, fit| match best {
                Some(best) if best.error <= fit.error => Some(best),
                _ => Some(fit),
            })
            .unwrap_or(near)
    }

    /// From several radii around `start`, steps to whatever neighbour fits better until none does.
    fn descend(&self, likeness: &Likeness, radii: &[Template], start: Fit) -> Fit {
        let mut best = start;
        for scale in [0.75, 1.0, 1.3, 1.7] {
            let index = ((start.radius * scale / RADIUS_STEP) as usize).clamp(RADII.start, RADII.end - 1) - RADII.start;
            let (mut x, mut y, mut r) = (start.x, start.y, index);
            let mut error = likeness.error(&radii[r], x, y);
            loop {
                let neighbours = [
                    (1, 0, 0),
                    (-1, 0, 0),
                    (0, 1, 0),
                    (0, -1, 0),
                    (0, 0, 1),
                    (0, 0, -1),
                    (0, 1, 1),
                    (0, -1, 1),
                ];
                let better = neighbours
                    .iter()
                    .filter_map(|&(dx, dy, dr)| {
                        let r = r.checked_add_signed(dr).filter(|&r| r < radii.len())?;
                        Some((likeness.error(&radii[r], x + dx, y + dy), x + dx, y + dy, r))
                    })
                    .filter(|step| step.0 < error - 1e-4)
                    .min_by(|a, b| a.0.total_cmp(&b.0));
                let Some(step) = better else { break };
                (error, x, y, r) = step;
            }
            if error < best.error {
                best = Fit {
                    x,
                    y,
                    radius: (r + RADII.start) as f32 * RADIUS_STEP,
                    angle: start.angle,
                    error,
                };
            }
        }
        best
    }
}
