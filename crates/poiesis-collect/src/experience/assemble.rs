//! Puts episodes together from rows, one transition after another, as tables and arrays without episodes hold them.

use super::Episode;

/// Numbers of an observation or an action.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Numbers {
    pub(super) values: Vec<f64>,
    /// Whether their type has whole numbers only.
    pub(super) whole: bool,
    /// Whether their type has more digits than an f32.
    pub(super) wide: bool,
}

/// One transition, or the last observation of an episode.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) observation: Numbers,
    /// `None` where this is the observation after the last action.
    pub(super) action: Option<Numbers>,
    pub(super) reward: Option<f64>,
    /// The observation that the action led to, where the row has it.
    pub(super) next: Option<Numbers>,
    pub(super) terminated: bool,
    pub(super) truncated: bool,
    /// The episode it belongs to; rows of one episode follow one another. `None` where only flags tell episodes apart.
    pub(super) episode: Option<i64>,
}

/// An episode as it was found, with what is known of its numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(super) episode: Episode,
    /// Numbers of an observation.
    pub(super) observation: usize,
    /// Numbers of an action.
    pub(super) width: usize,
    /// Whether the type of its actions has whole numbers only.
    pub(super) whole: bool,
    /// Whether a type has more digits than an f32.
    pub(super) wide: bool,
    /// Whether its last action and reward were left out, as it is not known what they led to.
    pub(super) shortened: bool,
}

impl Found {
    /// Bytes that it holds in memory.
    pub(crate) fn bytes(&self) -> u64 {
        let Episode { observations, actions, rewards, .. } = &self.episode;
        4 * (observations.len() + actions.len() + rewards.len()) as u64
    }
}

/// An episode, or why there is none that can be used.
pub(super) type Outcome = Result<Found, String>;

/// Takes rows and gives episodes.
pub(super) struct Assembler {
    open: Option<Open>,
    /// Why the row before the next one could not be read.
    spoiled: Option<String>,
    /// Most bytes of an episode.
    most: u64,
}

impl Assembler {
    /// Episodes of more than `most` bytes cannot be used.
    pub(super) fn new(most: u64) -> Assembler {
        Assembler { open: None, spoiled: None, most }
    }

    /// Takes a row. Returns the episode before it, if the row begins another.
    pub(super) fn push(&mut self, row: Row) -> Option<Outcome> {
        let before = self.open.take_if(|open| open.is_over(&row)).map(Open::finish);
        let spoiled = self.spoiled.take();
        let most = self.most;
        let open = self.open.get_or_insert_with(|| {
            let mut open = Open::new(row.episode);
            // A row that could not be read may have been the first.
            spoiled.into_iter().for_each(|reason| open.spoil(reason));
            open
        });
        open.push(row, most);
        before
    }

    /// Takes what should have been a row. The episodes that it may belong to cannot be used: the one that is being put together, and
    /// the next, if that begins right after it.
    pub(super) fn spoil(&mut self, reason: String) {
        if let Some(open) = self.open.as_mut().filter(|open| !open.ended && !open.complete) {
            open.spoil(reason.clone());
        }
        self.spoiled = Some(reason);
    }

    /// The last episode, if there is one.
    pub(super) fn end(&mut self) -> Option<Outcome> {
        let spoiled = self.spoiled.take();
        let last = self.open.take().map(Open::finish);
        last.or_else(|| spoiled.map(Err))
    }
}

/// An episode that is being put together.
struct Open {
    key: Option<i64>,
    found: Found,
    transitions: usize,
    /// The observation that the last action led to, where its row has it.
    next: Option<Numbers>,
    /// Whether a flag has ended it.
    ended: bool,
    /// Whether the observation after the last action is there.
    complete: bool,
    rewarded: bool,
    fault: Option<String>,
}

impl Open {
    fn new(key: Option<i64>) -> Open {
        let found = Found {
            episode: Episode::default(),
            observation: 0,
            width: 0,
            whole: true,
            wide: false,
            shortened: false,
        };
        Open {
            key,
            found,
            transitions: 0,
            next: None,
            ended: false,
            complete: false,
            rewarded: true,
            fault: None,
        }
    }

    /// Whether a row belongs to the next episode.
    fn is_over(&self, row: &Row) -> bool {
        match (self.key, row.episode) {
            (Some(own), Some(other)) => own != other,
            // The last observation may follow the flag.
            _ => self.complete || (self.ended && row.action.is_some()),
        }
    }

    fn spoil(&mut self, reason: String) {
        if self.fault.is_none() {
            self.fault = Some(reason);
            // It takes no memory any more.
            self.found.episode = Episode::default();
        }
    }

    fn push(&mut self, row: Row, most: u64) {
        self.ended |= row.terminated || row.truncated;
        if self.fault.is_some() {
            return;
        }
        if let Err(reason) = self.take(row) {
            self.spoil(reason);
        } else if self.found.bytes() > most {
            let reason = format!("it has more than {} MB, the memory for one episode", most / 1_000_000);
            self.spoil(reason);
        }
    }

    fn take(&mut self, row: Row) -> Result<(), String> {
        if self.complete {
            return Err("it continues after a row without an action".to_owned());
        }
        let Row { observation, action, reward, next, terminated, .. } = row;
        self.observation(&observation)?;
        let Some(action) = action else {
            self.complete = true;
            self.found.episode.terminated |= terminated;
            return Ok(());
        };
        if self.transitions == 0 {
            self.found.width = action.values.len();
        }
        expect_length("action", &action, self.found.width)?;
        self.found.whole &= action.whole;
        self.found.wide |= action.wide;
        self.found.episode.actions.extend(action.values.iter().map(|&value| value as f32));
        match reward {
            Some(reward) => self.found.episode.rewards.push(reward as f32),
            None => self.rewarded = false,
        }
        self.found.episode.terminated = terminated;
        self.next = next;
        self.transitions += 1;
        Ok(())
    }

    fn observation(&mut self, observation: &Numbers) -> Result<(), String> {
        let Found { episode, observation: length, wide, .. } = &mut self.found;
        if episode.observations.is_empty() {
            *length = observation.values.len();
        }
        expect_length("observation", observation, *length)?;
        *wide |= observation.wide;
        episode.observations.extend(observation.values.iter().map(|&value| value as f32));
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        if let Some(reason) = self.fault {
            return Err(reason);
        }
        if self.transitions == 0 {
            return Err("it has no transition".to_owned());
        }
        match self.next.take() {
            _ if self.complete => {}
            Some(next) => self.observation(&next)?,
            None if self.transitions == 1 => {
                return Err("what its only action led to is not known".to_owned());
            }
            None => self.shorten(),
        }
        // One reward missing makes the return unknown.
        if !self.rewarded {
            self.found.episode.rewards.clear();
        }
        Ok(self.found)
    }

    /// Leaves out the last action, so that the observation before it is the last one.
    fn shorten(&mut self) {
        let Found { episode, width, shortened, .. } = &mut self.found;
        *shortened = true;
        episode.actions.truncate((self.transitions - 1) * *width);
        episode.rewards.truncate(self.transitions - 1);
        episode.terminated = false;
    }
}

fn expect_length(what: &str, numbers: &Numbers, length: usize) -> Result<(), String> {
    match numbers.values.len() {
        0 => Err(format!("an {what} has no numbers")),
        found if found != length => {
            Err(format!("an {what} has {found} numbers, and the one before it has {length}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(value: f64) -> Numbers {
        Numbers { values: vec![value], ..Numbers::default() }
    }

    fn step(value: f64) -> Row {
        Row {
            observation: numbers(value),
            action: Some(numbers(-value)),
            reward: Some(1.0),
            ..Row::default()
        }
    }

    fn last(value: f64) -> Row {
        Row { observation: numbers(value), ..Row::default() }
    }

    fn all(rows: Vec<Row>) -> Vec<Outcome> {
        let mut assembler = Assembler::new(1000);
        let mut found: Vec<_> = rows.into_iter().filter_map(|row| assembler.push(row)).collect();
        found.extend(assembler.end());
        found
    }

    fn observations(outcome: &Outcome) -> &[f32] {
        &outcome.as_ref().unwrap().episode.observations
    }

    #[test]
    fn flags_and_numbers_of_episodes_tell_them_apart() {
        let next = |value: f64| Row { next: Some(numbers(value + 0.5)), ..step(value) };
        let found = all(vec![
            next(0.0),
            Row { terminated: true, ..next(1.0) },
            next(2.0),
            Row { truncated: true, ..next(3.0) },
            next(4.0),
        ]);
        let seen: Vec<_> = found.iter().map(observations).collect();
        assert_eq!(seen, [&[0.0, 1.0, 1.5][..], &[2.0, 3.0, 3.5], &[4.0, 4.5]]);
        let terminated: Vec<_> = found.iter().map(|f| f.as_ref().unwrap().episode.terminated).collect();
        assert_eq!(terminated, [true, false, false]);
        let keyed = |row: Row, episode: i64| Row { episode: Some(episode), ..row };
        let found = all(vec![
            keyed(step(0.0), 7),
            keyed(last(1.0), 7),
            keyed(step(2.0), 3),
            keyed(Row { terminated: true, ..step(3.0) }, 3),
            keyed(last(4.0), 3),
        ]);
        assert_eq!([observations(&found[0]), observations(&found[1])], [&[0.0, 1.0][..], &[2.0, 3.0, 4.0]]);
        assert!(found[1].as_ref().unwrap().episode.terminated && found.len() == 2);
    }

    #[test]
    fn the_last_observation_may_follow_a_flag() {
        let found = all(vec![
            Row { terminated: true, ..step(0.0) },
            last(1.0),
            Row { terminated: true, ..step(2.0) },
            last(3.0),
        ]);
        assert_eq!([observations(&found[0]), observations(&found[1])], [[0.0, 1.0], [2.0, 3.0]]);
    }

    #[test]
    fn an_action_that_led_to_nothing_known_is_left_out() {
        let found = all(vec![step(0.0), Row { terminated: true, ..step(1.0) }, step(2.0)]);
        let first = found[0].as_ref().unwrap();
        assert_eq!(
            (&first.episode.observations[..], &first.episode.actions[..]),
            (&[0.0, 1.0][..], &[-0.0][..])
        );
        assert_eq!(
            (first.episode.rewards.len(), first.episode.terminated, first.shortened),
            (1, false, true)
        );
        assert!(found[1].as_ref().unwrap_err().contains("only action"));
    }

    #[test]
    fn a_missing_reward_makes_all_of_the_episode_unknown() {
        let found = all(vec![step(0.0), Row { reward: None, ..step(1.0) }, last(2.0)]);
        assert!(found[0].as_ref().unwrap().episode.rewards.is_empty());
    }

    #[test]
    fn a_row_that_does_not_fit_spoils_its_episode_alone() {
        let wide = Numbers { values: vec![1.0, 2.0], ..Numbers::default() };
        let found = all(vec![
            step(0.0),
            Row { observation: wide, terminated: true, ..step(1.0) },
            step(2.0),
            last(3.0),
        ]);
        assert_eq!(
            found[0].as_ref().unwrap_err(),
            "an observation has 2 numbers, and the one before it has 1"
        );
        assert_eq!(observations(&found[1]), [2.0, 3.0]);
        let long = all((0..500).map(|i| step(f64::from(i))).collect());
        assert!(long[0].as_ref().unwrap_err().contains("memory for one episode"));
        let mut assembler = Assembler::new(1000);
        assembler.push(step(0.0));
        assembler.spoil("line 2 cannot be read".to_owned());
        assert_eq!(assembler.end().unwrap().unwrap_err(), "line 2 cannot be read");
        // At the beginning of an episode, or perhaps at the end of the one before.
        let keyed = |episode: i64, row: Row| Row { episode: Some(episode), ..row };
        for rows in [vec![], vec![keyed(1, step(0.0)), keyed(1, step(1.0))]] {
            let count = rows.len();
            rows.into_iter().for_each(|row| assert!(assembler.push(row).is_none()));
            assembler.spoil("bad".to_owned());
            let before = assembler.push(keyed(2, step(2.0)));
            assert_eq!(before.map(|outcome| outcome.unwrap_err()), (count > 0).then(|| "bad".to_owned()));
            assert_eq!(assembler.end().unwrap().unwrap_err(), "bad");
        }
        assembler.spoil("alone".to_owned());
        assert_eq!(assembler.end().unwrap().unwrap_err(), "alone");
        assert!(assembler.end().is_none());
    }
}
