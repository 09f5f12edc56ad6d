"""Steps a second of an environment with random actions in Gymnasium or EnvPool, as one line of JSON.

The counterpart of `crates/poiesis-envs/examples/steps.rs`: actions are drawn beforehand, and every environment that was stepped counts.
One environment of Gymnasium is stepped by itself, more in a vector. An environment that is done is reset in the same step in
Gymnasium. EnvPool resets it in a step of its own, which counts here.
"""

import argparse
import json
import time

import numpy as np

IDS = {"cartpole": "CartPole-v1", "hopper": "Hopper-v5"}
DRAWN, STRETCH, WARMUP = 1024, 64, 0.2
# Gymnasium: one after another, a process for each, all in one array (where the environment has that form).
# EnvPool: a step waits for all environments, or for half of them, or all are stepped by one thread.
MODES = {"gymnasium": ["sync", "async", "array"], "envpool": ["sync", "async", "one_thread"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=MODES)
    parser.add_argument("environment", choices=IDS)
    parser.add_argument("--envs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mode", default="sync")
    given = parser.parse_args()
    if given.mode not in MODES[given.program]:
        parser.error(f"{given.program} has the modes {', '.join(MODES[given.program])}")
    step = gymnasium(given) if given.program == "gymnasium" else envpool(given)
    print(json.dumps({"steps_per_second": round(rate(step, given.seconds)), **vars(given)}))


def rate(step, seconds):
    """Calls `step(number)` for about as long as `seconds`; it returns how many steps it made."""
    number = 0
    for duration in [WARMUP, seconds]:
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < duration:
            for _ in range(STRETCH):
                count += step(number)
                number += 1
        found = count / (time.perf_counter() - began)
    return found


def gymnasium(given):
    import gymnasium as gym

    name = IDS[given.environment]
    if given.envs == 1:
        env = gym.make(name, disable_env_checker=True)
        # A choice as a plain int is what its checks take the least time for.
        actions = [action.tolist() if action.ndim == 0 else action for action in draw(env.action_space, [DRAWN])]
        env.reset(seed=0)

        def single(number):
            _, _, terminated, truncated, _ = env.step(actions[number % DRAWN])
            if terminated or truncated:
                env.reset()
            return 1

        return single

    same = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
    kinds = {"sync": ("sync", same), "async": ("async", same), "array": ("vector_entry_point", None)}
    kind, options = kinds[given.mode]
    envs = gym.make_vec(name, given.envs, kind, vector_kwargs=options)
    actions = draw(envs.single_action_space, [DRAWN, given.envs])
    envs.reset(seed=0)

    def vector(number):
        envs.step(actions[number % DRAWN])
        return given.envs

    return vector


def envpool(given):
    import envpool

    threads = 1 if given.mode == "one_thread" else min(given.threads, given.envs)
    waits_for = given.envs // 2 if given.mode == "async" else given.envs
    envs = envpool.make(
        IDS[given.environment],
        env_type="gymnasium",
        num_envs=given.envs,
        batch_size=max(waits_for, 1),
        num_threads=threads,
        seed=0,
    )
    actions = draw(envs.action_space, [DRAWN, max(waits_for, 1)])
    if given.mode != "async":
        envs.reset()

        def wait_for_all(number):
            envs.step(actions[number % DRAWN])
            return given.envs

        return wait_for_all

    envs.async_reset()

    def wait_for_half(number):
        info = envs.recv()[4]
        envs.send(actions[number % DRAWN], info["env_id"])
        return waits_for

    return wait_for_half


def draw(space, shape):
    generator = np.random.default_rng(0)
    if hasattr(space, "n"):
        return generator.integers(space.n, size=shape).astype(space.dtype)
    return generator.uniform(space.low, space.high, [*shape, *space.shape]).astype(space.dtype)


if __name__ == "__main__":
    main()
