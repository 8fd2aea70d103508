"""The file of desired settings: what it may say, and what is refused in one line."""

from pathlib import Path

import pytest

from app.scale.desired import BadFile, read_desired


def test_each_actors_table_is_read(tmp_path: Path) -> None:
    """What is not there is not wished for."""
    file = tmp_path / "scaling.toml"
    file.write_text("[chat_agent]\nmin_containers = 2\nscaledown_window = 600\n[gateway]\n")
    assert {"chat_agent": {"min_containers": 2, "scaledown_window": 600}, "gateway": {}} == read_desired(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[chat_agent]\nmin_containers = -1", "[chat_agent] min_containers = -1 is not between 0 and 1000"),
        ("[chat_agent]\nmax_containers = 0", "max_containers = 0 is not between 1 and 1000"),
        ("[chat_agent]\nscaledown_window = 3601", "scaledown_window = 3601 is not between 2 and 3600"),
        ("[chat_agent]\nmin_containers = '2'", "min_containers = '2' is no whole number"),
        ("[chat_agent]\nmin_containers = true", "is no whole number"),
        ("[chat_agent]\nmin_containers = 1.0", "is no whole number"),
        ("[chat_agent]\nmin_container = 1", "'min_container' is no setting, did you mean min_containers?"),
        ("[chat_agent]\nmax_inputs = 1", "max_inputs only changes by a deploy"),
        (
            "[chat_agents]\nmin_containers = 1",
            "'chat_agents' is no table of an actor, did you mean chat_agent?",
        ),
        ("chat_agent = 1", "'chat_agent' is no table of an actor: write [chat_agent]"),
        ("[[chat_agent]]", "'chat_agent' is no table of an actor: write [chat_agent]"),
        ("[gateway]\nmin_containers = 3\nmax_containers = 2", "max_containers 2 is below min_containers 3"),
        ("[chat_agent", "can't be read"),
        ("a = " + "[" * 100_000, "can't be read"),
        ("\0", "can't be read"),
    ],
)
def test_what_modal_would_not_take_is_named(tmp_path: Path, text: str, said: str) -> None:
    """By file, actor, key and value."""
    file = tmp_path / "scaling.toml"
    file.write_text(text)
    with pytest.raises(BadFile) as refused:
        read_desired(file)
    assert (1, True, True) == (
        len(str(refused.value).splitlines()),
        str(refused.value).startswith(str(file)),
        said in str(refused.value),
    )


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With the option that names another."""
    with pytest.raises(BadFile, match=r"there is no .*--file"):
        read_desired(tmp_path / "scaling.toml")


def test_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    """In words, and once."""
    with pytest.raises(BadFile) as refused:
        read_desired(tmp_path)
    assert f"{tmp_path} can't be read: Is a directory" == str(refused.value)


def test_the_mark_that_some_editors_begin_a_file_with_is_read_over(tmp_path: Path) -> None:
    """It is no statement of the user's."""
    file = tmp_path / "scaling.toml"
    file.write_bytes(b"\xef\xbb\xbf[gateway]\nmin_containers = 2\n")
    assert {"gateway": {"min_containers": 2}} == read_desired(file)


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """TOML is UTF-8."""
    file = tmp_path / "scaling.toml"
    file.write_bytes(b"# \xff\n")
    with pytest.raises(BadFile, match="can't be read"):
        read_desired(file)
