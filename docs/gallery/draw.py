"""Makes the pictures of the gallery: runs the code of each page in this folder."""

import os
import re
from pathlib import Path

FOLDER = Path(__file__).parent

os.chdir(FOLDER)
for page in sorted(FOLDER.glob("*.md")):
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    exec("\n".join(blocks), {})
