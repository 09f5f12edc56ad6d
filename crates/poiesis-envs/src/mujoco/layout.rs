//! Where fields lie in `mjModel` and `mjData` of MuJoCo 3017000, in bytes on 64-bit machines.
//!
//! Printed by tests/fixtures/mujoco/layout.c from MuJoCo's headers; do not edit.

/// The version, as `mj_version` gives it.
pub(super) const VERSION: i32 = 3017000;

/// Number of positions in `mjModel`.
pub(super) const NQ: usize = 0;
/// Number of velocities in `mjModel`.
pub(super) const NV: usize = 8;
/// Number of controls in `mjModel`.
pub(super) const NU: usize = 16;
/// Number of bodies, the world among them, in `mjModel`.
pub(super) const NBODY: usize = 48;
/// Number of geoms in `mjModel`.
pub(super) const NGEOM: usize = 136;
/// Number of sites in `mjModel`.
pub(super) const NSITE: usize = 144;
/// Seconds of one step in `mjModel`.
pub(super) const TIMESTEP: usize = 792;
/// Pointer to the initial positions in `mjModel`.
pub(super) const QPOS0: usize = 1792;
/// Pointer to the masses of bodies in `mjModel`.
pub(super) const BODY_MASS: usize = 1944;
/// Pointer to the types of geoms in `mjModel`.
pub(super) const GEOM_TYPE: usize = 2416;
/// Pointer to the sizes of geoms in `mjModel`.
pub(super) const GEOM_SIZE: usize = 2528;
/// Size of the buffer in `mjModel`.
pub(super) const MODEL_NBUFFER: usize = 776;
/// Pointer to the buffer, into which the other pointers point, in `mjModel`.
pub(super) const MODEL_BUFFER: usize = 1784;
/// Pointer to the ranges of controls in `mjModel`.
pub(super) const CTRLRANGE: usize = 4992;

/// Size of the main buffer in `mjData`.
pub(super) const NBUFFER: usize = 8;
/// Pointer to the main buffer, into which all below point, in `mjData`.
pub(super) const BUFFER: usize = 160672;
/// Counters of warnings in `mjData`.
pub(super) const WARNING: usize = 160264;
/// Pointer to the positions in `mjData`.
pub(super) const QPOS: usize = 160688;
/// Pointer to the velocities in `mjData`.
pub(super) const QVEL: usize = 160696;
/// Pointer to the positions of bodies in `mjData`.
pub(super) const XPOS: usize = 160840;
/// Pointer to the centres of mass of bodies in `mjData`.
pub(super) const XIPOS: usize = 160864;
/// Pointer to the positions of geoms in `mjData`.
pub(super) const GEOM_XPOS: usize = 160896;
/// Pointer to the orientations of geoms in `mjData`.
pub(super) const GEOM_XMAT: usize = 160904;
/// Pointer to the positions of sites in `mjData`.
pub(super) const SITE_XPOS: usize = 160912;
/// Pointer to the inertias of bodies about the centre of mass in `mjData`.
pub(super) const CINERT: usize = 160976;
/// Pointer to the velocities of bodies about the centre of mass in `mjData`.
pub(super) const CVEL: usize = 161280;
/// Pointer to the forces of actuators in `mjData`.
pub(super) const QFRC_ACTUATOR: usize = 161408;
/// Pointer to the forces of constraints in `mjData`.
pub(super) const QFRC_CONSTRAINT: usize = 161432;
/// Pointer to the external forces on bodies in `mjData`.
pub(super) const CFRC_EXT: usize = 161464;

/// Bytes of one counter of warnings, whose number of occurrences is its second `int`.
pub(super) const WARNING_SIZE: usize = 8;
/// Where the number of occurrences lies in a counter of warnings.
pub(super) const WARNING_NUMBER: usize = 4;
/// The counters of bad positions, velocities and accelerations, in this order.
pub(super) const BAD: [usize; 3] = [3, 4, 5];
/// The geom types plane, sphere, capsule and cylinder, in this order.
pub(super) const GEOMS: [i32; 4] = [0, 2, 3, 5];
/// The parts of a state on which the next step depends (`mjSTATE_INTEGRATION`).
pub(super) const INTEGRATION: i32 = 16383;
/// The positions of a state (`mjSTATE_QPOS`).
pub(super) const STATE_QPOS: i32 = 2;
/// The velocities of a state (`mjSTATE_QVEL`).
pub(super) const STATE_QVEL: i32 = 4;
/// The controls of a state (`mjSTATE_CTRL`).
pub(super) const STATE_CTRL: i32 = 64;
/// The applied forces of a state (`mjSTATE_XFRC_APPLIED`).
pub(super) const STATE_FORCES: i32 = 256;
/// The level of a message that is an error (`mjLOG_ERROR`).
pub(super) const LOG_ERROR: i32 = 3;
/// Where the level of a message lies in `mjLogMessage`.
pub(super) const LOG_LEVEL: usize = 0;
/// Where the text of a message lies in `mjLogMessage`.
pub(super) const LOG_SUBJECT: usize = 8;
