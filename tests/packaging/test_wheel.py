"""What a user installs is whole: the wheel, an editable checkout, and nothing left after either."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import journal

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = "Scripts" if sys.platform == "win32" else "bin"


class Environment:
    """A fresh virtual environment, and commands run in it, away from the checkout."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "environment"
        self.elsewhere = directory / "elsewhere"
        self.elsewhere.mkdir()
        venv.create(self.directory, with_pip=True, symlinks=sys.platform != "win32")

    def run(self, command: str, *arguments: str) -> str:
        return run(str(self.directory / SCRIPTS / command), *arguments, cwd=self.elsewhere)

    def install(self, *what: str) -> None:
        self.run("python", "-m", "pip", "install", "--quiet", *what)

    def uninstall(self) -> None:
        self.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", "session-journal")

    def files(self) -> set[str]:
        return {str(path.relative_to(self.directory)) for path in self.directory.rglob("*")}


def run(*command: str, cwd: Path, **variables: str) -> str:
    """Run a command with nothing of ours in its environment; give its output, or fail with it."""
    hidden = ("JOURNAL_", "PYTHON", "COV_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    kept |= {"XDG_DATA_HOME": str(cwd / "data"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=kept | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dist")
    build = ("-m", "build", "--no-isolation", "--outdir", str(directory))
    run(sys.executable, *build, str(ROOT), cwd=directory)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    environment = Environment(tmp_path_factory.mktemp("installed"))
    environment.install(str(wheel))
    return environment


def test_the_wheel_holds_the_package_and_its_migrations(wheel):
    """Nothing but journal/ and the metadata, the migrations as journal/_alembic/."""
    names = zipfile.ZipFile(wheel).namelist()
    revisions = {f"journal/_alembic/versions/{path.name}" for path in revisions_here()}

    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "journal",
        "session_journal",
    }
    assert {"journal/py.typed", "journal/_alembic/env.py"} | revisions <= set(names)


def revisions_here() -> list[Path]:
    return sorted((ROOT / "alembic" / "versions").glob("*.py"))


def test_the_wheel_holds_every_file_of_the_package(wheel):
    """Data that ships with the package (the demo's store, say) is not lost on the way."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: git has no list of files to compare with")
    tracked = run("git", "ls-files", "-z", "journal", cwd=ROOT).split("\0")

    assert set(filter(None, tracked)) <= set(zipfile.ZipFile(wheel).namelist())


def test_the_command_says_its_version(installed):
    """The version of the command is the version of the wheel."""
    assert journal.__version__ in installed.run("journal", "--version")


def test_the_demo_runs_from_the_wheel(installed):
    """The main job, in an environment that has never seen the checkout."""
    assert "takeover" in installed.run("journal", "demo")


def test_the_package_runs_as_a_module(installed):
    """``python -m journal`` is the command too."""
    assert "Usage" in installed.run("python", "-m", "journal", "--help")


@pytest.mark.slow
def test_uninstalling_leaves_nothing(wheel, tmp_path):
    """After uninstall the environment has the files it had before."""
    environment = Environment(tmp_path)
    environment.install("--no-deps", str(wheel))
    environment.uninstall()  # pip's own modules are compiled by now, and both counts see them
    before = environment.files()

    environment.install("--no-deps", str(wheel))
    environment.uninstall()

    assert environment.files() == before
    assert [name for name in before if "journal" in Path(name).name] == []


@pytest.mark.slow
def test_an_editable_install_uses_the_checkout(tmp_path):
    """The package and its migrations are the checkout's own: no copy that could go stale."""
    environment = Environment(tmp_path)
    environment.install("--editable", str(ROOT))

    where = environment.run("python", "-c", "import journal; print(journal.__file__)")
    assert Path(where.strip()) == ROOT / "journal" / "__init__.py"
    assert "takeover" in environment.run("journal", "demo")
    assert not (ROOT / "journal" / "_alembic").exists()
    assert [name for name in environment.files() if "_alembic" in name] == []


@pytest.mark.parametrize("how", ["option", "variable"])
def test_alembic_upgrades_from_the_checkout(tmp_path, how):
    """``alembic upgrade head`` finds env.py, the journal it is told, and the newest revision."""
    database = str(tmp_path / "agent.db")
    named = ("-x", f"db={database}") if how == "option" else ()
    variables = {} if how == "option" else {"JOURNAL_DB": database}
    alembic = (sys.executable, "-m", "alembic", *named)

    run(*alembic, "upgrade", "head", cwd=ROOT, **variables)

    newest = revisions_here()[-1].name[:4]
    assert f"{newest} (head)" in run(*alembic, "current", cwd=ROOT, **variables)


def test_the_migrations_are_no_package():
    """With an __init__.py there, pytest and ``python -m journal`` die from the top."""
    assert list((ROOT / "alembic").rglob("__init__.py")) == []
