"""`skills list|show|lint`: what the skills folder holds, and what is wrong with it."""

import asyncio
import sys

import click
import msgspec
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from actors.ports import SkillFile, SkillScan
from actors.skill_library import SkillLibrary
from app.cli.running import fail, settings
from app.skills.lint import exit_code, lint
from app.wiring import skill_files


@click.group()
def skills() -> None:
    """Look at the skill files."""


@skills.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_skills(as_json: bool) -> None:
    """List the skills, and the files set aside."""
    scan = _scan()
    if as_json:
        found = [msgspec.to_builtins(skill.summary) for skill in scan.skills]
        return _json({"skills": found, "set_aside": [msgspec.to_builtins(each) for each in scan.set_aside]})
    table = Table("skill", "deployment", "description", "path")
    for skill in scan.skills:
        table.add_row(
            skill.summary.name, skill.summary.deployment, skill.summary.description, skill.summary.path
        )
    Console().print(table)
    for each in scan.set_aside:
        click.echo(f"set aside: {each.file}: {each.reason}", err=True)
    return None


@skills.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def show(name: str, as_json: bool) -> None:
    """Show one skill by name or folder."""
    library = SkillLibrary(_scan())
    found = library.find(name)
    if found is None:
        nearest = ", ".join(library.suggest(name))
        fail(f"there is no skill {name[:80]!r}" + (f"; did you mean {nearest}?" if nearest else ""))
    if as_json:
        return _json(msgspec.to_builtins(found))
    return _page(found)


@skills.command("lint")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def lint_skills(as_json: bool) -> None:
    """Check the skill files; exits with 1 when one was set aside or lost something."""
    findings = lint(_scan())
    if as_json:
        _json({"findings": [msgspec.to_builtins(each) for each in findings]})
    for each in () if as_json else findings:
        click.echo(f"{each.severity}: {each.file}: {each.reason}")
    failed = exit_code(findings)
    if not failed and not as_json:
        click.echo("no errors")
    sys.exit(failed)


def _scan() -> SkillScan:
    return asyncio.run(skill_files(settings()).scan())


def _page(skill: SkillFile) -> None:
    console = Console()
    console.print(f"[bold]{skill.summary.name}[/bold]  ({skill.summary.deployment}, {skill.summary.path})")
    console.print(Markdown(skill.body))
    for resource in skill.resources:
        console.print(f"beside it: {resource}")


def _json(document: object) -> None:
    click.echo(msgspec.json.encode(document))
