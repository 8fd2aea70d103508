"""Chooses the skill that a message is about by its words: deterministic, no model, no cost to speak of."""

import heapq
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from contracts.base import Value
from contracts.skills import SkillSummary

NAME_WEIGHT: Final = 3.0
"""A word of the name says more about what a skill is for than three of its description."""

FIRST_WEIGHT: Final = 1.5
"""A word of the description's first sentence, which says what the skill is; the others (1.0) what it can do."""

THRESHOLD: Final = 0.25
"""The share of a message's weight that a skill must answer for; less is a word in common by chance."""

COUNTED_WORDS: Final = 8
"""A message is weighed as if it had at most so many words, so that a long one can still name its skill."""

MAX_WORDS: Final = 64
"""Distinct words of a message that are looked at: what comes later rarely changes the subject."""

_WORD: Final = re.compile(r"[^\W_]+")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")  # kana and Han run on without spaces
_COMMON_SHARE: Final = 0.05  # a word in more descriptions than this tells little apart and costs the most
_COMMON_AT_LEAST: Final = 20  # but in a small catalog every word counts

STOP_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """
    a about after again all also am an and any are as ask at be because been before being but by can
    could day did do doe doing don done down each else ever every few fine for from get give go
    going good great ha had have having he hello help her here hey hi him his how i if in into is it
    its just know let like ll lot many may me might more morning most much must my name need never
    new nice night no not now of off ok okay on one only or other our out over own per please quick
    re really said same say shall she should show skill so some such sure take tell than thank that
    the their them then there these they thi thing this those time to today tomorrow too turn up us
    use used user using ve very wa want was way we well were what when where whether which while who
    why will with without would write yes yesterday you your yours
        """,
    )
)
"""Words, folded as `words` gives them, that stand in any message, whatever it is about."""


class Ranked(Value, frozen=True):
    """A skill and how well it fits; above 0, comparable within one message only."""

    skill: SkillSummary
    score: float


class SkillIndex:
    """The words of a catalog, weighed once; a query then costs its words times the skills that hold them."""

    def __init__(self, skills: Iterable[SkillSummary]) -> None:
        self._skills = tuple(sorted(skills, key=lambda skill: skill.name))
        weights = [_weights(skill) for skill in self._skills]
        held = Counter(word for weighed in weights for word in weighed)
        self._idf = {word: math.log1p(len(self._skills) / count) for word, count in held.items()}
        self._rarest = math.log1p(len(self._skills))
        self._postings = _postings(weights, held)

    def rank(self, text: str, limit: int = 5) -> tuple[Ranked, ...]:
        """Give the skills that share a word with `text`, best first, equals by name, at most `limit`."""
        return self._ranked(_query(text), limit)

    def best(self, text: str) -> SkillSummary | None:
        """Give the skill that `text` is about; None for small talk and for what no skill covers."""
        query = _query(text)
        ranked = self._ranked(query, 1)
        return ranked[0].skill if ranked and ranked[0].score >= self._enough(query) else None

    def _ranked(self, query: Sequence[str], limit: int) -> tuple[Ranked, ...]:
        scores: defaultdict[int, float] = defaultdict(float)
        for word in query:
            for position, weight in self._postings.get(word, ()):
                scores[position] += weight * self._idf[word]
        best = heapq.nsmallest(limit, ((-round(score, 9), position) for position, score in scores.items()))
        return tuple(Ranked(self._skills[position], -score) for score, position in best)

    def _enough(self, query: Sequence[str]) -> float:
        telling = (word for word in query if word in self._idf or not word.isdecimal())
        total = sum(self._idf.get(word, self._rarest) for word in telling)
        return THRESHOLD * min(total, COUNTED_WORDS * self._rarest)


def words(text: str) -> Iterator[str]:
    """Give the words of `text` in order, without case, accents or plural; kana and Han in pairs of signs."""
    for found in _WORD.finditer(_plain(text)):
        word = found[0]
        if _UNSPACED.search(word):
            yield from _pairs(word)
        else:
            yield _singular(word)


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.category(letter).startswith("M"))


def _pairs(word: str) -> Iterator[str]:
    if len(word) == 1:
        yield word
    for start in range(len(word) - 1):
        yield word[start : start + 2]


def _singular(word: str) -> str:
    """Fold the commonest English plurals; the result need not be a word, only the same for both."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes", "zes")) else word[:-1]


def _query(text: str) -> list[str]:
    telling = dict.fromkeys(word for word in words(text) if word not in STOP_WORDS)
    return list(telling)[:MAX_WORDS]


def _weights(skill: SkillSummary) -> dict[str, float]:
    first, _, rest = skill.description.partition(". ")
    weights = dict.fromkeys(words(rest), 1.0) | dict.fromkeys(words(first), FIRST_WEIGHT)
    telling = {word: weight for word, weight in weights.items() if word not in STOP_WORDS}
    for word in dict.fromkeys(words(skill.name)):
        telling[word] = telling.get(word, 0.0) + NAME_WEIGHT
    return telling


def _postings(
    weights: Sequence[dict[str, float]], held: Counter[str]
) -> dict[str, tuple[tuple[int, float], ...]]:
    common = max(_COMMON_AT_LEAST, _COMMON_SHARE * len(weights))
    postings: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for position, weighed in enumerate(weights):
        for word, weight in weighed.items():
            if weight >= NAME_WEIGHT or held[word] <= common:
                postings[word].append((position, weight))
    return {word: tuple(found) for word, found in postings.items()}
