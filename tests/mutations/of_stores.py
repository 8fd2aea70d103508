"""Breaks of the two stores: dedupe, compare-and-set, outbox, lease."""

from typing import Final

from tests.mutations.runner import Break

SQLITE: Final = "app/store/sqlite_changes.py"
FIRESTORE: Final = "app/store/firestore.py"
DOCS: Final = "app/store/firestore_docs.py"

WIRE: Final = (
    Break(
        "firestore: a connection that answers nothing is kept",
        "app/store/firestore_channel.py",
        "_DEADLINES_BEFORE_REPLACING: Final = 2 ",
        "_DEADLINES_BEFORE_REPLACING: Final = 99 ",
        "tests/app/chaos/test_firestore_store.py"
        "::test_a_connection_that_answers_nothing_is_replaced_after_two_deadlines",
    ),
    Break(
        "firestore: one's own turn whose reply was lost is a conflict",
        FIRESTORE,
        "if not docs.has_operation(update, write.operation):",
        "if docs.version_of(update) != write.update.version:",
        "tests/app/chaos/test_firestore_store.py::test_a_commit_whose_reply_is_lost_is_heard_of_once",
    ),
)

DEDUPE: Final = (
    Break(
        "firestore: one's own update that has moved on since is taken for new",
        FIRESTORE,
        "if not docs.has_operation(update, operation):",
        "if not docs.version_of(update):",
        "tests/app/chaos/test_firestore_store.py"
        "::test_an_append_that_hears_late_does_not_claim_an_update_that_has_moved_on",
    ),
    Break(
        "sqlite: an update that is there is written again",
        "app/store/sqlite_appends.py",
        'ON CONFLICT (bot, "update") DO NOTHING',
        'ON CONFLICT (bot, "update") DO UPDATE SET body = excluded.body',
        "tests/app/store/test_conformance_mailboxes.py::test_append_twice[sqlite]",
    ),
    Break(
        "sqlite: the same update may have two rows",
        "app/store/sqlite_schema.py",
        "CREATE UNIQUE INDEX updates_by_id",
        "CREATE INDEX updates_by_id",
        "tests/app/store/test_conformance_mailboxes.py::test_append_twice[sqlite]",
    ),
    Break(
        "firestore: an update that is there is written again",
        DOCS,
        "server_times=times, when=When.ABSENT)",
        "server_times=times, when=When.ALWAYS)",
        "tests/app/store/test_conformance_mailboxes.py::test_append_twice[firestore]",
    ),
    Break(
        "firestore: somebody else's update is taken for one's own whose reply was lost",
        FIRESTORE,
        "if not docs.has_operation(update, operation):",
        "if update is None:",
        "tests/app/store/test_firestore_faults.py::test_an_append_that_is_unsure_knows_another_ones_update",
    ),
    Break(
        "firestore: one's own update whose reply was lost is taken for a duplicate",
        FIRESTORE,
        "return await self._appended_before(record, operation) if error.unsure else Appended(created=False)",
        "return Appended(created=False)",
        "tests/app/store/test_firestore_faults.py::test_an_append_whose_reply_is_lost_was_created_once",
    ),
)

COMPARE_AND_SET: Final = (
    Break(
        "sqlite: a turn is written over any version",
        SQLITE,
        "if version != write.update.version:",
        "if False:",
        "tests/app/store/test_conformance_turns.py::test_a_moved_update_is_a_conflict[sqlite]",
    ),
    Break(
        "sqlite: a turn's session is written over any version",
        SQLITE,
        "_session_version(commit, write.session.chat) != write.session.version:",
        "False:",
        "tests/app/store/test_conformance_turns.py::test_a_moved_session_is_a_conflict[sqlite]",
    ),
    Break(
        "sqlite: a repeated turn is a conflict",
        SQLITE,
        "if operation == write.operation:",
        "if False:",
        "tests/app/store/test_conformance_turns.py::test_a_repeated_step_succeeds_without_writing[sqlite]",
    ),
    Break(
        "sqlite: a session is written over any version",
        SQLITE,
        "if version != session.version:",
        "if False:",
        "tests/app/store/test_conformance_sessions.py::test_a_session_at_another_version_is_a_conflict[sqlite-1]",
    ),
    Break(
        "sqlite: a repeated write of a session is a conflict",
        SQLITE,
        "if newest == operation:",
        "if False:",
        "tests/app/store/test_conformance_sessions.py::test_a_repeated_session_write_gives_the_current_version[sqlite]",
    ),
    Break(
        "sqlite: a repeated turn tells the update's version for the session's",
        SQLITE,
        "_written(commit, write, version, _session_version_of(commit, write), repeated=True)",
        "_written(commit, write, version, version, repeated=True)",
        "tests/app/store/test_conformance_two_owners.py::test_a_turn_repeated_after_its_texts_were_erased_tells_the_session[sqlite]",
    ),
    Break(
        "firestore: a turn is written over any version",
        DOCS,
        "        when=record.version,\n",
        "        when=When.PRESENT,\n",
        "tests/app/store/test_conformance_turns.py::test_a_moved_update_is_a_conflict[firestore]",
    ),
    Break(
        "firestore: a turn of no update makes one",
        FIRESTORE,
        "if not write.update.version:",
        "if False:",
        "tests/app/store/test_conformance_turns.py::test_a_turn_of_no_update_is_a_conflict[firestore-0]",
    ),
    Break(
        "firestore: a session is written over any version",
        DOCS,
        "when=at_version(session.version),",
        "when=When.ALWAYS,",
        "tests/app/store/test_conformance_sessions.py::test_a_session_at_another_version_is_a_conflict[firestore-1]",
    ),
    Break(
        "firestore: a repeated turn is a conflict",
        FIRESTORE,
        "if not docs.has_operation(update, write.operation):",
        "if True:",
        "tests/app/store/test_conformance_turns.py::test_a_repeated_step_succeeds_without_writing[firestore]",
    ),
    Break(
        "firestore: a repeated write of a session is a conflict",
        FIRESTORE,
        "if not docs.has_operation(stored, operation):",
        "if True:",
        "tests/app/store/test_conformance_sessions.py::test_a_repeated_session_write_gives_the_current_version[firestore]",
    ),
    Break(
        "firestore: an append does not tell that the session was written beside a turn",
        DOCS,
        "told = Change(document=mailbox_path(session.chat), fields=fields)",
        "told = Change(document=mailbox_path(session.chat))",
        "tests/app/store/test_conformance_two_owners.py::test_each_write_of_a_session_gives_another_revision[firestore]",
    ),
)

OUTBOX: Final = (
    Break(
        "firestore: an update that has ended stays in the mailbox",
        DOCS,
        'removed={"tickets": [record.key]},',
        "",
        "tests/app/store/test_firestore_documents.py::test_an_ended_update_expires",
    ),
    Break(
        "sqlite: an update that has ended stays in the mailbox",
        SQLITE,
        "new = (update.state, update.open, update.reason,",
        "new = (update.state, True, update.reason,",
        "tests/app/store/test_conformance_turns.py::test_an_ended_turn_leaves_the_mailbox_and_its_lease[sqlite-answered]",
    ),
)

LEASE: Final = (
    Break(
        "firestore: a chat is read in two halves",
        FIRESTORE,
        " if not head.is_torn(waiting)}",
        "}",
        "tests/app/store/test_firestore_documents.py::test_a_chat_is_read_at_one_moment",
    ),
    Break(
        "sqlite: a step leaves its lease to the background",
        SQLITE,
        "if write.update.open and write.lease is not None:",
        "if False:",
        "tests/app/store/test_conformance_two_owners.py::test_a_step_renews_the_lease[sqlite]",
    ),
    Break(
        "sqlite: an end leaves its lease behind",
        SQLITE,
        '"DELETE FROM leases WHERE chat = ? AND update_key = ?"',
        '"DELETE FROM leases WHERE chat = ? AND update_key <> ?"',
        "tests/app/store/test_conformance_turns.py::test_an_ended_turn_leaves_the_mailbox_and_its_lease[sqlite-answered]",
    ),
    Break(
        "firestore: a step leaves its lease to the background",
        DOCS,
        "if record.open and write.lease is not None:",
        "if False:",
        "tests/app/store/test_conformance_two_owners.py::test_a_step_renews_the_lease[firestore]",
    ),
    Break(
        "firestore: an end drops the lease of another turn",
        DOCS,
        "cleared=(_lease_path(record.key), _wait_path(record.key))",
        'cleared=("leases", _wait_path(record.key))',
        "tests/app/store/test_conformance_two_owners.py::test_an_end_leaves_the_lease_of_another_turn[firestore]",
    ),
    Break(
        "firestore: an end leaves its lease behind",
        DOCS,
        "cleared=(_lease_path(record.key), _wait_path(record.key))",
        "cleared=(_wait_path(record.key),)",
        "tests/app/store/test_firestore_documents.py::test_an_ended_update_expires",
    ),
    Break(
        "firestore: a lease is as old as its first writing",
        DOCS,
        "        server_times=_renewed(lease),\n",
        "",
        "tests/app/store/test_conformance_mailboxes.py::test_lease_age_is_store_time[firestore]",
    ),
    Break(
        "sqlite: a late lease takes another turn's place",
        SQLITE,
        "EXISTS (SELECT 1 FROM updates WHERE open = 1 AND chat = ?1 AND bot",
        "EXISTS (SELECT 1 FROM updates WHERE chat = ?1 AND bot",
        "tests/app/store/test_conformance_two_owners.py::test_a_late_lease_takes_no_other_turns_place[sqlite]",
    ),
    Break(
        "firestore: a late lease takes another turn's place",
        DOCS,
        '        paths=tuple(f"{name}.`{lease.update_key}`" for name in fields),\n',
        "",
        "tests/app/store/test_conformance_two_owners.py::test_a_late_lease_takes_no_other_turns_place[firestore]",
    ),
    Break(
        "sqlite: a wait whose turn an old program has ended is told",
        "app/store/sqlite_reads.py",
        "SELECT 1 FROM updates WHERE open = 1 AND chat = ?2 AND bot",
        "SELECT 1 FROM updates WHERE chat = ?2 AND bot",
        "tests/app/store/test_sqlite_old_programs.py::test_an_old_program_ends_a_turn_that_waits",
    ),
    Break(
        "sqlite: an end leaves its wait behind",
        SQLITE,
        '"DELETE FROM waits WHERE chat = ? AND update_key = ?"',
        '"DELETE FROM waits WHERE chat = ? AND update_key <> ?"',
        "tests/app/store/test_sqlite_old_programs.py::test_an_end_erases_the_wait",
    ),
    Break(
        "sqlite: a late lease takes the wait along",
        SQLITE,
        "if lease.wait_s > 0:",
        "if True:",
        "tests/app/store/test_conformance_mailboxes.py::test_a_late_lease_leaves_the_wait_alone[sqlite]",
    ),
    Break(
        "firestore: a step of a turn takes its wait along",
        DOCS,
        "        if write.lease.wait_s > 0:\n            fields",
        "        if True:\n            fields",
        "tests/app/store/test_conformance_mailboxes.py::test_a_late_lease_leaves_the_wait_alone[firestore]",
    ),
)
