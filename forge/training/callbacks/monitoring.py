"""The health of a training: observed every so many images, and what the policy makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forge.core.errors import BenchError
from forge.core.files import write_json
from forge.training.monitor.health import Action, decide, present_state, state_title
from forge.training.monitor.observe import HealthMonitor, Observed
from forge.training.task import Training
from forge.training.tensorboard import Tracker
from forge.training.trainer import SAMPLES, Callback, Trainer

# 1,024 for the reference and 256 to measure it by, see monitor.metrics
REALS_WATCHED = 1280  # real ones


class WatchHealth(Callback):
    """Observes the training, writes health.json, and warns, stops or rolls back as the settings say.

    Args:
        training: what is trained.
        events: for TensorBoard.
    """

    def __init__(self, training: Training, events: Tracker | None) -> None:
        self._training, self._settings, self._events = training, training.settings.health, events
        # 20 looks, at most 50 thousand images apart
        self._every = training.settings.health_every_kimg or min(training.settings.kimg / 20, 50.0)
        self._healthy = training.work / "healthy.safetensors"  # the last checkpoint without a sign of a failure
        self._observations: list[dict[str, Any]] = []
        self._roll_backs = 0

    def setup(self, trainer: Trainer) -> None:
        """Prepare the real images to compare with."""
        self._monitor = self._fresh_monitor(trainer)

    def _fresh_monitor(self, trainer: Trainer) -> HealthMonitor:
        training = self._training
        view, held_out = trainer.method.expected()
        return HealthMonitor(
            self._settings,
            view.sample(REALS_WATCHED, training.seed).read(),
            held_out.read() if held_out is not None else None,
            seed=training.seed,
            device=trainer.device,
            watched=trainer.method.watched,
            guided=trainer.method.guided,
        )

    def note(self) -> str:
        """Return the newest state."""
        return state_title(self._observations[-1]["state"]) if self._observations else ""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over all observations."""
        self._monitor.load_state_dict(state["monitor"])
        self._roll_backs = state["roll_backs"]
        self._observations = [look | {"state": present_state(look["state"])} for look in state["health"]]

    def state_dict(self) -> dict[str, Any]:
        """Return all observations, and what the monitor remembers."""
        return {
            "health": self._observations,
            "monitor": self._monitor.state_dict(),
            "roll_backs": self._roll_backs,
        }

    def on_start(self, trainer: Trainer) -> None:
        """Before step one: the untrained generator's images must be tellable from real ones.

        Raises:
            InputError: they are not, or the images or the generator are not what they should be.
        """
        if not trainer.processes.first:
            return
        if not trainer.resumed:
            # of an earlier training in this folder: going back to it would mix two trainings
            self._healthy.unlink(missing_ok=True)
        if trainer.step == 0:
            untrained = trainer.images(trainer.method.generator, trainer.method.watched, "start")
            # one that goes on from a finished training makes faces already
            tellable = trainer.method.starts_tellable and trainer.training.start is None
            self._monitor.start_check(untrained, tellable=tellable)

    def on_step(self, trainer: Trainer) -> None:
        """Observe if it is time, or if a reading is no number, and do what the policy says.

        Raises:
            BenchError: the training stops here.
        """
        # the first process decides for all: one that went another way would leave the others waiting in the next
        # exchange
        broken = trainer.logged and trainer.processes.broadcast(not trainer.finite)
        if not (broken or trainer.due(self._every)):
            return
        # means since the last look; asking for them begins the next interval
        interval = trainer.method.interval_readings()
        trainer.fetch()
        # the first process observes, and all get its action
        action = trainer.processes.broadcast(self._observe(trainer, interval) if trainer.processes.first else None)
        if action.step == "stop":
            raise BenchError(
                f"the training of {self._training.name} was stopped: {action.reason}; {trainer.method.remedy}, "
                "or try another seed"
            )
        if action.step == "roll-back":
            self._roll_backs += 1
            trainer.rewind(self._healthy, stream=action.stream, lr_factor=action.lr_factor)
        # only a state without any sign is kept: from one with a sign the same failure may follow again
        elif self._settings.policy == "roll-back" and self._monitor.clear:
            trainer.save(self._healthy)

    def on_rewind(self, trainer: Trainer, state: Mapping[str, Any] | None) -> None:
        # the observations stay: health.json shows what the roll-back was for
        """Let the monitor forget what came after; observations are kept."""
        if state is None:
            self._monitor = self._fresh_monitor(trainer)
        else:
            self._monitor.load_state_dict(state["monitor"])

    def on_publish(self, trainer: Trainer, out: Path) -> None:
        """Write all observations."""
        write_json(out / "health.json", self._observations)

    def _observe(self, trainer: Trainer, interval: Mapping[str, float]) -> Action:
        network = trainer.settled()
        # new latents at each step, so that a few lucky ones cannot hide a collapse
        fresh = trainer.images(network, trainer.method.watched, "fresh", trainer.step)
        health = self._monitor.observe(
            Observed(
                step=trainer.step,
                kimg=trainer.kimg,
                readings=trainer.values | dict(interval) | trainer.generator_readings(network),
                fixed=trainer.images(network, SAMPLES, "grid"),  # the same latents at every tick
                fresh=fresh,
                discriminator=trainer.method.discriminate(fresh),
            )
        )
        action = decide(health, self._settings, self._roll_backs)
        readings = {name: round(value, 5) for name, value in health.readings.items()}
        self._observations.append(asdict(health) | {"readings": readings, "action": action.step})
        write_json(self._training.work / "health.json", self._observations)
        if self._events:
            images = round(trainer.kimg * 1000)
            self._events.scalars(images, {f"health/{name}": value for name, value in readings.items()})
            self._events.text(images, "health", f"{state_title(health.state)}: {health.reason}")
        return action
