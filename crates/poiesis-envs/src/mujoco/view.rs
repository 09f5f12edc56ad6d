//! What tasks see of a simulation.

/// Arrays of `mjModel` and `mjData` under their names there. Rows of three numbers are positions in metres, rows of six are
/// torque before force, or angular before linear velocity. The first row of bodies is the world.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct View<'a> {
    /// Positions of joints, in metres, radians or unit quaternions.
    pub(super) qpos: &'a [f64],
    /// Velocities of joints.
    pub(super) qvel: &'a [f64],
    /// Masses of bodies, in kg.
    pub(super) body_mass: &'a [f64],
    /// Positions of bodies, `[bodies, 3]`.
    pub(super) xpos: &'a [f64],
    /// Centres of mass of bodies, `[bodies, 3]`.
    pub(super) xipos: &'a [f64],
    /// Positions of sites, `[sites, 3]`.
    pub(super) site_xpos: &'a [f64],
    /// Inertias of bodies about the centre of mass of the tree, `[bodies, 10]`.
    pub(super) cinert: &'a [f64],
    /// Velocities of bodies about the centre of mass of the tree, `[bodies, 6]`.
    pub(super) cvel: &'a [f64],
    /// Forces of actuators on joints.
    pub(super) qfrc_actuator: &'a [f64],
    /// Forces of contacts and limits on joints.
    pub(super) qfrc_constraint: &'a [f64],
    /// External forces on bodies, `[bodies, 6]`.
    pub(super) cfrc_ext: &'a [f64],
}

/// A sphere, or a capsule or cylinder between two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// The ends of its axis, in metres; equal for a sphere.
    pub(super) ends: [[f64; 3]; 2],
    /// Its radius, in metres.
    pub(super) radius: f64,
}
