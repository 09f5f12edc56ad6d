//! What the numbers of observations are called, for axes of pictures and for choosing some of them.

/// The names of the numbers of an observation of a listed environment, in order. Angles are in radians. `None` for an
/// environment that is not listed, and for `ant` and `humanoid`, whose more than a hundred numbers have none.
pub fn observation_names(environment: &str) -> Option<Vec<&'static str>> {
    let names: &[&str] = match environment {
        "cartpole" | "cartpole-swingup" | "cartpole-swingup-sparse" => {
            &["position", "velocity", "angle", "angular-velocity"]
        }
        "mountain-car" | "mountain-car-continuous" | "mountain-car-sparse" => &["position", "velocity"],
        "pendulum" => &["cos-angle", "sin-angle", "angular-velocity"],
        "acrobot" => &[
            "cos-angle-1",
            "sin-angle-1",
            "cos-angle-2",
            "sin-angle-2",
            "angular-velocity-1",
            "angular-velocity-2",
        ],
        "double-pendulum" | "double-pendulum-sparse" => &[
            "sin-angle-1",
            "cos-angle-1",
            "angular-velocity-1",
            "sin-angle-2",
            "cos-angle-2",
            "angular-velocity-2",
        ],
        "hopper" => &[
            "height",
            "pitch",
            "hip",
            "knee",
            "ankle",
            "velocity-x",
            "velocity-z",
            "pitch-velocity",
            "hip-velocity",
            "knee-velocity",
            "ankle-velocity",
        ],
        "walker2d" => &[
            "height",
            "pitch",
            "right-hip",
            "right-knee",
            "right-ankle",
            "left-hip",
            "left-knee",
            "left-ankle",
            "velocity-x",
            "velocity-z",
            "pitch-velocity",
            "right-hip-velocity",
            "right-knee-velocity",
            "right-ankle-velocity",
            "left-hip-velocity",
            "left-knee-velocity",
            "left-ankle-velocity",
        ],
        "half-cheetah" | "half-cheetah-sparse" => &[
            "height",
            "pitch",
            "hind-hip",
            "hind-knee",
            "hind-ankle",
            "fore-hip",
            "fore-knee",
            "fore-ankle",
            "velocity-x",
            "velocity-z",
            "pitch-velocity",
            "hind-hip-velocity",
            "hind-knee-velocity",
            "hind-ankle-velocity",
            "fore-hip-velocity",
            "fore-knee-velocity",
            "fore-ankle-velocity",
        ],
        "reacher" => &[
            "cos-angle-1",
            "cos-angle-2",
            "sin-angle-1",
            "sin-angle-2",
            "target-x",
            "target-y",
            "angular-velocity-1",
            "angular-velocity-2",
            "offset-x",
            "offset-y",
        ],
        "swimmer" => &[
            "heading",
            "front-bend",
            "back-bend",
            "velocity-x",
            "velocity-y",
            "heading-velocity",
            "front-bend-velocity",
            "back-bend-velocity",
        ],
        "inverted-pendulum" => &["position", "angle", "velocity", "angular-velocity"],
        "inverted-double-pendulum" => &[
            "position",
            "sin-angle-1",
            "sin-angle-2",
            "cos-angle-1",
            "cos-angle-2",
            "velocity",
            "angular-velocity-1",
            "angular-velocity-2",
            "rail-force",
        ],
        _ => return None,
    };
    Some(names.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{list, make, mujoco};

    #[test]
    fn each_number_of_an_observation_has_one_name() {
        for listed in list() {
            let width = match mujoco::outline(listed.name) {
                Some(outline) => outline.observation,
                None => make(listed.name).unwrap().spec().observation.width(),
            };
            let Some(names) = observation_names(listed.name) else {
                assert!(["ant", "humanoid"].contains(&listed.name), "{} has no names", listed.name);
                continue;
            };
            assert_eq!(names.len(), width, "{}", listed.name);
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), names.len(), "{} has a name twice", listed.name);
        }
        assert_eq!(observation_names("my-env"), None);
    }
}
