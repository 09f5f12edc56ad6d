//! What an array, a column or a field of a record is, by its name.

/// What the numbers under a name are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Observations,
    /// The observation that each action led to.
    Next,
    Actions,
    Rewards,
    /// Whether an action led to a terminal state.
    Terminated,
    /// Whether an episode was cut off after an action.
    Truncated,
    /// Which episode an action belongs to.
    Episode,
    /// The actions with which episodes begin, all but the first: the places at which to cut.
    Cuts,
}

impl Role {
    pub(super) const ALL: [Role; 8] = [
        Role::Observations,
        Role::Next,
        Role::Actions,
        Role::Rewards,
        Role::Terminated,
        Role::Truncated,
        Role::Episode,
        Role::Cuts,
    ];

    /// The names that are usual, the likeliest first. The first is that of this program.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Role::Observations => {
                &["observations", "observation", "obs", "states", "state", "observation.state"]
            }
            Role::Next => &[
                "next_observations",
                "next_observation",
                "next_obs",
                "obs_next",
                "next_states",
                "next_state",
            ],
            Role::Actions => &["actions", "action", "acts", "act"],
            Role::Rewards => &["rewards", "reward", "rews", "rew", "next.reward"],
            Role::Terminated => &[
                "terminated",
                "terminals",
                "terminal",
                "terminations",
                "termination",
                "dones",
                "done",
                "next.done",
            ],
            Role::Truncated => &["truncated", "truncations", "truncation", "timeouts", "timeout"],
            Role::Episode => &["episode", "episodes", "episode_ids", "episode_id", "episode_index"],
            Role::Cuts => &["indices"],
        }
    }

    /// Which of `names` plays this role, if one does.
    pub(super) fn find<'a>(self, names: &(impl IntoIterator<Item = &'a str> + Clone)) -> Option<&'a str> {
        self.names()
            .iter()
            .find_map(|known| names.clone().into_iter().find(|name| name.eq_ignore_ascii_case(known)))
    }
}

/// The names in `names` of all roles that are played, in the order of [`Role::ALL`]; `None` where observations or actions are
/// missing, without which there are no episodes.
pub(super) fn roles<'a>(names: &(impl IntoIterator<Item = &'a str> + Clone)) -> Option<Vec<(Role, &'a str)>> {
    let found: Vec<_> = Role::ALL.into_iter().filter_map(|role| Some((role, role.find(names)?))).collect();
    let has = |role: Role| found.iter().any(|(known, _)| *known == role);
    (has(Role::Observations) && has(Role::Actions)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_known_and_others_ignored() {
        let of = |names: &[&'static str]| roles(&names.to_vec());
        let found = of(&["acts", "indices", "OBS", "rews", "terminal", "infos"]).unwrap();
        assert_eq!(
            found,
            [
                (Role::Observations, "OBS"),
                (Role::Actions, "acts"),
                (Role::Rewards, "rews"),
                (Role::Terminated, "terminal"),
                (Role::Cuts, "indices"),
            ]
        );
        assert_eq!(of(&["states", "observations", "actions"]).unwrap()[0].1, "observations");
        assert!(of(&["observations", "rewards"]).is_none() && of(&["actions"]).is_none());
        assert!(of(&["x", "y", "image", "label", "text"]).is_none());
    }

    #[test]
    fn no_name_plays_two_roles() {
        let all: Vec<_> = Role::ALL.into_iter().flat_map(Role::names).collect();
        assert!(all.iter().enumerate().all(|(at, name)| !all[..at].contains(name)));
    }
}
