"""Random commits and queries, made alike on two Firestores, and what each of them says, apart from its times."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import grpc
from google.cloud.firestore_v1 import types
from hypothesis import strategies as st

from app.store.firestore_channel import Dial, Line
from app.store.firestore_values import micros, to_value

DOCUMENTS: Final = ("c/a", "c/b", "c/B", "c/10")
TIMES: Final = (datetime(1969, 7, 20, tzinfo=UTC), datetime(2001, 1, 1, 0, 0, 0, 5, tzinfo=UTC))
PATHS: Final = ("a", "b", "m", "m.k", "m.`x:y`", "a.k", "m.k.l")
METADATA: Final = (("authorization", "Bearer owner"),)
CALL_S: Final = 5.0

_Commit: Final[Any] = types.CommitRequest.pb()
_Get: Final[Any] = types.BatchGetDocumentsRequest.pb()
_Run: Final[Any] = types.RunQueryRequest.pb()
_Query: Final[Any] = types.StructuredQuery.pb()
_Write: Final[Any] = types.Write.pb()
_Value: Final[Any] = types.Value.pb()
_NOW: Final = types.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME
_Operator: Final = types.StructuredQuery.FieldFilter.Operator
_Direction: Final = types.StructuredQuery.Direction


class Asked(NamedTuple):
    """A write without its version: `version` says which one of the document's it has to be at."""

    write: Any
    document: str
    version: str = ""


# ---------------------------------------------------------------- what is asked

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((-1, 0, 1, 2, 2**62, 2**63 - 1, 0.5, 1.0, -2.5, float("inf"), float("nan"))),
    st.sampled_from(("", "a", "B", "é", "\U0001f600", "\uffff")),
    st.sampled_from((b"", b"a", b"\xff")),
    st.sampled_from(TIMES),
)
_values = st.one_of(
    _scalars,
    st.lists(_scalars, max_size=3),
    st.dictionaries(st.sampled_from(("k", "x:y")), _scalars, max_size=2),
)
_fields = st.dictionaries(st.sampled_from(("a", "b", "m")), _values, max_size=3)
_masks = st.none() | st.lists(st.sampled_from(PATHS), max_size=3, unique=True)


@st.composite
def _steps(draw: st.DrawFn) -> Any:
    step = types.DocumentTransform.FieldTransform.pb()(field_path=draw(st.sampled_from(PATHS)))
    match draw(st.sampled_from(("increment", "time", "append", "remove"))):
        case "increment":
            step.increment.CopyFrom(valued(draw(st.sampled_from((0, 1, -1, 2**62, 0.5)))))
        case "time":
            step.set_to_server_value = _NOW
        case "append":
            step.append_missing_elements.values.extend(map(valued, draw(st.lists(_scalars, max_size=3))))
            step.append_missing_elements.SetInParent()
        case _:
            step.remove_all_from_array.values.extend(map(valued, draw(st.lists(_scalars, max_size=3))))
            step.remove_all_from_array.SetInParent()
    return step


@st.composite
def _writes(draw: st.DrawFn) -> Asked:
    document, write = draw(st.sampled_from(DOCUMENTS)), _Write()
    if draw(st.integers(0, 5)):
        for name, value in draw(_fields).items():
            write.update.fields[name].CopyFrom(valued(value))
        if (mask := draw(_masks)) is not None:
            write.update_mask.SetInParent()
            write.update_mask.field_paths.extend(mask)
        write.update_transforms.extend(draw(st.lists(_steps(), max_size=2)))
    condition = draw(st.sampled_from(("", "", "", "absent", "present", "right", "older", "newer")))
    if condition in ("absent", "present"):
        write.current_document.exists = condition == "present"
        condition = ""
    return Asked(write, document, condition)


commits = st.lists(_writes(), min_size=1, max_size=3, unique_by=lambda asked: asked.document)


@st.composite
def queries(draw: st.DrawFn) -> Any:
    """Queries such as the adapter makes."""
    query = _Query()
    query.from_.add(collection_id="c")
    for path, operator, value in draw(st.lists(_conditions(), max_size=2)):
        part = query.where.composite_filter.filters.add().field_filter
        part.field.field_path, part.op = path, operator
        part.value.CopyFrom(valued(value))
        query.where.composite_filter.op = types.StructuredQuery.CompositeFilter.Operator.AND
    if draw(st.booleans()):
        _order(draw, query)
    for path in draw(st.sampled_from(((), ("__name__",), ("a",)))):
        query.select.fields.add(field_path=path)
    query.limit.value = draw(st.integers(1, 5))
    return query


@st.composite
def _conditions(draw: st.DrawFn) -> tuple[str, int, object]:
    value = draw(_scalars.filter(lambda each: each is not None and each == each))
    if draw(st.booleans()):
        return draw(st.sampled_from(("a", "b"))), _Operator.EQUAL, value
    if draw(st.booleans()):
        return "b", _Operator.IN, [value]
    return "a", draw(st.sampled_from((_Operator.GREATER_THAN, _Operator.GREATER_THAN_OR_EQUAL))), value


def _order(draw: st.DrawFn, query: Any) -> None:
    direction = draw(st.sampled_from((_Direction.ASCENDING, _Direction.DESCENDING)))
    query.order_by.add(direction=direction).field.field_path = "a"
    if draw(st.booleans()):
        query.order_by.add(direction=direction).field.field_path = "__name__"
        query.start_at.before = draw(st.booleans())
        query.start_at.values.add().CopyFrom(valued(draw(_scalars)))
        query.start_at.values.add().reference_value = draw(st.sampled_from(DOCUMENTS))


def valued(plain: object) -> Any:
    """Give a Value; unlike the service's own, of null too."""
    return _Value(null_value=0) if plain is None else _filled(plain)


def _filled(plain: object) -> Any:
    if not isinstance(plain, list | dict):
        return to_value(plain)
    value = _Value()
    if isinstance(plain, list):
        value.array_value.SetInParent()
        value.array_value.values.extend(map(valued, plain))
        return value
    value.map_value.SetInParent()
    for name, item in plain.items():
        value.map_value.fields[name].CopyFrom(valued(item))
    return value


# ---------------------------------------------------------------- what is said


class Twin:
    """One of the two: its times are told by the number of the commit that they are of."""

    def __init__(self, dial: Dial, project: str) -> None:
        self._line = Line(dial())
        self._database = f"projects/{project}/databases/(default)"
        self._root = f"{self._database}/documents"
        self._commits = 0
        self._moments: dict[int, int] = {}
        self._requested: dict[int, int] = {}
        self._versions: dict[str, list[int]] = {}

    async def commit(self, writes: Sequence[Asked]) -> object:
        """Commit, and tell the status, or what became of each document."""
        request = _Commit(database=self._database, writes=[self._named(each) for each in writes])
        self._commits += 1
        try:
            answer = await self._line.commit(request.SerializeToString(), timeout=CALL_S, metadata=METADATA)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        self._moments.setdefault(micros(answer.commit_time), self._commits)
        return [
            (self._moment(result.update_time), [self._plain(value) for value in result.transform_results])
            for result in answer.write_results
        ]

    async def documents(self) -> dict[str, object]:
        """Read them all."""
        names = [f"{self._root}/{name}" for name in DOCUMENTS]
        request = _Get(database=self._database, documents=names)
        told: dict[str, object] = {}
        async for answer in self._line.batch_get(request, timeout=CALL_S, metadata=METADATA):
            told[(answer.missing or answer.found.name)[len(self._root) + 1 :]] = self._told(answer.found)
            self._keep(answer.found)
        return told

    async def query(self, asked: Any) -> object:
        """Ask, and tell the documents in their order."""
        query = _Query()
        query.CopyFrom(asked)
        for value in query.start_at.values[1:]:
            value.reference_value = f"{self._root}/{value.reference_value}"
        request = _Run(parent=self._root, structured_query=query)
        stream = self._line.run_query(request, timeout=CALL_S, metadata=METADATA)
        answers = [answer async for answer in stream]
        found = [answer.document for answer in answers if answer.HasField("document")]
        return [(each.name[len(self._root) + 1 :], self._told(each)) for each in found]

    async def close(self) -> None:
        """Close its line."""
        await self._line.close(0.0)

    def _named(self, asked: Asked) -> Any:
        write = _Write()
        write.CopyFrom(asked.write)
        name = f"{self._root}/{asked.document}"
        if write.HasField("update") or write.update_transforms or write.HasField("update_mask"):
            write.update.name = name
        else:
            write.delete = name
        if asked.version:
            write.current_document.update_time.FromMicroseconds(self._version(asked))
        return write

    def _version(self, asked: Asked) -> int:
        versions = self._versions.get(asked.document, [1_000_000])
        return {"right": versions[-1], "older": versions[0] - 1, "newer": versions[-1] + 1}[asked.version]

    def _keep(self, document: Any) -> None:
        if document.name:
            versions = self._versions.setdefault(document.name[len(self._root) + 1 :], [])
            versions.append(micros(document.update_time))

    def _told(self, document: Any) -> object:
        fields = {name: self._plain(value) for name, value in sorted(document.fields.items())}
        return self._moment(document.create_time), self._moment(document.update_time), fields

    def _moment(self, time: Any) -> int:
        return self._moments.get(micros(time), 0)

    def _plain(self, value: Any) -> object:
        match value.WhichOneof("value_type"):
            case "timestamp_value" if micros(value.timestamp_value) > 1_500_000_000_000_000:
                return "time of a request"
            case "map_value":
                return {name: self._plain(each) for name, each in sorted(value.map_value.fields.items())}
            case "array_value":
                return [self._plain(each) for each in value.array_value.values]
            case kind:
                return kind, str(getattr(value, str(kind)))
