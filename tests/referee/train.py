"""A training script of a stranger: least squares by stochastic gradients, in plain Python.

It knows nothing of smol but the line `METRIC name=value`.
"""

import argparse
import random

RATE = 0.05
STEPS = 120
WIDTH = 4
BATCH = 4


def truth(rng):
    """The weights to be found."""
    return [rng.uniform(-1.0, 1.0) for _ in range(WIDTH)]


def example(rng, weights):
    """One noisy observation: inputs, target."""
    inputs = [rng.gauss(0.0, 1.0) for _ in range(WIDTH)]
    clean = sum(w * x for w, x in zip(weights, inputs, strict=True))
    return inputs, clean + rng.gauss(0.0, 0.3)


def loss(weights, examples):
    """Mean squared error."""
    total = 0.0
    for inputs, target in examples:
        total += (sum(w * x for w, x in zip(weights, inputs, strict=True)) - target) ** 2
    return total / len(examples)


def update(weights, batch, rate):
    """One step against the gradient."""
    gradient = [0.0] * WIDTH
    for inputs, target in batch:
        error = sum(w * x for w, x in zip(weights, inputs, strict=True)) - target
        for i, x in enumerate(inputs):
            gradient[i] += 2.0 * error * x / len(batch)
    return [w - rate * g for w, g in zip(weights, gradient, strict=True)]


def main():
    """Train, printing the validation loss on the way and at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    rng = random.Random(parser.parse_args().seed)
    goal = truth(random.Random(1234))
    held_out = [example(random.Random(i), goal) for i in range(200)]
    weights = [0.0] * WIDTH
    for step in range(STEPS):
        if step % 20 == 0:
            print(f"METRIC val_loss={loss(weights, held_out):.6f} step={step}")
        weights = update(weights, [example(rng, goal) for _ in range(BATCH)], RATE)
    print(f"METRIC tokens={STEPS * BATCH}")
    print(f"METRIC val_loss={loss(weights, held_out):.6f} lower")


if __name__ == "__main__":
    main()
