"""All breaks: of dedupe, compare-and-set, outbox, lease, waits and doctor, in both stores where they differ."""

from typing import Final

from tests.mutations import of_stores, of_turns, of_waits

DEDUPE: Final = (*of_stores.DEDUPE, *of_turns.DEDUPE)
COMPARE_AND_SET: Final = (*of_stores.COMPARE_AND_SET, *of_turns.COMPARE_AND_SET)
OUTBOX: Final = (*of_stores.OUTBOX, *of_turns.OUTBOX)
LEASE: Final = (*of_stores.LEASE, *of_turns.LEASE)
BREAKS: Final = (
    *of_stores.WIRE,
    *DEDUPE,
    *COMPARE_AND_SET,
    *OUTBOX,
    *LEASE,
    *of_waits.WAITS,
    *of_waits.DOCTOR,
)
