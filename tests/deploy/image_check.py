"""Does what deploy/Dockerfile says, without Docker: what it copies, its pip lines, its user (`make image-check`).

It compiles the core anew, which takes minutes; so it is none of the tests that always run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import pytest

from deploy.test_dockerfile import ALL, LAST, of_last_stage
from deployed import ROOT, moved, started
from process import TIMEOUT, environment
from services import free_port

SYSTEM_PYTHON = "/usr/bin/python3"
"""One that every user may run, whoever runs this."""

BUILD = ALL[: -len(LAST)]


@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="it becomes another user")
def test_the_lines_build_what_its_user_can_run() -> None:
    with TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "source").mkdir()
        for word, rest in BUILD:
            if word == "COPY":
                for source in shlex.split(rest)[:-1]:
                    copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
                    copy(ROOT / source, place / "source" / source)
        shutil.rmtree(place / "source" / "src" / "valtronics_fast" / "__pycache__", ignore_errors=True)
        python = place / "builder" / "bin" / "python"
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", place / "builder"], check=True, timeout=TIMEOUT)
        places = {"/wheels": place / "wheels", "/opt/valtronics-fast": place / "opt"}
        for word, rest in BUILD:
            if word == "RUN" and "pip " in rest:
                needed = {old: new for old, new in places.items() if re.search(old, rest)}
                line = re.sub(r"(?<![\w/-])pip (?=wheel|--python)", f"{python} -m pip ", moved(rest, needed))
                line = line.replace("python -m venv", f"{SYSTEM_PYTHON} -m venv")
                subprocess.run(["sh", "-euc", line], cwd=place / "source", check=True, timeout=800)
        shutil.rmtree(place / "source")
        shutil.rmtree(place / "wheels")
        assert not list((place / "opt").rglob("pip"))
        user, group = map(int, of_last_stage("USER").split(":"))
        port, http_port = free_port(), free_port()
        command = [place / "opt" / "bin" / "valtronics-fast", "--port", str(port), "--http-port", str(http_port)]
        with started(
            command, http_port, place / "log", user=user, group=group, extra_groups=[], cwd="/",
            env=environment(HOME="/nonexistent"),
        ) as process:  # fmt: skip
            with urlopen(f"http://127.0.0.1:{http_port}/health/ready", timeout=TIMEOUT) as answer:
                assert answer.status == 200
            process.terminate()
            assert process.wait(TIMEOUT) == 0
