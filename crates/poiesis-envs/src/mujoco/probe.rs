//! Proves that a library lays out its memory as `layout.rs` says, on a small model whose numbers are known.

use std::sync::Arc;

use super::error::MujocoError;
use super::layout;
use super::library::{Data, Library, Model};

/// A ball that falls freely and a hinge with a motor on it; all of its numbers differ from each other.
const BODY: &str = r#"
<mujoco>
  <option timestep="0.0125" gravity="0 0 0"/>
  <worldbody>
    <body>
      <freejoint/>
      <geom type="sphere" size="0.25" mass="3"/>
      <site pos="0 0 0.5"/>
      <body pos="0 0 1">
        <joint name="hinge" axis="0 1 0" range="-10 10" armature="1"/>
        <geom type="capsule" size="0.125 0.75" mass="7"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="hinge" gear="4" ctrlrange="-2 5"/>
  </actuator>
</mujoco>"#;

/// Where the ball is, how it is turned, and the angle of the hinge, which is beyond its limit.
const QPOS: [f64; 8] = [11.0, 12.0, 13.0, 1.0, 0.0, 0.0, 0.0, 0.5];
const QVEL: [f64; 7] = [1.5, 2.5, 3.5, 0.0, 0.0, 0.0, 0.0];

/// Compares what is read through the offsets to what must be there.
///
/// # Errors
///
/// The first field that differs.
pub(super) fn check(library: &Arc<Library>) -> Result<(), MujocoError> {
    let differs = |field| MujocoError::Layout { path: library.path().to_owned(), field };
    let require = |holds: bool, field| if holds { Ok(()) } else { Err(differs(field)) };
    let model = Model::compile(library, "the model that checks the library", BODY)?;
    let sizes = [model.nq(), model.nv(), model.nu(), model.nbody()];
    require(sizes == [8, 7, 1, 3], "a size in mjModel")?;
    require(model.timestep() == 0.0125, "mjModel.opt.timestep")?;
    require(model.initial() == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], "mjModel.qpos0")?;
    require(model.masses() == [0.0, 3.0, 7.0], "mjModel.body_mass")?;
    require(model.control_ranges() == [-2.0, 5.0], "mjModel.actuator_ctrlrange")?;

    let mut data = Data::new(&model)?;
    require(data.bad() == 0, "mjData.warning")?;
    data.set_state(layout::STATE_QPOS, &QPOS);
    data.set_state(layout::STATE_QVEL, &QVEL);
    data.set_state(layout::STATE_CTRL, &[2.0]);
    let mut forces = [0.0; 18];
    forces[12..15].copy_from_slice(&[21.0, 22.0, 23.0]);
    data.set_state(layout::STATE_FORCES, &forces);
    data.forward();
    data.external_forces();

    let view = data.view();
    let near =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
    require(view.qpos == QPOS, "mjData.qpos")?;
    require(view.qvel == QVEL, "mjData.qvel")?;
    require(near(view.xpos, &[0.0, 0.0, 0.0, 11.0, 12.0, 13.0, 11.0, 12.0, 14.0]), "mjData.xpos")?;
    require(near(view.xipos, view.xpos), "mjData.xipos")?;
    require(near(view.site_xpos, &[11.0, 12.0, 13.5]), "mjData.site_xpos")?;
    let masses = view.cinert.chunks_exact(10).map(|row| row[9]);
    require(masses.eq([0.0, 3.0, 7.0]), "mjData.cinert")?;
    require(view.cvel.len() == 18 && near(&view.cvel[9..12], &QVEL[..3]), "mjData.cvel")?;
    require(near(view.qfrc_actuator, &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0]), "mjData.qfrc_actuator")?;
    let limit = view.qfrc_constraint;
    require(limit.len() == 7 && limit[6] < -0.1 && near(&limit[..6], &[0.0; 6]), "mjData.qfrc_constraint")?;
    require(view.cfrc_ext.len() == 18 && near(&view.cfrc_ext[15..], &forces[12..15]), "mjData.cfrc_ext")?;
    check_shapes(&data).map_or(Ok(()), |field| Err(differs(field)))?;

    data.set_state(layout::STATE_QVEL, &[f64::NAN; 7]);
    data.step();
    require(data.bad() >= 1, "mjData.warning")
}

/// The field of geoms that differs, if one does.
fn check_shapes(data: &Data) -> Option<&'static str> {
    let [ball, rod] = data.shapes()[..] else { return Some("mjModel.ngeom") };
    let is = |ends: [f64; 3], place: [f64; 3]| ends.iter().zip(place).all(|(a, b)| (a - b).abs() < 1e-9);
    let (x, z) = (0.75 * 0.5_f64.sin(), 0.75 * 0.5_f64.cos());
    let lies = [(ball.ends[0], [11.0, 12.0, 13.0]), (ball.ends[1], [11.0, 12.0, 13.0])];
    let stands = [(rod.ends[0], [11.0 - x, 12.0, 14.0 - z]), (rod.ends[1], [11.0 + x, 12.0, 14.0 + z])];
    if [ball.radius, rod.radius] != [0.25, 0.125] {
        Some("mjModel.geom_size")
    } else if !lies.iter().all(|&(end, place)| is(end, place)) {
        Some("mjData.geom_xpos")
    } else if !stands.iter().all(|&(end, place)| is(end, place)) {
        Some("mjData.geom_xmat")
    } else {
        None
    }
}
