"""PPO of Stable-Baselines3 on CartPole-v1 until the last episodes have a mean return, with the settings of RL Baselines3 Zoo.

Prints one line of JSON: steps and seconds at which the goal was reached (null where it was not), the clock at that moment, and the mean
return of 20 episodes with the most likely actions.
"""

import argparse
import json
import time

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

# Of the zoo: 8 environments, 100,000 steps, rate and clip range fall to 0.
ENVS, STEPS = 8, 100_000
SETTINGS = {"n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "ent_coef": 0.0}


class Goal(BaseCallback):
    """Ends training when the last episodes of a rollout reach a goal, and after `steps` unless they are 0."""

    def __init__(self, goal, episodes, steps):
        super().__init__()
        self.goal, self.episodes, self.steps, self.reached = goal, episodes, steps, None

    def _on_step(self):
        return self.reached is None and not 0 < self.steps <= self.num_timesteps

    def _on_rollout_end(self):
        last = self.model.ep_info_buffer
        if self.reached is None and len(last) >= self.episodes:
            if sum(episode["r"] for episode in last) / len(last) >= self.goal:
                self.reached = self.num_timesteps, time.perf_counter()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--goal", type=float, default=475.0)
    parser.add_argument("--episodes", type=int, default=100, help="how many episodes the mean is of")
    parser.add_argument("--steps", type=int, default=0, help="end after so many steps, whatever was reached; the schedules do not change")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    envs = make_vec_env("CartPole-v1", n_envs=ENVS, seed=given.seed)
    falling = lambda first: lambda left: first * left
    model = PPO(
        "MlpPolicy",
        envs,
        learning_rate=falling(1e-3),
        clip_range=falling(0.2),
        stats_window_size=given.episodes,
        seed=given.seed,
        device="cpu",
        **SETTINGS,
    )
    goal = Goal(given.goal, given.episodes, given.steps)
    began = time.perf_counter()
    model.learn(STEPS, callback=goal)
    seconds = time.perf_counter() - began
    steps = model.num_timesteps
    mean, _ = evaluate_policy(model, make_vec_env("CartPole-v1", seed=1000 + given.seed), n_eval_episodes=20)
    found = {"goal_steps": None, "goal_seconds": None, "clock": None}
    if goal.reached:
        found = {"goal_steps": goal.reached[0], "goal_seconds": goal.reached[1] - began, "clock": goal.reached[1]}
    print(json.dumps({**found, "steps": steps, "seconds": seconds, "evaluated": mean, "seed": given.seed}))


if __name__ == "__main__":
    main()
