"""When which fault strikes: all from the seed."""

import msgspec
import pytest
from click.testing import CliRunner

from app.chaos.siege.schedule import KINDS, schedule
from app.cli import cli

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_gives_the_same_strikes_again(seed: int) -> None:
    """To the last millisecond and victim, so that a siege can be laid again."""
    assert schedule(seed, 120.0) == schedule(seed, 120.0)
    assert schedule(seed, 120.0) != schedule(seed + 1, 120.0)


@pytest.mark.parametrize("seconds", [6.0, 30.0, 600.0])
def test_every_kind_strikes_within_the_time_and_in_order(seconds: float) -> None:
    """Also in the shortest siege: one that leaves a kind out would prove nothing of it."""
    strikes = schedule(1, seconds)
    assert set(KINDS) == {strike.kind for strike in strikes}
    assert sorted(strike.at_s for strike in strikes) == [strike.at_s for strike in strikes]
    assert all(0 < strike.at_s < seconds for strike in strikes)
    assert all(strike.target in KINDS[strike.kind].targets for strike in strikes)


def test_a_kind_has_dice_of_its_own() -> None:
    """Leaving kinds out moves none of the others, so that what broke a promise can be narrowed down."""
    all_kinds = schedule(7, 60.0)
    kills = tuple(strike for strike in all_kinds if strike.kind == "kill")
    assert kills == schedule(7, 60.0, only=("kill",))
    others = tuple(strike for strike in all_kinds if strike.kind != "kill")
    assert others == schedule(7, 60.0, without=("kill",))


def test_intensity_multiplies_how_often() -> None:
    """Twice as many, or none at all."""
    once, twice = schedule(1, 600.0), schedule(1, 600.0, intensity=2.0)
    assert 2 * len(once) == len(twice)
    assert () == schedule(1, 600.0, intensity=0.0)


def test_a_strike_is_one_line_of_a_trace() -> None:
    """As it is written down, and as it comes back."""
    (strike, *_) = schedule(1, 60.0)
    assert strike == msgspec.json.decode(msgspec.json.encode(strike), type=type(strike))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--target", "plane", "--only", "earthquake"], "refuse_capacity"),
        (["--only", "redeploy", "--target", "plane", "--without", "store_outage"], "second_owner"),
        (["--only", "redeploy"], "store_outage"),
    ],
)
def test_a_kind_that_the_target_does_not_know_is_wrong_usage(words: list[str], named: str) -> None:
    """It ends with 2 and names those that there are, wherever `--target` stands."""
    done = CliRunner().invoke(cli, ["chaos", *words])
    assert 2 == done.exit_code
    assert named in done.output
