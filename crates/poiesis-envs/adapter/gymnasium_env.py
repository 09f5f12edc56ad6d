"""Offers an environment of Gymnasium to Poiesis: `--env 'python gymnasium_env.py LunarLander-v3'`.

Keyword arguments of the environment follow its name as JSON: `python gymnasium_env.py Ant-v5 '{"frame_skip": 4}'`.
One line of JSON in, one out. What the environment prints goes to the error output.
"""

import json
import math
import sys

import gymnasium
import numpy as np

replies, sys.stdout = sys.stdout, sys.stderr


def reply(**values):
    print(json.dumps(values), file=replies, flush=True)


def numbers(array):
    return [float(x) if math.isfinite(x) else None for x in np.asarray(array, float).ravel()]


def space(which):
    if isinstance(which, gymnasium.spaces.Discrete):
        return {"discrete": int(which.n)}
    if isinstance(which, gymnasium.spaces.Box):
        return {"box": {"low": numbers(which.low), "high": numbers(which.high)}}
    sys.exit(f"spaces are Discrete or Box, not {which}; wrap the environment, as FlattenObservation does")


def offered(value, which):
    """A value as the environment takes it."""
    if isinstance(which, gymnasium.spaces.Discrete):
        return value + int(which.start)
    return np.array(value, which.dtype).reshape(which.shape)


def seen(value, which):
    """An observation as numbers."""
    return [int(value) - int(which.start)] if isinstance(which, gymnasium.spaces.Discrete) else numbers(value)


def main():
    env = gymnasium.make(sys.argv[1], **(json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}))
    spec, looks, acts = env.spec, env.observation_space, env.action_space
    seconds = 1 / env.metadata["render_fps"] if env.metadata.get("render_fps") else 0.0
    reply(protocol=1, name=spec.id, observation=space(looks), action=space(acts), time_limit=spec.max_episode_steps,
          reward_threshold=spec.reward_threshold, seconds=seconds)
    for line in sys.stdin:
        request = json.loads(line)
        if request["command"] == "reset":
            reply(observation=seen(env.reset(seed=request["seed"])[0], looks))
        elif request["command"] == "step":
            observation, reward, terminated, truncated, _ = env.step(offered(request["action"], acts))
            reply(observation=seen(observation, looks), reward=float(reward), terminated=bool(terminated),
                  truncated=bool(truncated))
        else:
            break
    env.close()


main()
